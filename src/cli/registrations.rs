//! `registrations`: what is let pass of issuers in allowlist mode. Listed, added, removed.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::arguments::Global;
use super::client::Client;
use super::console::{Console, Look, json_text};
use super::exit::Exit;
use super::failure::Failure;
use super::input::TokenFrom;
use super::list::{List, Listed};
use super::query::path_segment;
use super::raw::{RawAdd, RawRegistration, RawRegistrations};
use super::several;
use super::shapes::Registration;
use super::table::table;
use super::words;

/// What is asked.
#[derive(Debug)]
pub enum Registrations {
    List(List),
    One(String),
    Add(Add),
    Remove { ids: Vec<String>, reason: Option<String> },
}

/// A registration to be made.
#[derive(Debug)]
pub struct Add {
    what: What,
    /// Members of the body that are plain text.
    texts: Vec<(&'static str, String)>,
}

#[derive(Debug)]
enum What {
    Session(String),
    Jti(String),
    Token(TokenFrom),
}

impl Registrations {
    pub(super) fn compile(raw: RawRegistrations) -> Result<Self, Failure> {
        match raw.act {
            Some(RawRegistration::Add(add)) => return Add::compile(add).map(Self::Add),
            Some(RawRegistration::Remove { ids, reason }) => {
                return Ok(Self::Remove { ids, reason });
            }
            None => {}
        }
        if let Some(id) = raw.id {
            return Ok(Self::One(id));
        }
        let members = [
            ("session", raw.session),
            ("jti", raw.jti),
            ("issuer", raw.issuer),
            ("created_by", raw.by),
            ("state", raw.removed.then(|| "all".to_owned())),
        ];
        let query = members.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        Ok(Self::List(List { query, most: raw.most.items() }))
    }
}

impl Add {
    fn compile(raw: RawAdd) -> Result<Self, Failure> {
        let what = match (raw.session, raw.jti, raw.token_file) {
            (Some(id), _, _) => What::Session(id),
            (None, Some(id), _) => What::Jti(id),
            (None, None, Some(path)) => What::Token(TokenFrom::of(Some(path))),
            (None, None, None) => {
                return Err(Failure::usage("Register what? --session, --token-file or --jti."));
            }
        };
        let lasts = match raw.lasts.as_deref() {
            None => None,
            Some(text) => Some(
                words::parse_duration(text)
                    .filter(|duration| !duration.is_zero())
                    .map(words::compact_duration)
                    .ok_or_else(|| {
                        Failure::usage(format!(
                            "--for: `{text}` is not a time. Like this: 30s, 15m, 24h, 7d."
                        ))
                    })?,
            ),
        };
        let texts = [
            ("issuer", raw.issuer),
            ("for", lasts),
            ("reason", raw.reason),
            ("reference", raw.reference),
        ];
        let texts = texts.into_iter().filter_map(|(name, text)| Some((name, text?))).collect();
        Ok(Self { what, texts })
    }

