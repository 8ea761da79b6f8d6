//! Vouching: a short-lived token, signed by the gateway, that tells one backend for whom a request
//! comes. It lives no longer than the token that it stands for, names one audience, and has a type
//! of its own, so that nobody takes it for an access token. What a backend was sent it may exchange
//! for one to the next server, as far as the configuration lets it.

mod memo;
mod origin;
mod statement;
mod token_exchange;

use std::sync::Arc;

use arc_swap::ArcSwap;
use http::header::HeaderValue;
use serde_json::{Value, json};

use crate::clock::UnixMs;
use crate::config::{self, ASSERTION_TYPE, RouteAssertion};
use crate::denylist::Denylist;
use crate::keys::{OwnKeys, SigningKey};
use crate::verify::{KeyCell, Signed, TokenFault};

use super::answer::Rejection;

pub use memo::Memo;
pub use token_exchange::{ExchangeFault, Issued, Subject, TokenExchange};

use statement::Statement;

/// The gateway as one who vouches.
pub struct Vouching {
    issuer: String,
    keys: Arc<Signing>,
    /// Where some server may exchange what it was sent.
    pub exchange: Option<TokenExchange>,
}

/// The keys in force. The control plane replaces them when their time has come.
pub struct Signing {
    own: ArcSwap<OwnKeys>,
    verifying: KeyCell,
}

impl Signing {
    pub fn new(keys: OwnKeys) -> Arc<Self> {
        let verifying = Arc::new(ArcSwap::new(Arc::clone(keys.verifying())));
        Arc::new(Self { own: ArcSwap::from_pointee(keys), verifying })
    }

    pub fn replace(&self, keys: OwnKeys) {
        self.verifying.store(Arc::clone(keys.verifying()));
        self.own.store(Arc::new(keys));
    }

    /// The public halves, as a JWK set.
    pub fn jwks(&self) -> String {
        self.own.load().jwks().to_owned()
    }

    fn signer(&self, now: UnixMs) -> Result<Arc<SigningKey>, Rejection> {
        self.own.load().signer(now).map(Arc::clone).ok_or(Rejection::NotSigned)
    }
}

impl Vouching {
    /// `None`: nobody is vouched for. Keys that cannot be used were found out before.
    pub fn compile(config: &config::Config, denylist: &Denylist) -> Option<Self> {
        let assertion = config.assertion.as_ref()?;
        let mut vouching = Self::new(&assertion.issuer, OwnKeys::new(assertion.keys.clone()).ok()?);
        let (verifying, by) = (Arc::clone(&vouching.keys.verifying), denylist.fingerprinter());
        vouching.exchange = TokenExchange::compile(assertion, verifying, by);
        Some(vouching)
    }

    /// Nobody exchanges anything.
    pub fn new(issuer: &str, keys: OwnKeys) -> Self {
        Self { issuer: issuer.to_owned(), keys: Signing::new(keys), exchange: None }
    }

    pub fn keys(&self) -> &Arc<Signing> {
        &self.keys
    }

    /// What tells a route's backend for whom a request comes.
    pub fn header(
        &self,
        signed: &Arc<Signed>,
        rule: &Arc<RouteAssertion>,
        memo: &Memo,
        now: UnixMs,
    ) -> Result<HeaderValue, Rejection> {
        let key = self.keys.signer(now)?;
        if let Some(value) = memo.find(signed, rule, &key, now) {
            return Ok(value);
        }
        let expires_at = expiry(now.plus(rule.lifetime), signed.expires_at(), now)?;
        let statement = Statement {
            issuer: &self.issuer,
            audience: &rule.audience,
            at: now,
            expires_at,
            person: statement::Person::of(signed),
            origin: origin::Origin::of(signed, self.exchange.is_some()),
            act: signed.claims().member("act").filter(|act| act.is_object()).cloned(),
        };
        let text = sign(&key, statement, &rule.claims, signed.claims())?;
        let mut value = HeaderValue::try_from(text).map_err(|_| Rejection::NotSigned)?;
        value.set_sensitive(true);
        memo.keep(signed, rule, &key, (now, expires_at), &value);
        Ok(value)
    }
}

/// Its own end, or that of the token if that is sooner. The leeway for other clocks does not
/// stretch it: it would be born dead.
fn expiry(own: UnixMs, token: UnixMs, now: UnixMs) -> Result<UnixMs, Rejection> {
    let whole = UnixMs::from_secs(own.min(token).secs());
    if whole > now {
        Ok(whole)
    } else {
        Err(Rejection::Token(TokenFault::Expired { at: token, now }))
    }
}

fn sign(
    key: &SigningKey,
    statement: Statement<'_>,
    copied: &[crate::token::ClaimPath],
    from: &crate::token::Claims,
) -> Result<String, Rejection> {
    let claims = statement.claims(copied, from).ok_or(Rejection::NotSigned)?;
    let header = json!({
        "alg": key.algorithm().as_str(), "kid": key.kid(), "typ": ASSERTION_TYPE,
    });
    key.sign_with_header(&header, &Value::Object(claims)).map_err(|_| Rejection::NotSigned)
}

#[cfg(test)]
mod tests;
