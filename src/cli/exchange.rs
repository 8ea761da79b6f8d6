//! `denials batch`, `export` and `import`: many records at once, through files or pipes.

use std::io::Write as _;

use http::Method;
use serde_json::Value;

use super::arguments::{Exchange, Global};
use super::client::Client;
use super::console::{Console, json_text};
use super::exit::Exit;
use super::export_target::Target;
use super::failure::Failure;
use super::progress::Progress;
use super::raw::RawExchange;
use super::transfer::{Place, Sent};
use super::words;

impl From<RawExchange> for Exchange {
    fn from(raw: RawExchange) -> Self {
        match raw {
            RawExchange::Batch { file, stop_on_error } => {
                Self::Batch { from: Place(file), stop_on_error }
            }
            RawExchange::Export { file } => Self::Export(Place(file)),
            RawExchange::Import { file } => Self::Import(Place(file)),
        }
    }
}

pub fn run(exchange: &Exchange, global: &Global, console: &Console) -> Result<Exit, Failure> {
    let client = Client::new(global)?;
    match exchange {
        Exchange::Batch { from, stop_on_error } => batch(&client, from, *stop_on_error, console),
        Exchange::Export(to) => export(&client, to, console),
        Exchange::Import(from) => import(&client, from, console),
    }
}

fn batch(client: &Client, from: &Place, stop: bool, console: &Console) -> Result<Exit, Failure> {
    let path = if stop { "/v1/denials/batch?stop_on_error=true" } else { "/v1/denials/batch" };
    let progress = Progress::start(from.size(), console);
    let mut sum = None;
    let sent = from.send()?.counted(&progress.done, false);
    client.transfer(&Method::POST, path, sent, |line| {
        let line = document(line)?;
        progress.line(line.get("code").is_some());
        if console.json {
            console.say_always(&json_text(&line))?;
        } else if line.get("code").is_some() {
            progress.clear();
            console.say(&refused_line(&line))?;
        }
        if line.get("done").and_then(Value::as_bool) == Some(true) {
            sum = Some(line);
        }
        Ok(())
    })?;
    drop(progress);
    let sum = sum.ok_or_else(cut_off)?;
    let failed = number(&sum, "failed");
    if !console.json {
        let stopped = sum.get("stopped_at").and_then(Value::as_u64);
        let stopped = stopped.map_or(String::new(), |line| format!(" Stopped at line {line}."));
        console.say(&format!(
            "{}: {} denied, {} stood already, {} failed.{stopped}\n",
            words::plural(number(&sum, "lines"), "line"),
            words::count(number(&sum, "created")),
            words::count(number(&sum, "already")),
            words::count(failed),
        ))?;
    }
    Ok(if failed == 0 { Exit::Done } else { Exit::InPart })
}

/// `line 2: unknown_member /issued_befor: Did you mean issued_before?`
fn refused_line(line: &Value) -> String {
    let text = |name: &str| {
        words::printable_line(line.get(name).and_then(Value::as_str).unwrap_or_default())
    };
    let pointer = text("pointer");
    let pointer = if pointer.is_empty() { pointer } else { format!(" {pointer}") };
    format!("line {}: {}{pointer}: {}\n", number(line, "line"), text("code"), text("detail"))
}

fn export(client: &Client, to: &Place, console: &Console) -> Result<Exit, Failure> {
    let failed = |cause| Failure::Write { what: to.0.display().to_string(), cause };
    let mut out = Target::open(to).map_err(failed)?;
    let progress = Progress::start(None, console);
    let mut end = None;
    let sent = client.transfer(&Method::GET, "/v1/denials/export", Sent::nothing(), |line| {
        progress.line(false);
        end = document(line)?.get("end").cloned();
        out.write_all(line).and_then(|()| out.write_all(b"\n")).map_err(failed)
    });
    drop(progress);
    let end = sent.and_then(|()| end.ok_or_else(cut_off))?;
    out.keep().map_err(failed)?;
    if to.is_standard() {
        return Ok(Exit::Done);
    }
    if console.json {
        console.say(&json_text(&end))?;
    } else {
        console.say(&format!(
            "{} and {} in {}.\n",
            words::plural(number(&end, "denials"), "denial"),
            words::plural(number(&end, "lifts"), "undo"),
            to.0.display()
        ))?;
    }
    Ok(Exit::Done)
}

fn import(client: &Client, from: &Place, console: &Console) -> Result<Exit, Failure> {
    let mut answer = None;
    let progress = Progress::start(from.size(), console);
    let sent = from.send()?.counted(&progress.done, true);
    client.transfer(&Method::POST, "/v1/denials/import", sent, |line| {
        answer = Some(document(line)?);
        Ok(())
    })?;
    drop(progress);
    let answer = answer.ok_or_else(cut_off)?;
    let of = |kind: &str, name: &str| answer.get(kind).map_or(0, |counts| number(counts, name));
    let complete = answer.get("complete").and_then(Value::as_bool) == Some(true);
    let failed = number(&answer, "failed");
    let conflicts = of("denials", "conflict");
    if console.json {
        console.say_always(&json_text(&answer))?;
    } else {
        let errors = answer.get("errors").and_then(Value::as_array).into_iter().flatten();
        console.say(&errors.map(refused_line).collect::<String>())?;
        console.say(&format!(
            "{} denials and {} undos are new, {} were known, {} could match no token any more.\n",
            words::count(of("denials", "new")),
            words::count(of("lifts", "new")),
            words::count(of("denials", "known") + of("lifts", "known")),
            words::count(of("denials", "expired")),
        ))?;
        if failed + conflicts > 0 {
            console.remark(&format!(
                "warning: {} lines failed, and {} ids belong to other denials here.\n",
                words::count(failed),
                words::count(conflicts)
            ));
        }
        if !complete {
            console.remark("warning: the file has no end, or records are missing from it.\n");
        }
    }
    let whole = complete && failed == 0 && conflicts == 0;
    Ok(if whole { Exit::Done } else { Exit::InPart })
}

fn number(value: &Value, name: &str) -> u64 {
    value.get(name).and_then(Value::as_u64).unwrap_or_default()
}

fn document(line: &[u8]) -> Result<Value, Failure> {
    serde_json::from_slice(line).map_err(|error| Failure::Answer {
        from: "the gateway".to_owned(),
        detail: error.to_string(),
    })
}

fn cut_off() -> Failure {
    let detail = "the answer ended before its last line; the same call can be repeated".to_owned();
    Failure::Answer { from: "the gateway".to_owned(), detail }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_refused_line_says_where_and_why_and_drives_no_terminal() {
        let line = json!({"line": 2, "status": 422, "code": "unknown_member",
                          "pointer": "/issued_befor", "detail": "Did you mean \u{1b}[31m?"});
        let text = refused_line(&line);
        assert!(text.starts_with("line 2: unknown_member /issued_befor: Did you mean "), "{text}");
        assert!(!text.contains('\u{1b}'));
    }
}
