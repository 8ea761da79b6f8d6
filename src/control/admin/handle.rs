//! One request: guard → credential → endpoint → answer. The outer function gives every answer its
//! request id and the headers that all have.

use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::Body;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde_json::{Value, json};

use crate::clock::UnixMs;

use super::Api;
use super::answer::{Answer, AnswerBody};
use super::audit::audit;
use super::batch::batch;
use super::caller::{Caller, Peer};
use super::exchange::{export, import};
use super::explain::explain;
use super::first_credential::random;
use super::guard::Door;
use super::idempotency::create_once;
use super::plan::Verb;
use super::problem::Refused;
use super::query::decoded;
use super::{json, keys, list, status, undo};

/// Enough for any token; a batch is another endpoint.
const BODY_BYTES_MAX: usize = 64 * 1024;
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Answers a request.
pub(super) async fn handle<B>(
    api: &Arc<Api>,
    peer: Peer,
    request: Request<B>,
) -> Response<AnswerBody>
where
    B: Body<Data: Send, Error: Send> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let now = UnixMs::now();
    let id = request_id();
    let (parts, body) = request.into_parts();
    let mut answer = match endpoint(api, peer, &parts, body, now).await {
        Ok(answer) => answer.into_response(),
        Err(refused) => {
            tracing::debug!(
                target: "portcullis::admin",
                request_id = id,
                code = refused.code(),
                status = refused.status().as_u16(),
                "refused"
            );
            refused.answer(&id)
        }
    };
    let headers = answer.headers_mut();
    if let Ok(value) = HeaderValue::try_from(id) {
        headers.insert("x-request-id", value);
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}

/// What a path means. Ids are still percent-encoded.
enum Place<'p> {
    Live,
    Ready,
    Make(Verb),
    Denials,
    Batch,
    Export,
    Import,
    Denial(&'p str),
    Undo(&'p str),
    Explain,
    Audit,
    People,
    Status,
    Keys,
    KeysRefresh,
}

impl<'p> Place<'p> {
    fn of(path: &'p str) -> Option<Self> {
        Some(match path {
            "/livez" => Self::Live,
            "/readyz" => Self::Ready,
            "/v1/revoke" => Self::Make(Verb::Revoke),
            "/v1/block" => Self::Make(Verb::Block),
            "/v1/denials" => Self::Denials,
            "/v1/denials/batch" => Self::Batch,
            "/v1/denials/export" => Self::Export,
            "/v1/denials/import" => Self::Import,
            "/v1/explain" => Self::Explain,
            "/v1/audit" => Self::Audit,
            "/v1/people" => Self::People,
            "/v1/status" => Self::Status,
            "/v1/keys" => Self::Keys,
            "/v1/keys/refresh" => Self::KeysRefresh,
            _ => {
                let rest = path.strip_prefix("/v1/denials/")?;
                match rest.split_once('/') {
                    None => Self::Denial(rest),
                    Some((id, "undo")) => Self::Undo(id),
                    Some(_) => return None,
                }
            }
        })
    }

    fn allow(&self) -> &'static str {
        match self {
            Self::Live
            | Self::Ready
            | Self::People
            | Self::Status
            | Self::Keys
            | Self::Export
            | Self::Audit => "GET, HEAD",
            Self::Make(_)
            | Self::Undo(_)
            | Self::Explain
            | Self::KeysRefresh
            | Self::Batch
            | Self::Import => "POST",
            Self::Denials => "GET, HEAD, POST",
            Self::Denial(_) => "GET, HEAD, DELETE",
        }
    }
}

