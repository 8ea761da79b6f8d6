//! Why would this token pass or fail? Every check, with the denials that match it, and what would
//! make it pass. Asked with the token itself, or with the request id that a user was shown.
//!
//! Looking changes nothing: the token is not counted as seen.

use std::sync::Arc;

use http::{Method, StatusCode};
use serde::Serialize;
use serde_json::Value;

use crate::clock::UnixMs;
use crate::config::Role;
use crate::control::store::Record;
use crate::denylist::{Condition, Except, Selector};
use crate::telemetry::Refusal;
use crate::token::Credential;
use crate::verify::{Check, Outcome, Signed};

use super::Api;
use super::answer::Answer;
use super::caller::Caller;
use super::create::{in_units, store_refused};
use super::members::Members;
use super::problem::{Fault, Refused};
use super::record::in_words;

/// A request as far as a route is chosen by it.
pub struct RouteQuestion<'a> {
    /// Absolute (`https://app.example.com/api/orders`) or a path (`/api/orders`).
    pub url: &'a str,
    pub method: &'a Method,
    /// Where its signature held.
    pub token: Option<&'a Arc<Signed>>,
    pub now: UnixMs,
}

/// What the route table says.
#[derive(Clone, Debug, Default)]
pub struct RouteReport {
    pub route: Option<RouteFound>,
    /// Checks before the token is looked at: the form of the path, the route.
    pub before: Vec<Check>,
    /// Checks that need the verified token: issuers of the route, `scopes`, age of the `login`.
    pub after: Vec<Check>,
    /// What the gateway answers for the first failed check of either list.
    pub refused_before: Option<RouteRefusal>,
    pub refused_after: Option<RouteRefusal>,
    /// Scopes that the route needs.
    pub scopes: Vec<String>,
}

/// The route that a request takes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct RouteFound {
    pub name: String,
    pub host: String,
    pub path: String,
    /// Place in the order of matching, from 1.
    pub number: usize,
    /// Routes in all.
    pub of: usize,
    /// `required`, `optional` or `public`.
    pub access: &'static str,
}

/// Status and stable code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RouteRefusal {
    pub status: u16,
    pub code: &'static str,
}

