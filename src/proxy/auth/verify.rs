//! `verify`: the verdict on a request that another proxy holds (nginx `auth_request`, Traefik
//! ForwardAuth, Caddy `forward_auth`, HAProxy, Envoy ext_authz over HTTP). The same functions decide
//! as on the straight line; only the request is one that a trusted proxy tells us of.

use http::header::{AUTHORIZATION, HOST, HeaderName, HeaderValue, UPGRADE};
use http::{HeaderMap, Method, Response, StatusCode};

use crate::config::Forward;
use crate::proxy::answer::{self, BadRequest, Rejection};
use crate::proxy::body::Body;
use crate::proxy::credential::Judged;
use crate::proxy::cross_site::Asked;
use crate::proxy::headers::Signatory;
use crate::proxy::route::Wanted;
use crate::proxy::session::browser::{Browser, Page};
use crate::proxy::{canonical, credential, headers, path, permit};

use super::{Visit, return_path};

const X_FORWARDED_METHOD: HeaderName = HeaderName::from_static("x-forwarded-method");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_URI: HeaderName = HeaderName::from_static("x-forwarded-uri");
const X_PORTCULLIS_STATUS: HeaderName = HeaderName::from_static("x-portcullis-status");
const X_PORTCULLIS_REASON: HeaderName = HeaderName::from_static("x-portcullis-reason");
const X_PORTCULLIS_LOCATION: HeaderName = HeaderName::from_static("x-portcullis-location");

/// Which answers the proxy in front can read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Dialect {
    /// 200, or the true status with its body.
    Plain,
    /// nginx turns every other status than 2xx, 401 and 403 into 500: the truth is in two headers.
    Nginx,
}

/// The verdict as an answer. `rest` is the path that is asked about where the proxy appends it to
/// that of the endpoint.
pub async fn verify(visit: &mut Visit<'_>, rest: Option<&str>) -> Response<Body> {
    let said = return_path::parameter(visit.query(), "dialect");
    let dialect = match (said.as_deref(), rest) {
        (Some("nginx"), None) => Ok(Dialect::Nginx),
        (Some(_), None) => Err(BadRequest::Dialect),
        // The query is that of the request which is asked about.
        (None, None) | (_, Some(_)) => Ok(Dialect::Plain),
    };
    let verdict = match dialect {
        Ok(_) => decide(visit, rest).await,
        Err(fault) => Err(fault.into()),
    };
    let dialect = dialect.unwrap_or(Dialect::Plain);
    let mut response = match &verdict {
        Ok(granted) => {
            let mut response = Response::new(Body::empty());
            for (name, value) in granted {
                response.headers_mut().append(name.clone(), value.clone());
            }
            response
        }
        Err(rejection) => {
            visit.exchange.reject(rejection);
            let policy = visit.published.answers;
            let html = answer::wants_html(visit.headers().get(http::header::ACCEPT));
            let mut response =
                answer::respond(rejection, policy, visit.exchange.request_id(), html);
            if dialect == Dialect::Nginx
                && let Some(login) = visit.exchange.way_to_login(rejection)
            {
                response.headers_mut().insert(X_PORTCULLIS_LOCATION, login);
            }
            // A page goes to the login, and cookies that are dead go.
            visit.exchange.dress_refusal(rejection, visit.published, response)
        }
    };
    let status = response.status();
    if dialect == Dialect::Nginx {
        *response.status_mut() = match status {
            StatusCode::OK => StatusCode::NO_CONTENT,
            StatusCode::UNAUTHORIZED => StatusCode::UNAUTHORIZED,
            _ => StatusCode::FORBIDDEN,
        };
    }
    let headers = response.headers_mut();
    headers.insert(X_PORTCULLIS_STATUS, HeaderValue::from(status.as_u16()));
    if let Err(rejection) = &verdict {
        let code = rejection.code_for(visit.published.answers);
        headers.insert(X_PORTCULLIS_REASON, HeaderValue::from_static(code));
    }
    response
}

/// What the proxy adds for its backend.
type Granted = Vec<(HeaderName, HeaderValue)>;

