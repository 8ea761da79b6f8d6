//! What a renewal says and what it is told: the form of RFC 6749, or JSON as a backend wants it. An
//! answer is read strictly; what cannot be read for certain is no answer.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, COOKIE, HeaderMap, HeaderValue,
    SET_COOKIE, USER_AGENT,
};
use http::request::Builder;
use http::{Request, StatusCode, Uri};
use http_body_util::Full;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use crate::config::{OauthClient, PlainEndpoint, TokenPlace};
use crate::token::{ClaimPath, json};

use super::call::{CallFault, Tokens};

/// An answer that came whole.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

fn post(url: &Uri) -> Builder {
    Request::post(url.clone())
        .header(ACCEPT, "application/json")
        .header(ACCEPT_ENCODING, "identity")
        .header(USER_AGENT, concat!("portcullis/", env!("CARGO_PKG_VERSION")))
}

/// RFC 6749 appendix B, with the client's credentials as section 2.3.1 has them.
pub fn form(
    url: &Uri,
    client: &OauthClient,
    fields: &[(&str, &str)],
) -> http::Result<Request<Full<Bytes>>> {
    let mut request = post(url).header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    let mut text = Zeroizing::new(String::new());
    let mut field = |name: &str, value: &[u8]| {
        if !text.is_empty() {
            text.push('&');
        }
        text.push_str(name);
        text.push('=');
        escape(value, &mut text);
    };
    for (name, value) in fields {
        field(name, value.as_bytes());
    }
    match &client.secret {
        Some(secret) if !client.in_form => {
            let mut pair = Zeroizing::new(String::new());
            escape(client.id.as_bytes(), &mut pair);
            pair.push(':');
            escape(secret.expose(), &mut pair);
            let basic = format!("Basic {}", STANDARD.encode(pair.as_bytes()));
            request = request.header(AUTHORIZATION, sensitive(&basic)?);
        }
        Some(secret) => {
            field("client_id", client.id.as_bytes());
            field("client_secret", secret.expose());
        }
        None => field("client_id", client.id.as_bytes()),
    }
    request.body(Full::new(Bytes::copy_from_slice(text.as_bytes())))
}

/// JSON, with the refresh token where the backend looks for it.
pub fn plain(endpoint: &PlainEndpoint, refresh: &str) -> http::Result<Request<Full<Bytes>>> {
    let mut request = post(&endpoint.url).header(CONTENT_TYPE, "application/json");
    let body = match &endpoint.send {
        TokenPlace::Member(path) => holding(path, refresh),
        TokenPlace::Header(name) => {
            let text = match *name == AUTHORIZATION {
                true => format!("Bearer {refresh}"),
                false => refresh.to_owned(),
            };
            request = request.header(name, sensitive(&text)?);
            Value::Object(Map::new())
        }
        TokenPlace::Cookie(name) => {
            request = request.header(COOKIE, sensitive(&format!("{name}={refresh}"))?);
            Value::Object(Map::new())
        }
    };
    request.body(Full::new(Bytes::from(body.to_string())))
}

fn holding(path: &ClaimPath, refresh: &str) -> Value {
    let one = |name: &String, value| Value::Object(Map::from_iter([(name.clone(), value)]));
    let value = Value::String(refresh.to_owned());
    match path {
        ClaimPath::Name(name) => one(name, value),
        ClaimPath::Pointer(tokens) => {
            tokens.iter().rev().fold(value, |value, name| one(name, value))
        }
    }
}

fn sensitive(text: &str) -> http::Result<HeaderValue> {
    let mut value = HeaderValue::try_from(text)?;
    value.set_sensitive(true);
    Ok(value)
}

/// `application/x-www-form-urlencoded`, everything but unreserved characters escaped.
fn escape(bytes: &[u8], to: &mut String) {
    for byte in bytes {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                to.push(char::from(*byte));
            }
            other => to.push_str(&format!("%{other:02X}")),
        }
    }
}

/// RFC 6749 sections 5.1 and 5.2.
pub fn granted(answer: &Answer) -> Result<Tokens, CallFault> {
    let members = json::object(&answer.body);
    if answer.status != StatusCode::OK {
        let code = members.ok().and_then(|members| {
            let code = members.get("error")?.as_str()?.to_owned();
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
            (code.len() <= 40 && code.bytes().all(plain)).then_some(code)
        });
        let code = code.filter(|_| answer.status.is_client_error());
        return Err(match code {
            Some(code) if FINAL.contains(&code.as_str()) => CallFault::Refused(code),
            Some(code) => CallFault::Answer(format!("answered {}", shown(answer.status, &code))),
            None => said(answer.status),
        });
    }
    let members = members.map_err(|_| not_json())?;
    let bearer =
        |kind: &Value| kind.as_str().is_some_and(|kind| kind.eq_ignore_ascii_case("bearer"));
    if !members.get("token_type").is_none_or(bearer) {
        return Err(CallFault::Answer("its token is no bearer token".to_owned()));
    }
    let member = |name: &str| ClaimPath::Name(name.to_owned());
    let access = found(answer, &members, &TokenPlace::Member(member("access_token")));
    let refresh = found(answer, &members, &TokenPlace::Member(member("refresh_token")));
    let access = access.ok_or_else(absent)?;
    Ok(Tokens { access: Zeroizing::new(access), refresh })
}

