//! A revocation or a block in words.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::cli::console::{Look, Paint};
use crate::cli::shapes::{Denial, Outcome, Would};
use crate::cli::words::{clock, plural, relative, span, window as window_words};
use crate::clock::UnixMs;

use super::Verb;

/// Column at which the id stands.
const ID_COLUMN: usize = 70;

/// What is known besides the answer.
pub struct Spoken<'s> {
    pub verb: Verb,
    /// A block that was asked to end by itself.
    pub timed: bool,
    /// The target as a flag to paste: `--user alice`.
    pub flag: Option<&'s str>,
    /// How the program was called, with the options that find the same gateway.
    pub again: &'s str,
}

pub fn warnings(denial: &Denial, paint: Paint) -> String {
    let mut text = String::new();
    for warning in &denial.warnings {
        let _ = writeln!(text, "{} {}", paint.yellow("warning:"), warning.words());
    }
    text
}

impl Spoken<'_> {
    pub fn render(&self, denial: &Denial, look: &Look) -> String {
        let headline = self.headline(denial, look.now);
        if denial.dry_run {
            return format!("{headline}\n{}", would(denial.would.as_ref()));
        }
        let id = denial.id.as_deref().unwrap_or_default();
        let gap = ID_COLUMN.saturating_sub(headline.chars().count()).max(2);
        let mut text = format!("{headline}{:gap$}{}\n", "", look.paint.bold(id));
        let mut line = |name: &str, value: &str| {
            let _ = writeln!(text, "  {name:<10} {value}");
        };
        if let Some(outcome) = &denial.outcome {
            line("in force", &in_force(outcome));
            if let Some(cut) = outcome.streams_cut.filter(|cut| *cut > 0) {
                line("ended", &ended(cut, &outcome.streams_by_kind));
            }
            if let Some(seen) = outcome.tokens_seen {
                line("seen", &seen_words(seen, outcome, look.now));
            }
        }
        if let Some(except) = &denial.except {
            line("kept", &except.words(None));
        }
        if let Some(can) = self.can_still(denial) {
            line("can still", &can);
        }
        line("undo", &format!("{} undo {id}", self.again));
        text
    }

    fn headline(&self, denial: &Denial, now: UnixMs) -> String {
        let what = denial.selector.words(denial.issuer.as_deref());
        let already = if denial.already { "Stood already: " } else { "" };
        let dry = denial.dry_run;
        match self.verb {
            Verb::Revoke if denial.selector.is_one_token() => {
                let verb = if dry { "Would end" } else { "Ended" };
                format!("{already}{verb} {what}.")
            }
            Verb::Revoke => {
                let verb = if dry { "Would end" } else { "Ended" };
                let before = match denial.issued_before {
                    Some(at) => format!("issued before {}", clock(at.0, now)),
                    None => "issued until now".to_owned(),
                };
                format!("{already}{verb} every token of {what} {before}.")
            }
            Verb::Block => {
                let verb = if dry { "Would block" } else { "Blocked" };
                // Without `--for`, the time is when nothing can match it any more.
                let until = match denial.ends_at.filter(|_| self.timed) {
                    Some(at) => {
                        format!("until {}, {}", clock(at.0, now), relative(at.0, now))
                    }
                    None => "until unblocked".to_owned(),
                };
                format!("{already}{verb} {what} {until}.")
            }
        }
    }

    fn can_still(&self, denial: &Denial) -> Option<String> {
        if self.verb == Verb::Block {
            return None;
        }
        if denial.selector.is_one_token() {
            return Some("get a new token, and use any other they have".to_owned());
        }
        let flag = self.flag?;
        Some(format!(
            "log in again, or renew with a refresh token. To keep them out:\n             {} block {flag}",
            self.again
        ))
    }
}

fn in_force(outcome: &Outcome) -> String {
    let mut text = match outcome.replicas {
        Some(replicas) if replicas.known > 1 => {
            format!("on {} of {} replicas", replicas.applied, replicas.known)
        }
        Some(_) | None => "here".to_owned(),
    };
    let behind = outcome.replicas.is_some_and(|replicas| replicas.applied < replicas.known);
    match outcome.durable {
        Some(true) => text.push_str(" and on disk"),
        Some(false) => text.push_str("; NOT yet on disk"),
        None => {}
    }
    if behind {
        text.push_str("; NOT yet everywhere");
    }
    if let Some(waited) = outcome.replicas.and_then(|replicas| replicas.waited_ms) {
        let _ = write!(text, ", after {waited} ms");
    }
    text
}

/// `2 open streams (1 WebSocket, 1 event stream)`.
fn ended(cut: u64, by_kind: &BTreeMap<String, u64>) -> String {
    let words = |kind: &str| match kind {
        "websocket" => "WebSocket",
        "sse" => "event stream",
        "grpc" => "gRPC stream",
        "tunnel" => "tunnel",
        "response" => "answer",
        _ => "request",
    };
    let kinds: Vec<String> = by_kind.iter().map(|(kind, n)| plural(*n, words(kind))).collect();
    let streams = plural(cut, "open stream");
    if kinds.is_empty() { streams } else { format!("{streams} ({})", kinds.join(", ")) }
}

fn seen_words(seen: u64, outcome: &Outcome, now: UnixMs) -> String {
    let mut text = plural(seen, "token");
    if let Some(last) = outcome.last_seen_at {
        let _ = write!(text, ", the last {} ago", span(now.since(last.0)));
        if let Some(from) = &outcome.last_seen_from {
            let _ = write!(text, " from {from}");
        }
    }
    text
}

