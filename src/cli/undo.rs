//! `undo`: takes revocations and blocks back, by id, the newest, or all that stands of somebody.

use std::fmt::Write as _;
use std::io::{BufRead as _, IsTerminal as _};
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::arguments::{Global, Undo, Which};
use super::client::Client;
use super::console::{Console, Look, json_text, write_stderr};
use super::exit::Exit;
use super::failure::Failure;
use super::list::Page;
use super::query::path_segment;
use super::several;
use super::shapes::{Denial, Selector, Warning};
use super::words;

/// `--last` of something older than this is asked about: somebody else may have made it.
const LAST_UNASKED_MAX: Duration = Duration::from_hours(1);

/// Among so many of the newest the last block is looked for.
const LOOKED_AT: u64 = 1000;

pub fn run(undo: &Undo, global: &Global, console: &Console) -> Result<Exit, Failure> {
    let client = Client::new(global)?;
    let ids = match &undo.which {
        Which::Ids(ids) => ids.clone(),
        Which::Last { blocks_only } => vec![last(&client, *blocks_only, undo.yes, console)?],
        Which::Of { target, issuer, blocks_only, dry_run } => {
            let mut body = Map::new();
            target.write(&mut body)?;
            let members = [
                ("issuer", issuer.as_deref()),
                ("reason", undo.reason.as_deref()),
                ("condition", blocks_only.then_some("always")),
            ];
            for (name, value) in members {
                body.extend(value.map(|value| (name.to_owned(), value.into())));
            }
            if *dry_run {
                body.insert("dry_run".to_owned(), true.into());
            }
            return of_somebody(&client, body, console);
        }
    };
    several::each(&ids, global, |id| one(&client, id, undo.reason.as_deref(), console))
}

fn of_somebody(
    client: &Client,
    body: Map<String, Value>,
    console: &Console,
) -> Result<Exit, Failure> {
    let answer = client.post("/v1/undo", &Value::Object(body))?;
    let undone = answer.shown::<UndoneOf>("the gateway")?;
    if console.json {
        console.say_always(&json_text(&answer.raw))?;
    } else {
        let warnings = Denial { warnings: undone.warnings.clone(), ..Denial::default() };
        console.remark(&super::deny::warnings(&warnings, console.look.paint));
    }
    let what = undone.selector.words(undone.issuer.as_deref());
    if undone.ids.is_empty() {
        let text = format!("nothing of {what} is in force, so there is nothing to undo");
        return Err(Failure::Nothing(text));
    }
    if console.json {
        return Ok(Exit::Done);
    }
    if undone.dry_run {
        let count = words::plural(undone.ids.len() as u64, "denial");
        let mut text = format!("Would take back {count} of {what}:\n");
        undone.ids.iter().for_each(|id| text.push_str(&format!("  {id}\n")));
        text.push_str("Nothing was changed (--dry-run).\n");
        console.say_always(&text)?;
    }
    undone.denials.iter().try_for_each(|one| console.say(&render(one, &console.look)))?;
    Ok(Exit::Done)
}

/// What was taken back, or would be.
#[derive(Deserialize, Default)]
#[serde(default)]
struct UndoneOf {
    dry_run: bool,
    issuer: Option<String>,
    #[serde(flatten)]
    selector: Selector,
    ids: Vec<String>,
    denials: Vec<Denial>,
    warnings: Vec<Warning>,
}

fn one(client: &Client, id: &str, reason: Option<&str>, console: &Console) -> Result<(), Failure> {
    let body = match reason {
        Some(reason) => json!({ "reason": reason }),
        None => json!({}),
    };
    let answer = client.post(&format!("/v1/denials/{}/undo", path_segment(id)), &body)?;
    if console.json {
        return console.say_always(&json_text(&answer.raw));
    }
    let undone = answer.shown::<Denial>("the gateway")?;
    console.remark(&super::deny::warnings(&undone, console.look.paint));
    console.say(&render(&undone, &console.look))
}

