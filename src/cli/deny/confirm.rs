//! The question before every token of an issuer is ended.

use std::io::{BufRead as _, IsTerminal as _};

use serde_json::{Map, Value};

use crate::cli::client::Client;
use crate::cli::console::write_stderr;
use crate::cli::failure::Failure;
use crate::cli::shapes::{Denial, Status};
use crate::cli::words;

/// The issuer that `--everyone` means: as given, or the only one there is.
pub fn issuer_name(client: &Client, body: &Map<String, Value>) -> Result<String, Failure> {
    if let Some(named) = body.get("issuer").and_then(Value::as_str) {
        return Ok(named.to_owned());
    }
    let status = client.read("/v1/status")?.shown::<Status>("the gateway")?;
    match status.issuers.as_slice() {
        [one] => Ok(one.name.clone()),
        [] => {
            Err(Failure::usage("No issuer is configured, so no token passes that could be denied."))
        }
        several => {
            let names: Vec<&str> = several.iter().map(|issuer| issuer.name.as_str()).collect();
            Err(Failure::usage(format!(
                "Everyone of which issuer? Say --issuer NAME. Known: {}.",
                names.join(", ")
            )))
        }
    }
}

/// Asks at the terminal; an answer other than the issuer's name is a no.
pub fn everyone(would: &Denial, issuer: &str) -> Result<(), Failure> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(Failure::NotConfirmed(
            "--everyone asks at a terminal; in a script say --yes. Nothing was changed.".to_owned(),
        ));
    }
    write_stderr(&question(would));
    let mut line = String::new();
    let read = stdin.lock().read_line(&mut line);
    read.map_err(|cause| Failure::Read { what: "stdin".to_owned(), cause })?;
    if line.trim() == issuer {
        Ok(())
    } else {
        Err(Failure::NotConfirmed(format!(
            "That is not `{issuer}`, the issuer's name. Nothing was changed."
        )))
    }
}

fn question(would: &Denial) -> String {
    let counts = would.would.clone().unwrap_or_default();
    let window = counts.window.map(|window| format!(" in the last {}", words::window(&window)));
    let window = window.unwrap_or_default();
    let tokens = counts.tokens_seen.map_or("every token".to_owned(), |seen| {
        format!("every token, at least {} seen{window}", words::count(seen))
    });
    let streams = counts
        .streams
        .map(|streams| format!(" and cuts {}", words::plural(streams, "stream")))
        .unwrap_or_default();
    format!("This ends {tokens}{streams}. Type the issuer's name to go on: ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_question_says_how_many_are_hit() {
        let would = serde_json::json!({ "dry_run": true,
            "would": { "window": "1h", "tokens_seen": 18204, "streams": 9871 } });
        let would: Denial = serde_json::from_value(would).unwrap();
        assert_eq!(
            question(&would),
            "This ends every token, at least 18,204 seen in the last 60 min and cuts 9,871 streams. \
             Type the issuer's name to go on: "
        );
        assert_eq!(
            question(&Denial::default()),
            "This ends every token. Type the issuer's name to go on: "
        );
    }
}
