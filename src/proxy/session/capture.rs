//! Login capture: the backend's login answers with tokens in its JSON or in a header, as it always
//! did; here they leave the answer and become cookies that no script can read. What cannot be taken
//! apart for certain does not reach the browser: the body is dropped and the answer is 502.

mod beginning;
mod fault;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderMap, HeaderName,
    HeaderValue, LAST_MODIFIED,
};
use http_body_util::{BodyExt as _, Limited};
use serde_json::Value;

use crate::clock::UnixMs;
use crate::config::{Capture, Carrier, TokenPlace};
use crate::proxy::answer::Rejection;
use crate::proxy::body::Body;
use crate::proxy::client_address::Client;
use crate::proxy::core::Core;
use crate::proxy::permit::Permit;
use crate::proxy::published::Published;
use crate::proxy::route::Route;
use crate::proxy::tunnel::Answer;
use crate::proxy::{credential, held};
use crate::token::{Credential, json};
use crate::verify::{Signed, TokenFault};

use super::{Session, set_cookies};
use beginning::{Before, Named};

pub use fault::CaptureFault;

const BODY_BYTES_MAX: usize = 64 * 1024;
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// A request to a login route, on its way: what to take from the answer, and what is known of the
/// browser.
pub struct Login<'r> {
    route: &'r Route,
    capture: &'r Capture,
    session: &'r Session,
    before: Before,
}

impl<'r> Login<'r> {
    /// `None` for any other route.
    /// Only of a request that may go to its route: no other has anything looked at.
    pub async fn of(
        permit: &Permit<'r>,
        (core, client): (&Core, Client),
        published: &'r Published,
        now: UnixMs,
    ) -> Result<Option<Box<Self>>, Rejection> {
        let route = permit.route();
        let (Some(capture), Some(session)) = (&route.capture, &published.session) else {
            return Ok(None);
        };
        let headers = permit.headers();
        let asker = (core, client, headers);
        // On the heap: few requests are logins, and all would carry its size.
        let looking = Box::pin(held::all(asker, &[Carrier::Session], published, now));
        let held::All { tokens, refused } = looking.await;
        if let Some(refused) = refused {
            // A session that cannot be ended is not left behind.
            return Err(refused);
        }
        let before = Before::of(headers, session, &tokens, client.address());
        Ok(Some(Box::new(Self { route, capture, session, before })))
    }

    /// The answer without its tokens.
    pub async fn capture(
        self: Box<Self>,
        answer: Answer,
        published: &Published,
        core: &Core,
    ) -> Result<Answer, Rejection> {
        let Self { route, capture, session, before } = *self;
        match answer {
            Answer::Response(response) => {
                let taking = take(response, route, (capture, session), before, published, core);
                taking.await.map(Answer::Response)
            }
            // A switched connection is no login.
            Answer::Switch(response, tunnel) => Ok(Answer::Switch(response, tunnel)),
        }
    }
}

/// The answer's content on its way through.
enum Content {
    /// Tokens come in headers: it is not read.
    Unread(Body),
    Read(serde_json::Map<String, Value>),
}

impl Content {
    fn members(&mut self) -> Option<&mut serde_json::Map<String, Value>> {
        match self {
            Self::Unread(_) => None,
            Self::Read(members) => Some(members),
        }
    }
}

/// What is at a place leaves the answer, whatever it is.
fn remove(
    headers: &mut HeaderMap,
    members: Option<&mut serde_json::Map<String, Value>>,
    place: &TokenPlace,
) {
    match place {
        TokenPlace::Header(name) => drop(headers.remove(name)),
        TokenPlace::Cookie(name) => drop(set_cookies::take(headers, name)),
        TokenPlace::Member(path) => drop(members.and_then(|members| path.take(members))),
    }
}

