//! One fetch: bounded in time, in bytes and in where it may be led. What comes back is bytes and
//! what the server said about them; whether they are keys is judged elsewhere.

use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, ETAG, HeaderValue, IF_NONE_MATCH, LOCATION,
    USER_AGENT,
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
    Status {
        status: StatusCode,
        /// How long the server wants to be left alone.
        retry_after: Option<Duration>,
    },
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
#[derive(Clone)]
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
            // Without it any coding would be acceptable (RFC 9110 section 12.5.3).
            .header(ACCEPT_ENCODING, "identity")
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

    /// Where a redirect leads, if it may: to another host only where that was allowed.
    fn next(&self, from: &Uri, answer: &Response<Incoming>) -> Result<Uri, FetchFault> {
        let location = answer.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        let to = location.and_then(|location| resolve(from, location));
        let to = to.ok_or_else(|| FetchFault::Redirect("nowhere".to_owned()))?;
        let same = from.scheme() == to.scheme() && from.authority() == to.authority();
        if same || (self.allow_redirects && self.may_lead(from, &to)) {
            return Ok(to);
        }
        let shown = format!(
            "{}://{}",
            to.scheme_str().unwrap_or_default(),
            to.authority().map_or("", |authority| authority.as_str())
        );
        Err(FetchFault::Redirect(shown))
    }

    /// A URL that a server named is taken under the config's rules: never from TLS to none, whatever
    /// they allow, and not from elsewhere to what listens on this machine alone.
    pub fn may_lead(&self, from: &Uri, to: &Uri) -> bool {
        let authority = to.authority().map_or("", |authority| authority.as_str());
        let was_plain = from.scheme_str() == Some("http");
        let secure = match to.scheme_str() {
            Some("https") => true,
            Some("http") => was_plain && (self.allow_http || is_loopback(to)),
            Some(_) | None => false,
        };
        let inwards = is_loopback(to) && !is_loopback(from);
        secure && !inwards && !authority.is_empty() && !authority.contains('@')
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
        let retry_after = schedule::retry_after(&head.headers, UnixMs::now());
        return Err(FetchFault::Status { status: head.status, retry_after });
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

impl FetchFault {
    /// How long the server wants to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        if let Self::Status { retry_after, .. } = self { *retry_after } else { None }
    }
}

impl std::fmt::Display for FetchFault {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Timeout(after) => write!(out, "no whole answer within {} ms", after.as_millis()),
            Self::Trust(causes) | Self::Connection(causes) => out.write_str(causes),
            Self::Status { status, .. } => write!(out, "answered {}", status.as_u16()),
            Self::TooLarge => write!(out, "the answer is larger than {JWKS_BYTES_MAX} bytes"),
            Self::Encoded => out.write_str("the answer is compressed, which was not asked for"),
            Self::Redirect(to) => write!(out, "redirected to {to}, which is not followed"),
            Self::Content(why) => out.write_str(why),
        }
    }
}

impl std::error::Error for FetchFault {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_leads_to_no_place_that_is_worse_than_its_own() {
        let mut remote = crate::control::keys::tests::remote();
        let may = |remote: &RemoteKeys, from: &str, to: &str| {
            Fetcher::new(remote).unwrap().may_lead(&from.parse().unwrap(), &to.parse().unwrap())
        };
        let away = "https://id.example.com/keys";
        assert!(may(&remote, away, "https://cdn.example.com/keys"));
        assert!(may(&remote, "http://127.0.0.1:1/", "http://localhost:2/"));
        assert!(may(&remote, "https://localhost:1/", "https://[::1]:2/"));
        remote.allow_http = true;
        assert!(may(&remote, "http://id.internal/", "http://keys.internal/"));
        for inwards in ["https://localhost/", "https://127.0.0.1:8443/", "https://[::1]/"] {
            assert!(!may(&remote, away, inwards), "{inwards}");
            assert!(!may(&remote, "http://id.internal/", inwards), "{inwards}");
        }
        for worse in ["http://cdn.example.com/", "http://localhost:2/", "ftp://a/", "/keys"] {
            assert!(!may(&remote, away, worse), "{worse}");
            assert!(!may(&remote, "https://localhost:1/", worse), "{worse}");
        }
        assert!(!may(&remote, away, "https://user@cdn.example.com/"));
        remote.allow_http = false;
        assert!(!may(&remote, "http://127.0.0.1:1/", "http://id.internal/"));
    }
}
