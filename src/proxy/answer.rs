//! Every answer of our own. One enum says why; one `match` turns it into status, code, challenge
//! and text. The client learns no more than it may; the log line has the precise reason.

mod challenge;
mod codes;
mod fault;
mod text;

use http::StatusCode;

use crate::denylist::Hit;
use crate::telemetry::counters::Limit;
use crate::verify::TokenFault;

pub use codes::CODES;
pub use fault::BadRequest;
pub use text::{respond, wants_html};

use challenge::Challenge;

use super::assertion::ExchangeFault;
use super::cross_site::CrossSite;
use super::session::capture::CaptureFault;
use super::streams::Cause;
pub use super::upstream_fault::{Fault, UpstreamFault};
use crate::desk::{DeskFault, RenewalFault};

/// Why a request was not forwarded, or why its answer is not the upstream's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Rejection {
    BadRequest(BadRequest),
    NoRoute,
    /// Another method is served here: these.
    Method(&'static str),
    /// No credential came (RFC 6750 section 3.1: then no error code).
    TokenMissing,
    Token(TokenFault),
    /// Genuine, and of an issuer that this route does not take.
    IssuerNotTaken(String),
    /// Too many failed credentials from one address.
    TooManyFailures {
        retry_after_s: u32,
    },
    Denied(Hit),
    /// A cookie, and another site made the browser send it.
    CrossSite(CrossSite),
    ScopeMissing {
        /// All that the route asks for: what a client has to request (RFC 6750 section 3).
        needed: Vec<String>,
        /// In words.
        missing: String,
    },
    /// Genuine, and not for this route: of another audience, type or lifetime.
    TokenNotTaken(String),
    /// A claim that the route asks for is not there, or is something else.
    ClaimUnmet(String),
    /// The login is older than the route's `max_age`, or the token does not say how old it is.
    TooOldLogin {
        max_age_s: u64,
    },
    /// A preflight of an origin that may not ask.
    OriginNotAllowed,
    /// Its body is larger than the route takes.
    BodyTooLarge,
    /// Its body did not come whole in time.
    BodyTooSlow,
    /// More requests are in flight than the gateway, or the route, takes.
    Overloaded,
    /// A claim that the backend is to get as a header cannot be one.
    ClaimUnfit(String),
    Upstream(Fault),
    /// A login's answer whose tokens could not be taken out.
    Capture(CaptureFault),
    /// What the control plane was asked for did not happen.
    Desk(DeskFault),
    /// The session has no good token, and got no new one.
    Renewal(RenewalFault),
    /// Asked for a verdict by a peer that is not listed.
    NotTrusted,
    /// A backend is to be vouched to, and nothing could be signed.
    NotSigned,
    /// A server asked to be vouched for, and may not, or asked wrongly.
    Exchange(ExchangeFault),
    /// Its token stopped to count while it waited for the answer.
    Cut(Cause),
}

impl From<BadRequest> for Rejection {
    fn from(fault: BadRequest) -> Self {
        Self::BadRequest(fault)
    }
}

impl From<UpstreamFault> for Rejection {
    fn from(fault: UpstreamFault) -> Self {
        Self::Upstream(fault.into())
    }
}

impl Rejection {
    /// The limit that turned it away, where that says it all. Overload is counted where it is found.
    #[expect(clippy::wildcard_enum_match_arm, reason = "most refusals are no limit's")]
    pub fn limit(&self) -> Option<Limit> {
        match self {
            Self::BadRequest(BadRequest::HeaderCount | BadRequest::HeaderBytes) => {
                Some(Limit::Headers)
            }
            Self::BadRequest(BadRequest::TokenLength) => Some(Limit::TokenBytes),
            Self::BodyTooLarge => Some(Limit::BodyBytes),
            Self::BodyTooSlow => Some(Limit::BodyTime),
            Self::Upstream(fault) => match fault.kind {
                UpstreamFault::Overloaded => Some(Limit::UpstreamRequests),
                UpstreamFault::NoDescriptors => Some(Limit::Connections),
                _ => None,
            },
            _ => None,
        }
    }
}

/// How much our answers tell.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AnswerPolicy {
    /// `expired` and `revoked` are told apart; otherwise one text for all bad tokens.
    pub reveal_reason: bool,
}

/// What a rejection looks like on the wire. Most who ask want its status or code, so nothing is
/// written out in it.
struct Shape<'r> {
    status: StatusCode,
    code: &'static str,
    /// For the client.
    detail: &'static str,
    challenge: Option<Challenge<'r>>,
    retry_after_s: Option<u32>,
    allow: Option<&'static str>,
}

const OTHER_SITE: &str = "Another site asked for this with your cookie";
const INVALID: &str = "The token is not valid";
const ORIGIN: &str = "Pages of this origin may not use it";
const LARGE: &str = "The body is too large";
const SLOW: &str = "The body did not come in time";
const FULL: &str = "Too many requests are in flight";
const UNMET: &str = "The token lacks a claim that is needed here";

