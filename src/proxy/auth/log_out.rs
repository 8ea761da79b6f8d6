//! Logging out: the denial first, on disk and in force; then the cookies go. Where the denial cannot
//! be made, the cookies stay, so that the person can try again and is not told what is not true.

use std::sync::Arc;

use http::header::{HeaderName, HeaderValue, LOCATION, SET_COOKIE};
use http::{Response, StatusCode};
use serde_json::json;

use crate::clock::UnixMs;
use crate::config::Carrier;
use crate::denylist::{Except, IssuerId};
use crate::desk::{By, End, Ending};
use crate::proxy::answer::{self, BadRequest, Rejection};
use crate::proxy::body::Body;
use crate::proxy::held::{self, Held};
use crate::proxy::session::{self, Kept};
use crate::verify::{Signed, TokenFault};

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
    if let Some(kept) = kept {
        visit.core.desk.revoke(kept);
    }
    // One was not looked at: whoever holds it is not told that it has ended.
    refused.map_or_else(|| done(visit, ended), Err)
}

/// Ends all of the person's sessions, or with `?others=true` all but this one. Only a token that
/// passes may do that, or the refresh cookie of a session that nobody has ended: a token that was lost
/// and has expired is in somebody else's hand.
pub async fn all(visit: &mut Visit<'_>) -> Result<Response<Body>, Rejection> {
    visit.same_site()?;
    // Anything else is no word for all: this session would end, which it was to spare.
    let others = match return_path::parameter(visit.query(), "others").as_deref() {
        Some("true") => true,
        None | Some("false") => false,
        Some(_) => return Err(BadRequest::Parameter.into()),
    };
    let Person { issuer, subject, issued_at, this } = person(visit).await?;
    let kept = visit.kept();
    let spared = spared(visit, kept.as_ref(), (&issuer, &subject, &this));
    let end = End {
        issuer,
        what: Ending::Subject(subject.clone(), others.then_some(this)),
        subject: Some(subject),
        issued_at,
        by: By::Holder(visit.exchange.client().address()),
        reason: if others { "logged out elsewhere" } else { "logged out everywhere" }.into(),
    };
    visit.core.desk.end(vec![end]).await.map_err(Rejection::Desk)?;
    if others {
        let mut response = super::json(StatusCode::OK, &json!({"ended": "other sessions"}));
        session::add_cookies(response.headers_mut(), spared.unwrap_or_default());
        return Ok(response);
    }
    if let Some(kept) = kept {
        visit.core.desk.revoke(kept);
    }
    done(visit, "all sessions")
}

/// Whose sessions end.
struct Person {
    issuer: IssuerId,
    subject: String,
    issued_at: Option<UnixMs>,
    /// The session that asks, or its token where tokens name none.
    this: Except,
}

async fn person(visit: &mut Visit<'_>) -> Result<Person, Rejection> {
    let fault = match visit.presented()? {
        None => Rejection::TokenMissing,
        Some(presented) => {
            let Held { signed, fault } = visit.held(presented.credential()).await?;
            let Some(fault) = fault else { return person_of(visit, &signed) };
            fault
        }
    };
    let ended =
        matches!(fault, Rejection::TokenMissing | Rejection::Token(TokenFault::Expired { .. }));
    let kept = visit.kept().filter(|kept| ended && kept.ends_at() > visit.now).ok_or(fault)?;
    if let Some(hit) = kept.denied_by(&visit.published.denylist) {
        return Err(Rejection::Denied(hit));
    }
    let this = match kept.named_here {
        false => Except::Session(kept.session.clone()),
        true => Except::Token(kept.access.clone()),
    };
    let subject = kept.subject.clone().ok_or(Rejection::ClaimUnmet("subject".to_owned()))?;
    let (issuer, issued_at) = (kept.issuer_id(), Some(kept.login_time()));
    Ok(Person { issuer, subject, issued_at, this })
}

fn person_of(visit: &mut Visit<'_>, signed: &Arc<Signed>) -> Result<Person, Rejection> {
    visit.exchange.known(signed);
    let subject = signed.subject().ok_or(Rejection::ClaimUnmet("subject".to_owned()))?.to_owned();
    let this = match signed.session() {
        Some(session) => Except::Session(session.to_owned()),
        None => Except::Token(signed.token_id().clone()),
    };
    let (issuer, issued_at) = (signed.policy().id.clone(), signed.issued_at());
    Ok(Person { issuer, subject, issued_at, this })
}

/// The refresh cookie of a session that its tokens do not name: the cutoff spares the token of this
/// moment only, and the next one would fall to it. So the cookie says by which token it was spared.
fn spared(
    visit: &Visit<'_>,
    kept: Option<&Kept>,
    (issuer, subject, this): (&IssuerId, &str, &Except),
) -> Option<Vec<HeaderValue>> {
    let mut kept = kept.filter(|kept| kept.named_here)?.clone();
    let Except::Token(token) = this else { return None };
    if kept.issuer_id() != *issuer || kept.subject.as_deref() != Some(subject) {
        return None;
    }
    kept.spare(token.clone());
    visit.published.session.as_ref()?.set_kept(&kept, visit.now)
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