fn would(would: Option<&Would>) -> String {
    let would = would.cloned().unwrap_or_default();
    let tokens = would.tokens_seen.map(|number| {
        let of = would.subjects.map(|number| format!(" of {}", plural(number, "user")));
        plural(number, "token") + &of.unwrap_or_default()
    });
    let streams = would.streams.map(|number| plural(number, "open stream"));
    let hits: Vec<String> = tokens.into_iter().chain(streams).collect();
    let hits = if hits.is_empty() {
        "not known".to_owned()
    } else {
        let window = would.window.map(|window| format!(", in the last {}", window_words(&window)));
        format!("at least {}, this replica{}", hits.join(" and "), window.unwrap_or_default())
    };
    format!("  would hit  {hits}\n  Nothing was changed (--dry-run).\n")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn look() -> Look {
        let now = UnixMs::parse_rfc3339("2026-11-21T11:14:05Z").unwrap();
        Look { paint: Paint::PLAIN, terminal: true, now }
    }

    fn denial(value: Value) -> Denial {
        serde_json::from_value(value).unwrap()
    }

    fn spoken<'s>(verb: Verb, flag: Option<&'s str>) -> Spoken<'s> {
        Spoken { verb, timed: true, flag, again: "portcullis" }
    }

    #[test]
    fn a_revocation_says_what_ended_and_what_is_still_possible() {
        let denial = denial(json!({
            "id": "dn_4kq7t2m9xa000000", "state": "in_force", "issuer": "main",
            "subject": "alice", "issued_before": "2026-11-21T11:14:02Z",
            "except": { "session": "s-81f3" },
            "outcome": { "durable": true, "replicas": { "applied": 3, "known": 3, "waited_ms": 11 },
                         "streams_cut": 1, "tokens_seen": 4,
                         "last_seen_at": "2026-11-21T11:13:53Z", "last_seen_from": "203.0.113.7" },
            "warnings": [] }));
        assert_eq!(
            spoken(Verb::Revoke, Some("--user alice")).render(&denial, &look()),
            "Ended every token of user alice issued before 11:14:02 UTC.           dn_4kq7t2m9xa000000
  in force   on 3 of 3 replicas and on disk, after 11 ms
  ended      1 open stream
  seen       4 tokens, the last 12 s ago from 203.0.113.7
  kept       session s-81f3
  can still  log in again, or renew with a refresh token. To keep them out:
             portcullis block --user alice
  undo       portcullis undo dn_4kq7t2m9xa000000
"
        );
    }

    #[test]
    fn a_block_says_until_when_and_offers_no_second_verb() {
        let denial = denial(json!({
            "id": "dn_1", "subject": "alice", "always": true, "ends_at": "2026-11-22T11:14:05Z",
            "outcome": { "durable": true, "replicas": { "applied": 1, "known": 1 } } }));
        assert_eq!(
            spoken(Verb::Block, Some("--user alice")).render(&denial, &look()),
            "Blocked user alice until 2026-11-22 11:14:05 UTC, in 24 h.            dn_1
  in force   here and on disk
  undo       portcullis undo dn_1
"
        );
    }

    #[test]
    fn what_is_not_durable_or_not_everywhere_is_said_and_counts_as_done_in_part() {
        let value = json!({ "id": "dn_1", "subject": "alice", "always": true,
            "outcome": { "durable": true, "replicas": { "applied": 3, "known": 3 } } });
        let whole = denial(value.clone());
        assert_eq!(super::super::exit(&whole), crate::cli::Exit::Done);

        let mut behind = value.clone();
        behind["outcome"]["replicas"]["applied"] = 1.into();
        let behind = denial(behind);
        assert_eq!(super::super::exit(&behind), crate::cli::Exit::InPart);
        let text = spoken(Verb::Block, None).render(&behind, &look());
        assert!(text.contains("on 1 of 3 replicas and on disk; NOT yet everywhere"), "{text}");

        let mut away = value;
        away["outcome"]["durable"] = false.into();
        let away = denial(away);
        assert_eq!(super::super::exit(&away), crate::cli::Exit::InPart);
        assert!(spoken(Verb::Block, None).render(&away, &look()).contains("NOT yet on disk"));
    }

    #[test]
    fn a_dry_run_says_would_and_that_nothing_was_changed() {
        let denial = denial(json!({ "dry_run": true, "subject": "alice", "always": true,
            "would": { "window": "24h", "subjects": 1, "tokens_seen": 4, "streams": 2 } }));
        assert_eq!(
            spoken(Verb::Block, None).render(&denial, &look()),
            "Would block user alice until unblocked.
  would hit  at least 4 tokens of 1 user and 2 open streams, this replica, in the last 24 h
  Nothing was changed (--dry-run).
"
        );
    }

    #[test]
    fn a_warning_names_what_comes_close() {
        let denial = denial(json!({ "warnings": [ { "code": "never_seen",
            "detail": "No token with subject \"alice\" was seen in the last 24 h.",
            "close": ["alice@example.com", "auth0|alice"] } ] }));
        assert_eq!(
            warnings(&denial, Paint::PLAIN),
            "warning: No token with subject \"alice\" was seen in the last 24 h. \
             Close: alice@example.com, auth0|alice\n"
        );
    }
}
