//! A form in a request's body (`application/x-www-form-urlencoded`), bounded in bytes and time, each
//! parameter at most once (RFC 6749 section 3.2).

use std::time::Duration;

use http::header::CONTENT_TYPE;
use http_body_util::{BodyExt as _, Limited};
use zeroize::Zeroizing;

use crate::proxy::answer::Rejection;
use crate::proxy::canonical::Canonical;

use super::return_path;

/// The longest token and the rest.
const BYTES_MAX: usize = 32 * 1024;
const TIMEOUT: Duration = Duration::from_secs(10);

/// See the module. Wiped when it is dropped: secrets and tokens are in it.
pub struct Form(Vec<(String, Zeroizing<String>)>);

/// What is wrong with a form, in words.
pub type Fault = &'static str;

impl Form {
    /// Reads the body. `Ok(Err(…))`: it is no form.
    pub async fn read(request: &mut Canonical) -> Result<Result<Self, Fault>, Rejection> {
        let given = request.parts.headers.get(CONTENT_TYPE).map(|value| value.as_bytes());
        let kind = given.unwrap_or_default().split(|&byte| byte == b';').next().unwrap_or_default();
        if !kind.trim_ascii().eq_ignore_ascii_case(b"application/x-www-form-urlencoded") {
            return Ok(Err("The body is application/x-www-form-urlencoded"));
        }
        let body = Limited::new(&mut request.body, BYTES_MAX).collect();
        let body = match tokio::time::timeout(TIMEOUT, body).await {
            Err(_) => return Err(Rejection::BodyTooSlow),
            // The client broke off, or it is too long: nobody reads the answer of the one.
            Ok(Err(_)) => return Err(Rejection::BodyTooLarge),
            Ok(Ok(body)) => Zeroizing::new(body.to_bytes().to_vec()),
        };
        Ok(Self::parse(&body))
    }

    fn parse(body: &[u8]) -> Result<Self, Fault> {
        let text = std::str::from_utf8(body).map_err(|_| "The body is no text")?;
        let mut pairs: Vec<(String, Zeroizing<String>)> = Vec::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let decoded = return_path::decoded(name).zip(return_path::decoded(value));
            let (name, value) = decoded.ok_or("The body has a broken escape")?;
            if pairs.iter().any(|(other, _)| *other == name) {
                return Err("A parameter is there twice");
            }
            pairs.push((name, Zeroizing::new(value)));
        }
        Ok(Self(pairs))
    }

    /// A parameter; one without a value is as good as absent (RFC 6749 section 3.1).
    pub fn get(&self, name: &str) -> Option<&str> {
        let (_, value) = self.0.iter().find(|(other, _)| other == name)?;
        Some(value.as_str()).filter(|value| !value.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_has_each_parameter_once_and_decoded_once() {
        let form = Form::parse(b"a=1+2&b=%2Bx%26&&c=&d").unwrap();
        let get = |name| form.get(name);
        assert_eq!(
            (get("a"), get("b"), get("c"), get("d")),
            (Some("1 2"), Some("+x&"), None, None)
        );
        for bad in [&b"a=1&a=1"[..], b"a=1&%61=2", b"a=%2", b"a=%zz", b"a=%ff", b"\xff=1"] {
            assert!(Form::parse(bad).is_err(), "{bad:?}");
        }
    }
}
