//! One fetch: bounded in time, in bytes and in where it may be led. What comes back is bytes and
//! what the server said about them; whether they are keys is judged elsewhere.

use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ACCEPT, CONTENT_ENCODING, ETAG, HeaderValue, IF_NONE_MATCH, LOCATION, USER_AGENT,
};
use http::{Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use crate::clock::UnixMs;
use crate::config::{RemoteKeys, is_loopback};
use crate::control::outbound;
use crate::keys::JWKS_BYTES_MAX;

use super::schedule;

const REDIRECTS_MAX: usize = 3;

/// Why a fetch failed, for people. Holds no header and no byte of the answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FetchFault {
    /// No certificate to trust.
    Trust(String),
    Timeout(Duration),
    /// The chain of causes: name not found, connection refused, certificate expired …
    Connection(String),
    Status(StatusCode),
    /// More bytes than any key set has.
    TooLarge,
    /// Compressed although nobody asked for it.
    Encoded,
    /// A redirect to another host, to plain HTTP, or one too many; where to, without its query.
    Redirect(String),
    /// The document of discovery, or the key set, is not what it must be.
    Content(String),
}

/// A whole answer.
#[derive(Debug)]
pub enum Fetched {
    /// 304: what the ETag names still holds.
    Same {
        fresh: Option<Duration>,
    },
    New {
        body: Bytes,
        etag: Option<HeaderValue>,
        fresh: Option<Duration>,
    },
}

/// Fetches for one source; holds its trust.
pub struct Fetcher {
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    timeout: Duration,
    allow_http: bool,
    allow_redirects: bool,
}

impl Fetcher {
    pub fn new(remote: &RemoteKeys) -> Result<Self, FetchFault> {
        let connector = outbound::connector(remote.ca.as_deref(), remote.timeout);
        let connector = connector.map_err(FetchFault::Trust)?;
        // A fetch is minutes after the one before: nothing is kept open for it.
        let client =
            Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
        Ok(Self {
            client,
            timeout: remote.timeout,
            allow_http: remote.allow_http,
            allow_redirects: remote.allow_redirects,
        })
    }

    /// GET, with every limit. `etag` is that of what is held already.
    pub async fn get(&self, url: &Uri, etag: Option<&HeaderValue>) -> Result<Fetched, FetchFault> {
        let fetching = self.follow(url, etag);
        match tokio::time::timeout(self.timeout, fetching).await {
            Ok(result) => result,
            Err(_) => Err(FetchFault::Timeout(self.timeout)),
        }
    }

    async fn follow(&self, url: &Uri, etag: Option<&HeaderValue>) -> Result<Fetched, FetchFault> {
        let mut at = url.clone();
        for _ in 0..=REDIRECTS_MAX {
            let answer = self.ask(&at, etag).await?;
            if !answer.status().is_redirection() || answer.status() == StatusCode::NOT_MODIFIED {
                return read(answer, etag.is_some()).await;
            }
            at = self.next(&at, &answer)?;
        }
        Err(FetchFault::Redirect("one redirect after another".to_owned()))
    }

    async fn ask(
        &self,
        url: &Uri,
        etag: Option<&HeaderValue>,
    ) -> Result<Response<Incoming>, FetchFault> {
        let mut request = Request::get(url.clone())
            .header(ACCEPT, "application/json, application/jwk-set+json")
            .header(USER_AGENT, concat!("portcullis/", env!("CARGO_PKG_VERSION")));
        if let Some(etag) = etag {
            request = request.header(IF_NONE_MATCH, etag);
        }
        let request = request.body(Empty::new());
        let request = request.map_err(|error| FetchFault::Connection(error.to_string()))?;
        self.client
            .request(request)
            .await
            .map_err(|error| FetchFault::Connection(outbound::causes(&error)))
    }

    /// Where a redirect leads, if it may: never from TLS to none, never off this machine by
    /// loopback's leave, and to another host only where that was allowed.
    fn next(&self, from: &Uri, answer: &Response<Incoming>) -> Result<Uri, FetchFault> {
        let location = answer.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        let to = location.and_then(|location| resolve(from, location));
        let to = to.ok_or_else(|| FetchFault::Redirect("nowhere".to_owned()))?;
        let same = from.scheme() == to.scheme() && from.authority() == to.authority();
        if same || (self.allow_redirects && self.may_ask(&to)) {
            return Ok(to);
        }
        let shown = format!(
            "{}://{}",
            to.scheme_str().unwrap_or_default(),
            to.authority().map_or("", |authority| authority.as_str())
        );
        Err(FetchFault::Redirect(shown))
    }

    /// A URL that did not come from the config is taken under the config's rules.
    pub fn may_ask(&self, url: &Uri) -> bool {
        let authority = url.authority().map_or("", |authority| authority.as_str());
        let secure = match url.scheme_str() {
            Some("https") => true,
            Some("http") => self.allow_http || is_loopback(url),
            Some(_) | None => false,
        };
        secure && !authority.is_empty() && !authority.contains('@')
    }
}

/// An absolute URL, or an absolute path on the same host.
fn resolve(from: &Uri, location: &str) -> Option<Uri> {
    let to: Uri = location.parse().ok()?;
    if to.scheme().is_some() {
        return Some(to);
    }
    if !location.starts_with('/') || location.starts_with("//") {
        return None;
    }
    let mut parts = from.clone().into_parts();
    parts.path_and_query = Some(to.path_and_query()?.clone());
    Uri::from_parts(parts).ok()
}

async fn read(answer: Response<Incoming>, conditional: bool) -> Result<Fetched, FetchFault> {
    let (head, body) = answer.into_parts();
    let fresh = schedule::freshness(&head.headers, UnixMs::now());
    if head.status == StatusCode::NOT_MODIFIED && conditional {
        return Ok(Fetched::Same { fresh });
    }
    if head.status != StatusCode::OK {
        return Err(FetchFault::Status(head.status));
    }
    let identity = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
    if head.headers.get(CONTENT_ENCODING).is_some_and(|value| !identity(value)) {
        return Err(FetchFault::Encoded);
    }
    let body =
        Limited::new(body, JWKS_BYTES_MAX).collect().await.map_err(|error| match error
            .is::<LengthLimitError>(
        ) {
            true => FetchFault::TooLarge,
            false => FetchFault::Connection("the answer broke off".to_owned()),
        })?;
    Ok(Fetched::New { body: body.to_bytes(), etag: head.headers.get(ETAG).cloned(), fresh })
}

impl std::fmt::Display for FetchFault {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Timeout(after) => write!(out, "no whole answer within {} ms", after.as_millis()),
            Self::Trust(causes) | Self::Connection(causes) => out.write_str(causes),
            Self::Status(status) => write!(out, "answered {}", status.as_u16()),
            Self::TooLarge => write!(out, "the answer is larger than {JWKS_BYTES_MAX} bytes"),
            Self::Encoded => out.write_str("the answer is compressed, which was not asked for"),
            Self::Redirect(to) => write!(out, "redirected to {to}, which is not followed"),
            Self::Content(why) => out.write_str(why),
        }
    }
}

impl std::error::Error for FetchFault {}
