//! `refresh`: a page has its session renewed now, for instance before it opens something that lasts.
//! By itself it never has to: every request renews where it is time.

use http::{Response, StatusCode};
use serde_json::json;

use crate::proxy::answer::Rejection;
use crate::proxy::body::Body;

use super::Visit;

/// Until when the session's token lasts. One that is seconds old is not renewed again; nor is one
/// that no refresh cookie is beside.
pub async fn refresh(visit: &mut Visit<'_>) -> Result<Response<Body>, Rejection> {
    visit.same_site()?;
    visit.renew(true).await?;
    let presented = visit.presented()?.ok_or(Rejection::TokenMissing)?;
    let held = visit.held(presented.credential()).await?;
    if let Some(fault) = held.fault {
        return Err(fault);
    }
    let signed = held.signed;
    let body = json!({
        "expires_at": signed.expires_at().rfc3339(),
        "expires_in_s": signed.expires_at().since(visit.now).as_secs(),
        "renewed": visit.renewed.is_some(),
    });
    visit.exchange.known(&signed);
    Ok(super::json(StatusCode::OK, &body))
}