/// Takes the tokens out of a login's answer. An answer without success (a wrong password) passes.
async fn take(
    response: Response<Body>,
    route: &Route,
    (capture, cookies): (&Capture, &Session),
    before: Before,
    published: &Published,
    core: &Core,
) -> Result<Response<Body>, Rejection> {
    let (mut parts, body) = response.into_parts();
    let redirects = parts.status.is_redirection();
    let captures = parts.status.is_success() || (capture.is_of_head() && redirects);
    if !captures {
        capture.places().for_each(|place| remove(&mut parts.headers, None, place));
        return Ok(Response::from_parts(parts, body));
    }
    let mut content = match capture.needs_body() && !redirects {
        false => Content::Unread(body),
        true => Content::Read(read(&parts.headers, body).await.map_err(Rejection::Capture)?),
    };
    let access = taken(&mut parts.headers, &mut content, &capture.token)?;
    let refresh = match &capture.refresh {
        Some(place) => taken(&mut parts.headers, &mut content, place)?,
        None => None,
    };
    for place in &capture.remove {
        remove(&mut parts.headers, content.members(), place);
    }
    let mut set = Vec::new();
    match access {
        Some(access) => {
            let signed = verified(&access, route, published, core).await?;
            let refresh = refresh.filter(|_| signed.policy().renewed);
            let name = Named::of(&signed).map_err(Rejection::Capture)?;
            before.end(&signed, refresh.as_deref(), &core.desk).await?;
            let renewed = refresh.is_some();
            let generation = before.begin(&signed, &name, renewed, &core.desk).await?;
            let now = UnixMs::now();
            let kept = refresh.map(|token| name.keep(&signed, generation, token, now));
            let cookies = cookies.set(&before.brought, &access, &signed, kept.as_ref(), now);
            // A session that was ended before, or meanwhile, is not begun.
            if let Some(hit) = published.denylist.check(signed.marks()) {
                return Err(Rejection::Denied(hit));
            }
            set = cookies.ok_or(Rejection::Capture(CaptureFault::Cookies))?;
        }
        None if capture.optional && refresh.is_none() => {}
        None => return Err(Rejection::Capture(CaptureFault::Absent)),
    }
    let body = match content {
        Content::Unread(body) => body,
        Content::Read(members) => {
            // It is another representation now.
            for name in [&CONTENT_LENGTH, &ETAG, &LAST_MODIFIED, &CONTENT_DIGEST, &DIGEST] {
                parts.headers.remove(name);
            }
            Body::full(Bytes::from(Value::Object(members).to_string()))
        }
    };
    parts.headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let mut response = Response::from_parts(parts, body);
    super::add_cookies(response.headers_mut(), set);
    Ok(response)
}

const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");
const DIGEST: HeaderName = HeaderName::from_static("digest");

async fn read(
    headers: &HeaderMap,
    body: Body,
) -> Result<serde_json::Map<String, Value>, CaptureFault> {
    let encoded = headers.get_all(CONTENT_ENCODING).iter();
    if encoded.into_iter().any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(CaptureFault::Encoded);
    }
    let essence = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let essence = essence.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    if essence != "application/json" && !essence.ends_with("+json") {
        return Err(CaptureFault::NotJson);
    }
    let reading = Limited::new(body, BODY_BYTES_MAX).collect();
    match tokio::time::timeout(BODY_TIMEOUT, reading).await {
        Ok(Ok(body)) => json::object(&body.to_bytes()).map_err(|_| CaptureFault::NotJson),
        Ok(Err(fault)) if fault.is::<http_body_util::LengthLimitError>() => {
            Err(CaptureFault::TooLong)
        }
        Ok(Err(_)) | Err(_) => Err(CaptureFault::Broken),
    }
}

/// The token at a place, which leaves the answer with it.
fn taken(
    headers: &mut HeaderMap,
    content: &mut Content,
    place: &TokenPlace,
) -> Result<Option<String>, Rejection> {
    let absent = || Rejection::Capture(CaptureFault::Absent);
    match (place, content) {
        (TokenPlace::Header(name), _) => {
            if headers.get_all(name).iter().count() > 1 {
                return Err(absent());
            }
            let Some(value) = headers.remove(name) else { return Ok(None) };
            let text = value.to_str().map_err(|_| absent())?;
            let token = text.strip_prefix("Bearer ").unwrap_or(text).trim();
            Ok((!token.is_empty()).then(|| token.to_owned()))
        }
        (TokenPlace::Cookie(name), _) => match set_cookies::take(headers, name).as_slice() {
            [] => Ok(None),
            [only] => Ok((!only.is_empty()).then(|| only.clone())),
            _ => Err(absent()),
        },
        (TokenPlace::Member(path), Content::Read(members)) => match path.take(members) {
            Some(Value::String(token)) if !token.is_empty() => Ok(Some(token)),
            None | Some(Value::Null) => Ok(None),
            Some(
                Value::String(_)
                | Value::Bool(_)
                | Value::Number(_)
                | Value::Array(_)
                | Value::Object(_),
            ) => Err(absent()),
        },
        (TokenPlace::Member(_), Content::Unread(_)) => Ok(None),
    }
}

/// It must pass as any token must, by now and not by when the login was asked for; a login does not
/// lead around a denial. Of a provider that has just rotated this may be the first token by its new
/// key: the keys are fetched for it as for any other. If it fails, the browser is not to blame.
async fn verified(
    access: &str,
    route: &Route,
    published: &Published,
    core: &Core,
) -> Result<Arc<Signed>, Rejection> {
    let credential = Credential::new(access);
    let judging =
        credential::judge_by_fresh_keys(core, &credential, published, UnixMs::now(), false);
    let token = Box::pin(judging).await.map_err(|refused| unusable(refused.fault))?;
    let signed = token.signed();
    credential::issuer_taken(route, signed)?;
    match published.denylist.check(signed.marks()) {
        // Where tokens must be registered, the login is what registers this one.
        Some(hit) if !hit.is_absence() => Err(Rejection::Denied(hit)),
        Some(_) | None => Ok(Arc::clone(signed)),
    }
}

/// What could not be judged may be good in a moment; anything else is the backend's fault.
fn unusable(fault: TokenFault) -> Rejection {
    if fault.is_unjudged() {
        return Rejection::Token(fault);
    }
    Rejection::Capture(CaptureFault::Token(fault.reason()))
}
