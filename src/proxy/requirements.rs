//! What a route asks of a good token: each rule by its own function, so that a request, forward auth
//! and `explain` ask the same.

use std::sync::Arc;

use serde_json::Value;

use crate::clock::UnixMs;
use crate::config::{ClaimRule, ClaimTest};
use crate::verify::Signed;

use super::answer::Rejection;
use super::route::Route;

type Rule = fn(&Signed, &Route, UnixMs) -> Result<(), Rejection>;

/// By name, in the order in which they are asked: whether it is a token for this route at all, what
/// it may do, how fresh its login is.
const RULES: [(&str, Rule); 6] = [
    ("audience", audience),
    ("type", token_type),
    ("lifetime", lifetime),
    ("scopes", scopes),
    ("claims", claims),
    ("login", login),
];

/// All of them; the first that does not hold.
pub fn check(signed: &Arc<Signed>, route: &Route, now: UnixMs) -> Result<(), Rejection> {
    RULES.iter().try_for_each(|(_, rule)| rule(signed, route, now))
}

/// Each that the route has, with its answer.
pub fn each(
    signed: &Signed,
    route: &Route,
    now: UnixMs,
) -> Vec<(&'static str, Result<(), Rejection>)> {
    let require = &route.require;
    let asked = |name: &str| match name {
        "audience" => !require.audiences.is_empty(),
        "type" => require.typ.is_some(),
        "lifetime" => require.max_lifetime.is_some(),
        "scopes" => !(require.scopes.is_empty() && require.scopes_any.is_empty()),
        "claims" => !require.claims.is_empty(),
        _ => require.max_age.is_some(),
    };
    let rules = RULES.iter().filter(|(name, _)| asked(name));
    rules.map(|(name, rule)| (*name, rule(signed, route, now))).collect()
}

/// RFC 9068 section 4: a resource takes tokens that name it.
fn audience(signed: &Signed, route: &Route, _: UnixMs) -> Result<(), Rejection> {
    let wanted = &route.require.audiences;
    if wanted.is_empty() || signed.audiences().iter().any(|one| wanted.contains(one)) {
        return Ok(());
    }
    Err(Rejection::TokenNotTaken(format!("aud holds none of {}", wanted.join(", "))))
}

fn token_type(signed: &Signed, route: &Route, _: UnixMs) -> Result<(), Rejection> {
    match &route.require.typ {
        Some(wanted) if !signed.is_type(wanted) => {
            Err(Rejection::TokenNotTaken(format!("typ is not {wanted}")))
        }
        Some(_) | None => Ok(()),
    }
}

/// Without `iat`, what is left of its life is measured.
fn lifetime(signed: &Signed, route: &Route, now: UnixMs) -> Result<(), Rejection> {
    let Some(max) = route.require.max_lifetime else { return Ok(()) };
    let lives = signed.expires_at().since(signed.issued_at().unwrap_or(now));
    if lives <= max {
        return Ok(());
    }
    let (lives, max) = (lives.as_secs(), max.as_secs());
    Err(Rejection::TokenNotTaken(format!(
        "it lives {lives} s, the route takes {max} s at the most"
    )))
}

/// All scopes that the route asks for, and one of those of which any will do (RFC 6750 section
/// 3.1).
fn scopes(signed: &Signed, route: &Route, _: UnixMs) -> Result<(), Rejection> {
    let require = &route.require;
    let missing = signed.missing_scopes(&require.scopes);
    let any = &require.scopes_any;
    let has_any = any.is_empty() || any.iter().any(|scope| signed.scopes().contains(scope));
    if missing.is_empty() && has_any {
        return Ok(());
    }
    let mut reasons = Vec::new();
    if !missing.is_empty() {
        reasons.push(missing.join(" "));
    }
    if !has_any {
        reasons.push(format!("one of {}", any.join(" ")));
    }
    let needed = require.scopes.iter().chain(any).cloned().collect();
    Err(Rejection::ScopeMissing { needed, missing: reasons.join(", and ") })
}

fn claims(signed: &Signed, route: &Route, _: UnixMs) -> Result<(), Rejection> {
    let unmet = route.require.claims.iter().find(|rule| !holds(rule, signed));
    unmet.map_or(Ok(()), |rule| Err(Rejection::ClaimUnmet(rule.shown())))
}

fn holds(rule: &ClaimRule, signed: &Signed) -> bool {
    rule.claim.find(signed.claims()).is_some_and(|found| meets(&rule.test, found))
}

fn meets(test: &ClaimTest, found: &Value) -> bool {
    match test {
        ClaimTest::Equals(wanted) => found == wanted,
        ClaimTest::Contains(wanted) => {
            found.as_array().is_some_and(|elements| elements.contains(wanted))
        }
        ClaimTest::OneOf(wanted) => match found.as_array() {
            Some(elements) => elements.iter().any(|element| wanted.contains(element)),
            None => wanted.contains(found),
        },
    }
}

/// The login is recent enough; a token that does not say when it was is not (RFC 9470).
fn login(signed: &Signed, route: &Route, now: UnixMs) -> Result<(), Rejection> {
    let Some(max_age) = route.require.max_age else { return Ok(()) };
    let until = |at: UnixMs| at.plus(max_age + signed.policy().leeway);
    if signed.auth_time().is_some_and(|at| now <= until(at)) {
        Ok(())
    } else {
        Err(Rejection::TooOldLogin { max_age_s: max_age.as_secs() })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_claim_is_compared_by_type_and_value() {
        let equals = |value| ClaimTest::Equals(value);
        assert!(meets(&equals(json!("1")), &json!("1")));
        assert!(meets(&equals(json!(true)), &json!(true)));
        for other in [json!(1), json!("1 "), json!(["1"]), json!(null), json!({"1": "1"})] {
            assert!(!meets(&equals(json!("1")), &other), "{other}");
        }
        for other in [json!(1.0), json!("1"), json!(true), json!(-1)] {
            assert!(!meets(&equals(json!(1)), &other), "{other}");
        }
        let contains = ClaimTest::Contains(json!("admin"));
        assert!(meets(&contains, &json!(["user", "admin"])));
        for other in [json!("admin"), json!(["admins"]), json!([["admin"]]), json!({"admin": 1})] {
            assert!(!meets(&contains, &other), "{other}");
        }
        let one_of = ClaimTest::OneOf(vec![json!("a"), json!("b")]);
        for good in [json!("a"), json!("b"), json!(["x", "b"])] {
            assert!(meets(&one_of, &good), "{good}");
        }
        for other in [json!("c"), json!("a,b"), json!([]), json!(["ab"]), json!(null)] {
            assert!(!meets(&one_of, &other), "{other}");
        }
    }
}
