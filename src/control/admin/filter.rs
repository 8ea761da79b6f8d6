//! Which records a query asks for.

use crate::clock::UnixMs;
use crate::control::store::{Filter, Tally};
use crate::denylist::{Except, IssuerId, Selector, SelectorKind};
use crate::keys::Thumbprint;
use crate::verify::Verifier;

use super::caller::Caller;
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

/// What the names in a query are looked up in, and for whom: what the caller may not see is not suggested.
pub(super) struct Known<'k> {
    pub verifier: &'k Verifier,
    pub tally: &'k Tally,
    pub caller: &'k Caller,
}

/// Of denials.
pub(super) fn of_denials(text: &str, known: &Known<'_>, now: UnixMs) -> Result<Asked, Refused> {
    read(Query::parse(text), text, known, now)
}

/// Of registrations: the same, by what can be registered.
pub(super) fn of_registrations(
    text: &str,
    known: &Known<'_>,
    now: UnixMs,
) -> Result<Asked, Refused> {
    let mut query = Query::parse(text);
    query.allow_only(&REGISTRATION_PARAMETERS);
    let mut asked = read(query, text, known, now)?;
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

fn read(mut query: Query, text: &str, known: &Known<'_>, now: UnixMs) -> Result<Asked, Refused> {
    let paging = Paging::take(&mut query, text)?;
    let mut filter = Filter { limit: paging.limit(), before: paging.from, ..Filter::default() };
    filter.issuer = take_issuer(&mut query, known);
    filter.selector = take_selector(&mut query, known);
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

/// By config name, or by identity: denials of an issuer that left the config can be found too, as
/// long as any is in force, and for good where the identity is a URL. Anything else is a mistake, and
/// an empty list would hide it.
pub(super) fn take_issuer(query: &mut Query, known: &Known<'_>) -> Option<IssuerId> {
    let said = query.take("issuer")?;
    let policies = || known.verifier.issuers().iter().map(|issuer| &issuer.policy);
    if let Some(policy) = policies().find(|policy| policy.name == said) {
        return Some(policy.id.clone());
    }
    let is_configured = policies().any(|policy| policy.id.as_str() == said);
    if is_configured || known.tally.issuers().any(|issuer| issuer == said) {
        return Some(IssuerId::new(&said));
    }
    let mine = || policies().filter(|policy| known.caller.may_act_on(&policy.name));
    let names: Vec<&str> = mine().map(|policy| policy.name.as_str()).collect();
    // A former issuer may be called much like one of now; nobody is told apart by a slash at the end.
    let is_meant = |id: &&str| id.trim_end_matches('/') == said.trim_end_matches('/');
    let id = || mine().map(|policy| policy.id.as_str()).find(is_meant);
    let detail = match nearest(&said, &names).or_else(id) {
        Some(meant) => format!("Did you mean {meant}?"),
        None if said.contains("://") => return Some(IssuerId::new(&said)),
        None => {
            let shown: String = said.chars().take(64).collect();
            format!("No issuer is named {shown:?}; one that left the config goes by its `iss`.")
        }
    };
    query.fault("issuer", "unknown_issuer", detail);
    None
}

/// Whose: `user` is what people call a subject.
pub(super) fn take_subject(query: &mut Query) -> Option<String> {
    let (subject, user) = (query.take("subject"), query.take("user"));
    if subject.is_some() && user.is_some() {
        query.fault("user", "selector_ambiguous", "user and subject say the same: give one.");
    }
    let name = if user.is_some() { "user" } else { "subject" };
    checked(query, name, subject.or(user))
}

/// An identifier; one that no token can have is a mistake.
pub(super) fn checked(query: &mut Query, name: &str, said: Option<String>) -> Option<String> {
    let said = said?;
    match check_identifier(&said) {
        Ok(()) => Some(said),
        Err((code, detail)) => {
            query.fault(name, code, detail);
            None
        }
    }
}

pub(super) fn take_selector(query: &mut Query, known: &Known<'_>) -> Option<Selector> {
    let mut found = None;
    for name in ["user", "subject", "session", "jti", "client", "key", "claim"] {
        let Some(value) = query.take(name) else { continue };
        let selector = match name {
            "key" => key(&value, known.verifier).map(Selector::Key),
            "claim" => claim(&value, known),
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

/// A claim that some issuer indexes, of those that are the caller's.
fn claim(said: &str, known: &Known<'_>) -> Result<Selector, (&'static str, String)> {
    let selector = selecting::of_parameter("claim", said)?;
    let Selector::Claim { name, .. } = &selector else { return Ok(selector) };
    let policies = known.verifier.issuers().iter().map(|issuer| &issuer.policy);
    let indexed: Vec<&str> = policies
        .filter(|policy| known.caller.may_act_on(&policy.name))
        .flat_map(|policy| &policy.claims.indexed)
        .map(|(indexed, _)| indexed.as_str())
        .collect();
    if indexed.contains(&name.as_str()) {
        return Ok(selector);
    }
    let shown: String = name.chars().take(64).collect();
    let meant = match nearest(&shown, &indexed) {
        Some(meant) => format!(" Did you mean {meant}?"),
        None => " kind=claim lists those of all claims, also of former ones.".to_owned(),
    };
    Err(("claim_not_indexed", format!("No issuer indexes a claim {shown:?}.{meant}")))
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
