//! `[issuer.renewal]`: how a session gets its next access token, from an OAuth 2.0 token endpoint
//! (RFC 6749 section 6) or from a plain endpoint of a backend that takes JSON and answers JSON.

use std::time::Duration;

use http::{HeaderName, Uri};

use super::TokenPlace;
use super::capture::place;
use super::cursor::{Table, show};
use super::diagnostic::{Code, Diagnostic};
use super::item::Item;
use super::keys::{UrlFault, authorities, url};
use super::secrets::{secret_file, secret_variable};
use crate::secret::Secret;
use crate::token::ClaimPath;

const SECOND: Duration = Duration::from_secs(1);
/// Longer than a request waits: what was sent may have spent the refresh token, so that its answer is
/// worth waiting for.
const TIMEOUT: Duration = Duration::from_secs(20);

/// How an issuer's sessions are renewed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Renewal {
    pub at: RenewAt,
    /// So long before an access token ends it is renewed, and never before half of its life.
    pub ahead: Duration,
    /// For a whole call.
    pub timeout: Duration,
    /// Certificates in PEM that are trusted in the place of the system's.
    pub ca: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RenewAt {
    /// A token endpoint (RFC 6749 section 6).
    TokenUrl {
        url: Uri,
        client: OauthClient,
        /// Where refresh tokens are revoked (RFC 7009).
        revoke: Option<Uri>,
    },
    Endpoint(PlainEndpoint),
}

/// Who the gateway is to the token endpoint.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OauthClient {
    pub id: String,
    /// `None`: a public client.
    pub secret: Option<Secret>,
    /// The secret goes into the form rather than into `Authorization: Basic`.
    pub in_form: bool,
}

/// A backend's own endpoint: POST, JSON in, JSON out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PlainEndpoint {
    pub url: Uri,
    /// Where in the request the refresh token goes.
    pub send: TokenPlace,
    /// Where in the answer the new tokens are.
    pub token: TokenPlace,
    pub refresh: Option<TokenPlace>,
}

impl Renewal {
    /// Where it is asked.
    pub fn url(&self) -> &Uri {
        match &self.at {
            RenewAt::TokenUrl { url, .. } => url,
            RenewAt::Endpoint(endpoint) => &endpoint.url,
        }
    }
}

/// `None`: the issuer's sessions are not renewed, or a diagnostic says what is wrong.
pub fn renewal(issuer: &Table<'_>) -> Option<Renewal> {
    let is_there = issuer.has("renewal");
    let table = issuer.table("renewal", "issuer.renewal");
    let allow_http = table.boolean("allow_http", false);
    let token_url = table.get("token_url");
    let endpoint = table.get("endpoint");
    if is_there {
        one_of(&table, token_url.as_ref(), endpoint.as_ref());
    }
    let revoke = table.get("revoke_url");
    let client = client(&table, token_url.is_some());
    let plain = plain(&table, allow_http);
    let at = match &token_url {
        Some(item) => {
            let revoke = revoke.as_ref().and_then(|item| address(item, allow_http));
            let url = address(item, allow_http);
            url.zip(client).map(|(url, client)| RenewAt::TokenUrl { url, client, revoke })
        }
        None => {
            for item in revoke.iter().chain(&client_keys(&table)) {
                let message = format!("`{}` goes with `token_url`", show(&item.key));
                let diagnostic = Diagnostic::error(Code::Exclusive, message);
                table.reader.report(&item.key_span, diagnostic);
            }
            plain.map(RenewAt::Endpoint)
        }
    };
    let ahead = table.duration("ahead", 60 * SECOND, Duration::ZERO..=3600 * SECOND);
    let timeout = table.duration("timeout", TIMEOUT, SECOND / 10..=60 * SECOND);
    let ca = table.get("ca").and_then(|item| authorities(&item));
    table.finish();
    Some(Renewal { at: at?, ahead, timeout, ca })
}