async fn decide(visit: &mut Visit<'_>, rest: Option<&str>) -> Result<Granted, Rejection> {
    if !visit.connection.is_trusted() {
        return Err(Rejection::NotTrusted);
    }
    let told = Told::read(&visit.request, rest)?;
    let (headers, published) = (&visit.request.parts.headers, visit.published);
    let now = visit.exchange.now();
    let (host, path, method) = (told.host.as_str(), told.path.as_str(), &told.method);
    let route = published.routes.select_wanted(Wanted { host, path, method, headers })?;
    visit.exchange.routed(route);
    let asked = || Asked {
        host: told.authority.as_bytes(),
        ..Asked::of(&told.method, headers, told.websocket, visit.connection)
    };
    let page = Page { asked: asked(), path, target: &told.target, told: true };
    visit.exchange.browser = Browser::of(&page, route, published);
    let presented = credential::present_by(headers, &route.credentials, published)?;
    visit.exchange.presented(presented.as_ref());
    let judged = credential::verify(
        (visit.core, visit.exchange.client(), headers),
        presented,
        route,
        published,
        now,
    )
    .await?;
    visit.exchange.verified(&judged);
    let Judged { token, ignored } = permit::judge(asked(), route, judged.token, published, now)?;
    visit.exchange.ignored(ignored.as_ref());
    let mut granted = HeaderMap::new();
    let signed = token.as_ref().map(|verified| verified.token.signed());
    if let Some(signed) = signed {
        headers::add_identity(&mut granted, route, signed)?;
        let by = Signatory { published, memo: &visit.core.assertions, now };
        headers::add_assertion(&mut granted, route, signed, by)?;
    }
    let assertion = route.assertion.as_ref().map(|rule| &rule.header);
    for name in route.identity.iter().map(|(name, _)| name).chain(assertion) {
        // Some proxies leave the client's own header where ours is absent.
        granted.entry(name).or_insert(HeaderValue::from_static(""));
    }
    if let (Forward::Bearer, Some(verified)) = (route.forward, &token) {
        let text = format!("Bearer {}", verified.credential.expose());
        if let Ok(mut value) = HeaderValue::try_from(text) {
            value.set_sensitive(true);
            granted.insert(AUTHORIZATION, value);
        }
    }
    Ok(granted.into_iter().filter_map(|(name, value)| Some((name?, value))).collect())
}

/// The request as the proxy in front tells it.
struct Told {
    method: Method,
    /// As routes compare it.
    host: String,
    /// With its port, as origins are compared.
    authority: String,
    path: String,
    /// With its query.
    target: String,
    websocket: bool,
}

impl Told {
    fn read(request: &canonical::Canonical, rest: Option<&str>) -> Result<Self, Rejection> {
        let parts = &request.parts;
        let text = |name: &HeaderName| -> Result<Option<&str>, BadRequest> {
            let mut values = parts.headers.get_all(name).iter();
            let first = values.next();
            if values.next().is_some() {
                return Err(BadRequest::ForwardedRequest);
            }
            let text = first.map(|value| value.to_str()).transpose();
            text.map_err(|_| BadRequest::ForwardedRequest)
        };
        let method = match text(&X_FORWARDED_METHOD)? {
            Some(method) => method.parse().map_err(|_| BadRequest::ForwardedRequest)?,
            None => parts.method.clone(),
        };
        let authority = match text(&X_FORWARDED_HOST)? {
            Some(host) => host,
            None => text(&HOST)?.unwrap_or_default(),
        };
        let host = canonical::host_name(authority).ok_or(BadRequest::HostInvalid)?;
        let (path, query) = match (rest, text(&X_FORWARDED_URI)?) {
            (Some(path), _) => (path, parts.uri.query()),
            (None, Some(uri)) => match uri.split_once('?') {
                Some((path, query)) => (path, Some(query)),
                None => (uri, None),
            },
            (None, None) => return Err(BadRequest::ForwardedRequest.into()),
        };
        if !path.starts_with('/') {
            return Err(BadRequest::TargetForm.into());
        }
        path::check(path, query)?;
        let websocket = parts
            .headers
            .get_all(UPGRADE)
            .iter()
            .any(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"));
        let target = match query {
            Some(query) => format!("{path}?{query}"),
            None => path.to_owned(),
        };
        let (authority, path) = (authority.to_owned(), path.to_owned());
        Ok(Self { method, host, authority, path, target, websocket })
    }
}
