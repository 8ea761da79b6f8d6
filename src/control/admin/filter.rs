//! Which records a query asks for.

use crate::clock::UnixMs;
use crate::control::store::Filter;
use crate::denylist::{Except, IssuerId, Selector, SelectorKind};
use crate::keys::Thumbprint;
use crate::verify::Verifier;

use super::members::check_identifier;
use super::moment::Moment;
use super::near::nearest;
use super::paging::Paging;
use super::problem::Refused;
use super::query::Query;
use super::selecting;

const PARAMETERS: [&str; 16] = [
    "issuer",
    "user",
    "subject",
    "session",
    "jti",
    "client",
    "key",
    "claim",
    "kind",
    "reason",
    "reference",
    "created_by",
    "since",
    "state",
    "limit",
    "cursor",
];

const REGISTRATION_PARAMETERS: [&str; 10] = [
    "issuer",
    "session",
    "jti",
    "reason",
    "reference",
    "created_by",
    "since",
    "state",
    "limit",
    "cursor",
];

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    InForce,
    Undone,
    All,
}

/// A page of records that is asked for.
pub(super) struct Asked {
    pub filter: Filter,
    pub wanted: Wanted,
    pub paging: Paging,
}

/// Of denials.
pub(super) fn of_denials(text: &str, verifier: &Verifier, now: UnixMs) -> Result<Asked, Refused> {
    read(Query::parse(text), text, verifier, now)
}

/// Of registrations: the same, by what can be registered.
pub(super) fn of_registrations(
    text: &str,
    verifier: &Verifier,
    now: UnixMs,
) -> Result<Asked, Refused> {
    let mut query = Query::parse(text);
    query.allow_only(&REGISTRATION_PARAMETERS);
    let mut asked = read(query, text, verifier, now)?;
    let filter = &mut asked.filter;
    filter.registrations = true;
    filter.selector = filter.selector.take().map(|selector| match selector {
        Selector::Token(token) => Selector::Registration(Except::Token(token)),
        Selector::Session(session) => Selector::Registration(Except::Session(session)),
        other @ (Selector::Subject(_)
        | Selector::Client(_)
        | Selector::Key(_)
        | Selector::Claim { .. }
        | Selector::Issuer
        | Selector::Registration(_)) => other,
    });
    Ok(asked)
}

fn read(mut query: Query, text: &str, verifier: &Verifier, now: UnixMs) -> Result<Asked, Refused> {
    let paging = Paging::take(&mut query, text)?;
    let mut filter = Filter { limit: paging.limit(), before: paging.from, ..Filter::default() };
    filter.issuer = take_issuer(&mut query, verifier);
    filter.selector = take_selector(&mut query, verifier);
    filter.kind = query.take("kind").and_then(|text| {
        let found = KINDS.into_iter().find(|kind| kind.as_str() == text);
        if found.is_none() {
            let words = KINDS.map(SelectorKind::as_str).join(", ");
            query.fault("kind", "unknown_kind", format!("Expected one of {words}."));
        }
        found
    });
    filter.created_by = query.take("created_by");
    filter.reason_contains = query.take("reason");
    filter.reference = query.take("reference");
    filter.since = take_time(&mut query, "since", now);
    let wanted = match query.take("state").as_deref() {
        None | Some("in_force") => Wanted::InForce,
        Some("undone") => Wanted::Undone,
        Some("all") => Wanted::All,
        Some(_) => {
            query.fault("state", "unknown_state", "Expected in_force, undone or all.");
            Wanted::InForce
        }
    };
    filter.with_lifted = wanted != Wanted::InForce;
    let faults = query.finish(&PARAMETERS);
    let asked = Asked { filter, wanted, paging };
    if faults.is_empty() { Ok(asked) } else { Err(Refused::InvalidQuery(faults)) }
}

/// A parameter that is a time.
pub(super) fn take_time(query: &mut Query, name: &str, now: UnixMs) -> Option<UnixMs> {
    let text = query.take(name)?;
    match Moment::read_parameter(&text, name) {
        Ok(Moment::At(at)) => Some(at),
        Ok(Moment::Now) => Some(now),
        Ok(Moment::In(span)) => Some(now.plus(span)),
        Err(fault) => {
            query.faults.push(fault);
            None
        }
    }
}

const KINDS: [SelectorKind; 7] = [
    SelectorKind::Token,
    SelectorKind::Session,
    SelectorKind::Subject,
    SelectorKind::Client,
    SelectorKind::Key,
    SelectorKind::Claim,
    SelectorKind::Issuer,
];

/// By config name, or by identity: denials of an issuer that left the config can be found too.
pub(super) fn take_issuer(query: &mut Query, verifier: &Verifier) -> Option<IssuerId> {
    let said = query.take("issuer")?;
    let issuers = verifier.issuers();
    let found = issuers.iter().find(|issuer| issuer.policy.name == said);
    if let Some(issuer) = found {
        return Some(issuer.policy.id.clone());
    }
    let names: Vec<&str> = issuers.iter().map(|issuer| issuer.policy.name.as_str()).collect();
    if let Some(meant) = nearest(&said, &names) {
        query.fault("issuer", "unknown_issuer", format!("Did you mean {meant}?"));
        return None;
    }
    Some(IssuerId::new(&said))
}

/// Whose: `user` is what people call a subject.
pub(super) fn take_subject(query: &mut Query) -> Option<String> {
    let (subject, user) = (query.take("subject"), query.take("user"));
    if subject.is_some() && user.is_some() {
        query.fault("user", "selector_ambiguous", "user and subject say the same: give one.");
    }
    subject.or(user)
}

pub(super) fn take_selector(query: &mut Query, verifier: &Verifier) -> Option<Selector> {
    let mut found = None;
    for name in ["user", "subject", "session", "jti", "client", "key", "claim"] {
        let Some(value) = query.take(name) else { continue };
        let selector = match name {
            "key" => key(&value, verifier).map(Selector::Key),
            _ => selecting::of_parameter(name, &value),
        };
        match selector {
            Ok(_) if found.is_some() => {
                query.fault(name, "selector_ambiguous", "At most one selector can be listed by.");
            }
            Ok(selector) => found = Some(selector),
            Err((code, detail)) => query.fault(name, code, detail),
        }
    }
    found
}

/// A key of any issuer by `kid`, or a thumbprint.
fn key(said: &str, verifier: &Verifier) -> Result<Thumbprint, (&'static str, String)> {
    check_identifier(said)?;
    let mut found: Vec<Thumbprint> =
        verifier.issuers().iter().filter_map(|issuer| selecting::key(said, issuer).ok()).collect();
    found.sort_unstable();
    found.dedup();
    match found.as_slice() {
        [only] => Ok(*only),
        [] => Err(("unknown_key", "No issuer has such a key: give its thumbprint.".to_owned())),
        _ => Err(("ambiguous_key", "Several keys are called so: give the thumbprint.".to_owned())),
    }
}
