//! Credentials: found where the route says, one and only one (RFC 6750 section 2), then verified.

use http::header::{AUTHORIZATION, COOKIE, HeaderMap, HeaderValue};

use crate::clock::UnixMs;
use crate::config::{Access, Carrier};
use crate::telemetry::counters::Limit;
use crate::token::Credential;
use crate::verify::{Refused, Signed, TokenFault, VerifiedToken};

use super::answer::{BadRequest, Rejection};
use super::canonical::Canonical;
use super::client_address::Client;
use super::cookie;
use super::core::Core;
use super::failures::Cost;
use super::published::Published;
use super::route::Route;
use super::session::{self, Session};
use super::subprotocol;

/// A credential and what carried it. Not verified.
pub struct Presented<'r> {
    credential: Credential,
    carrier: &'r Carrier,
    /// The client did not bring it: its session was renewed a moment ago.
    renewed: bool,
}

impl<'r> Presented<'r> {
    /// The new token of a session, as if its cookie had brought it.
    pub fn renewed(credential: Credential, carriers: &'r [Carrier]) -> Option<Self> {
        let carrier = carriers.iter().find(|carrier| **carrier == Carrier::Session)?;
        Some(Self { credential, carrier, renewed: true })
    }

    pub fn credential(&self) -> &Credential {
        &self.credential
    }

    pub fn carrier(&self) -> &'r Carrier {
        self.carrier
    }
}

/// A verified token, the credential it came from and what carried it.
pub struct Verified<'r> {
    pub(super) token: VerifiedToken,
    pub(super) credential: Credential,
    pub(super) carrier: &'r Carrier,
    /// The client has not seen it yet.
    pub(super) renewed: bool,
}

/// Finds the request's credential for this route.
pub fn present<'r>(
    request: &Canonical,
    route: &'r Route,
    published: &Published,
) -> Result<Option<Presented<'r>>, Rejection> {
    present_by(&request.parts.headers, &route.credentials, published)
}

/// The one credential that any of these carriers brings.
pub fn present_by<'r>(
    headers: &HeaderMap,
    carriers: &'r [Carrier],
    published: &Published,
) -> Result<Option<Presented<'r>>, Rejection> {
    present_in(headers, carriers, published.token_bytes_max, published.session.as_ref())
}

/// Like [`present_by`]; a longer token is refused.
pub(super) fn present_in<'r>(
    headers: &HeaderMap,
    carriers: &'r [Carrier],
    bytes_max: usize,
    session: Option<&Session>,
) -> Result<Option<Presented<'r>>, Rejection> {
    check_authorization(headers)?;
    let mut found: Option<Presented<'r>> = None;
    for carrier in carriers {
        let token = match carrier {
            Carrier::Bearer => match headers.get(AUTHORIZATION) {
                Some(value) => bearer(value)?.map(Credential::new),
                None => None,
            },
            Carrier::Cookie(name) => cookie_token(headers, name)?.map(Credential::new),
            Carrier::Protocol(name) => subprotocol::token(headers, name)?.map(Credential::new),
            Carrier::Session => session.and_then(|session| session.credential(headers)),
        };
        let Some(credential) = token else { continue };
        match &found {
            None => found = Some(Presented { credential, carrier, renewed: false }),
            // The same token twice is one credential.
            Some(first) if first.credential == credential => {}
            Some(_) => return Err(BadRequest::TwoCredentials.into()),
        }
    }
    let too_long = |found: &Presented<'_>| found.credential.expose().len() > bytes_max;
    if found.as_ref().is_some_and(too_long) {
        return Err(BadRequest::TokenLength.into());
    }
    Ok(found)
}

/// The first that any of these carriers brings, in their order: where the gateway answers itself,
/// an `Authorization` header counts before the session's cookie, and that before the routes' own.
pub(super) fn present_first<'r>(
    headers: &HeaderMap,
    carriers: &'r [Carrier],
    published: &Published,
) -> Result<Option<Presented<'r>>, Rejection> {
    for carrier in carriers.chunks(1) {
        let found = present_by(headers, carrier, published)?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// All that a carrier brings, well-formed or not: for whoever looks at each of them.
pub(super) fn all_of(
    headers: &HeaderMap,
    carrier: &Carrier,
    session: Option<&Session>,
) -> Vec<Credential> {
    match carrier {
        Carrier::Bearer => {
            let values = headers.get_all(AUTHORIZATION).iter();
            let tokens = values.filter_map(|value| bearer(value).ok().flatten());
            tokens.map(Credential::new).collect()
        }
        Carrier::Cookie(name) => {
            let lines = headers.get_all(COOKIE).iter();
            let values = lines.flat_map(|line| cookie::values(line.as_bytes(), name));
            let texts = values.filter_map(|value| std::str::from_utf8(value).ok());
            texts.filter(|text| !text.is_empty()).map(Credential::new).collect()
        }
        Carrier::Protocol(name) => {
            let token = subprotocol::token(headers, name).ok().flatten();
            token.map(Credential::new).into_iter().collect()
        }
        Carrier::Session => session.map(|session| session.credentials(headers)).unwrap_or_default(),
    }
}

/// What a look at a credential came to.
pub struct Judged<'r> {
    pub token: Option<Verified<'r>>,
    /// Why a cookie counts as none: the browser that sends it may be told to forget it.
    pub ignored: Option<Rejection>,
}

