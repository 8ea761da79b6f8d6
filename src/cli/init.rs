//! `init`: the config to stdout, what was found out to stderr, so that
//! `portcullis init < token.jwt > gateway.toml` shows both.

use serde_json::json;

use super::console::{Console, json_text};
use super::exit::Exit;
use super::failure::Failure;
use super::input::TokenFrom;

pub fn run(from: &TokenFrom, console: &Console) -> Result<Exit, Failure> {
    let token = from.read()?;
    let initial = crate::config::init(token.expose())
        .map_err(|fault| Failure::Refused(format!("the token in {from}: {fault}")))?;
    if console.json {
        let document = json!({ "config": initial.toml, "report": initial.report });
        console.say_always(&json_text(&document))?;
        return Ok(Exit::Done);
    }
    console.remark(&initial.report);
    console.say_always(&initial.toml)?;
    Ok(Exit::Done)
}
