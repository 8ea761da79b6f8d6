//! `sessions`: where a person is logged in, and ending one of them. Only sessions that began with a
//! captured login are known; only those of the person who asks are spoken of, and any other id is
//! one that there is not.

use http::{Response, StatusCode};
use serde_json::json;

use crate::desk::{EndOne, Gone, Own};
use crate::proxy::answer::Rejection;
use crate::proxy::body::Body;

use super::{Visit, log_out};

/// `GET /.auth/sessions`.
pub async fn list(visit: &mut Visit<'_>) -> Result<Response<Body>, Rejection> {
    let own = own(visit).await?;
    let sessions = visit.core.desk.list(own).await.map_err(Rejection::Desk)?;
    let sessions: Vec<_> = sessions
        .into_iter()
        .map(|session| {
            json!({
                "id": session.id,
                "current": session.current,
                "first_seen": session.first_seen.rfc3339(),
                "last_seen": session.last_seen.rfc3339(),
                "address": session.address.map(|address| address.to_string()),
                "user_agent": session.user_agent,
            })
        })
        .collect();
    Ok(super::json(StatusCode::OK, &json!({"sessions": sessions})))
}

/// `POST /.auth/sessions/{id}/end` and `DELETE /.auth/sessions/{id}`. Ending the one that asks is a
/// log-out.
pub async fn end(visit: &mut Visit<'_>, id: String) -> Result<Response<Body>, Rejection> {
    visit.same_site()?;
    let own = own(visit).await?;
    let one = EndOne { id, address: visit.exchange.client().address() };
    match visit.core.desk.end_one(own, one).await.map_err(Rejection::Desk)? {
        Gone::Absent => Err(Rejection::NoRoute),
        Gone::Other => Ok(super::json(StatusCode::OK, &json!({"ended": "session"}))),
        Gone::Current => log_out::done(visit, "session"),
    }
}

/// Whose: by a token that passes.
async fn own(visit: &mut Visit<'_>) -> Result<Own, Rejection> {
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
    visit.exchange.known(&signed);
    if signed.subject().is_none() {
        return Err(Rejection::ClaimUnmet("subject".to_owned()));
    }
    let named_here = visit.kept().filter(|kept| kept.named_here).map(|kept| kept.session.clone());
    Ok(Own { signed, named_here })
}
