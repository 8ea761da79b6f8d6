//! What a request asks to switch to (RFC 9110 section 7.8): a WebSocket, which every route lets pass, or
//! another protocol, which a route must name. What it does not name is left out, and the request goes on
//! as the plain request that it also is.

use http::header::{HeaderMap, HeaderValue, UPGRADE};
use http::request::Parts;
use http::{Method, Version};

use super::answer::BadRequest;
use super::headers;

/// See the module. A connection that switches belongs to the token that it was asked for with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Upgrade {
    WebSocket,
    /// Bytes that we do not look into.
    Other(HeaderValue),
}

impl Upgrade {
    /// `None`: nothing that could be granted. `bodiless`: there is no body, behind which the bytes of the
    /// other protocol would begin.
    pub fn asked(parts: &Parts, bodiless: bool) -> Result<Option<Self>, BadRequest> {
        let Some(value) = single(&parts.headers)? else { return Ok(None) };
        if !headers::nominates(&parts.headers, "upgrade") {
            return Ok(None);
        }
        let fit = bodiless && parts.version == Version::HTTP_11;
        if value.as_bytes().eq_ignore_ascii_case(b"websocket") {
            // RFC 6455 section 4.1.
            let good = fit && parts.method == Method::GET;
            return if good { Ok(Some(Self::WebSocket)) } else { Err(BadRequest::Upgrade) };
        }
        // Of a list the server would choose; which one, we could not say beforehand.
        let one = fit && !value.as_bytes().contains(&b',');
        Ok(one.then(|| Self::Other(value.clone())))
    }

    pub fn is_websocket(&self) -> bool {
        *self == Self::WebSocket
    }

    /// The route lets it pass.
    pub fn is_granted(&self, named: &[String]) -> bool {
        match self {
            Self::WebSocket => true,
            Self::Other(value) => {
                named.iter().any(|name| value.as_bytes().eq_ignore_ascii_case(name.as_bytes()))
            }
        }
    }

    /// What is asked of the server, and what it must answer.
    pub fn value(&self) -> HeaderValue {
        match self {
            Self::WebSocket => HeaderValue::from_static("websocket"),
            Self::Other(value) => value.clone(),
        }
    }

    /// The server switches to this and nothing else.
    pub fn is_answered_by(&self, headers: &HeaderMap) -> bool {
        let answer = headers.get(UPGRADE).map(HeaderValue::as_bytes);
        answer.is_some_and(|answer| answer.eq_ignore_ascii_case(self.value().as_bytes()))
    }
}

fn single(headers: &HeaderMap) -> Result<Option<&HeaderValue>, BadRequest> {
    let mut values = headers.get_all(UPGRADE).iter();
    let first = values.next();
    if values.next().is_some() { Err(BadRequest::Upgrade) } else { Ok(first) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(method: &str, upgrade: &'static str, bodiless: bool) -> Option<Upgrade> {
        let request = http::Request::builder()
            .method(method)
            .header("connection", "Upgrade")
            .header("upgrade", upgrade)
            .body(())
            .unwrap();
        Upgrade::asked(&request.into_parts().0, bodiless).unwrap()
    }

    #[test]
    fn only_what_a_route_names_is_granted_and_a_list_is_nothing_that_could_be() {
        let named = ["tcp".to_owned(), "spdy/3.1".to_owned()];
        for granted in ["tcp", "TCP", "SPDY/3.1"] {
            assert!(asked("POST", granted, true).unwrap().is_granted(&named), "{granted}");
        }
        for other in ["spdy/3", "udp", "tcp2"] {
            assert!(!asked("POST", other, true).unwrap().is_granted(&named), "{other}");
        }
        assert_eq!(asked("POST", "tcp, spdy/3.1", true), None);
        assert_eq!(asked("POST", "tcp", false), None, "its body comes first");
        assert!(asked("GET", "websocket", true).unwrap().is_granted(&[]));
    }
}
