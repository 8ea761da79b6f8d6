//! The sample backend of the demo, and of nothing else: a page, a JSON endpoint that shows what
//! reached it, a login that any name gets through, a WebSocket. On loopback, on a port of its own,
//! on its own thread.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::clock::UnixMs;

use super::issuer::{DemoIssuer, USERS};
use super::websocket;

const PAGE: &str = include_str!("page.html");

/// A running backend; it ends when this is dropped.
pub struct Backend {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Backend {
    pub fn start(issuer: Arc<DemoIssuer>) -> std::io::Result<Self> {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new().name("demo-backend".into()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = serve(listener, issuer) => {}
                    _ = stopped => {}
                }
            });
        })?;
        Ok(Self { address, stop: Some(stop), thread: Some(thread) })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn serve(listener: std::net::TcpListener, issuer: Arc<DemoIssuer>) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!("demo backend: {error}"),
    };
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!("demo backend: {error}");
                // Out of file descriptors, most likely: others have to end first.
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let issuer = Arc::clone(&issuer);
        tokio::spawn(async move {
            let answer =
                service_fn(async |request| Ok::<_, Infallible>(answer(request, &issuer).await));
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), answer)
                .with_upgrades();
            // A client that goes away mid-request is no news here.
            let _ = connection.await;
        });
    }
}

async fn answer(request: Request<Incoming>, issuer: &DemoIssuer) -> Response<Full<Bytes>> {
    let path = request.uri().path().to_owned();
    if path == "/ws" {
        return websocket::accept(request);
    }
    if path == "/" {
        return page();
    }
    if path.starts_with("/api/") {
        return shown(&request);
    }
    if let Some(user) = path.strip_prefix("/login/") {
        return login(request.method(), user, issuer).await;
    }
    if path == "/logout" && request.method() == Method::POST {
        return cookie("session=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0");
    }
    respond(StatusCode::NOT_FOUND, &json!({ "error": "The sample backend has no such page." }))
}

fn page() -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(PAGE.as_bytes())));
    let headers = response.headers_mut();
    headers
        .insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        header::HeaderValue::from_static(
            "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; \
             connect-src 'self' ws:; base-uri 'none'; form-action 'none'",
        ),
    );
    response
}

/// What reached the backend, as it came.
fn shown(request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    respond(
        StatusCode::OK,
        &json!({
            "user": request.headers().get("x-auth-subject").map(text),
            "method": request.method().as_str(),
            "path": target,
            "headers": headers(request.headers()),
        }),
    )
}

fn headers(headers: &HeaderMap) -> Map<String, Value> {
    let mut members = Map::new();
    for name in headers.keys() {
        let mut values: Vec<Value> = headers.get_all(name).iter().map(|v| text(v).into()).collect();
        let value = if values.len() == 1 { values.remove(0) } else { Value::Array(values) };
        members.insert(name.as_str().to_owned(), value);
    }
    members
}

fn text(value: &header::HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

/// A fresh token in a cookie, as an application's login would set it. POST only, so that a link or
/// a preload logs nobody in.
///
/// `iat` counts whole seconds, and a revocation ends what was issued before the next one. Whoever
/// revokes and at once issues anew has to wait for it, or the new token is ended as well.
async fn login(method: &Method, user: &str, issuer: &DemoIssuer) -> Response<Full<Bytes>> {
    if method != Method::POST {
        return respond(StatusCode::METHOD_NOT_ALLOWED, &json!({ "error": "POST to log in." }));
    }
    if !USERS.contains(&user) {
        return respond(StatusCode::NOT_FOUND, &json!({ "error": "Log in as alice or as bob." }));
    }
    let now = UnixMs::now();
    tokio::time::sleep(now.ceil_to_second().since(now)).await;
    match issuer.token(user, "browser") {
        Ok(token) => cookie(&format!("session={token}; Path=/; HttpOnly; SameSite=Lax")),
        Err(error) => {
            respond(StatusCode::INTERNAL_SERVER_ERROR, &json!({ "error": error.to_string() }))
        }
    }
}

fn cookie(set_cookie: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::new()));
    *response.status_mut() = StatusCode::NO_CONTENT;
    if let Ok(value) = header::HeaderValue::from_str(set_cookie) {
        response.headers_mut().insert(header::SET_COOKIE, value);
    }
    no_store(response)
}

pub(super) fn respond(status: StatusCode, body: &Value) -> Response<Full<Bytes>> {
    let mut text = format!("{body:#}");
    text.push('\n');
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let json = header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    no_store(response)
}

fn no_store(mut response: Response<Full<Bytes>>) -> Response<Full<Bytes>> {
    let no_store = header::HeaderValue::from_static("no-store");
    response.headers_mut().insert(header::CACHE_CONTROL, no_store);
    response
}
