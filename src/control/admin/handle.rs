//! One request: guard → credential → endpoint → answer. The outer function gives every answer its
//! request id and the headers that all have, and sees to what was not read.

use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body::Body;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde_json::{Value, json};

use crate::clock::UnixMs;

use super::Api;
use super::answer::{Answer, AnswerBody};
use super::audit::audit;
use super::batch::batch;
use super::caller::{Caller, Peer};
use super::endpoints::{self, Found, Operation};
use super::exchange::{export, import};
use super::explain::explain;
use super::first_credential::random;
use super::guard::Door;
use super::idempotency::create_once;
use super::leftover::lend;
use super::problem::Refused;
use super::query::{Query, decoded};
use super::{
    config, events, json, keys, list, openapi, registrations, sessions, status, streams, undo,
    undo_matching, upstreams,
};

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
    let (body, leftover) = lend(body);
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
    api.calls.answered(parts.uri.path(), answer.status());
    let headers = answer.headers_mut();
    if let Ok(value) = HeaderValue::try_from(id) {
        headers.insert("x-request-id", value);
    }
    headers.insert("x-portcullis-api", HeaderValue::from_static("1"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if !headers.contains_key(header::CONNECTION) && !leftover.clear(&parts.headers).await {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    answer
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
    let found = endpoints::find(&parts.method, parts.uri.path());
    // Probes come by any name and without a credential; they say nothing else.
    match found {
        Found::Operation(Operation::Live, _) => {
            return Answer::json(StatusCode::OK, &json!({"live": true}));
        }
        Found::Operation(Operation::Ready, _) => {
            return match api.is_ready() {
                true => Answer::json(StatusCode::OK, &json!({"ready": true})),
                false => Err(Refused::NotReady),
            };
        }
        Found::Operation(..) | Found::OtherMethods(_) | Found::Nothing => {}
    }
    let local = match peer {
        Peer::Tcp { local, .. } => Some(local),
        Peer::Unix { .. } => None,
    };
    let settings = api.settings();
    Door { local, hosts: &settings.hosts }.check(parts)?;
    let caller = Caller::authenticate(&parts.headers, peer, &settings.tokens, &api.throttle, now)?;
    let (operation, id) = match found {
        Found::Operation(operation, id) => (operation, decoded(id).ok_or(Refused::NoSuchPath)?),
        Found::OtherMethods(allow) => return Err(Refused::MethodNotAllowed { allow }),
        Found::Nothing => return Err(Refused::NoSuchPath),
    };
    let query = parts.uri.query().unwrap_or_default();
    known_parameters(operation, query)?;
    let headers = &parts.headers;
    match operation {
        Operation::Live | Operation::Ready => Err(Refused::NoSuchPath),
        Operation::OpenApi => openapi::answer(&caller),
        Operation::Create(verb) => {
            let body = required(read(headers, body).await?)?;
            create_once(api, &caller, verb, headers, body, now).await
        }
        Operation::ListDenials => list::list(api, &caller, query, now),
        Operation::Batch => batch(api, caller, parts, body),
        Operation::Export => export(api, caller, parts),
        Operation::Import => import(api, &caller, parts, body).await,
        Operation::ReadDenial => list::get(api, &caller, &id),
        Operation::DeleteDenial => undo::undo(api, &caller, &id, None).await,
        Operation::UndoDenial => undo::undo(api, &caller, &id, read(headers, body).await?).await,
        Operation::UndoMatching => {
            let body = required(read(headers, body).await?)?;
            undo_matching::undo_matching(api, &caller, body, now).await
        }
        Operation::Register => {
            let body = required(read(headers, body).await?)?;
            registrations::register(api, &caller, body, now).await
        }
        Operation::ListRegistrations => registrations::list(api, &caller, query, now),
        Operation::ReadRegistration => registrations::get(api, &caller, &id),
        Operation::DeleteRegistration => registrations::remove(api, &caller, &id, None, now).await,
        Operation::RemoveRegistration => {
            registrations::remove(api, &caller, &id, read(headers, body).await?, now).await
        }
        Operation::Explain => {
            explain(api, &caller, required(read(headers, body).await?)?, now).await
        }
        Operation::Audit => audit(api, caller, parts, now),
        Operation::People => status::people(api, &caller, query, now).await,
        Operation::Sessions => sessions::list(api, &caller, query, now),
        Operation::DeleteSession => sessions::end(api, &caller, &id, None, now).await,
        Operation::EndSession => {
            sessions::end(api, &caller, &id, read(headers, body).await?, now).await
        }
        Operation::Status => status::status(api, &caller),
        Operation::Upstreams => upstreams::upstreams(api, &caller),
        Operation::ListStreams => streams::list(api, &caller, query).await,
        Operation::ReadStream => streams::get(api, &caller, &id).await,
        Operation::CutStream => streams::cut(api, &caller, &id).await,
        Operation::Keys => keys::keys(api, &caller),
        Operation::RefreshKeys => keys::refresh(api, &caller, read(headers, body).await?).await,
        Operation::Config => config::config(api, &caller),
        Operation::Reload => config::reload(api, &caller, read(headers, body).await?).await,
        Operation::CheckConfig => config::check(api, &caller, read(headers, body).await?).await,
        Operation::Events => events::events(api, caller, parts),
    }
}

/// An endpoint that has parameters refuses those that it does not know by itself.
fn known_parameters(operation: Operation, query: &str) -> Result<(), Refused> {
    if operation.has_parameters() {
        return Ok(());
    }
    let faults = Query::parse(query).finish(&[]);
    if faults.is_empty() { Ok(()) } else { Err(Refused::InvalidQuery(faults)) }
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
