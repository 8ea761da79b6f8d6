//! `keys`: what verifies each issuer's tokens, how its fetching goes, and a fetch now.

use std::fmt::Write as _;

use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::{Value, json};

use super::arguments::Global;
use super::client::{Answer, Client};
use super::console::{Console, Look, json_text};
use super::exit::Exit;
use super::failure::Failure;
use super::shapes::Time;
use super::table::table;
use super::words;

/// Names of keys that a row holds.
const KIDS_SHOWN: usize = 6;

/// See the module.
#[derive(Args, Debug, Default)]
pub struct Keys {
    #[command(subcommand)]
    act: Option<Act>,
    /// Of this issuer only
    #[arg(long, global = true, value_name = "NAME")]
    issuer: Option<String>,
}

#[derive(Subcommand, Debug)]
enum Act {
    /// Fetch them now, without regard to when they were fetched last
    Refresh,
}

#[derive(Deserialize, Debug, Default)]
#[serde(default)]
struct Page {
    items: Vec<Source>,
}

#[derive(Deserialize, Debug, Default)]
#[serde(default)]
struct Source {
    issuer: String,
    source: String,
    state: String,
    last_success: Option<Time>,
    usable_until: Option<Time>,
    next_fetch: Option<Time>,
    failures: u64,
    last_failure: Option<Trouble>,
    skipped: Vec<String>,
    keys: Vec<Key>,
}

#[derive(Deserialize, Debug, Default)]
#[serde(default)]
struct Trouble {
    at: Option<Time>,
    detail: String,
}

#[derive(Deserialize, Debug, Default)]
#[serde(default)]
struct Key {
    kid: Option<String>,
}

impl Source {
    fn is_well(&self) -> bool {
        !self.keys.is_empty() && self.failures == 0
    }
}

pub fn run(keys: &Keys, global: &Global, console: &Console) -> Result<Exit, Failure> {
    let client = Client::new(global)?;
    let mut answer = match &keys.act {
        None => client.read("/v1/keys")?,
        Some(Act::Refresh) => {
            let issuer = keys.issuer.as_ref();
            let body = issuer.map_or_else(|| json!({}), |name| json!({ "issuer": name }));
            client.post("/v1/keys/refresh", &body)?
        }
    };
    if let Some(issuer) = &keys.issuer {
        keep(&mut answer, issuer)?;
    }
    let page: Page = answer.shown("the gateway")?;
    if console.json {
        console.say_always(&json_text(&answer.raw))?;
    } else {
        console.say(&render(&page.items, &console.look))?;
    }
    Ok(if page.items.iter().all(Source::is_well) { Exit::Done } else { Exit::InPart })
}

/// That issuer's alone; a name that no issuer has is a mistake and not an empty table.
fn keep(answer: &mut Answer, issuer: &str) -> Result<(), Failure> {
    if let Some(items) = answer.raw.get_mut("items").and_then(Value::as_array_mut) {
        items.retain(|item| item.get("issuer").and_then(Value::as_str) == Some(issuer));
        if !items.is_empty() {
            return Ok(());
        }
    }
    Err(Failure::usage(format!("No issuer is named {issuer:?}. `portcullis keys` lists them.")))
}

fn render(sources: &[Source], look: &Look) -> String {
    let time = |at: Option<Time>| at.map_or_else(|| "-".to_owned(), |at| when(at, look));
    let rows: Vec<_> = sources
        .iter()
        .map(|one| {
            [
                words::printable_line(&one.issuer),
                words::printable_line(&one.source),
                one.state.clone(),
                time(one.last_success),
                time(one.next_fetch),
                one.failures.to_string(),
                kids(&one.keys),
            ]
        })
        .collect();
    let headings = ["ISSUER", "SOURCE", "STATE", "LAST SUCCESS", "NEXT", "FAILURES", "KEYS"];
    let mut text = table(headings, &rows, look);
    for one in sources {
        if one.keys.is_empty() {
            let none =
                format!("{}: no key, its tokens get 503", words::printable_line(&one.issuer));
            let _ = writeln!(text, "{}", look.paint.red(&none));
        }
        if let Some(trouble) = one.last_failure.as_ref().filter(|_| one.failures > 0) {
            let at = trouble.at.map(|at| format!("{}: ", when(at, look))).unwrap_or_default();
            let issuer = words::printable_line(&one.issuer);
            let detail = words::printable_line(&trouble.detail);
            let _ = writeln!(text, "{issuer}: {at}{detail}");
            if let Some(until) = one.usable_until {
                let _ =
                    writeln!(text, "  the last good keys count no longer {}", when(until, look));
            }
        }
        for why in &one.skipped {
            let (issuer, why) = (words::printable_line(&one.issuer), words::printable_line(why));
            let _ = writeln!(text, "{issuer}: a key is not used: {why}");
        }
    }
    text
}

/// Relative for people, RFC 3339 for pipes.
fn when(at: Time, look: &Look) -> String {
    if look.terminal { words::relative(at.0, look.now) } else { at.0.rfc3339() }
}

fn kids(keys: &[Key]) -> String {
    let shown = keys.iter().take(KIDS_SHOWN);
    let mut names: Vec<_> = shown
        .map(|key| key.kid.as_deref().map_or_else(|| "(no kid)".to_owned(), words::printable_line))
        .collect();
    if keys.len() > KIDS_SHOWN {
        names.push(format!("and {} more", keys.len() - KIDS_SHOWN));
    }
    if names.is_empty() { "-".to_owned() } else { names.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::console::Paint;
    use crate::clock::UnixMs;

    #[test]
    fn each_issuer_has_a_row_and_what_is_wrong_a_line() {
        let now = UnixMs::parse_rfc3339("2026-11-21T03:12:40Z").unwrap();
        let look = Look { paint: Paint::PLAIN, terminal: true, now };
        let page: Page = serde_json::from_value(json!({ "items": [
            { "issuer": "main", "source": "discovery", "state": "failing", "failures": 3,
              "last_success": "2026-11-21T03:08:40Z", "next_fetch": "2026-11-21T03:12:44Z",
              "usable_until": "2026-11-22T03:08:40Z",
              "last_failure": { "at": "2026-11-21T03:12:38Z", "detail": "503 for\nthe key set" },
              "keys": [{ "kid": "2026-09" }, { "kid": "2026-10" }] },
            { "issuer": "batch", "source": "secret", "state": "fixed", "keys": [{}] },
            { "issuer": "new", "source": "jwks_url", "state": "none",
              "skipped": ["key 1: kty X is unknown"] }] }))
        .unwrap();
        assert_eq!(
            render(&page.items, &look),
            "\
ISSUER  SOURCE     STATE    LAST SUCCESS  NEXT    FAILURES  KEYS
main    discovery  failing  4 min ago     in 4 s  3         2026-09 2026-10
batch   secret     fixed    -             -       0         (no kid)
new     jwks_url   none     -             -       0         -
main: 2 s ago: 503 for\\nthe key set
  the last good keys count no longer in 23 h 56 min
new: no key, its tokens get 503
new: a key is not used: key 1: kty X is unknown
"
        );
        assert!(page.items.iter().map(Source::is_well).eq([false, true, false]));
    }
}