impl Rejection {
    pub fn status(&self) -> StatusCode {
        self.shape(AnswerPolicy { reveal_reason: true }).status
    }

    /// The stable code: the client's `code`, the log's `reason`, the metric's label.
    pub fn code(&self) -> &'static str {
        self.shape(AnswerPolicy { reveal_reason: true }).code
    }

    /// The code that the client may know.
    pub fn code_for(&self, policy: AnswerPolicy) -> &'static str {
        self.shape(policy).code
    }

    /// The precise reason, for operators.
    pub fn reason(&self) -> String {
        match self {
            Self::BadRequest(fault) => fault.text().to_owned(),
            Self::OriginNotAllowed => "cors lists no such origin".to_owned(),
            Self::BodyTooLarge => "the body is larger than body_bytes_max".to_owned(),
            Self::BodyTooSlow => "the body of the request did not come in time".to_owned(),
            Self::Overloaded => "requests_max are in flight".to_owned(),
            Self::NoRoute => "no route matches host and path".to_owned(),
            Self::Method(allow) => format!("served here: {allow}"),
            Self::Desk(fault) => fault.reason().to_owned(),
            Self::Renewal(fault) => fault.reason().to_owned(),
            Self::Capture(fault) => fault.reason(),
            Self::NotSigned => "no key to sign an assertion with".to_owned(),
            Self::Exchange(fault) => fault.reason().to_owned(),
            Self::NotTrusted => "the peer is not listed in [server] trusted_proxies".to_owned(),
            Self::TokenMissing => "no credential".to_owned(),
            Self::Token(fault) => fault.detail(),
            Self::IssuerNotTaken(name) => format!("the route takes no tokens of issuer {name}"),
            Self::TooManyFailures { .. } => "too many failed credentials from there".to_owned(),
            Self::Denied(hit) if hit.is_absence() => "not registered".to_owned(),
            Self::Denied(hit) => format!("denied by {}", hit.selector.as_str()),
            Self::CrossSite(fault) => fault.reason().to_owned(),
            Self::ScopeMissing { missing, .. } => format!("scope missing: {missing}"),
            Self::TokenNotTaken(why) => format!("not a token for this route: {why}"),
            Self::ClaimUnmet(rule) => format!("the route needs claim {rule}"),
            Self::TooOldLogin { max_age_s } => {
                format!("login older than {max_age_s} s, or unknown")
            }
            Self::ClaimUnfit(claim) => format!("claim {claim} cannot be a header"),
            Self::Upstream(fault) => fault.reason(),
            Self::Cut(cause) => cause.text(),
        }
    }

    /// What the client may know, for those who say it in another form.
    pub fn told(&self, policy: AnswerPolicy) -> (StatusCode, String) {
        let shape = self.shape(policy);
        (shape.status, shape.detail.to_owned())
    }

    fn shape(&self, policy: AnswerPolicy) -> Shape<'_> {
        match self {
            Self::BadRequest(fault) => {
                let two = matches!(
                    fault,
                    BadRequest::TwoCredentials
                        | BadRequest::AuthorizationForm
                        | BadRequest::TokenLength
                );
                let challenge = two.then(|| bearer("invalid_request", fault.text()));
                Shape::new(fault.status(), "bad_request", fault.text()).challenged(challenge)
            }
            Self::OriginNotAllowed => Shape::forbidden("origin_not_allowed", ORIGIN),
            Self::BodyTooLarge => {
                Shape::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", LARGE)
            }
            Self::BodyTooSlow => Shape::new(StatusCode::REQUEST_TIMEOUT, "body_timeout", SLOW),
            Self::Overloaded => {
                Shape::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", FULL).retry(1)
            }
            Self::NoRoute => Shape::new(StatusCode::NOT_FOUND, "no_route", "There is nothing here"),
            Self::Method(allow) => {
                let text = "This method is not served here";
                let mut shape =
                    Shape::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", text);
                shape.allow = Some(allow);
                shape
            }
            Self::Capture(_) => {
                let text = "The login could not be completed";
                Shape::new(StatusCode::BAD_GATEWAY, "login_unusable", text)
            }
            Self::Desk(_) => {
                let text = "It did not happen; please try again";
                Shape::new(StatusCode::SERVICE_UNAVAILABLE, "not_done", text).retry(5)
            }
            Self::Renewal(fault) => not_renewed(*fault, policy),
            Self::NotTrusted => {
                let text = "Who asks for a verdict must be listed: [server] trusted_proxies";
                Shape::new(StatusCode::FORBIDDEN, "not_trusted", text)
            }
            Self::NotSigned => {
                Shape::new(StatusCode::SERVICE_UNAVAILABLE, "not_ready", "Nothing can be signed")
                    .retry(5)
            }
            Self::Exchange(fault) => Shape::new(fault.status(), fault.code(), fault.reason()),
            Self::TokenMissing => {
                Shape::new(StatusCode::UNAUTHORIZED, "token_missing", "A token is needed")
                    .challenged(Some(Challenge::Plain))
            }
            Self::Token(TokenFault::KeysAbsent { .. } | TokenFault::KeyAwaited { .. }) => {
                Shape::new(StatusCode::SERVICE_UNAVAILABLE, "not_ready", "Keys are not loaded yet")
                    .retry(5)
            }
            Self::Token(fault) => Shape::bad_token(policy, fault.code(), token_text(fault.code())),
            Self::IssuerNotTaken(_) | Self::TokenNotTaken(_) | Self::ClaimUnfit(_) => {
                Shape::bad_token(policy, "token_invalid", INVALID)
            }
            Self::TooManyFailures { retry_after_s } => Shape::too_many(*retry_after_s),
            Self::Denied(hit) => denied(*hit, policy),
            Self::CrossSite(_) => Shape::new(StatusCode::FORBIDDEN, "cross_site", OTHER_SITE),
            Self::ClaimUnmet(_) => Shape::new(StatusCode::FORBIDDEN, "claim_unmet", UNMET)
                .challenged(Some(bearer("insufficient_scope", UNMET))),
            Self::ScopeMissing { needed, .. } => {
                Shape::new(StatusCode::FORBIDDEN, "scope_missing", "The token lacks a scope")
                    .challenged(Some(Challenge::Scopes(needed)))
            }
            Self::TooOldLogin { max_age_s } => {
                Shape::new(StatusCode::UNAUTHORIZED, "too_old_login", "A recent login is needed")
                    .challenged(Some(Challenge::MaxAge(*max_age_s)))
            }
            Self::Upstream(Fault { kind: fault, .. }) => {
                let mut shape = Shape::new(fault.status(), fault.code(), fault.text());
                shape.retry_after_s = fault.retry_after_s();
                shape
            }
            Self::Cut(cause) => cut(*cause, policy),
        }
    }
}

