//! Logging out: the denial first, on disk and in force; then the cookies go. Where the denial cannot
//! be made, the cookies stay, so that the person can try again and is not told what is not true.

use http::header::{HeaderName, HeaderValue, LOCATION, SET_COOKIE};
use http::{Response, StatusCode};
use serde_json::json;

use crate::config::Carrier;
use crate::denylist::Except;
use crate::desk::{End, Ending};
use crate::proxy::answer::{self, Rejection};
use crate::proxy::body::Body;
use crate::proxy::{held, session};
use crate::verify::Signed;

use super::{Visit, return_path};

const CLEAR_SITE_DATA: HeaderName = HeaderName::from_static("clear-site-data");
/// What a page of ours kept of the person. Cookies are cleared by name: the word `cookies` would
/// take those of every other application below the same domain.
const CLEARED: HeaderValue = HeaderValue::from_static("\"cache\", \"storage\"");

/// Ends the session of the token, or the token where it names none: of every token that the request
/// holds. A cookie that was left behind by another path or domain keeps nobody from logging out.
pub async fn this(visit: &mut Visit<'_>) -> Result<Response<Body>, Rejection> {
    visit.same_site()?;
    let held::All { tokens, refused } = visit.all_held().await;
    let kept = visit.kept();
    let ends = session::endings(tokens.iter().map(AsRef::as_ref), kept.as_ref());
    let Some(first) = ends.first() else {
        // Nobody's token, or a forged one: there is nothing to deny, and the cookies go.
        return refused.map_or_else(|| done(visit, "nothing"), Err);
    };
    let ended = match &first.what {
        Ending::Token { .. } => "token",
        Ending::Session(_) | Ending::NamedHere(_) | Ending::Subject(..) => "session",
    };
    if let Some(signed) = tokens.first() {
        visit.exchange.known(signed);
    }
    let asked = session::asked(ends, visit.exchange.client().address(), "logged out");
    visit.core.desk.end(asked).await.map_err(Rejection::Desk)?;
    // One was not looked at: whoever holds it is not told that it has ended.
    refused.map_or_else(|| done(visit, ended), Err)
}

/// Ends all of the person's sessions, or with `?others=true` all but this one. Only a token that
/// passes may do that: one that was lost and has expired is in somebody else's hand.
pub async fn all(visit: &mut Visit<'_>) -> Result<Response<Body>, Rejection> {
    visit.same_site()?;
    let presented = visit.presented()?.ok_or(Rejection::TokenMissing)?;
    let held = visit.held(presented.credential()).await?;
    if let Some(fault) = held.fault {
        return Err(fault);
    }
    let signed = held.signed;
    visit.exchange.known(&signed);
    let subject = signed.subject().ok_or(Rejection::ClaimUnfit("subject".to_owned()))?.to_owned();
    let others = return_path::parameter(visit.query(), "others").as_deref() == Some("true");
    let except = others.then(|| match signed.session() {
        Some(session) => Except::Session(session.to_owned()),
        None => Except::Token(signed.token_id().clone()),
    });
    let what = Ending::Subject(subject, except);
    let reason = if others { "logged out elsewhere" } else { "logged out everywhere" };
    let end = end(visit, &signed, what, reason);
    visit.core.desk.end(vec![end]).await.map_err(Rejection::Desk)?;
    if others {
        return Ok(super::json(StatusCode::OK, &json!({"ended": "other sessions"})));
    }
    done(visit, "all sessions")
}

fn end(visit: &Visit<'_>, signed: &Signed, what: Ending, reason: &'static str) -> End {
    let issuer = signed.policy().id.clone();
    let subject = signed.subject().map(str::to_owned);
    let (issued_at, address) = (signed.issued_at(), visit.exchange.client().address());
    End { issuer, what, subject, issued_at, address, reason }
}

/// The cookies go. A form is sent on; a script gets JSON.
pub(super) fn done(visit: &Visit<'_>, ended: &str) -> Result<Response<Body>, Rejection> {
    let page = answer::wants_html(visit.headers().get(http::header::ACCEPT));
    let mut response = if page {
        let asked = return_path::parameter(visit.query(), "return_to");
        let back = asked.as_deref().and_then(return_path::safe);
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::SEE_OTHER;
        let back = back.unwrap_or(&visit.auth.after_logout);
        if let Ok(back) = HeaderValue::from_str(back) {
            response.headers_mut().insert(LOCATION, back);
        }
        response
    } else {
        super::json(StatusCode::OK, &json!({"ended": ended}))
    };
    let headers = response.headers_mut();
    if let Some(session) = &visit.published.session {
        for value in session.clear(&session.brought(visit.headers())) {
            headers.append(SET_COOKIE, value);
        }
    }
    for carrier in &visit.auth.carriers {
        if let Carrier::Cookie(name) = carrier
            && let Ok(value) = HeaderValue::try_from(expired(name))
        {
            headers.append(SET_COOKIE, value);
        }
    }
    headers.insert(CLEAR_SITE_DATA, CLEARED);
    Ok(response)
}

/// A cookie that a backend set: its prefix says its attributes (RFC 6265bis section 4.1.3), another
/// one is cleared for the whole host.
fn expired(name: &str) -> String {
    let secure = name.starts_with("__Host-") || name.starts_with("__Secure-");
    format!(
        "{name}=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax{}",
        if secure { "; Secure" } else { "" }
    )
}
