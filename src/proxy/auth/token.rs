//! `token`: a server is vouched for to the next server, in the name of the person whom it was vouched
//! for itself (RFC 8693). It shows its own secret; no browser has anything to ask here.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, CACHE_CONTROL, HeaderValue, ORIGIN, PRAGMA, WWW_AUTHENTICATE};
use http::{Response, StatusCode};
use serde_json::json;
use zeroize::Zeroizing;

use crate::config::AssertionClient;
use crate::proxy::answer::Rejection;
use crate::proxy::assertion::{ExchangeFault, Issued, Subject, TokenExchange, Vouching};
use crate::proxy::body::Body;
use crate::proxy::credential;
use crate::proxy::failures::Cost;
use crate::proxy::published::Published;
use crate::token::Credential;
use crate::verify::Signed;

use super::form::Form;
use super::{Visit, return_path};

const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// The assertion, or an error of OAuth; what nobody may ask at all is a rejection like any other.
pub async fn token(visit: &mut Visit<'_>) -> Result<Response<Body>, Rejection> {
    let published = visit.published;
    let vouching = published.vouching.as_ref().ok_or(Rejection::NoRoute)?;
    let exchange = vouching.exchange.as_ref().ok_or(Rejection::NoRoute)?;
    if visit.headers().contains_key(ORIGIN) || visit.headers().contains_key("sec-fetch-site") {
        visit.same_site()?;
    }
    let form = Form::read(&mut visit.request).await?;
    let issued = match form {
        Ok(form) => issue(visit, (vouching, exchange), published, &form).await,
        Err(fault) => Err(ExchangeFault::Request(fault).into()),
    };
    let issued = match issued {
        Ok(issued) => issued,
        Err(rejection) => return refused(visit, rejection),
    };
    let mut response = super::json(
        StatusCode::OK,
        &json!({
            "access_token": issued.token,
            "issued_token_type": JWT,
            "token_type": "Bearer",
            "expires_in": issued.expires_in_s,
        }),
    );
    response.headers_mut().insert(PRAGMA, HeaderValue::from_static("no-cache"));
    Ok(response)
}

async fn issue(
    visit: &mut Visit<'_>,
    (vouching, exchange): (&Vouching, &TokenExchange),
    published: &Published,
    form: &Form,
) -> Result<Issued, Rejection> {
    let client = authenticated(visit, exchange, form)?;
    if form.get("grant_type") != Some(GRANT) {
        return Err(ExchangeFault::Grant.into());
    }
    let request = |reason| Rejection::from(ExchangeFault::Request(reason));
    if form.get("scope").is_some() {
        return Err(ExchangeFault::Scope.into());
    }
    if form.get("actor_token").is_some() {
        return Err(request("The client itself acts: leave actor_token out"));
    }
    if form.get("resource").is_some() {
        return Err(request("Servers are named by audience: leave resource out"));
    }
    if !matches!(form.get("requested_token_type"), None | Some(JWT | ACCESS_TOKEN)) {
        return Err(request("requested_token_type is urn:ietf:params:oauth:token-type:jwt"));
    }
    let audience = form.get("audience").ok_or_else(|| request("audience is missing"))?;
    let token = form.get("subject_token").ok_or_else(|| request("subject_token is missing"))?;
    if token.len() > published.token_bytes_max {
        return Err(request("subject_token is too long"));
    }
    let token = Credential::new(token);
    let now = visit.exchange.now();
    let subject = match form.get("subject_token_type") {
        Some(JWT) => {
            let signed = assertion(visit, exchange, &token).await?;
            visit.exchange.known(&signed);
            Subject::of_assertion(signed, client, (visit.core, published), now).await?
        }
        Some(ACCESS_TOKEN) => {
            let held = visit.held(&token).await?;
            visit.exchange.known(&held.signed);
            match held.fault {
                Some(fault) => return Err(fault),
                None => Subject::of_token(held.signed)?,
            }
        }
        _ => return Err(request("subject_token_type is …token-type:jwt or …:access_token")),
    };
    vouching.issue(subject, client, audience, now)
}

/// The client by its secret, in the header or in the body (RFC 6749 section 2.3.1), not in both. A
/// wrong one counts like a made-up token.
fn authenticated<'e>(
    visit: &Visit<'_>,
    exchange: &'e TokenExchange,
    form: &Form,
) -> Result<&'e AssertionClient, Rejection> {
    let basic = visit.headers().get(AUTHORIZATION).map(basic);
    let posted = form.get("client_id").zip(form.get("client_secret"));
    let shown = match (basic, posted) {
        (Some(_), Some(_)) => {
            let reason = "The client shows its secret in one place";
            return Err(ExchangeFault::Request(reason).into());
        }
        (Some(Some(shown)), None) => shown,
        (None, Some((name, secret))) => vec![(name.to_owned(), Zeroizing::new(secret.to_owned()))],
        (Some(None) | None, None) => return Err(ExchangeFault::Client.into()),
    };
    let address = credential::admitted(visit.asker(), visit.published)?;
    let found = shown.iter().find_map(|(name, secret)| exchange.client(name, secret.as_bytes()));
    found.ok_or_else(|| {
        visit.published.failures.note(address, Cost::Failures(1));
        ExchangeFault::Client.into()
    })
}

/// An assertion of ours, checked and counted like any token.
async fn assertion(
    visit: &Visit<'_>,
    exchange: &TokenExchange,
    token: &Credential,
) -> Result<Arc<Signed>, Rejection> {
    let address = credential::admitted(visit.asker(), visit.published)?;
    visit.core.verifications.pass().await;
    exchange.judge(token, visit.exchange.now()).map_err(|refused| {
        visit.published.failures.note(address, Cost::of(&refused));
        Rejection::Token(refused.fault)
    })
}

/// `Basic`: both halves encoded as in a form before (RFC 6749 section 2.3.1), or as they are, which is
/// what `curl -u` sends.
fn basic(value: &HeaderValue) -> Option<Vec<(String, Zeroizing<String>)>> {
    let (scheme, encoded) = value.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = Zeroizing::new(STANDARD.decode(encoded.trim()).ok()?);
    let (name, secret) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    let plain = (name.to_owned(), Zeroizing::new(secret.to_owned()));
    let encoded = return_path::decoded(name).zip(return_path::decoded(secret).map(Zeroizing::new));
    Some(encoded.into_iter().chain([plain]).collect())
}

/// RFC 6749 section 5.2. What has no word there is answered as everywhere.
fn refused(visit: &mut Visit<'_>, rejection: Rejection) -> Result<Response<Body>, Rejection> {
    let good_for_nothing = matches!(rejection, Rejection::Token(_) | Rejection::Denied(_))
        && rejection.status().is_client_error();
    let (status, error) = if let Rejection::Exchange(fault) = &rejection {
        (fault.status(), fault.error())
    } else if good_for_nothing {
        // RFC 8693 section 2.2.2.
        (StatusCode::BAD_REQUEST, "invalid_request")
    } else {
        return Err(rejection);
    };
    visit.exchange.reject(&rejection);
    let (_, detail) = rejection.told(visit.published.answers);
    let body = json!({ "error": error, "error_description": detail });
    let mut response = super::json(status, &body);
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if status == StatusCode::UNAUTHORIZED {
        let challenge = HeaderValue::from_static("Basic realm=\"token exchange\"");
        headers.insert(WWW_AUTHENTICATE, challenge);
    }
    Ok(response)
}
