//! `me`: what a page may know of who is logged in. Its token stays out of the script's reach.

use http::{Response, StatusCode};
use serde_json::json;

use crate::proxy::answer::Rejection;
use crate::proxy::body::Body;

use super::Visit;

/// 200 with the person, 401 without a token that passes.
pub async fn me(visit: &mut Visit<'_>) -> Result<Response<Body>, Rejection> {
    visit.renew(false).await?;
    let presented = visit.presented()?.ok_or(Rejection::TokenMissing)?;
    if presented.carrier().is_cookie() {
        visit.same_site()?;
    }
    let held = visit.held(presented.credential()).await?;
    if let Some(fault) = held.fault {
        return Err(fault);
    }
    let signed = held.signed;
    let body = json!({
        "issuer": signed.policy().name,
        "subject": signed.subject(),
        "display": signed.display(),
        "session": signed.session(),
        "scopes": signed.scopes(),
        "issued_at": signed.issued_at().map(|at| at.rfc3339()),
        "expires_at": signed.expires_at().rfc3339(),
        "expires_in_s": signed.expires_at().since(visit.now).as_secs(),
        "logged_in_at": signed.auth_time().map(|at| at.rfc3339()),
    });
    visit.exchange.known(&signed);
    Ok(super::json(StatusCode::OK, &body))
}