    fn body(&self) -> Result<Value, Failure> {
        let (member, value) = match &self.what {
            What::Session(id) => ("session", id.clone()),
            What::Jti(id) => ("jti", id.clone()),
            What::Token(from) => ("token", from.read()?.expose().to_owned()),
        };
        let mut body = Map::new();
        body.insert(member.to_owned(), value.into());
        for (name, text) in &self.texts {
            body.insert((*name).to_owned(), text.as_str().into());
        }
        Ok(Value::Object(body))
    }
}

pub fn run(asked: &Registrations, global: &Global, console: &Console) -> Result<Exit, Failure> {
    let client = Client::new(global)?;
    match asked {
        Registrations::List(list) => {
            if let Some(listed) = list.read("/v1/registrations", &client, console)? {
                let Listed { items, in_force } = listed;
                console.say_always(&render_list(&items, in_force, &console.look))?;
            }
        }
        Registrations::One(id) => {
            let answer = client.read(&format!("/v1/registrations/{}", path_segment(id)))?;
            if console.json {
                console.say_always(&json_text(&answer.raw))?;
            } else {
                let one = answer.shown::<Registration>("the gateway")?;
                console.say_always(&render_list(&[one], None, &console.look))?;
            }
        }
        Registrations::Add(add) => {
            let answer = client.post("/v1/registrations", &add.body()?)?;
            if console.json {
                console.say_always(&json_text(&answer.raw))?;
            } else {
                let made = answer.shown::<Registration>("the gateway")?;
                console.remark(&super::deny::warnings(&made.warned(), console.look.paint));
                console.say(&render_added(&made, &global.again(), &console.look))?;
            }
        }
        Registrations::Remove { ids, reason } => {
            let reason = reason.as_deref();
            return several::each(ids, global, |id| remove(&client, id, reason, console));
        }
    }
    Ok(Exit::Done)
}

fn remove(
    client: &Client,
    id: &str,
    reason: Option<&str>,
    console: &Console,
) -> Result<(), Failure> {
    let body = reason
        .map_or_else(Map::new, |reason| Map::from_iter([("reason".to_owned(), reason.into())]));
    let path = format!("/v1/registrations/{}/remove", path_segment(id));
    let answer = client.post(&path, &Value::Object(body))?;
    if console.json {
        return console.say_always(&json_text(&answer.raw));
    }
    let removed = answer.shown::<Registration>("the gateway")?;
    console.remark(&super::deny::warnings(&removed.warned(), console.look.paint));
    let what = removed.selector.words(None);
    let denied = match &removed.denial {
        Some(denial) => format!(" Denied by {denial} as well."),
        None => String::new(),
    };
    console.say(&format!("Removed {}: {what} passes no longer.{denied}\n", removed.id))
}

const HEADINGS: [&str; 6] = ["ID", "WHAT", "REASON", "BY", "AGE", "ENDS"];

fn row(one: &Registration, look: &Look) -> [String; 6] {
    let age = |at: Option<super::shapes::Time>| match at {
        Some(at) if look.terminal => words::short_span(look.now.since(at.0)),
        Some(at) => at.0.rfc3339(),
        None => "-".to_owned(),
    };
    let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let ends = match (one.removed_at, one.ends_at) {
        (Some(at), _) if look.terminal => format!("removed {} ago", age(Some(at))),
        (Some(at), _) => format!("removed {}", at.0.rfc3339()),
        (None, Some(at)) if look.terminal && at.0 <= look.now => "due".to_owned(),
        (None, Some(at)) if look.terminal => {
            format!("in {}", words::short_span(at.0.since(look.now)))
        }
        (None, Some(at)) => at.0.rfc3339(),
        (None, None) => "-".to_owned(),
    };
    let by = one.created_by.as_ref().map(|by| by.name.clone());
    let what = one.selector.words(None);
    [one.id.clone(), what, text(&one.reason), text(&by), age(one.created_at), ends]
}

fn render_list(rows: &[Registration], in_force: Option<u64>, look: &Look) -> String {
    let cells: Vec<[String; 6]> = rows.iter().map(|one| row(one, look)).collect();
    if !look.terminal {
        return cells.iter().fold(String::new(), |mut text, row| {
            let _ = writeln!(text, "{}", row.join("\t"));
            text
        });
    }
    if rows.is_empty() {
        return match in_force {
            Some(0) | None => "Nothing is registered.\n".to_owned(),
            Some(number) => format!("None of {} registered is like that.\n", words::count(number)),
        };
    }
    let mut text = table(HEADINGS, &cells, look);
    if let Some(number) = in_force {
        let shown = words::count(rows.len() as u64);
        let _ = writeln!(text, "\n{shown} of {} registered, newest first.", words::count(number));
    }
    text
}

fn render_added(made: &Registration, again: &str, look: &Look) -> String {
    let what = made.selector.words(None);
    let verb = if made.already { "is registered already" } else { "is registered" };
    let mut text = format!("{} {what} {verb}", look.paint.bold(&made.id));
    if let Some(at) = made.ends_at {
        let _ = write!(text, ", until {}", words::clock(at.0, look.now));
    }
    let _ = write!(text, ".\n  end it   {again} registrations remove {}\n", made.id);
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::console::Paint;
    use crate::clock::UnixMs;

    fn look(terminal: bool) -> Look {
        let now = UnixMs::parse_rfc3339("2026-11-21T11:15:03Z").unwrap();
        Look { paint: Paint::PLAIN, terminal, now }
    }

    fn one() -> Registration {
        serde_json::from_value(json!({
            "id": "dn_4kq7t2m9xa000000", "session": "s-81f3", "reason": "login",
            "created_at": "2026-11-21T11:14:01Z", "created_by": { "name": "shop" },
            "ends_at": "2026-11-21T23:16:32Z" }))
        .unwrap()
    }

    #[test]
    fn a_terminal_gets_a_table_and_a_pipe_gets_tabs() {
        assert_eq!(
            render_list(&[one()], Some(7), &look(true)),
            "\
ID                   WHAT            REASON  BY    AGE  ENDS
dn_4kq7t2m9xa000000  session s-81f3  login   shop  1m   in 12h

1 of 7 registered, newest first.
"
        );
        assert_eq!(
            render_list(&[one()], Some(7), &look(false)),
            "dn_4kq7t2m9xa000000\tsession s-81f3\tlogin\tshop\t2026-11-21T11:14:01Z\t\
             2026-11-21T23:16:32Z\n"
        );
        assert_eq!(render_list(&[], Some(0), &look(true)), "Nothing is registered.\n");
    }

    #[test]
    fn what_was_registered_is_said_with_the_way_to_end_it() {
        assert_eq!(
            render_added(&one(), "portcullis", &look(true)),
            "dn_4kq7t2m9xa000000 session s-81f3 is registered, until 23:16:32 UTC.\n  \
             end it   portcullis registrations remove dn_4kq7t2m9xa000000\n"
        );
    }
}
