//! Which tokens a body names: exactly one selector.

use std::sync::Arc;

use crate::denylist::{Selector, TokenId};
use crate::keys::{Key, Thumbprint};
use crate::token::Credential;
use crate::verify::{Issuer, Outcome, Signed};

use super::members::{Members, check_identifier};
use super::near::nearest;
use super::plan::World;
use super::problem::Fault;

/// `user` is what people call a subject.
pub(super) const MEMBERS: [&str; 9] =
    ["token", "jti", "session", "subject", "user", "client", "key", "claim", "everyone"];

/// A selector and the member that named it.
pub(super) struct Selected {
    pub selector: Selector,
    pub pointer: String,
    pub token: Option<Arc<Signed>>,
}

/// Takes the member `token` out: the token itself. Its signature must hold (an expired one may be
/// denied too): whoever could name a token by a forgery could deny somebody else's `jti`.
pub(super) fn take_token(body: &mut Members, world: &World<'_>) -> Option<Arc<Signed>> {
    let value = body.take("token")?;
    let Some(text) = value.as_str() else {
        body.fault("token", "wrong_type", "Expected the token as text.");
        return None;
    };
    let credential = Credential::new(text.trim_ascii());
    let (checks, signed) = world.verifier.explain(&credential, world.now);
    if signed.is_none() {
        let why = checks.iter().find(|check| check.outcome == Outcome::Fail);
        let why = why.map_or(String::new(), |check| format!(" ({}: {})", check.name, check.detail));
        let detail = format!("Only a token whose signature holds can be named{why}.");
        body.fault("token", "token_not_genuine", detail);
    }
    signed
}

/// Takes all selectors out; `token` was taken before, since it says the issuer.
pub(super) fn take(
    body: &mut Members,
    token: Option<Arc<Signed>>,
    issuer: Option<&Issuer>,
) -> Option<Selected> {
    let mut said: Vec<&str> = MEMBERS.into_iter().filter(|name| body.has(name)).collect();
    let token_fault = body.faults.iter().any(|fault| fault.pointer == "/token");
    if token.is_some() || token_fault {
        said.insert(0, "token");
    }
    match said.as_slice() {
        [] => {
            let detail = "Say which tokens: exactly one of token, jti, session, user, client, \
                          key, claim, everyone.";
            body.faults.push(Fault::new("", "selector_missing", detail));
            None
        }
        ["token"] => token.map(|token| Selected {
            selector: Selector::Token(token.token_id().clone()),
            pointer: "/token".to_owned(),
            token: Some(token),
        }),
        [name] => read(body, name, issuer).map(|selector| Selected {
            selector,
            pointer: body.pointer(name),
            token: None,
        }),
        several => {
            for name in several {
                body.take(name);
            }
            let detail = format!("Exactly one selector: {} are there.", several.join(" and "));
            body.faults.push(Fault::new("", "selector_ambiguous", detail));
            None
        }
    }
}

fn read(body: &mut Members, name: &str, issuer: Option<&Issuer>) -> Option<Selector> {
    match name {
        "jti" => body.take_identifier(name).map(TokenId::Jti).map(Selector::Token),
        "session" => body.take_identifier(name).map(Selector::Session),
        "subject" | "user" => body.take_identifier(name).map(Selector::Subject),
        "client" => body.take_identifier(name).map(Selector::Client),
        "everyone" => body.take_true(name).map(|()| Selector::Issuer),
        "key" => {
            let said = body.take_identifier(name)?;
            match key(&said, issuer?) {
                Ok(thumbprint) => Some(Selector::Key(thumbprint)),
                Err((code, detail)) => {
                    body.fault(name, code, detail);
                    None
                }
            }
        }
        _ => read_claim(body, name, issuer),
    }
}

fn read_claim(body: &mut Members, name: &str, issuer: Option<&Issuer>) -> Option<Selector> {
    let value = body.take(name)?;
    let mut inner = Members::of(value, "/claim");
    let before = inner.faults.len();
    let claim = inner.take_identifier("name");
    let value = inner.take_identifier("value");
    if before == 0 && inner.faults.is_empty() && (claim.is_none() || value.is_none()) {
        let detail = "Expected {\"name\": …, \"value\": …}.";
        inner.faults.push(Fault::new("/claim", "claim_incomplete", detail));
    }
    let mut faults = inner.finish(&["name", "value"]);
    let sound = faults.is_empty();
    body.faults.append(&mut faults);
    let (claim, value, issuer) = (claim?, value?, issuer?);
    let indexed: Vec<&str> =
        issuer.policy.claims.indexed.iter().map(|(name, _)| name.as_str()).collect();
    if !indexed.contains(&claim.as_str()) {
        let shown: String = claim.chars().take(64).collect();
        let meant = match nearest(&shown, &indexed) {
            Some(meant) => format!(" Did you mean {meant}?"),
            None => " Such claims are listed in the config: claims = { indexed = […] }.".to_owned(),
        };
        let detail =
            format!("Issuer {} does not index a claim {shown:?}.{meant}", issuer.policy.name);
        body.faults.push(Fault::new("/claim/name", "claim_not_indexed", detail));
        return None;
    }
    sound.then_some(Selector::Claim { name: claim, value })
}

/// A key by its `kid` in the issuer's current set, or by its thumbprint, also when it has left the
/// set. What is denied is the thumbprint, since a `kid` may be given to another key.
pub(super) fn key(said: &str, issuer: &Issuer) -> Result<Thumbprint, (&'static str, String)> {
    let set = issuer.keys.load();
    let mut found: Vec<Thumbprint> = set
        .keys()
        .iter()
        .filter(|key| key.kid() == Some(said))
        .map(|key| *key.thumbprint())
        .collect();
    // Many issuers use the thumbprint as the kid: then both say the same.
    found.extend(said.parse::<Thumbprint>());
    found.sort_unstable();
    found.dedup();
    match found.as_slice() {
        [only] => Ok(*only),
        [] => {
            let kids: Vec<&str> = set.keys().iter().filter_map(Key::kid).collect();
            let shown: String = said.chars().take(64).collect();
            let meant = nearest(&shown, &kids).map_or_else(
                || " Give its RFC 7638 thumbprint if it has left the set.".to_owned(),
                |meant| format!(" Did you mean {meant}?"),
            );
            Err((
                "unknown_key",
                format!("Issuer {} has no key {shown:?}.{meant}", issuer.policy.name),
            ))
        }
        several => {
            let all: Vec<String> = several.iter().map(ToString::to_string).collect();
            Err(("ambiguous_key", format!("Several keys are called so: {}.", all.join(", "))))
        }
    }
}

/// A selector in a query: the parameter's name and value.
pub(super) fn of_parameter(name: &str, value: &str) -> Result<Selector, (&'static str, String)> {
    if name == "claim" {
        let Some((name, value)) = value.split_once('=') else {
            return Err(("wrong_type", "Expected name=value.".to_owned()));
        };
        check_identifier(name)?;
        check_identifier(value)?;
        return Ok(Selector::Claim { name: name.to_owned(), value: value.to_owned() });
    }
    check_identifier(value)?;
    let value = value.to_owned();
    Ok(match name {
        "jti" => Selector::Token(TokenId::Jti(value)),
        "session" => Selector::Session(value),
        "client" => Selector::Client(value),
        _ => Selector::Subject(value),
    })
}
