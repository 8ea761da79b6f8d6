//! One call to whoever renews an issuer's sessions: bounded in time, in bytes and in how many there
//! are at once; never led elsewhere. What comes back is tokens that nobody has judged yet.

use std::sync::atomic::{AtomicI64, Ordering};

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, HeaderValue};
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use crate::clock::UnixMs;
use crate::config::{RenewAt, Renewal};
use crate::control::outbound;

use super::words::{Answer, form, granted, plain, said, taken};

const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Calls to one issuer at once; others wait for as long as a call may take.
const CALLS_MAX: usize = 64;
/// Of revocations, which take no place from renewals.
const REVOCATIONS_MAX: usize = 8;
/// Between two lines of the log about one issuer.
const TELL_EVERY_MS: i64 = 1_000;

/// Who renews the sessions of one issuer.
pub struct Caller {
    pub renewal: Renewal,
    client: outbound::Client,
    calls: Semaphore,
    revocations: Semaphore,
    told_at: AtomicI64,
}

/// New tokens.
pub struct Tokens {
    pub access: Zeroizing<String>,
    /// `None`: the one that was sent goes on being good (RFC 6749 section 6).
    pub refresh: Option<String>,
}

/// Why there are none. Holds no token and no byte that the other side chose, but for an error code.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CallFault {
    /// The refresh token is taken no more.
    Refused(String),
    /// Name not found, connection refused, no answer in time …
    Unreachable(String),
    /// An answer, and not one that helps.
    Answer(String),
    Busy,
}

impl Caller {
    pub fn new(renewal: &Renewal) -> Result<Self, String> {
        let connector = outbound::connector(renewal.ca.as_deref(), renewal.timeout)?;
        // What was sent on a connection that the other side was closing is spent or not, and nobody
        // knows; a new one for each call leaves no such doubt.
        let client =
            Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
        let (calls, revocations) = (Semaphore::new(CALLS_MAX), Semaphore::new(REVOCATIONS_MAX));
        let (renewal, told_at) = (renewal.clone(), AtomicI64::new(0));
        Ok(Self { renewal, client, calls, revocations, told_at })
    }

    /// Hands in a refresh token for new tokens.
    pub async fn renew(&self, refresh: &str) -> Result<Tokens, CallFault> {
        let request = match &self.renewal.at {
            RenewAt::TokenUrl { url, client, .. } => {
                let grant = [("grant_type", "refresh_token"), ("refresh_token", refresh)];
                form(url, client, &grant)
            }
            RenewAt::Endpoint(endpoint) => plain(endpoint, refresh),
        };
        let answer = self.ask(request, &self.calls).await?;
        match &self.renewal.at {
            RenewAt::TokenUrl { .. } => granted(&answer),
            RenewAt::Endpoint(endpoint) => taken(&answer, endpoint),
        }
    }

    /// It wants to know which refresh tokens count no more.
    pub fn revokes(&self) -> bool {
        matches!(&self.renewal.at, RenewAt::TokenUrl { revoke: Some(_), .. })
    }

    /// A refresh token counts no more (RFC 7009), where somebody is to be told.
    pub async fn revoke(&self, refresh: &str) -> Result<(), CallFault> {
        let RenewAt::TokenUrl { client, revoke: Some(url), .. } = &self.renewal.at else {
            return Ok(());
        };
        let token = [("token", refresh), ("token_type_hint", "refresh_token")];
        match self.ask(form(url, client, &token), &self.revocations).await?.status {
            StatusCode::OK => Ok(()),
            status => Err(said(status)),
        }
    }

    /// Now and then: what is wrong with an issuer is wrong for all of its sessions.
    pub fn may_tell(&self, now: UnixMs) -> bool {
        let before = self.told_at.load(Ordering::Relaxed);
        let due = now.0.saturating_sub(before) >= TELL_EVERY_MS;
        if due {
            self.told_at.store(now.0, Ordering::Relaxed);
        }
        due
    }

    async fn ask(
        &self,
        request: http::Result<Request<Full<Bytes>>>,
        places: &Semaphore,
    ) -> Result<Answer, CallFault> {
        let request = request.map_err(|fault| CallFault::Answer(fault.to_string()))?;
        let asking = async {
            let _place = places.acquire().await.map_err(|_| CallFault::Busy)?;
            let answer = self.client.request(request).await;
            let answer =
                answer.map_err(|fault| CallFault::Unreachable(outbound::causes(&fault)))?;
            read(answer).await
        };
        let timeout = self.renewal.timeout;
        tokio::time::timeout(timeout, asking).await.unwrap_or_else(|_| {
            let after = timeout.as_millis();
            Err(CallFault::Unreachable(format!("no whole answer within {after} ms")))
        })
    }
}

async fn read(answer: http::Response<hyper::body::Incoming>) -> Result<Answer, CallFault> {
    let (head, body) = answer.into_parts();
    let identity = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
    if !head.headers.get_all(CONTENT_ENCODING).iter().all(identity) {
        return Err(CallFault::Answer("the answer is compressed".to_owned()));
    }
    let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
    let body = body.map_err(|fault| match fault.is::<LengthLimitError>() {
        true => CallFault::Answer("the answer is longer than 64 KiB".to_owned()),
        false => CallFault::Unreachable("the answer broke off".to_owned()),
    })?;
    Ok(Answer { status: head.status, headers: head.headers, body: body.to_bytes() })
}

impl std::fmt::Display for CallFault {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused(code) => write!(out, "refused: {code}"),
            Self::Unreachable(why) | Self::Answer(why) => out.write_str(why),
            Self::Busy => out.write_str("too many calls at once"),
        }
    }
}