impl<'r> Shape<'r> {
    fn new(status: StatusCode, code: &'static str, detail: &'static str) -> Self {
        debug_assert!(CODES.contains(&code), "{code} is no code that we tell people of");
        Self { status, code, detail, challenge: None, retry_after_s: None, allow: None }
    }

    fn forbidden(code: &'static str, detail: &'static str) -> Self {
        Self::new(StatusCode::FORBIDDEN, code, detail)
    }

    fn bad_token(policy: AnswerPolicy, code: &'static str, detail: &'static str) -> Self {
        let (code, detail) =
            if policy.reveal_reason { (code, detail) } else { ("token_invalid", INVALID) };
        Self::new(StatusCode::UNAUTHORIZED, code, detail)
            .challenged(Some(bearer("invalid_token", detail)))
    }

    fn too_many(retry_after_s: u32) -> Self {
        let detail = "Too many credentials from there were not valid";
        Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_failures", detail).retry(retry_after_s)
    }

    fn challenged(mut self, challenge: Option<Challenge<'r>>) -> Self {
        self.challenge = challenge;
        self
    }

    fn retry(mut self, seconds: u32) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }
}

/// A session without a good token: it has ended, or it has not got its next one yet.
fn not_renewed<'r>(fault: RenewalFault, policy: AnswerPolicy) -> Shape<'r> {
    match fault {
        RenewalFault::Over(_) => {
            Shape::bad_token(policy, "session_ended", "The session has ended: log in again")
        }
        RenewalFault::Later(_) => {
            let text = "The session could not be renewed; please try again";
            Shape::new(StatusCode::SERVICE_UNAVAILABLE, "not_renewed", text).retry(5)
        }
    }
}

/// What a request or an answer that was cut comes to, where it can still be said.
fn cut<'r>(cause: Cause, policy: AnswerPolicy) -> Shape<'r> {
    match cause {
        Cause::Denied(hit) => denied(hit, policy),
        Cause::KeyRemoved => Shape::bad_token(policy, "token_invalid", INVALID),
        Cause::Expired => Shape::bad_token(policy, "token_expired", token_text("token_expired")),
        Cause::RouteChanged => Shape::new(
            StatusCode::FORBIDDEN,
            "route_changed",
            "What was asked for is no longer served so",
        ),
        Cause::Operator | Cause::Idle => {
            Shape::new(StatusCode::SERVICE_UNAVAILABLE, "stream_ended", "The stream was ended")
        }
        Cause::Draining => {
            Shape::new(StatusCode::SERVICE_UNAVAILABLE, "draining", "The gateway goes away")
        }
    }
}

fn denied<'r>(hit: Hit, policy: AnswerPolicy) -> Shape<'r> {
    if hit.is_absence() {
        return Shape::bad_token(policy, "token_not_registered", "The token is not registered");
    }
    Shape::bad_token(policy, "token_revoked", "The token was revoked")
}

fn bearer<'r>(error: &'static str, description: &'static str) -> Challenge<'r> {
    Challenge::Error { error, description }
}

fn token_text(code: &str) -> &'static str {
    match code {
        "token_expired" => "The token has expired",
        "token_not_yet_valid" => "The token is not valid yet",
        _ => INVALID,
    }
}
