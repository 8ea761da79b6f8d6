//! `sessions`: where a person is logged in, by logins that the gateway captured, and ending one.

use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::arguments::Global;
use super::client::Client;
use super::console::{Console, Look, json_text};
use super::exit::Exit;
use super::failure::Failure;
use super::help;
use super::query::{path_segment, query};
use super::several;
use super::shapes::{Time, Warning};
use super::table::table;
use super::words;

/// Whose, or which one to end.
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Sessions {
    #[command(subcommand)]
    act: Option<Act>,
    #[arg(long, alias = "subject", value_name = "ID", required = true, help_heading = "Whose")]
    user: Option<String>,
    #[arg(long, value_name = "NAME", help_heading = "Whose")]
    issuer: Option<String>,
}

#[derive(Subcommand, Debug)]
enum Act {
    /// End one session; its user can log in again
    #[command(after_help = help::SESSIONS_END)]
    End {
        /// As the list has it in its first column
        #[arg(value_name = "ID", required = true)]
        ids: Vec<String>,
        /// Why, for the audit and for `explain`
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Page {
    items: Vec<Session>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Session {
    id: String,
    session: String,
    issuer: String,
    first_seen: Option<Time>,
    last_seen: Option<Time>,
    address: Option<String>,
    user_agent: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Ended {
    id: String,
    subject: Option<String>,
    denials: Vec<String>,
    streams_cut: Option<u64>,
    warnings: Vec<Warning>,
}

pub fn run(sessions: &Sessions, global: &Global, console: &Console) -> Result<Exit, Failure> {
    let client = Client::new(global)?;
    match &sessions.act {
        None => list(&client, sessions, console),
        Some(Act::End { ids, reason }) => {
            several::each(ids, global, |id| end(&client, id, reason.as_deref(), console))
        }
    }
}

fn list(client: &Client, sessions: &Sessions, console: &Console) -> Result<Exit, Failure> {
    let asked = [("user", &sessions.user), ("issuer", &sessions.issuer)];
    let members = asked.into_iter().filter_map(|(name, value)| Some((name, value.clone()?)));
    let members: Vec<(&'static str, String)> = members.collect();
    let answer = client.read(&format!("/v1/sessions?{}", query(&members)))?;
    if console.json {
        let items = answer.raw.get("items").and_then(Value::as_array).into_iter().flatten();
        return console.say_always(&items.map(json_text).collect::<String>()).map(|()| Exit::Done);
    }
    let page = answer.shown::<Page>("the gateway")?;
    console.say_always(&render(&page.items, &console.look))?;
    Ok(Exit::Done)
}

fn end(client: &Client, id: &str, reason: Option<&str>, console: &Console) -> Result<(), Failure> {
    let reason = reason.map(|reason| ("reason".to_owned(), reason.into()));
    let body = Value::Object(Map::from_iter(reason));
    let answer = client.post(&format!("/v1/sessions/{}/end", path_segment(id)), &body)?;
    if console.json {
        return console.say_always(&json_text(&answer.raw));
    }
    let ended = answer.shown::<Ended>("the gateway")?;
    for warning in &ended.warnings {
        console.remark(&format!("{} {}\n", console.look.paint.yellow("warning:"), warning.words()));
    }
    console.say(&ended.words(&console.look))
}

impl Ended {
    fn words(&self, look: &Look) -> String {
        let of = self.subject.as_deref().map(words::printable_line);
        let of = of.map(|subject| format!(" of {subject}")).unwrap_or_default();
        let cut = match self.streams_cut {
            Some(0) | None => String::new(),
            Some(1) => ", and 1 open stream".to_owned(),
            Some(number) => format!(", and {} open streams", words::count(number)),
        };
        let by = match self.denials.as_slice() {
            [] => String::new(),
            denials => format!(" Denied by {}.", denials.join(", ")),
        };
        format!("Ended session {}{of}{cut}.{by}\n", look.paint.bold(&self.id))
    }
}

const HEADINGS: [&str; 7] = ["ID", "SESSION", "ISSUER", "SEEN", "SINCE", "CLIENT", "BROWSER"];

fn render(sessions: &[Session], look: &Look) -> String {
    let rows: Vec<[String; 7]> = sessions.iter().map(|session| row(session, look)).collect();
    if !look.terminal {
        return rows.iter().map(|row| format!("{}\n", row.join("\t"))).collect();
    }
    if rows.is_empty() {
        return "No session that began with a login captured here.\n".to_owned();
    }
    let text = table(HEADINGS, &rows, look);
    format!("{text}\nTo end one: sessions end ID; all of them: revoke --user USER\n")
}

fn row(session: &Session, look: &Look) -> [String; 7] {
    let time = |at: Option<Time>| match at {
        Some(at) if look.terminal => words::short_span(look.now.since(at.0)),
        Some(at) => at.0.rfc3339(),
        None => "-".to_owned(),
    };
    // What a browser calls itself is its own choice.
    let browser = session.user_agent.as_deref().map(words::printable_line);
    [
        session.id.clone(),
        session.session.clone(),
        session.issuer.clone(),
        time(session.last_seen),
        time(session.first_seen),
        session.address.clone().unwrap_or_else(|| "-".to_owned()),
        browser.map_or_else(|| "-".to_owned(), |text| text.to_string()),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::console::Paint;
    use crate::clock::UnixMs;

    #[test]
    fn a_list_says_which_session_from_where_and_how_long_ago() {
        let now = UnixMs::parse_rfc3339("2026-11-21T03:12:40Z").unwrap();
        let look = Look { paint: Paint::PLAIN, terminal: true, now };
        let sessions: Vec<Session> = serde_json::from_value(json!([{
            "id": "se_9f2c", "session": "s-12", "issuer": "main", "first_seen": "2026-11-20T03:12:40Z",
            "last_seen": "2026-11-21T03:10:40Z", "address": "203.0.113.9",
            "user_agent": "Firefox\u{9b}31m" }]))
        .unwrap();
        let text = render(&sessions, &look);
        let headings = "ID       SESSION  ISSUER  SEEN  SINCE  CLIENT       BROWSER\n";
        assert!(text.starts_with(headings), "{text}");
        let row = "se_9f2c  s-12     main    2m    1d     203.0.113.9  Firefox";
        assert!(text.contains(row), "{text}");
        assert!(!text.contains('\u{9b}'), "{text}");
        assert!(render(&[], &look).starts_with("No session"));
    }

    #[test]
    fn an_end_says_what_ended_and_what_denies_it() {
        let now = UnixMs::parse_rfc3339("2026-11-21T03:12:40Z").unwrap();
        let look = Look { paint: Paint::PLAIN, terminal: true, now };
        let ended: Ended = serde_json::from_value(json!({
            "id": "se_9f2c", "subject": "alice", "denials": ["dn_1"], "streams_cut": 2 }))
        .unwrap();
        let text = "Ended session se_9f2c of alice, and 2 open streams. Denied by dn_1.\n";
        assert_eq!(ended.words(&look), text);
        assert_eq!(Ended::default().words(&look), "Ended session .\n");
    }
}
