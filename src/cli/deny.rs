//! `revoke` and `block`: the request, the confirmation of a wide one, and what is said of the
//! answer. Whatever is not all right is said first and changes the exit code.

mod confirm;
mod words;

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::arguments::{Block, Global, Notes, Revoke, Spared};
use super::client::{Answer, Client};
use super::console::{Console, json_text};
use super::exit::Exit;
use super::failure::Failure;
use super::shapes::Denial;
use super::target::Target;

pub(super) use words::warnings;

/// Which of the two verbs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verb {
    Revoke,
    Block,
}

impl Verb {
    fn path(self) -> &'static str {
        match self {
            Self::Revoke => "/v1/revoke",
            Self::Block => "/v1/block",
        }
    }
}

pub fn revoke(revoke: &Revoke, global: &Global, console: &Console) -> Result<Exit, Failure> {
    let mut body = common(&revoke.target, revoke.issuer.as_deref(), &revoke.notes)?;
    match &revoke.except {
        Some(Spared::Session(id)) => body.insert("except".into(), json!({ "session": id })),
        Some(Spared::Jti(id)) => body.insert("except".into(), json!({ "jti": id })),
        None => None,
    };
    act(Verb::Revoke, &revoke.target, body, &revoke.notes, global, console)
}

pub fn block(block: &Block, global: &Global, console: &Console) -> Result<Exit, Failure> {
    let mut body = common(&block.target, block.issuer.as_deref(), &block.notes)?;
    if let Some(lasts) = block.lasts {
        body.insert("for".into(), super::words::compact_duration(lasts).into());
    }
    act(Verb::Block, &block.target, body, &block.notes, global, console)
}

fn common(
    target: &Target,
    issuer: Option<&str>,
    notes: &Notes,
) -> Result<Map<String, Value>, Failure> {
    let mut body = Map::new();
    target.write(&mut body)?;
    let members = [
        ("issuer", issuer),
        ("reason", notes.reason.as_deref()),
        ("reference", notes.reference.as_deref()),
    ];
    for (name, value) in members {
        if let Some(value) = value {
            body.insert(name.to_owned(), value.into());
        }
    }
    Ok(body)
}

fn act(
    verb: Verb,
    target: &Target,
    mut body: Map<String, Value>,
    notes: &Notes,
    global: &Global,
    console: &Console,
) -> Result<Exit, Failure> {
    let client = Client::new(global)?;
    let asked = Asked { verb, timed: body.contains_key("for"), flag: flag(target, &body) };
    if notes.dry_run {
        let answer = dry_run(&client, verb, &body)?;
        return say(&asked, &answer, global, console);
    }
    if *target == Target::Everyone && !notes.yes {
        let would = dry_run(&client, verb, &body)?.shown::<Denial>("the gateway")?;
        let issuer = confirm::issuer_name(&client, &body)?;
        confirm::everyone(&would, &issuer)?;
        body.insert("issuer".into(), issuer.into());
    }
    let answer = client.post(verb.path(), &Value::Object(body))?;
    say(&asked, &answer, global, console)
}

/// What was asked for, as far as the answer does not say it.
struct Asked {
    verb: Verb,
    timed: bool,
    flag: Option<String>,
}

/// The target as a flag to paste, and the issuer where that had to be said.
fn flag(target: &Target, body: &Map<String, Value>) -> Option<String> {
    let flag = target.flag()?;
    Some(match body.get("issuer").and_then(Value::as_str) {
        Some(issuer) => format!("{flag} --issuer {}", super::words::shell(issuer)),
        None => flag,
    })
}

fn dry_run(client: &Client, verb: Verb, body: &Map<String, Value>) -> Result<Answer, Failure> {
    let mut body = body.clone();
    body.insert("dry_run".into(), true.into());
    client.post(verb.path(), &Value::Object(body))
}

fn say(
    asked: &Asked,
    answer: &Answer,
    global: &Global,
    console: &Console,
) -> Result<Exit, Failure> {
    let denial = answer.shown::<Denial>("the gateway")?;
    if console.json {
        console.say_always(&json_text(&answer.raw))?;
    } else {
        let again = global.again();
        let Asked { verb, timed, flag } = asked;
        let spoken =
            words::Spoken { verb: *verb, timed: *timed, flag: flag.as_deref(), again: &again };
        console.remark(&warnings(&denial, console.look.paint));
        console.say(&spoken.render(&denial, &console.look))?;
    }
    // 202: accepted, kept, not yet where it belongs.
    Ok(if answer.status == StatusCode::ACCEPTED { Exit::InPart } else { exit(&denial) })
}

/// In force but not everywhere, or not on disk: done in part.
fn exit(denial: &Denial) -> Exit {
    let Some(outcome) = denial.outcome.as_ref().filter(|_| !denial.dry_run) else {
        return Exit::Done;
    };
    let behind = outcome.replicas.is_some_and(|replicas| replicas.applied < replicas.known);
    if outcome.durable == Some(false) || behind { Exit::InPart } else { Exit::Done }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_to_paste_names_the_issuer_where_it_had_to_be_said() {
        let alice = Target::User("alice x".to_owned());
        let body = |issuer: Option<&str>| {
            Map::from_iter(issuer.map(|issuer| ("issuer".to_owned(), json!(issuer))))
        };
        assert_eq!(flag(&alice, &body(None)).unwrap(), "--user 'alice x'");
        assert_eq!(flag(&alice, &body(Some("main"))).unwrap(), "--user 'alice x' --issuer main");
        assert_eq!(flag(&Target::Everyone, &body(Some("main"))), None);
    }
}
