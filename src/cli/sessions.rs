//! `sessions`: where a person is logged in, by logins that the gateway captured.

use clap::Args;
use serde::Deserialize;
use serde_json::Value;

use super::arguments::Global;
use super::client::Client;
use super::console::{Console, Look, json_text};
use super::exit::Exit;
use super::failure::Failure;
use super::query::query;
use super::shapes::Time;
use super::table::table;
use super::words;

/// Whose.
#[derive(Args, Debug)]
pub struct Sessions {
    #[arg(long, alias = "subject", value_name = "ID", required = true, help_heading = "Whose")]
    user: String,
    #[arg(long, value_name = "NAME", help_heading = "Whose")]
    issuer: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Page {
    items: Vec<Session>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Session {
    session: String,
    issuer: String,
    first_seen: Option<Time>,
    last_seen: Option<Time>,
    address: Option<String>,
    user_agent: Option<String>,
}

pub fn run(sessions: &Sessions, global: &Global, console: &Console) -> Result<Exit, Failure> {
    let client = Client::new(global)?;
    let mut members = vec![("user", sessions.user.clone())];
    members.extend(sessions.issuer.clone().map(|issuer| ("issuer", issuer)));
    let answer = client.read(&format!("/v1/sessions?{}", query(&members)))?;
    if console.json {
        let items = answer.raw.get("items").and_then(Value::as_array).into_iter().flatten();
        return console.say_always(&items.map(json_text).collect::<String>()).map(|()| Exit::Done);
    }
    let page = answer.shown::<Page>("the gateway")?;
    console.say_always(&render(&page.items, &console.look))?;
    Ok(Exit::Done)
}

const HEADINGS: [&str; 6] = ["SESSION", "ISSUER", "SEEN", "SINCE", "CLIENT", "BROWSER"];

fn render(sessions: &[Session], look: &Look) -> String {
    let rows: Vec<[String; 6]> = sessions.iter().map(|session| row(session, look)).collect();
    if !look.terminal {
        return rows.iter().map(|row| format!("{}\n", row.join("\t"))).collect();
    }
    if rows.is_empty() {
        return "No session that began with a login captured here.\n".to_owned();
    }
    let text = table(HEADINGS, &rows, look);
    format!("{text}\nTo end one: revoke --session SESSION; all of them: revoke --user ID\n")
}

fn row(session: &Session, look: &Look) -> [String; 6] {
    let time = |at: Option<Time>| match at {
        Some(at) if look.terminal => words::short_span(look.now.since(at.0)),
        Some(at) => at.0.rfc3339(),
        None => "-".to_owned(),
    };
    // What a browser calls itself is its own choice.
    let browser = session.user_agent.as_deref().map(words::printable_line);
    [
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
            "session": "s-12", "issuer": "main", "first_seen": "2026-11-20T03:12:40Z",
            "last_seen": "2026-11-21T03:10:40Z", "address": "203.0.113.9",
            "user_agent": "Firefox\u{9b}31m" }]))
        .unwrap();
        let text = render(&sessions, &look);
        assert!(text.starts_with("SESSION  ISSUER  SEEN  SINCE  CLIENT       BROWSER\n"), "{text}");
        assert!(text.contains("s-12     main    2m    1d     203.0.113.9  Firefox"), "{text}");
        assert!(!text.contains('\u{9b}'), "{text}");
        assert!(render(&[], &look).starts_with("No session"));
    }
}
