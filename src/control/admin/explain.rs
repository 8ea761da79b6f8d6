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
use super::create::store_refused;
use super::members::Members;
use super::problem::{Fault, Refused};
use super::verdict::Verdict;

/// A request as far as a route is chosen by it.
pub struct RouteQuestion<'a> {
    /// Absolute (`https://app.example.com/api/orders`) or a path (`/api/orders`); `None`: no route is
    /// asked for.
    pub url: Option<&'a str>,
    pub method: &'a Method,
    /// The route that it had, where it is a request of before.
    pub route: Option<&'a str>,
    /// The token's text, where it was handed in.
    pub credential: Option<&'a Credential>,
    /// Where its signature held.
    pub token: Option<&'a Arc<Signed>>,
    pub now: UnixMs,
}

/// What the data plane says.
#[derive(Clone, Debug, Default)]
pub struct RouteReport {
    pub route: Option<RouteFound>,
    /// Checks before the token is looked at: the form of the path, the route, whether such a credential
    /// is read at all.
    pub before: Vec<Check>,
    /// Checks that need the verified token: issuers of the route, `scopes`, age of the `login`.
    pub after: Vec<Check>,
    /// What the gateway answers for the first failed check of either list.
    pub refused_before: Option<RouteRefusal>,
    pub refused_after: Option<RouteRefusal>,
    /// Scopes that the route needs.
    pub scopes: Vec<String>,
    /// And one of these, where there are any.
    pub scopes_any: Vec<String>,
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

/// Answers for the data plane; made by the app, which sees both planes.
pub type RouteExplainer = Arc<dyn Fn(&RouteQuestion<'_>) -> RouteReport + Send + Sync>;

/// The body, read.
struct Question {
    token: Option<Credential>,
    request_id: Option<String>,
    url: Option<String>,
    method: Method,
}

pub(super) async fn explain(
    api: &Api,
    caller: &Caller,
    body: Value,
    now: UnixMs,
) -> Result<Answer, Refused> {
    caller.must_be(Role::Operator, "explain tokens")?;
    let question = Question::read(body)?;
    let then = match &question.request_id {
        Some(id) => Some(refused(api, id).await.ok_or(Refused::NoSuchRequest)?),
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
    let report = (api.routes)(&RouteQuestion {
        url: place.as_deref(),
        method,
        route: then.as_ref().and_then(|then| then.route.as_deref()),
        credential: question.token.as_ref(),
        token: signed.as_ref(),
        now,
    });
    let denials = match &signed {
        Some(signed) => matching(api, signed)?,
        None => Vec::new(),
    };
    let hit = signed.as_ref().and_then(|signed| api.denylist.check(signed.marks()));
    let denied = hit.is_some_and(|hit| !hit.is_absence());
    let registered = signed.as_ref().and_then(|signed| api.denylist.is_registered(signed.marks()));
    let registrations = match &signed {
        Some(signed) if registered == Some(true) => registrations(api, signed)?,
        Some(_) | None => Vec::new(),
    };
    let verdict = Verdict {
        token_checks,
        token_refused,
        signed,
        report,
        denials,
        denied,
        registered,
        registrations,
        now,
    };
    Answer::json(StatusCode::OK, &verdict.explained(then.as_deref()))
}

/// The request of this id, also where it was refused a moment ago.
async fn refused(api: &Api, request_id: &str) -> Option<Arc<Refusal>> {
    if let Some(found) = api.refusals.find(request_id) {
        return Some(found);
    }
    api.observed.up_to_now().await;
    api.refusals.find(request_id)
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

/// What lets this token pass where its issuer asks for a registration.
fn registrations(api: &Api, token: &Signed) -> Result<Vec<Record>, Refused> {
    let session = token.session().map(|session| Except::Session(session.to_owned()));
    let one = Except::Token(token.token_id().clone());
    let mut found = Vec::new();
    for registered in session.into_iter().chain([one]) {
        let selector = Selector::Registration(registered);
        let standing = api.store.in_force(&token.policy().id, &selector);
        found.extend(standing.map_err(|fault| store_refused(api, fault))?);
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
