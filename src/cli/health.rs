//! `health`: is the gateway ready? For container health checks, whose only codes are 0 and 1.

use http::{Method, StatusCode};

use super::arguments::Global;
use super::client::{Client, must_be_ours};
use super::console::{Console, json_text};
use super::exit::Exit;
use super::failure::Failure;

pub fn run(global: &Global, console: &Console) -> Result<Exit, Failure> {
    let client = Client::new(global)?;
    let answer = client.send(&Method::GET, "/readyz", None).and_then(|(address, response)| {
        must_be_ours(&address, response.headers())?;
        Ok((address, response))
    });
    match answer {
        Ok((address, response)) if response.status() == StatusCode::OK => {
            said(console, true, &format!("ready ({address})"))?;
            Ok(Exit::Done)
        }
        Ok((address, response)) => {
            said(console, false, &format!("not ready: {} from {address}", response.status()))?;
            Ok(Exit::Refused)
        }
        Err(failure) => {
            said(console, false, failure.render(console.look.paint).trim_end())?;
            Ok(Exit::Refused)
        }
    }
}

fn said(console: &Console, ready: bool, text: &str) -> Result<(), Failure> {
    if console.json {
        return console
            .say_always(&json_text(&serde_json::json!({ "ready": ready, "detail": text })));
    }
    console.say(&format!("{text}\n"))
}