fn last(
    client: &Client,
    blocks_only: bool,
    yes: bool,
    console: &Console,
) -> Result<String, Failure> {
    let limit = if blocks_only { LOOKED_AT } else { 1 };
    let page =
        client.read(&format!("/v1/denials?limit={limit}"))?.shown::<Page<Denial>>("the gateway")?;
    let more = page.next_cursor.is_some();
    let is_meant = |denial: &Denial| !blocks_only || is_block(denial);
    let Some(newest) = page.items.into_iter().find(is_meant) else {
        let text = match (blocks_only, more) {
            (false, _) => "nothing is in force, so there is nothing to undo".to_owned(),
            (true, false) => "no block is in force, so there is nothing to undo".to_owned(),
            (true, true) => format!(
                "none of the newest {} in force is a block: give its id, or say whose it is",
                words::count(LOOKED_AT)
            ),
        };
        return Err(Failure::Nothing(text));
    };
    let Some(id) = newest.id.clone() else {
        return Err(Failure::Nothing("the gateway's answer names no id".to_owned()));
    };
    let age = newest.created_at.map(|at| console.look.now.since(at.0)).unwrap_or_default();
    if age > LAST_UNASKED_MAX && !yes {
        confirm(&newest, &id, age)?;
    }
    Ok(id)
}

/// Keeps somebody out; what ends one token is none.
fn is_block(denial: &Denial) -> bool {
    denial.always == Some(true) && !denial.selector.is_one_token()
}

fn confirm(newest: &Denial, id: &str, age: Duration) -> Result<(), Failure> {
    let what = newest.selector.words(newest.issuer.as_deref());
    let by = newest.created_by.as_ref().map(|by| format!(" by {}", by.name)).unwrap_or_default();
    let made = format!("The newest is {id}, {what}, made {} ago{by}.", words::span(age));
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(Failure::NotConfirmed(format!("{made} To take it back: --yes, or undo {id}.")));
    }
    write_stderr(&format!("{made} Take it back? [y/N] "));
    let mut line = String::new();
    let read = stdin.lock().read_line(&mut line);
    read.map_err(|cause| Failure::Read { what: "stdin".to_owned(), cause })?;
    if matches!(line.trim(), "y" | "Y" | "yes") {
        Ok(())
    } else {
        Err(Failure::NotConfirmed("Nothing was changed.".to_owned()))
    }
}

fn render(undone: &Denial, look: &Look) -> String {
    let what = undone.selector.words(undone.issuer.as_deref());
    let effect = super::denials::effect(undone, look);
    let id = undone.id.as_deref().unwrap_or_default();
    let mut text = format!("Took back {}: {what}, {effect}", look.paint.bold(id));
    if let Some(reason) = undone.reason.as_deref().filter(|reason| !reason.is_empty()) {
        let _ = write!(text, ", \"{reason}\"");
    }
    if let (Some(by), Some(at)) = (&undone.created_by, undone.created_at) {
        let _ = write!(text, ", by {}, {}", by.name, words::relative(at.0, look.now));
    }
    text.push_str(".\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::console::Paint;
    use crate::clock::UnixMs;

    #[test]
    fn what_was_taken_back_is_said_in_full() {
        let undone = serde_json::from_value(json!({
            "id": "dn_4kq7", "subject": "alice", "issued_before": "2026-11-21T11:14:02Z",
            "reason": "lost laptop", "created_at": "2026-11-21T11:14:01Z",
            "created_by": { "name": "dana" } }))
        .unwrap();
        let now = UnixMs::parse_rfc3339("2026-11-21T11:20:01Z").unwrap();
        let look = Look { paint: Paint::PLAIN, terminal: true, now };
        assert_eq!(
            render(&undone, &look),
            "Took back dn_4kq7: user alice, tokens before 11:14:02, \"lost laptop\", by dana, 6 min ago.\n"
        );
    }
}
