//! `status`: one sentence of verdict, then store, denials, issuers. Exit 0 all well, 2 degraded.

use std::fmt::Write as _;

use serde::Deserialize;

use super::arguments::Global;
use super::client::Client;
use super::console::{Console, Look, json_text};
use super::exit::Exit;
use super::failure::Failure;
use super::shapes::{Issuer, Status, Store};
use super::words;

/// An upstream, as the answer has it.
#[derive(Clone, Deserialize, Debug, Default)]
#[serde(default)]
pub struct UpstreamState {
    name: String,
    servers: u64,
    used: u64,
    failed: u64,
}

pub fn run(global: &Global, console: &Console) -> Result<Exit, Failure> {
    let client = Client::new(global)?;
    let answer = client.read("/v1/status")?;
    let status = answer.shown::<Status>("the gateway")?;
    if console.json {
        console.say_always(&json_text(&answer.raw))?;
    } else {
        console.say(&render(&status, &console.look))?;
    }
    Ok(if is_well(&status) { Exit::Done } else { Exit::InPart })
}

fn is_well(status: &Status) -> bool {
    status.problems.is_empty() && status.verdict == "ok"
}

fn render(status: &Status, look: &Look) -> String {
    let mut text = String::new();
    if is_well(status) {
        let _ = writeln!(text, "{}", look.paint.green("All well."));
    } else {
        let _ = writeln!(text, "{}", look.paint.red(&format!("{}.", capital(&status.verdict))));
    }
    for problem in &status.problems {
        let detail = problem.detail.as_deref().unwrap_or(&problem.code);
        let since = problem.since.map(|at| words::span(look.now.since(at.0)));
        let since = since.map(|span| format!("  since {span}")).unwrap_or_default();
        let _ = writeln!(text, "  {detail}{since}");
    }
    text.push('\n');
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "  {name:<9} {value}");
    };
    let replica = [status.replica.as_deref(), status.version.as_deref()];
    let replica: Vec<&str> = replica.into_iter().flatten().collect();
    if !replica.is_empty() {
        line("gateway", &replica.join("  "));
    }
    if let Some(store) = &status.store {
        line("store", &store_words(store, status.sequence));
    }
    if let Some(room) = status.denials {
        let limit = room.limit.map(|limit| format!(", room for {}", words::count(limit)));
        line(
            "denials",
            &format!("{} in force{}", words::count(room.in_force), limit.unwrap_or_default()),
        );
    }
    for issuer in &status.issuers {
        line("issuer", &issuer_words(issuer, look));
    }
    for upstream in &status.upstreams {
        let servers = words::plural(upstream.servers, "server");
        let mut used = if upstream.used == upstream.servers {
            format!("{}  {servers}", upstream.name)
        } else {
            format!("{}  {} of {servers} in use", upstream.name, upstream.used)
        };
        if upstream.failed > 0 {
            let failed = words::plural(upstream.failed, "request");
            let _ = write!(used, "  {failed} failed in the last minute");
        }
        line("upstream", &used);
    }
    if let Some(started) = status.started_at {
        line("started", &words::relative(started.0, look.now));
    }
    if let Some(streams) = status.streams {
        line("streams", &format!("{} open", words::count(streams)));
    }
    if let Some(loaded) = status.config.as_ref().and_then(|config| config.loaded_at) {
        line("config", &format!("loaded {}", words::relative(loaded.0, look.now)));
    }
    text
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    match letters.next() {
        Some(first) => first.to_uppercase().chain(letters).collect(),
        None => "Unknown".to_owned(),
    }
}

fn store_words(store: &Store, sequence: Option<u64>) -> String {
    let mut text = store.kind.clone().unwrap_or_else(|| "embedded".to_owned());
    text.push_str(match store.up {
        Some(true) => "  up",
        Some(false) => "  DOWN",
        None => "",
    });
    if let Some(pending) = store.pending.filter(|pending| *pending > 0) {
        let _ = write!(text, "  {pending} waiting to be stored");
    }
    if let Some(sequence) = sequence {
        let _ = write!(text, "  change {}", words::count(sequence));
    }
    text
}

fn issuer_words(issuer: &Issuer, look: &Look) -> String {
    let mut text = issuer.name.clone();
    if let Some(keys) = issuer.keys {
        let _ = write!(text, "  {}", words::plural(keys, "key"));
    }
    if let Some(sightings) = issuer.sightings {
        let _ = write!(text, "  {} seen", words::plural(sightings, "token"));
    }
    if let Some(at) = issuer.last_fetch {
        let _ = write!(text, "  read {}", words::relative(at.0, look.now));
    }
    match issuer.ok {
        Some(true) => text.push_str("  ok"),
        Some(false) => text.push_str("  NOT ok"),
        None => {}
    }
    let lacks = issuer.unrevocable.unwrap_or_default();
    for (name, share) in [("jti", lacks.no_jti), ("sid", lacks.no_sid), ("iat", lacks.no_iat)] {
        if let Some(share) = share.filter(|share| *share > 0.0) {
            let _ = write!(text, "  {:.0} % without {name}", share * 100.0);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::console::Paint;
    use crate::clock::UnixMs;

    fn look() -> Look {
        let now = UnixMs::parse_rfc3339("2026-11-21T03:12:40Z").unwrap();
        Look { paint: Paint::PLAIN, terminal: true, now }
    }

    #[test]
    fn degraded_comes_first_and_says_what_and_since_when() {
        let status = serde_json::from_value(json!({
            "verdict": "degraded",
            "problems": [ { "code": "store_down", "severity": "page",
                            "since": "2026-11-21T03:10:40Z", "detail": "The disk is full." } ],
            "version": "0.1.0", "replica": "gw-2", "sequence": 18231,
            "store": { "kind": "embedded", "up": false, "pending": 3 },
            "denials": { "in_force": 1204, "limit": 10000000 },
            "issuers": [ { "name": "main", "keys": 6, "last_fetch": "2026-11-21T03:08:40Z",
                           "ok": true, "unrevocable": { "no_jti": 0.0, "no_sid": 1.0 } } ],
            "streams": 9871, "config": { "loaded_at": "2026-11-21T03:08:40Z" } }))
        .unwrap();
        assert_eq!(
            render(&status, &look()),
            "\
Degraded.
  The disk is full.  since 2 min

  gateway   gw-2  0.1.0
  store     embedded  DOWN  3 waiting to be stored  change 18,231
  denials   1,204 in force, room for 10,000,000
  issuer    main  6 keys  read 4 min ago  ok  100 % without sid
  streams   9,871 open
  config    loaded 4 min ago
"
        );
        assert!(!is_well(&status));
    }

    #[test]
    fn all_well_is_a_sentence_too() {
        let status: Status =
            serde_json::from_value(json!({ "verdict": "ok", "problems": [] })).unwrap();
        assert!(is_well(&status));
        assert!(render(&status, &look()).starts_with("All well.\n"));
    }
}
