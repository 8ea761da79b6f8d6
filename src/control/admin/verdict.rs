//! What was found out about a token, put in words: the answer of explain.

use std::sync::Arc;

use serde::Serialize;

use crate::clock::UnixMs;
use crate::control::store::Record;
use crate::denylist::{Condition, Selector};
use crate::telemetry::Refusal;
use crate::verify::{Check, Outcome, Signed};

use super::create::in_units;
use super::explain::{RouteFound, RouteRefusal, RouteReport};
use super::record::in_words;

#[derive(Serialize)]
pub(super) struct Explained {
    pass: bool,
    status: u16,
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<RouteFound>,
    checks: Vec<Line>,
    #[serde(skip_serializing_if = "Option::is_none")]
    would_pass_with: Option<String>,
    /// The refused request, where it was asked for by its id: when it was, and what was answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<RequestThen>,
}

#[derive(Serialize)]
struct Line {
    check: &'static str,
    result: &'static str,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    issued_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    denials: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    needs: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    has: Option<Vec<String>>,
}

/// What the gateway knew and answered then.
#[derive(Serialize)]
struct RequestThen {
    method: String,
    host: String,
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    status: u16,
    code: &'static str,
    detail: String,
}

/// All that was found out, before it is put in words.
pub(super) struct Verdict {
    pub token_checks: Vec<Check>,
    /// What the gateway answers for the first of them that failed.
    pub token_refused: Option<RouteRefusal>,
    pub signed: Option<Arc<Signed>>,
    pub report: RouteReport,
    pub denials: Vec<Record>,
    /// What the hot table says: this is what a request meets.
    pub denied: bool,
    /// `None`: its issuer asks for no registration.
    pub registered: Option<bool>,
    pub registrations: Vec<Record>,
    pub now: UnixMs,
}

impl Verdict {
    pub fn explained(self, then: Option<&Refusal>) -> Explained {
        let mut checks: Vec<Line> = self.report.before.iter().map(Line::of).collect();
        checks.extend(self.token_checks.iter().map(|check| self.token_line(check)));
        checks.push(self.denylist_line(then));
        checks.extend(self.registration_line());
        checks.extend(self.report.after.iter().map(|check| self.route_line(check)));
        let refusal = self.refusal();
        // Without a token there is nothing to ask again: what was answered then stands.
        let refusal = match (&self.signed, then) {
            (None, Some(then)) => {
                refusal.or(Some(RouteRefusal { status: then.status, code: then.code }))
            }
            _ => refusal,
        };
        Explained {
            pass: refusal.is_none(),
            status: refusal.map_or(200, |refusal| refusal.status),
            code: refusal.map_or("ok", |refusal| refusal.code),
            would_pass_with: self.would_pass_with(),
            route: self.report.route.clone(),
            checks,
            request_id: then.map(|then| then.request_id.clone()),
            at: then.map(|then| then.at.rfc3339()),
            request: then.map(RequestThen::of),
        }
    }

    /// What the gateway answers: the first failure in the order of the request.
    fn refusal(&self) -> Option<RouteRefusal> {
        let denied = self.denied.then_some(RouteRefusal { status: 401, code: "token_revoked" });
        let absent = (self.registered == Some(false))
            .then_some(RouteRefusal { status: 401, code: "token_not_registered" });
        let of_token = self.token_refused.or(denied).or(absent);
        self.report.refused_before.or(of_token).or(self.report.refused_after)
    }

    fn is_expired(&self) -> bool {
        let end = self.signed.as_ref().map(|token| token.expires_at().plus(token.policy().leeway));
        end.is_some_and(|end| end <= self.now)
    }

    fn token_line(&self, check: &Check) -> Line {
        let mut line = Line::of(check);
        if let ("times", Some(token)) = (check.name, &self.signed) {
            line.issued_at = token.issued_at().map(UnixMs::rfc3339);
            line.expires_at = Some(token.expires_at().rfc3339());
        }
        line
    }

    fn route_line(&self, check: &Check) -> Line {
        let mut line = Line::of(check);
        if check.name == "scopes" {
            line.needs.clone_from(&self.report.scopes);
            line.has = self.signed.as_ref().map(|token| token.scopes().to_vec());
            let has = line.has.as_deref().unwrap_or_default().join(" ");
            let has = if has.is_empty() { "none" } else { has.as_str() };
            let any = self.report.scopes_any.join(" or ");
            let mut needs = line.needs.join(" ");
            if !any.is_empty() {
                let and = if needs.is_empty() { "" } else { " and " };
                needs = format!("{needs}{and}one of {any}");
            }
            line.detail = format!("needs {needs}; token has: {has}");
        }
        line
    }

    fn denylist_line(&self, then: Option<&Refusal>) -> Line {
        let ids: Vec<String> =
            self.denials.iter().map(|record| record.denial.id.to_string()).collect();
        let check = match (&self.signed, self.denied) {
            (None, _) => match then {
                Some(_) => Check::skipped("denylist", "the request had no genuine token"),
                None => Check::skipped("denylist", "needs a token whose signature holds"),
            },
            (Some(_), false) => Check::ok("denylist", "no denial in force matches"),
            (Some(_), true) => {
                let words: Vec<String> =
                    self.denials.iter().map(|record| denial_in_words(record, self.now)).collect();
                // The table was asked after the records: a denial may have come or gone between.
                let none = "matched by a denial that has just changed: ask again".to_owned();
                Check::fail("denylist", if words.is_empty() { none } else { words.join("; ") })
            }
        };
        let mut line = Line::of(&check);
        if self.denied {
            line.denials = ids;
        }
        line
    }

