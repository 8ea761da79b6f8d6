//! What the event log says of an act: words for whoever watches, fields for whoever searches. Who
//! is meant, and why, is there only where `[log] subject` lets it: the record has both.

use std::time::Duration;

use crate::control::sessions::Ended;
use crate::control::store::{Accepted, Record};
use crate::denylist::Selector;

use super::Api;
use super::caller::Caller;
use super::plan::{Plan, Verb};
use super::record::in_words;

/// A denial that stands.
pub(super) fn denied(
    api: &Api,
    caller: &Caller,
    (verb, plan): (Verb, &Plan),
    (accepted, took): (&Accepted, Duration),
    (tokens_seen, streams_cut): (Option<u64>, Option<u64>),
) {
    let done = match verb {
        Verb::Revoke => "revoked",
        Verb::Block => "blocked",
        Verb::Deny => "denied",
    };
    let what = what(&plan.selector, &plan.reason, api.settings().log_subject);
    let words = if accepted.already {
        format!("{done} {what}: stood already")
    } else {
        let seen = match tokens_seen {
            Some(1) => "1 token seen, ".to_owned(),
            Some(number) => format!("{number} tokens seen, "),
            None => String::new(),
        };
        let cut = match streams_cut {
            Some(0) | None => String::new(),
            Some(1) => "1 stream cut, ".to_owned(),
            Some(number) => format!("{number} streams cut, "),
        };
        format!("{done} {what}: {seen}{cut}on disk after {} ms", took.as_millis())
    };
    tracing::info!(
        target: "portcullis::admin",
        by = caller.name,
        denial = accepted.record.denial.id.to_string(),
        issuer = plan.issuer.policy.name,
        selector = plan.selector.kind().as_str(),
        already = accepted.already,
        "{words}"
    );
}

/// A denial that was taken back.
pub(super) fn undone(api: &Api, caller: &Caller, record: &Record) {
    let denial = &record.denial;
    let what = what(&denial.selector, &denial.reason, api.settings().log_subject);
    tracing::info!(
        target: "portcullis::admin",
        by = caller.name,
        denial = denial.id.to_string(),
        selector = denial.selector.kind().as_str(),
        "undone: {what}"
    );
}

/// A session of somebody, by its id.
pub(super) fn session_ended(api: &Api, caller: &Caller, ended: &Ended, streams_cut: Option<u64>) {
    let denials = ended.denials.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    tracing::info!(
        target: "portcullis::admin",
        by = caller.name,
        denials,
        streams_cut,
        "session ended: {}",
        what(&ended.selector, "", api.settings().log_subject)
    );
}

/// A registration, and whether it stood already.
pub(super) fn registered(api: &Api, caller: &Caller, accepted: &Accepted) {
    let denial = &accepted.record.denial;
    tracing::info!(
        target: "portcullis::admin",
        by = caller.name,
        registration = denial.id.to_string(),
        already = accepted.already,
        "registered: {}",
        what(&denial.selector, &denial.reason, api.settings().log_subject)
    );
}

/// `user alice "lost laptop"`; without people, `a user`.
fn what(selector: &Selector, reason: &str, with_people: bool) -> String {
    let named = in_words(selector);
    if with_people {
        return if reason.is_empty() { named } else { format!("{named} \"{reason}\"") };
    }
    match selector {
        Selector::Token(_) => "a token".to_owned(),
        Selector::Session(_) => "a session".to_owned(),
        Selector::Subject(_) => "a user".to_owned(),
        Selector::Claim { name, .. } => format!("a value of {name}"),
        Selector::Registration(_) => "a registration".to_owned(),
        Selector::Client(_) | Selector::Key(_) | Selector::Issuer => named,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_are_named_only_where_the_log_may() {
        let alice = Selector::Subject("alice".to_owned());
        assert_eq!(what(&alice, "lost laptop", true), "user alice \"lost laptop\"");
        assert_eq!(what(&alice, "", true), "user alice");
        assert_eq!(what(&alice, "lost laptop", false), "a user");
        let session = Selector::Session("s-1".to_owned());
        assert_eq!(what(&session, "lost laptop", false), "a session");
        let mail = Selector::Claim { name: "email".to_owned(), value: "a@b.c".to_owned() };
        assert_eq!(what(&mail, "lost laptop", false), "a value of email");
        assert_eq!(what(&Selector::Issuer, "alice's breach", false), "everyone");
    }
}
