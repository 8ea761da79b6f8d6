//! Why a token would pass or fail, check by check: all of them, not only the first failure.
//!
//! It walks the rules of [`super::policy`] that `verify` walks. Where the signature does not hold,
//! the claims are still looked at, and each line says that they are not verified.

use std::sync::Arc;

use crate::clock::UnixMs;
use crate::token::{Compact, Credential};

use super::facts::{self, Names, Times};
use super::fault::{quoted, span};
use super::signer::Published;
use super::{Issuer, Policy, Signed, TokenFault, Verifier, policy};

/// One line of an explanation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Check {
    /// Stable word: `form`, `issuer`, `key`, `signature`, `type`, `audience`, `times`, `claims` …
    pub name: &'static str,
    pub outcome: Outcome,
    /// For people.
    pub detail: String,
}

/// How a check ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    Ok,
    Fail,
    /// Could not be asked because an earlier check failed.
    Skipped,
}

impl Check {
    pub fn ok(name: &'static str, detail: impl Into<String>) -> Self {
        Self { name, outcome: Outcome::Ok, detail: detail.into() }
    }

    pub fn fail(name: &'static str, detail: impl Into<String>) -> Self {
        Self { name, outcome: Outcome::Fail, detail: detail.into() }
    }

    pub fn skipped(name: &'static str, detail: impl Into<String>) -> Self {
        Self { name, outcome: Outcome::Skipped, detail: detail.into() }
    }

    fn fault(name: &'static str, fault: &TokenFault) -> Self {
        Self::fail(name, fault.detail())
    }
}

/// In the order of the request.
const CHECKS: [&str; 8] =
    ["form", "issuer", "key", "signature", "type", "audience", "times", "claims"];

/// The checks so far; the rest is skipped when it is finished.
struct Report(Vec<Check>);

impl Report {
    fn finish(mut self, why: &str) -> Vec<Check> {
        let rest = CHECKS.get(self.0.len()..).unwrap_or_default();
        self.0.extend(rest.iter().map(|name| Check::skipped(name, why)));
        self.0
    }
}

pub(super) fn explain(
    verifier: &Verifier,
    credential: &Credential,
    now: UnixMs,
) -> (Vec<Check>, Option<Arc<Signed>>) {
    let mut report = Report(Vec::new());
    let text = credential.expose();
    let token = match Compact::parse(text) {
        Ok(token) => token,
        Err(fault) => {
            report.0.push(Check::fault("form", &TokenFault::Form(fault)));
            return (report.finish("needs a well-formed token"), None);
        }
    };
    let detail = format!("signed token, {}, {} bytes", cut(&token.header.alg), text.len());
    report.0.push(Check::ok("form", detail));
    let issuers = match verifier.issuers_of(&token) {
        Ok(issuers) => issuers,
        Err(fault) => {
            report.0.push(Check::fault("issuer", &fault));
            return (report.finish("needs a known issuer"), None);
        }
    };
    let published = Published::of(issuers);
    let candidates = published.candidates(&token);
    let (key, verified) = match candidates {
        Ok(candidates) => {
            (Ok(candidates.describe()), candidates.verify(&token).map_err(|(fault, _)| Some(fault)))
        }
        Err(fault) => (Err(fault), Err(None)),
    };
    // Without `iss` the key tells whose token it is.
    let issuer = match (&verified, issuers) {
        (Ok(signer), _) => Some(signer.issuer),
        (Err(_), [only]) => Some(only),
        (Err(_), _) => None,
    };
    report.0.push(issuer_check(issuer));
    report
        .0
        .push(key.map_or_else(|fault| Check::fault("key", &fault), |key| Check::ok("key", key)));
    report.0.push(match &verified {
        Ok(_) => Check::ok("signature", ""),
        Err(Some(fault)) => Check::fault("signature", fault),
        Err(None) => Check::skipped("signature", "needs a key"),
    });
    let Some(issuer) = issuer else {
        return (report.finish("needs a known issuer"), None);
    };
    let note = if verified.is_ok() { "" } else { " (not verified)" };
    for mut check in claim_checks(&token, &issuer.policy, now) {
        check.detail.push_str(note);
        report.0.push(check);
    }
    let signed = verified.ok().and_then(|signer| verifier.signed(token, &signer).ok());
    (report.0, signed.map(Arc::new))
}

