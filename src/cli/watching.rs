//! `events`: changes and refusals as they happen, a line each, until Ctrl+C. A connection that ends
//! is made again from where it was, so that no change is missed; refusals of the time between are.

use std::time::Duration;

use http::Method;
use serde::Deserialize;
use serde_json::Value;

use super::arguments::Global;
use super::audit::Act;
use super::client::Client;
use super::console::{Console, json_text};
use super::exit::Exit;
use super::failure::Failure;
use super::shapes::Time;
use super::transfer::Sent;
use super::words;

/// Before a connection is made again.
const PAUSE: Duration = Duration::from_secs(1);

/// What to watch.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Events {
    /// Changes after this sequence too.
    pub after: Option<u64>,
    pub changes_only: bool,
    /// End at the end of the first connection: for scripts and tests.
    pub once: bool,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Refused {
    at: Option<Time>,
    status: u16,
    code: String,
    method: String,
    path: String,
    request_id: String,
    address: Option<String>,
    subject: Option<String>,
}

/// An event that is being read.
#[derive(Default)]
struct Reading {
    event: String,
    data: String,
    id: Option<u64>,
}

pub fn run(events: &Events, global: &Global, console: &Console) -> Result<Exit, Failure> {
    let client = Client::new(global)?;
    let mut after = events.after;
    let mut connected = false;
    loop {
        let mut path = format!("/v1/events?verdicts={}", !events.changes_only);
        if let Some(after) = after {
            path.push_str(&format!("&after={after}"));
        }
        let mut reading = Reading::default();
        let ended = client.transfer(&Method::GET, &path, Sent::nothing(), |line| {
            connected = true;
            let Some(whole) = reading.line(line) else { return Ok(()) };
            after = whole.id.or(after);
            say(&whole, console)
        });
        match ended {
            // The first connection says what is wrong with the address or the credential.
            Err(failure) if !connected || events.once || failure.is_of_output() => {
                return Err(failure);
            }
            Ok(()) if events.once => return Ok(Exit::Done),
            Ok(()) | Err(_) => std::thread::sleep(PAUSE),
        }
    }
}

impl Reading {
    /// Takes a line; the event where it ends with it.
    fn line(&mut self, line: &[u8]) -> Option<Self> {
        let line = String::from_utf8_lossy(line);
        let line = line.trim_end_matches('\r');
        if line.is_empty() {
            let whole = std::mem::take(self);
            return (!whole.data.is_empty()).then_some(whole);
        }
        match line.split_once(": ") {
            Some(("event", name)) => self.event = name.to_owned(),
            Some(("data", data)) => self.data.push_str(data),
            Some(("id", id)) => self.id = id.parse().ok(),
            Some(_) | None => {}
        }
        None
    }
}

fn say(whole: &Reading, console: &Console) -> Result<(), Failure> {
    let data: Value = serde_json::from_str(&whole.data).unwrap_or(Value::Null);
    if console.json {
        let line = serde_json::json!({"event": whole.event, "id": whole.id, "data": data});
        return console.say_always(&json_text(&line));
    }
    console.say_always(&render(&whole.event, data, console))
}

fn render(event: &str, data: Value, console: &Console) -> String {
    let look = &console.look;
    let clock = |at: Option<Time>| match at {
        Some(at) if look.terminal => words::bare_clock(at.0, look.now),
        Some(at) => at.0.rfc3339(),
        None => "-".to_owned(),
    };
    match event {
        "refused" => {
            let refused: Refused = serde_json::from_value(data).unwrap_or_default();
            let who = refused.subject.or(refused.address).unwrap_or_else(|| "-".to_owned());
            let path = words::printable_line(&refused.path);
            format!(
                "{}  {}  {who}  {} {path}  {}  {}\n",
                clock(refused.at),
                refused.status,
                refused.method,
                refused.code,
                refused.request_id
            )
        }
        "left_out" => {
            let count = data.get("verdicts").and_then(Value::as_u64).unwrap_or_default();
            format!("{} refusals were not shown: too many at once\n", words::count(count))
        }
        "reset" => {
            "the store is another one than before: what happened between is not known\n".to_owned()
        }
        _ => {
            let act: Act = serde_json::from_value(data).unwrap_or_default();
            act.in_a_line(&clock(act.at))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_read_line_by_line_and_a_sign_of_life_is_none() {
        let mut reading = Reading::default();
        let mut found = Vec::new();
        for line in [": events", "", "id: 7", "event: denied", "data: {\"a\":1}", "", ":", ""] {
            found.extend(reading.line(line.as_bytes()));
        }
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].id, found[0].event.as_str()), (Some(7), "denied"));
        assert_eq!(found[0].data, "{\"a\":1}");
    }
}
