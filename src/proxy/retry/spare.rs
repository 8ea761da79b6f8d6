//! The head of a request that may have to be sent once more, in one piece. A copy of the map of
//! headers would count a reference for each value, with atomics, and again when it is dropped, which
//! is all that becomes of nearly every one: it was the dearest single thing that a plain request paid
//! for here. Only a request that is sent again pays for putting it together.

use std::mem::size_of;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version};

use super::super::body::RequestBody;

/// See the module. Of a request without a body.
pub struct Spare {
    method: Method,
    uri: Uri,
    version: Version,
    count: usize,
    /// Each field: two lengths, whether its value is sensitive, name, value.
    fields: Vec<u8>,
}

impl Spare {
    pub fn of<B>(request: &Request<B>) -> Self {
        let headers = request.headers();
        // What an ordinary head takes, so that it seldom grows.
        let mut fields = Vec::with_capacity(1024);
        for (name, value) in headers {
            let (name, bytes) = (name.as_str().as_bytes(), value.as_bytes());
            fields.extend_from_slice(&name.len().to_ne_bytes());
            fields.extend_from_slice(&bytes.len().to_ne_bytes());
            fields.push(u8::from(value.is_sensitive()));
            fields.extend_from_slice(name);
            fields.extend_from_slice(bytes);
        }
        Self {
            method: request.method().clone(),
            uri: request.uri().clone(),
            version: request.version(),
            count: headers.len(),
            fields,
        }
    }

    /// The request again. `None` cannot be: its head was one.
    pub fn into_request(self) -> Option<Request<RequestBody>> {
        let mut headers = HeaderMap::with_capacity(self.count);
        let mut rest = self.fields.as_slice();
        while !rest.is_empty() {
            let (name, bytes) = (length(&mut rest)?, length(&mut rest)?);
            let sensitive = take(&mut rest, 1)? == [1];
            let name = HeaderName::from_bytes(take(&mut rest, name)?).ok()?;
            let mut value = HeaderValue::from_bytes(take(&mut rest, bytes)?).ok()?;
            value.set_sensitive(sensitive);
            headers.append(name, value);
        }
        let mut request = Request::new(RequestBody::none());
        *request.method_mut() = self.method;
        *request.uri_mut() = self.uri;
        *request.version_mut() = self.version;
        *request.headers_mut() = headers;
        Some(request)
    }
}

fn length(rest: &mut &[u8]) -> Option<usize> {
    Some(usize::from_ne_bytes(take(rest, size_of::<usize>())?.try_into().ok()?))
}

fn take<'b>(rest: &mut &'b [u8], count: usize) -> Option<&'b [u8]> {
    let (taken, after) = rest.split_at_checked(count)?;
    *rest = after;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_comes_back_as_it_was() {
        let mut secret = HeaderValue::from_static("Bearer x");
        secret.set_sensitive(true);
        let request = Request::get("/a?b=c")
            .header("x-one", "1")
            .header("authorization", secret)
            .header("x-one", "2")
            .header("x-empty", "")
            .header("x-bytes", HeaderValue::from_bytes(b"\xff\xfe").unwrap())
            .body(())
            .unwrap();
        let again = Spare::of(&request).into_request().unwrap();
        assert_eq!(again.method(), request.method());
        assert_eq!(again.uri(), request.uri());
        assert_eq!(again.version(), request.version());
        assert_eq!(again.headers(), request.headers());
        let ones: Vec<_> = again.headers().get_all("x-one").iter().collect();
        assert_eq!(ones, ["1", "2"], "in their order");
        assert!(again.headers()["authorization"].is_sensitive());
        assert!(again.body().is_none());
    }
}