    fn registration_line(&self) -> Option<Line> {
        let check = if self.registered? {
            let words: Vec<String> = self.registrations.iter().map(registered_in_words).collect();
            Check::ok("registration", words.join("; "))
        } else {
            Check::fail("registration", "neither this token nor its session is registered")
        };
        Some(Line::of(&check))
    }

    /// Only where every failure can be mended by another token or an undo.
    fn would_pass_with(&self) -> Option<String> {
        let mut wants: Vec<String> = Vec::new();
        let mut undo: Vec<String> = Vec::new();
        let failed = |checks: &[Check]| -> Vec<&'static str> {
            let failed = checks.iter().filter(|check| check.outcome == Outcome::Fail);
            failed.map(|check| check.name).collect()
        };
        if self.signed.is_none() || !failed(&self.report.before).is_empty() {
            return None;
        }
        for name in failed(&self.token_checks) {
            if name != "times" || !self.is_expired() {
                return None;
            }
            wants.push("is new".to_owned());
        }
        for record in self.denials.iter().filter(|_| self.denied) {
            match remedy(record) {
                Some(remedy) => wants.push(remedy),
                None => undo.push(record.denial.id.to_string()),
            }
        }
        if self.registered == Some(false) {
            wants.push("is registered, by itself or by its session".to_owned());
        }
        for name in failed(&self.report.after) {
            match (name, &self.signed) {
                ("scopes", Some(token)) => {
                    let missing = token.missing_scopes(&self.report.scopes).join(" ");
                    let any = &self.report.scopes_any;
                    if !missing.is_empty() {
                        wants.push(format!("has scope {missing}"));
                    }
                    if !any.is_empty() && token.missing_scopes(any).len() == any.len() {
                        wants.push(format!("has scope {}", any.join(" or ")));
                    }
                }
                ("login", _) => wants.push("comes from a fresh login".to_owned()),
                _ => return None,
            }
        }
        wants.dedup();
        let token = (!wants.is_empty()).then(|| format!("a token that {}", wants.join(" and ")));
        let undo = (!undo.is_empty()).then(|| format!("an undo of {}", undo.join(" and ")));
        let parts: Vec<String> = token.into_iter().chain(undo).collect();
        (!parts.is_empty()).then(|| parts.join(", and "))
    }
}

/// What a token must be for this denial not to match it; `None`: only an undo helps.
fn remedy(record: &Record) -> Option<String> {
    match (record.denial.condition, &record.denial.selector) {
        (Condition::IssuedBefore(at), _) => Some(format!("is issued at {} or later", at.rfc3339())),
        (Condition::VersionBelow(number), _) => Some(format!("has version {number} or above")),
        (Condition::Always, Selector::Token(_)) => Some("is another one".to_owned()),
        (Condition::Always, Selector::Session(_)) => Some("is of another session".to_owned()),
        (Condition::Always, Selector::Key(_)) => Some("is signed by another key".to_owned()),
        (
            Condition::Always,
            Selector::Subject(_)
            | Selector::Client(_)
            | Selector::Claim { .. }
            | Selector::Issuer
            | Selector::Registration(_),
        ) => None,
    }
}

/// `dn_… user alice, tokens issued before 2026-11-21T11:14:02Z, "lost laptop" by dana, 62s ago`.
fn denial_in_words(record: &Record, now: UnixMs) -> String {
    let denial = &record.denial;
    let condition = match denial.condition {
        Condition::Always => "blocked".to_owned(),
        Condition::IssuedBefore(at) => format!("tokens issued before {}", at.rfc3339()),
        Condition::VersionBelow(number) => format!("tokens of a version below {number}"),
    };
    let reason = match denial.reason.as_str() {
        "" => String::new(),
        reason => format!(" {reason:?}"),
    };
    format!(
        "{} {}, {condition},{reason} by {}, {} ago",
        denial.id,
        in_words(&denial.selector),
        denial.created_by.name,
        in_units(now.since(denial.created_at)),
    )
}

/// `dn_… session s-81f3, by shop-backend, until 2026-11-21T23:14:32Z`.
fn registered_in_words(record: &Record) -> String {
    let denial = &record.denial;
    let end = denial.ends_at.or(denial.kept_until);
    let end = end.map_or(String::new(), |end| format!(", until {}", end.rfc3339()));
    let what = in_words(&denial.selector);
    let what = what.trim_start_matches("registration of ");
    format!("{} {what}, by {}{end}", denial.id, denial.created_by.name)
}

impl Line {
    fn of(check: &Check) -> Self {
        Self {
            check: check.name,
            result: match check.outcome {
                Outcome::Ok => "ok",
                Outcome::Fail => "fail",
                Outcome::Skipped => "skipped",
            },
            detail: check.detail.clone(),
            issued_at: None,
            expires_at: None,
            denials: Vec::new(),
            needs: Vec::new(),
            has: None,
        }
    }
}

impl RequestThen {
    fn of(then: &Refusal) -> Self {
        Self {
            method: then.method.to_string(),
            host: then.host.clone(),
            path: then.path.clone(),
            address: then.address.map(|address| address.to_string()),
            status: then.status,
            code: then.code,
            detail: then.detail.clone(),
        }
    }
}