impl<'r> Judged<'r> {
    pub fn good(token: Option<Verified<'r>>) -> Self {
        Self { token, ignored: None }
    }

    pub fn ignored(why: Rejection) -> Self {
        Self { token: None, ignored: Some(why) }
    }
}

/// Verifies what was presented. On optional and public routes a bad cookie is as good as none; a bad bearer token is refused everywhere.
pub async fn verify<'r>(
    (core, client, headers): Asker<'_>,
    presented: Option<Presented<'r>>,
    route: &Route,
    published: &Published,
    now: UnixMs,
) -> Result<Judged<'r>, Rejection> {
    let Some(Presented { credential, carrier, renewed }) = presented else {
        return match route.access {
            Access::Required => Err(Rejection::TokenMissing),
            Access::Optional | Access::Public => Ok(Judged::good(None)),
        };
    };
    let verdict = match judge((core, client, headers), &credential, published, now).await {
        Ok(verdict) => verdict.map_err(|refused| refusal(core, refused)),
        Err(rejection) => Err(rejection),
    };
    let verdict = verdict.and_then(|token| {
        issuer_taken(route, token.signed())?;
        Ok(token)
    });
    match verdict {
        Ok(token) => Ok(Judged::good(Some(Verified { token, credential, carrier, renewed }))),
        Err(why) if is_optional_cookie(route, carrier) => Ok(Judged::ignored(why)),
        Err(rejection) => Err(rejection),
    }
}

/// The verdict on a credential: by a signature that is remembered, or by one that is checked now.
/// Every way in goes through here, so that none buys more checks than another.
pub(super) async fn judge(
    asker: Asker<'_>,
    credential: &Credential,
    published: &Published,
    now: UnixMs,
) -> Result<Result<VerifiedToken, Refused>, Rejection> {
    match published.verifier.recall(credential, now) {
        Some(remembered) => Ok(remembered),
        // The seal said it: there is no signature to check, and none is counted.
        None if session::is_unreadable(credential) => Ok(published.verifier.judge(credential, now)),
        // On the heap, since most requests do not come here and all would carry its size.
        None => Box::pin(judge_anew(asker, credential, published, now)).await,
    }
}

/// A token that is seen for the first time, or whose signature did not hold the last time.
async fn judge_anew(
    asker: Asker<'_>,
    credential: &Credential,
    published: &Published,
    now: UnixMs,
) -> Result<Result<VerifiedToken, Refused>, Rejection> {
    let address = admitted(asker, published)?;
    let verdict = judge_by_fresh_keys(asker.0, credential, published, now, true).await;
    if let Err(refused) = &verdict {
        published.failures.note(address, Cost::of(refused));
    }
    Ok(verdict)
}

/// The verdict on a token, once more where fresher keys may tell another tale. `looked`: just now it was
/// not among the remembered ones. Nobody is charged for a failure here: who is, is for the caller to know.
pub(super) async fn judge_by_fresh_keys(
    core: &Core,
    credential: &Credential,
    published: &Published,
    now: UnixMs,
    looked: bool,
) -> Result<VerifiedToken, Refused> {
    // Whoever waited may find that another has verified it meanwhile.
    let judged = match core.verifications.pass().await || !looked {
        true => published.verifier.judge(credential, now),
        false => published.verifier.judge_unseen(credential, now),
    };
    let refused = match judged {
        Ok(token) => return Ok(token),
        Err(refused) => refused,
    };
    let asked = published.nudges.ask(&refused.fault, &core.waiting).await;
    let verdict = if asked.look_again {
        core.verifications.pass().await;
        published.verifier.judge(credential, UnixMs::now())
    } else {
        Err(refused)
    };
    verdict.map_err(|refused| Refused { fault: asked.weighed(refused.fault), ..refused })
}

/// A refusal, counted for its issuer. Without keys nothing was judged.
fn refusal(core: &Core, refused: Refused) -> Rejection {
    let Refused { fault, issuer, .. } = refused;
    if let Some(issuer) = issuer.filter(|_| !matches!(fault, TokenFault::KeysAbsent { .. })) {
        let unknown_key =
            matches!(fault, TokenFault::UnknownKey { .. } | TokenFault::KeyAwaited { .. });
        core.counters.refused(&issuer.policy.name, unknown_key);
        if let TokenFault::IssuedInFuture { at, now } = fault {
            core.counters.ahead(&issuer.policy.name, at.since(now), now);
        }
    }
    Rejection::Token(fault)
}