fn one_of(table: &Table<'_>, token_url: Option<&Item<'_>>, endpoint: Option<&Item<'_>>) {
    match (token_url, endpoint) {
        (Some(_), Some(item)) => {
            let message = "sessions are renewed at exactly one of `token_url` and `endpoint`";
            table.reader.report(&item.key_span, Diagnostic::error(Code::Exclusive, message));
        }
        (None, None) => table.require_also("token_url"),
        (Some(_), None) | (None, Some(_)) => {}
    }
}

const CLIENT_KEYS: [&str; 4] =
    ["client_id", "client_secret_file", "client_secret_env", "client_auth"];

fn client_keys<'r>(table: &Table<'r>) -> Vec<Item<'r>> {
    CLIENT_KEYS.iter().filter_map(|key| table.get(key)).collect()
}

fn client(table: &Table<'_>, needed: bool) -> Option<OauthClient> {
    let id = if needed { table.required("client_id") } else { table.get("client_id") };
    let id = id.and_then(|item| item.string()).filter(|text| {
        if text.value.is_empty() {
            let diagnostic = Diagnostic::error(Code::Empty, "`client_id` is empty");
            table.reader.report(&text.span, diagnostic);
        }
        !text.value.is_empty()
    });
    let (file, variable) = (table.get("client_secret_file"), table.get("client_secret_env"));
    if let (Some(_), Some(item)) = (&file, &variable) {
        let message = "the client's secret comes from one of `client_secret_file` and \
                       `client_secret_env`";
        table.reader.report(&item.key_span, Diagnostic::error(Code::Exclusive, message));
    }
    let secret = file.as_ref().and_then(secret_file);
    let secret = secret.or_else(|| variable.as_ref().and_then(secret_variable));
    let in_form = table.choice("client_auth", false, &[("basic", false), ("form", true)]);
    Some(OauthClient { id: id?.value, secret: secret.map(Secret::new), in_form })
}

fn plain(renewal: &Table<'_>, allow_http: bool) -> Option<PlainEndpoint> {
    let is_there = renewal.has("endpoint");
    let table = renewal.table("endpoint", "issuer.renewal.endpoint");
    let required = |key| if is_there { table.required(key) } else { table.get(key) };
    let url = required("url").and_then(|item| address(&item, allow_http));
    let token = required("token").and_then(|item| place(&item));
    let send = match table.get("send") {
        Some(item) => place(&item),
        None => Some(TokenPlace::Member(ClaimPath::Name("refresh_token".to_owned()))),
    };
    let refresh = table.get("refresh").and_then(|item| place(&item));
    table.finish();
    let endpoint = PlainEndpoint { url: url?, send: send?, token: token?, refresh };
    if let (TokenPlace::Header(name), Some(item)) = (&endpoint.send, table.get("send"))
        && OURS.contains(name)
    {
        let message = format!("the refresh token cannot go into {name}, which says something else");
        table.reader.report(&item.span, Diagnostic::error(Code::BadCapture, message));
    }
    Some(endpoint)
}

/// Headers of the request that the HTTP client sets.
const OURS: [HeaderName; 5] = [
    http::header::HOST,
    http::header::CONTENT_LENGTH,
    http::header::CONTENT_TYPE,
    http::header::TRANSFER_ENCODING,
    http::header::CONNECTION,
];

/// A URL that refresh tokens may be sent to.
fn address(item: &Item<'_>, allow_http: bool) -> Option<Uri> {
    let text = item.string()?;
    let diagnostic = match url(&text.value, allow_http) {
        Ok(url) => return Some(url),
        Err(UrlFault::Form) => {
            let message = format!("`{}` is not a URL to renew sessions at", show(&item.key));
            Diagnostic::error(Code::BadUrl, message)
                .help("\"https://id.example.com/oauth/token\", without user and fragment")
        }
        Err(UrlFault::Insecure) => {
            let message = format!(
                "\"{}\" is plain HTTP: whoever is on the way could read refresh tokens",
                show(&text.raw)
            );
            Diagnostic::error(Code::InsecureRenewal, message)
                .help("https://, or allow_http = true for a network you trust")
        }
    };
    item.reader.report(&item.span, diagnostic);
    None
}
