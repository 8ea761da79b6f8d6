//! `reload`: asks the running gateway to read its config again, and says what became of it.

use std::fmt::Write as _;

use serde::Deserialize;
use serde_json::json;

use super::arguments::Global;
use super::client::Client;
use super::console::{Console, json_text};
use super::exit::Exit;
use super::failure::Failure;

#[derive(Deserialize, Debug, Default)]
#[serde(default)]
struct Reloaded {
    needs_restart: Vec<String>,
    notes: Vec<Note>,
}

#[derive(Deserialize, Debug, Default)]
#[serde(default)]
struct Note {
    severity: String,
    message: String,
    help: Option<String>,
}

pub fn run(global: &Global, console: &Console) -> Result<Exit, Failure> {
    let client = Client::new(global)?;
    let answer = client.post("/v1/config/reload", &json!({}))?;
    let reloaded: Reloaded = answer.shown("the gateway")?;
    if console.json {
        console.say_always(&json_text(&answer.raw))?;
    } else {
        console.say(&render(&reloaded))?;
    }
    Ok(if reloaded.needs_restart.is_empty() { Exit::Done } else { Exit::InPart })
}

fn render(reloaded: &Reloaded) -> String {
    let mut text = "The config was read again and is in force.\n".to_owned();
    if !reloaded.needs_restart.is_empty() {
        let names = reloaded.needs_restart.join(", ");
        let _ = writeln!(text, "  needs a restart: {names}");
    }
    for note in &reloaded.notes {
        let _ = writeln!(text, "  {}: {}", note.severity, note.message);
        if let Some(help) = &note.help {
            let _ = writeln!(text, "    {help}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_for_a_restart_is_named() {
        let reloaded: Reloaded = serde_json::from_value(json!({
            "reloaded": true, "needs_restart": ["server.threads"],
            "notes": [{"severity": "warning", "message": "no route leads to upstream \"b\""}],
        }))
        .unwrap();
        assert_eq!(
            render(&reloaded),
            "The config was read again and is in force.\n  needs a restart: server.threads\n  \
             warning: no route leads to upstream \"b\"\n"
        );
    }
}