/// Who asks: the core that serves them, their address, and what they sent.
pub type Asker<'c> = (&'c Core, Client, &'c HeaderMap);

/// Whose failure it would be, if that address may fail once more.
pub(super) fn admitted(
    (core, client, headers): Asker<'_>,
    published: &Published,
) -> Result<Option<std::net::IpAddr>, Rejection> {
    let failures = &published.failures;
    let address = client.accountable();
    if let Err(wait) = failures.admit(address) {
        core.counters.shed(Limit::FailedCredentials);
        failures.tell(client, headers);
        let seconds = u32::try_from(wait.as_secs() + 1).unwrap_or(u32::MAX);
        return Err(Rejection::TooManyFailures { retry_after_s: seconds });
    }
    Ok(address)
}

/// A bad credential here means anonymous rather than refused.
pub fn is_optional_cookie(route: &Route, carrier: &Carrier) -> bool {
    route.access != Access::Required && carrier.is_cookie()
}

/// The route takes tokens of this issuer.
pub(super) fn issuer_taken(route: &Route, signed: &Signed) -> Result<(), Rejection> {
    let name = &signed.policy().name;
    match &route.issuers {
        Some(taken) if !taken.contains(name) => Err(Rejection::IssuerNotTaken(name.clone())),
        _ => Ok(()),
    }
}

/// `Bearer` in any case, then a space.
pub fn is_bearer(value: &HeaderValue) -> bool {
    let scheme = value.as_bytes().get(..6);
    let behind = value.as_bytes().get(6).copied();
    scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"bearer"))
        && matches!(behind, None | Some(b' ' | b'\t' | b','))
}

/// One Authorization header at the most, and none in which a bearer token hides behind another
/// scheme.
fn check_authorization(headers: &HeaderMap) -> Result<(), BadRequest> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(()) };
    if values.next().is_some() {
        return Err(BadRequest::TwoCredentials);
    }
    let hidden = || {
        value.as_bytes().windows(7).skip(1).any(|part| {
            let (scheme, behind) = part.split_at(6);
            scheme.eq_ignore_ascii_case(b"bearer") && matches!(behind, b" " | b"\t")
        })
    };
    if !is_bearer(value) && hidden() {
        return Err(BadRequest::TwoCredentials);
    }
    Ok(())
}

/// `Bearer` SP token68 (RFC 6750 section 2.1). Another scheme is not ours.
fn bearer(value: &HeaderValue) -> Result<Option<&str>, BadRequest> {
    if !is_bearer(value) {
        return Ok(None);
    }
    let text = value.to_str().map_err(|_| BadRequest::AuthorizationForm)?;
    let token = text.get(7..).unwrap_or("").trim_matches(' ');
    let good = !token.is_empty() && token.bytes().all(is_token68);
    if !good || text.as_bytes().get(6) != Some(&b' ') {
        return Err(BadRequest::AuthorizationForm);
    }
    Ok(Some(token))
}

/// RFC 6750 section 2.1. By table: this looks at every byte of every token.
fn is_token68(byte: u8) -> bool {
    #[expect(clippy::indexing_slicing, reason = "at compile time, below 256")]
    const TABLE: [bool; 256] = {
        let mut table = [false; 256];
        let mut byte = 0;
        while byte < 256 {
            let letter = byte as u8;
            table[byte] = letter.is_ascii_alphanumeric()
                || matches!(letter, b'-' | b'.' | b'_' | b'~' | b'+' | b'/' | b'=');
            byte += 1;
        }
        table
    };
    TABLE.get(usize::from(byte)).copied().unwrap_or(false)
}

/// The cookie of this name; the same name twice is refused, whatever the values.
fn cookie_token<'h>(headers: &'h HeaderMap, name: &str) -> Result<Option<&'h str>, BadRequest> {
    let mut found = None;
    for header in headers.get_all(COOKIE) {
        if cookie::hides(header.as_bytes(), name) {
            return Err(BadRequest::TwoCredentials);
        }
        for value in cookie::values(header.as_bytes(), name) {
            if found.replace(value).is_some() {
                return Err(BadRequest::TwoCredentials);
            }
        }
    }
    // An empty cookie is what a deleted one looks like to some clients: no credential.
    let found = found.filter(|value| !value.is_empty());
    found
        .map(|value| std::str::from_utf8(value).map_err(|_| BadRequest::AuthorizationForm))
        .transpose()
}
