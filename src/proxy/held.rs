//! Tokens that a request holds, whether or not they pass: who logs out or logs in anew ends what they
//! can prove to have had, and an expired token proves that as well.
//!
//! What always holds: whoever asks, and however often, buys no more checks of signatures than by any
//! other request. A signature that is remembered is not checked again; one that is not counts as a
//! failed credential where it does not hold.

use std::sync::Arc;

use http::HeaderMap;

use crate::clock::UnixMs;
use crate::config::Carrier;
use crate::token::Credential;
use crate::verify::{Signed, TokenFault};

use super::answer::Rejection;
use super::credential::{self, Asker};
use super::published::Published;

/// Credentials that one request may have looked at.
const LOOKED_AT_MAX: usize = 8;

/// A token whose signature holds.
pub struct Held {
    pub signed: Arc<Signed>,
    /// Why it does not pass at this moment, by the rules or by the denylist.
    pub fault: Option<Rejection>,
}

/// Looks at a credential. A token whose signature does not hold is nobody's.
pub async fn held(
    asker: Asker<'_>,
    credential: &Credential,
    published: &Published,
    now: UnixMs,
) -> Result<Held, Rejection> {
    let verifier = &published.verifier;
    let verdict = credential::judge(asker, credential, published, now).await?;
    match verdict.map_err(|refused| refused.fault) {
        Ok(token) => {
            let hit = published.denylist.check(token.signed().marks());
            let signed = Arc::clone(token.signed());
            Ok(Held { signed, fault: hit.map(Rejection::Denied) })
        }
        // Nobody vouched for it: a second look would find nothing more.
        Err(fault) if fault.is_unproven() => Err(Rejection::Token(fault)),
        Err(fault) => {
            let remembered = verifier.remembered(credential);
            let signed = remembered.or_else(|| verifier.explain(credential, now).1);
            match signed {
                Some(signed) => Ok(Held { signed, fault: Some(Rejection::Token(fault)) }),
                None => Err(Rejection::Token(fault)),
            }
        }
    }
}

/// What a request holds, all of it.
#[derive(Default)]
pub struct All {
    pub tokens: Vec<Arc<Signed>>,
    /// A credential could not be judged: its address has failed too often, or its key is not here.
    pub refused: Option<Rejection>,
}

/// Looks at every credential that these carriers bring, also where there are two of a kind: which of
/// them counts is no question for somebody who wants to end them.
pub async fn all(
    asker: Asker<'_>,
    carriers: &[Carrier],
    published: &Published,
    now: UnixMs,
) -> All {
    let mut found = All::default();
    let (_, _, headers) = asker;
    for credential in brought(headers, carriers, published).into_iter().take(LOOKED_AT_MAX) {
        match held(asker, &credential, published, now).await {
            Ok(held) => found.tokens.push(held.signed),
            Err(
                refused @ (Rejection::TooManyFailures { .. }
                | Rejection::Token(
                    TokenFault::KeysAbsent { .. } | TokenFault::KeyAwaited { .. },
                )),
            ) => found.refused = Some(refused),
            Err(_) => {}
        }
    }
    found
}

fn brought(headers: &HeaderMap, carriers: &[Carrier], published: &Published) -> Vec<Credential> {
    let mut found: Vec<Credential> = Vec::new();
    for carrier in carriers {
        let session = published.session.as_ref();
        for credential in credential::all_of(headers, carrier, session) {
            let length = credential.expose().len();
            if length <= published.token_bytes_max && !found.contains(&credential) {
                found.push(credential);
            }
        }
    }
    found
}