fn issuer_check(issuer: Option<&Arc<Issuer>>) -> Check {
    match issuer {
        Some(issuer) => {
            let policy = &issuer.policy;
            let iss = policy.iss.as_deref().unwrap_or("by its key: the token has no iss");
            Check::ok("issuer", format!("{}  {iss}", policy.name))
        }
        None => Check::skipped("issuer", "the token has no iss, and no key tells whose it is"),
    }
}

fn claim_checks(token: &Compact<'_>, policy: &Policy, now: UnixMs) -> [Check; 4] {
    let typ = token.header.typ.as_deref();
    let kind = policy::typ(typ, policy)
        .and_then(|()| policy::no_event(&token.claims))
        .map(|()| typ.map_or_else(|| "no typ".to_owned(), cut));
    let audience = facts::audiences(&token.claims).and_then(|audiences| {
        policy::audience(&audiences, policy)?;
        let ours = audiences.iter().find(|one| policy.audiences.contains(one));
        Ok(ours.map_or_else(|| "none asked for".to_owned(), |one| cut(one)))
    });
    let claims = Names::read(&token.claims, policy).and_then(|names| {
        policy::required(&token.claims, policy)?;
        Ok(describe_names(&names))
    });
    let result = |name, result: Result<String, TokenFault>| {
        result.map_or_else(|fault| Check::fault(name, &fault), |detail| Check::ok(name, detail))
    };
    [
        result("type", kind),
        result("audience", audience),
        times_check(token, policy, now),
        result("claims", claims),
    ]
}

/// Every time rule that fails, in one line.
fn times_check(token: &Compact<'_>, policy: &Policy, now: UnixMs) -> Check {
    let times = match Times::read(&token.claims) {
        Ok(times) => times,
        Err(fault) => return Check::fault("times", &fault),
    };
    let faults: Vec<_> =
        policy::TIME_RULES.iter().filter_map(|rule| rule(&times, policy, now).err()).collect();
    if faults.is_empty() {
        return Check::ok("times", describe_times(&times, now));
    }
    let details: Vec<_> = faults.iter().map(TokenFault::detail).collect();
    Check::fail("times", details.join("; "))
}

fn describe_times(times: &Times, now: UnixMs) -> String {
    let issued = times.issued_at.map_or_else(
        || "no iat".to_owned(),
        |at| format!("issued {}, {} ago", at.rfc3339(), span(now.since(at))),
    );
    let at = times.expires_at;
    let ends = if at > now {
        format!("ends {}, in {}", at.rfc3339(), span(at.since(now)))
    } else {
        format!("ended {}, {} ago: passes by leeway", at.rfc3339(), span(now.since(at)))
    };
    format!("{issued}; {ends}")
}

fn describe_names(names: &Names) -> String {
    let known = [
        ("user", &names.subject),
        ("session", &names.session),
        ("client", &names.client),
        ("jti", &names.jti),
    ];
    let known: Vec<_> = known
        .iter()
        .filter_map(|(word, value)| Some(format!("{word} {}", cut(value.as_deref()?))))
        .collect();
    if known.is_empty() { "no sub, session, client or jti".to_owned() } else { known.join(", ") }
}

/// Text out of a token as it is where it is harmless, else quoted and cut.
pub(super) fn cut(text: &str) -> String {
    let plain = text.len() <= 80 && text.chars().all(|one| one.is_ascii_graphic());
    if plain { text.to_owned() } else { quoted(text) }
}
