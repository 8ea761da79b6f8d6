//! A client hands in a new token for the streams of its session that are open, so that they need not
//! end with the old one and begin again.

use http::{Response, StatusCode};
use serde_json::json;

use crate::proxy::answer::Rejection;
use crate::proxy::body::Body;

use super::Visit;

/// Only a token that passes; which streams it is for is said by its own claims alone.
pub async fn rebase(visit: &mut Visit<'_>) -> Result<Response<Body>, Rejection> {
    visit.same_site()?;
    visit.renew(false).await?;
    let presented = visit.presented()?.ok_or(Rejection::TokenMissing)?;
    let held = visit.held(presented.credential()).await?;
    if let Some(fault) = held.fault {
        return Err(fault);
    }
    let signed = held.signed;
    visit.exchange.known(&signed);
    if signed.subject().is_none() || signed.session().is_none() {
        return Err(Rejection::TokenNotTaken("it names no session of a subject".to_owned()));
    }
    let rebased = visit.core.desk.rebase(signed).await.map_err(Rejection::Desk)?;
    Ok(super::json(StatusCode::OK, &json!({"rebased": rebased})))
}