/// Errors after which the same refresh token never works again: RFC 6749 section 5.2, and those of
/// OpenID Connect by which a provider says that the person has to come again.
const FINAL: [&str; 5] = [
    "invalid_grant",
    "access_denied",
    "login_required",
    "interaction_required",
    "consent_required",
];

pub fn taken(answer: &Answer, endpoint: &PlainEndpoint) -> Result<Tokens, CallFault> {
    match answer.status {
        status if status.is_success() => {}
        status @ (StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
            return Err(CallFault::Refused(status.as_str().to_owned()));
        }
        status => return Err(said(status)),
    }
    let in_body = [Some(&endpoint.token), endpoint.refresh.as_ref()];
    let needs_body = in_body.into_iter().flatten().any(|place| place.is_member());
    let members = match needs_body {
        true => json::object(&answer.body).map_err(|_| not_json())?,
        false => Map::new(),
    };
    let access = found(answer, &members, &endpoint.token).ok_or_else(absent)?;
    let refresh = endpoint.refresh.as_ref().and_then(|place| found(answer, &members, place));
    Ok(Tokens { access: Zeroizing::new(access), refresh })
}

fn found(answer: &Answer, members: &Map<String, Value>, place: &TokenPlace) -> Option<String> {
    let text = match place {
        TokenPlace::Header(name) => {
            let mut values = answer.headers.get_all(name).iter();
            let value = values.next().filter(|_| values.next().is_none())?.to_str().ok()?;
            value.strip_prefix("Bearer ").unwrap_or(value).trim()
        }
        TokenPlace::Cookie(name) => {
            let set = answer.headers.get_all(SET_COOKIE).iter();
            let pairs =
                set.filter_map(|line| line.to_str().ok()?.split(';').next()?.split_once('='));
            let mut own =
                pairs.filter(|(own, _)| own.trim() == name).map(|(_, value)| value.trim());
            own.next().filter(|_| own.next().is_none())?
        }
        TokenPlace::Member(ClaimPath::Name(name)) => members.get(name)?.as_str()?,
        TokenPlace::Member(ClaimPath::Pointer(tokens)) => {
            let (first, rest) = tokens.split_first()?;
            let inner = rest.iter().try_fold(members.get(first)?, |value, name| value.get(name))?;
            inner.as_str()?
        }
    };
    (!text.is_empty()).then(|| text.to_owned())
}

pub fn said(status: StatusCode) -> CallFault {
    CallFault::Answer(format!("answered {}", status.as_u16()))
}

fn shown(status: StatusCode, code: &str) -> String {
    format!("{} {code}", status.as_u16())
}

fn not_json() -> CallFault {
    CallFault::Answer("the answer is not one JSON object without doubled members".to_owned())
}

fn absent() -> CallFault {
    CallFault::Answer("the answer has no access token where it should be".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        let status = StatusCode::from_u16(status).unwrap();
        Answer { status, headers: HeaderMap::new(), body: Bytes::copy_from_slice(body.as_bytes()) }
    }

    #[test]
    fn a_grant_is_read_strictly_and_an_error_by_its_code() {
        let good = r#"{"access_token":"a","token_type":"bearer","refresh_token":"r"}"#;
        let tokens = granted(&answer(200, good)).ok().unwrap();
        assert_eq!((tokens.access.as_str(), tokens.refresh.as_deref()), ("a", Some("r")));
        let kept = granted(&answer(200, r#"{"access_token":"a"}"#)).ok().unwrap();
        assert_eq!(kept.refresh, None);
        for bad in [
            "",
            "[]",
            r#"{"token_type":"Bearer"}"#,
            r#"{"access_token":7}"#,
            r#"{"access_token":""}"#,
            r#"{"access_token":"a","token_type":"DPoP"}"#,
            r#"{"access_token":"a","access_token":"b"}"#,
        ] {
            assert!(matches!(granted(&answer(200, bad)), Err(CallFault::Answer(_))), "{bad}");
        }
        let refused = granted(&answer(400, r#"{"error":"invalid_grant"}"#)).err();
        assert_eq!(refused, Some(CallFault::Refused("invalid_grant".into())));
        for (status, body) in [
            (400, r#"{"error":"invalid_client"}"#),
            (500, r#"{"error":"invalid_grant"}"#),
            (302, ""),
            (400, "{\"error\":\"x\\u001b[31m\"}"),
        ] {
            let fault = granted(&answer(status, body)).err();
            assert!(matches!(fault, Some(CallFault::Answer(_))), "{status} {body} {fault:?}");
        }
    }

    #[test]
    fn a_form_says_who_the_client_is_in_one_place() {
        let url: Uri = "https://id.example.com/token".parse().unwrap();
        let client = |secret: Option<&str>, in_form| OauthClient {
            id: "a b".into(),
            secret: secret.map(|text| crate::secret::Secret::new(text.into())),
            in_form,
        };
        let header = |client: &OauthClient| {
            let request = form(&url, client, &[("token", "x+/=")]).unwrap();
            request.headers().get(AUTHORIZATION).map(|value| value.to_str().unwrap().to_owned())
        };
        let basic = STANDARD.encode("a%20b:s%3Ac");
        assert_eq!(header(&client(Some("s:c"), false)), Some(format!("Basic {basic}")));
        assert_eq!(header(&client(Some("s:c"), true)), None);
        assert_eq!(header(&client(None, false)), None);
        let mut text = String::new();
        escape("x+/= é".as_bytes(), &mut text);
        assert_eq!(text, "x%2B%2F%3D%20%C3%A9");
    }
}
