//! A request as its server shall see it: the client's, and what the gateway adds. What is added stays
//! beside the client's fields: their map would hash each of them, and might have to grow.

use http::{HeaderMap, HeaderName, HeaderValue, Request};

use super::body::RequestBody;
use super::permit::Permit;
use super::published::Published;

/// See the module.
pub struct Outgoing {
    pub request: Request<RequestBody>,
    pub added: Added,
}

/// Fields whose names the client's do not have.
#[derive(Default)]
pub struct Added(Vec<(HeaderName, HeaderValue)>);

impl Outgoing {
    pub fn new(permit: Permit<'_>, added: Added, published: &Published) -> Box<Self> {
        let request = *permit.into_request();
        let body = RequestBody::new(request.body, &published.guarded);
        Box::new(Self { request: Request::from_parts(request.parts, body), added })
    }

    /// With nothing beside it.
    pub fn whole(self) -> Request<RequestBody> {
        let Self { mut request, added } = self;
        let headers = request.headers_mut();
        headers.reserve(added.0.len());
        for (name, value) in added.0 {
            headers.append(name, value);
        }
        request
    }
}

impl From<Request<RequestBody>> for Outgoing {
    fn from(request: Request<RequestBody>) -> Self {
        Self { request, added: Added::default() }
    }
}

impl Added {
    /// In place of what the client's fields have of it, where they may have it.
    pub fn replace(
        &mut self,
        theirs: Option<&mut HeaderMap>,
        name: HeaderName,
        value: HeaderValue,
    ) {
        if let Some(theirs) = theirs {
            theirs.remove(&name);
        }
        self.push(name, value);
    }

    pub fn push(&mut self, name: HeaderName, value: HeaderValue) {
        if self.0.capacity() == 0 {
            self.0.reserve_exact(4);
        }
        self.0.push((name, value));
    }

    pub fn fields(&self) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
        self.0.iter().map(|(name, value)| (name, value))
    }
}