/// Answers for the route table; made by the app, which sees both planes.
pub type RouteExplainer = Arc<dyn Fn(&RouteQuestion<'_>) -> RouteReport + Send + Sync>;

#[derive(Serialize)]
struct Explained {
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

/// The body, read.
struct Question {
    token: Option<Credential>,
    request_id: Option<String>,
    url: Option<String>,
    method: Method,
}

pub(super) fn explain(
    api: &Api,
    caller: &Caller,
    body: Value,
    now: UnixMs,
) -> Result<Answer, Refused> {
    caller.must_be(Role::Operator, "explain tokens")?;
    let question = Question::read(body)?;
    let then = match &question.request_id {
        Some(id) => Some(api.refusals.find(id).ok_or(Refused::NoSuchRequest)?),
        None => None,
    };
    let (token_checks, signed) = match (&question.token, &then) {
        (Some(credential), _) => api.verifier().explain(credential, now),
        (None, Some(then)) => remembered(then, now),
        (None, None) => (Vec::new(), None),
    };
    let token_refused = token_checks
        .iter()
        .find(|check| check.outcome == Outcome::Fail)
        .map(|check| token_refusal(api, question.token.as_ref(), check, now));
    if let Some(signed) = &signed
        && !caller.may_act_on(&signed.policy().name)
    {
        return Err(Refused::IssuerNotAllowed { issuer: signed.policy().name.clone() });
    }
    let place = question
        .url
        .or_else(|| then.as_ref().map(|then| format!("http://{}{}", then.host, then.path)));
    let method = then.as_ref().map_or(&question.method, |then| &then.method);
    let report = match &place {
        Some(url) => (api.routes)(&RouteQuestion { url, method, token: signed.as_ref(), now }),
        None => RouteReport {
            before: vec![Check::skipped("route", "needs url")],
            ..RouteReport::default()
        },
    };
    let denials = match &signed {
        Some(signed) => matching(api, signed)?,
        None => Vec::new(),
    };
    let denied = signed.as_ref().is_some_and(|signed| api.denylist.check(signed.marks()).is_some());
    let verdict = Verdict { token_checks, token_refused, signed, report, denials, denied, now };
    Answer::json(StatusCode::OK, &verdict.explained(then.as_deref()))
}

impl Question {
    fn read(body: Value) -> Result<Self, Refused> {
        let mut body = Members::of(body, "");
        let token = body.take("token").and_then(|value| match value {
            Value::String(text) => Some(Credential::new(text.trim_ascii())),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::Array(_)
            | Value::Object(_) => {
                body.fault("token", "wrong_type", "Expected the token as text.");
                None
            }
        });
        let request_id = body.take_identifier("request_id");
        let url = body.take_prose("url", 8192);
        let method = body.take_prose("method", 32).unwrap_or_else(|| "GET".to_owned());
        let method = method.to_ascii_uppercase().parse::<Method>().unwrap_or_else(|_| {
            body.fault("method", "wrong_type", "Expected a method such as GET.");
            Method::GET
        });
        if token.is_some() == request_id.is_some() && body.faults.is_empty() {
            let detail = "Exactly one of token and request_id.";
            body.faults.push(Fault::new("", "selector_ambiguous", detail));
        }
        let faults = body.finish(&["token", "request_id", "url", "method"]);
        if faults.is_empty() {
            Ok(Self { token, request_id, url, method })
        } else {
            Err(Refused::InvalidBody(faults))
        }
    }
}

/// What can be said of a token that is remembered from a refused request: its text is not.
fn remembered(then: &Refusal, now: UnixMs) -> (Vec<Check>, Option<Arc<Signed>>) {
    let Some(signed) = &then.token else { return (Vec::new(), None) };
    let policy = signed.policy();
    let mut checks = vec![
        Check::ok("issuer", format!("{}  {}", policy.name, policy.id.as_str())),
        if signed.issuer().keys.load().contains(signed.key()) {
            Check::ok("key", signed.key().to_string())
        } else {
            Check::fail("key", "has left the issuer's key set")
        },
        Check::ok("signature", "held when the request came"),
    ];
    if then.code == "token_invalid" {
        checks.push(Check::fail("claims", then.detail.clone()));
    }
    let left = signed.expires_at().plus(policy.leeway);
    checks.push(if left > now {
        Check::ok("times", format!("ends {}", signed.expires_at().rfc3339()))
    } else {
        Check::fail("times", format!("ended {}", signed.expires_at().rfc3339()))
    });
    (checks, Some(Arc::clone(signed)))
}

/// What the gateway answers to a token with a failed check. Verifying it again is asked for the
/// code: a token that fails is not counted as seen by that.
fn token_refusal(
    api: &Api,
    credential: Option<&Credential>,
    failed: &Check,
    now: UnixMs,
) -> RouteRefusal {
    let code = match credential.map(|credential| api.verifier().verify(credential, now)) {
        Some(Err(fault)) => fault.code(),
        // Remembered from a request: only its times and its key are asked again.
        None if failed.name == "times" => "token_expired",
        None | Some(Ok(_)) => "token_invalid",
    };
    RouteRefusal { status: if code == "not_ready" { 503 } else { 401 }, code }
}

/// Everything that names the token: its denials in force.
fn matching(api: &Api, token: &Signed) -> Result<Vec<Record>, Refused> {
    let owned = |text: &str| text.to_owned();
    let mut selectors = vec![Selector::Token(token.token_id().clone())];
    selectors.extend(token.session().map(owned).map(Selector::Session));
    selectors.extend(token.subject().map(owned).map(Selector::Subject));
    selectors.extend(token.client().map(owned).map(Selector::Client));
    selectors.push(Selector::Key(*token.key()));
    selectors.extend(
        token.indexed().map(|(name, value)| Selector::Claim {
            name: name.to_owned(),
            value: value.to_owned(),
        }),
    );
    selectors.push(Selector::Issuer);
    let mut found = Vec::new();
    for selector in selectors {
        let standing = api
            .store
            .in_force(&token.policy().id, &selector)
            .map_err(|fault| store_refused(api, fault))?;
        found.extend(standing.into_iter().filter(|record| is_hit(record, token)));
    }
    Ok(found)
}

fn is_hit(record: &Record, token: &Signed) -> bool {
    let spared = match &record.denial.except {
        Some(Except::Session(id)) => token.session() == Some(id.as_str()),
        Some(Except::Token(id)) => token.token_id() == id,
        None => false,
    };
    !spared
        && match record.denial.condition {
            Condition::Always => true,
            Condition::IssuedBefore(at) => token.issued_at().is_none_or(|issued| issued < at),
            Condition::VersionBelow(number) => {
                token.version().is_none_or(|version| version < number)
            }
        }
}

/// All that was found out, before it is put in words.
struct Verdict {
    token_checks: Vec<Check>,
    /// What the gateway answers for the first of them that failed.
    token_refused: Option<RouteRefusal>,
    signed: Option<Arc<Signed>>,
    report: RouteReport,
    denials: Vec<Record>,
    /// What the hot table says: this is what a request meets.
    denied: bool,
    now: UnixMs,
}

impl Verdict {
    fn explained(self, then: Option<&Refusal>) -> Explained {
        let mut checks: Vec<Line> = self.report.before.iter().map(Line::of).collect();
        checks.extend(self.token_checks.iter().map(|check| self.token_line(check)));
        checks.push(self.denylist_line(then));
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
        self.report.refused_before.or(self.token_refused).or(denied).or(self.report.refused_after)
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
            line.detail = format!("needs {}; token has: {has}", line.needs.join(" "));
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
        for name in failed(&self.report.after) {
            match (name, &self.signed) {
                ("scopes", Some(token)) => {
                    let missing = token.missing_scopes(&self.report.scopes).join(" ");
                    wants.push(format!("has scope {missing}"));
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
            Selector::Subject(_) | Selector::Client(_) | Selector::Claim { .. } | Selector::Issuer,
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