async fn endpoint<B>(
    api: &Arc<Api>,
    peer: Peer,
    parts: &Parts,
    body: B,
    now: UnixMs,
) -> Result<Answer, Refused>
where
    B: Body<Data: Send, Error: Send> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let place = Place::of(parts.uri.path());
    let get = matches!(parts.method, Method::GET | Method::HEAD);
    // Probes come by any name and without a credential; they say nothing else.
    match place {
        Some(Place::Live) if get => return Answer::json(StatusCode::OK, &json!({"live": true})),
        Some(Place::Ready) if get => {
            return match api.is_ready() {
                true => Answer::json(StatusCode::OK, &json!({"ready": true})),
                false => Err(Refused::NotReady),
            };
        }
        _ => {}
    }
    let local = match peer {
        Peer::Tcp { local, .. } => Some(local),
        Peer::Unix { .. } => None,
    };
    Door { local, hosts: &api.hosts }.check(parts)?;
    let caller = Caller::authenticate(&parts.headers, peer, &api.tokens, &api.throttle, now)?;
    let place = place.ok_or(Refused::NoSuchPath)?;
    let query = parts.uri.query().unwrap_or_default();
    let headers = &parts.headers;
    let id = |id: &str| decoded(id).ok_or(Refused::NoSuchPath);
    let post = parts.method == Method::POST;
    match place {
        Place::Make(verb) if post => {
            let body = required(read(headers, body).await?)?;
            create_once(api, &caller, verb, headers, body, now).await
        }
        Place::Denials if post => {
            let body = required(read(headers, body).await?)?;
            create_once(api, &caller, Verb::Deny, headers, body, now).await
        }
        Place::Batch if post => batch(api, caller, parts, body),
        Place::Export if get => export(api, caller, parts),
        Place::Import if post => import(api, &caller, parts, body).await,
        Place::Denials if get => list::list(api, &caller, query, now),
        Place::Denial(text) if get => list::get(api, &caller, &id(text)?),
        Place::Denial(text) if parts.method == Method::DELETE => {
            undo::undo(api, &caller, &id(text)?, None).await
        }
        Place::Undo(text) if post => {
            undo::undo(api, &caller, &id(text)?, read(headers, body).await?).await
        }
        Place::Explain if post => explain(api, &caller, required(read(headers, body).await?)?, now),
        Place::Audit if get => audit(api, caller, parts, now),
        Place::People if get => status::people(api, &caller, query, now),
        Place::Status if get => status::status(api, &caller),
        Place::Keys if get => keys::keys(api, &caller),
        Place::KeysRefresh if post => keys::refresh(api, &caller, read(headers, body).await?).await,
        Place::Live
        | Place::Ready
        | Place::Make(_)
        | Place::Denials
        | Place::Batch
        | Place::Export
        | Place::Import
        | Place::Denial(_)
        | Place::Undo(_)
        | Place::Explain
        | Place::Audit
        | Place::People
        | Place::Status
        | Place::Keys
        | Place::KeysRefresh => Err(Refused::MethodNotAllowed { allow: place.allow() }),
    }
}

/// A JSON body; `None`: empty.
async fn read<B>(headers: &HeaderMap, body: B) -> Result<Option<Value>, Refused>
where
    B: Body,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    if !is_json(headers) {
        return Err(Refused::NotJson);
    }
    let collected = Limited::new(body, BODY_BYTES_MAX).collect();
    let body = match tokio::time::timeout(BODY_TIMEOUT, collected).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(fault)) if fault.is::<LengthLimitError>() => {
            return Err(Refused::BodyTooLarge { limit_bytes: BODY_BYTES_MAX });
        }
        Ok(Err(_)) => return Err(Refused::BodyBroken),
        Err(_) => return Err(Refused::BodyTimeout),
    };
    if body.is_empty() {
        return Ok(None);
    }
    json::parse(&body).map(Some)
}

fn required(body: Option<Value>) -> Result<Value, Refused> {
    body.map_or_else(|| json::parse(b""), Ok)
}

/// `application/json`, parameters aside. What a page of another site can send without asking
/// first (text/plain, forms) is not.
fn is_json(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return false };
    let Ok(text) = value.to_str() else { return false };
    let essence = text.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}

/// 80 random bits.
fn request_id() -> String {
    const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let bytes = random::<16>().map(|bytes| *bytes).unwrap_or_default();
    let digit = |byte: &u8| DIGITS.get(usize::from(byte & 31)).copied().unwrap_or(b'0');
    bytes.iter().map(|byte| char::from(digit(byte))).collect()
}
