//! A running API with two issuers, four credentials, and a client that sends what it is told.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot;

use crate::clock::{Clock, UnixMs};
use crate::config::{AdminToken, Listen, Role};
use crate::control::admin::{
    AdminListener, Api, Parts, RouteFound, RouteQuestion, RouteRefusal, RouteReport, Settings,
    serve,
};
use crate::control::config::{Desk, Standing};
use crate::control::observed::Observed;
use crate::control::people::{People, Refusals};
use crate::control::sessions::renewal::Renewals;
use crate::control::sessions::{self, Records, Sessions};
use crate::control::store::tests::disk::SimulatedDisk;
use crate::control::store::{Options, Store};
use crate::control::streams::OpenStreams;
use crate::denylist::{Denylist, Fingerprinter, Writer};
use crate::keys::{Algorithm, KeySet, SigningKey};
use crate::secret::Secret;
use crate::sockets::bind;
use crate::telemetry::counters::Counters;
use crate::telemetry::{AskToReport, Sighting};
use crate::token::{ClaimPath, Credential};
use crate::verify::{
    Check, ClaimNames, Issuer, Missing, Policy, SignatureCache, Signed, VerifiedToken, Verifier,
};

pub const MAIN: &str = "https://id.example.com/";
pub const PARTNER: &str = "https://partner.example.com/";

pub struct Bed {
    pub address: SocketAddr,
    pub socket: PathBuf,
    pub key: SigningKey,
    pub store: Store,
    pub denylist: Arc<Denylist>,
    pub verifier: Arc<Verifier>,
    pub people: Arc<People>,
    pub refusals: Arc<Refusals>,
    /// What the one core does that is asked to report; at first it has ended.
    pub core: Arc<Mutex<AskToReport>>,
    pub ready: Arc<AtomicBool>,
    api: Arc<Api>,
    stop: Option<oneshot::Sender<()>>,
    served: tokio::task::JoinHandle<()>,
    _place: tempfile::TempDir,
}

#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Value,
    /// As it came.
    pub text: Bytes,
}

impl Reply {
    pub fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }

    /// An answer of lines.
    pub fn lines(&self) -> Vec<Value> {
        let lines = self.text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
    }

    pub fn id(&self) -> String {
        self.body["id"].as_str().unwrap().to_owned()
    }

    /// Codes and pointers of the faults.
    pub fn faults(&self) -> Vec<(&str, &str)> {
        let errors = self.body["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
        errors
            .iter()
            .map(|error| (error["code"].as_str().unwrap(), error["pointer"].as_str().unwrap()))
            .collect()
    }

    pub fn warnings(&self) -> Vec<&str> {
        let warnings = self.body["warnings"].as_array().map(Vec::as_slice).unwrap_or_default();
        warnings.iter().map(|warning| warning["code"].as_str().unwrap()).collect()
    }
}

/// A request, by default of the admin, in JSON.
pub struct Ask {
    pub method: Method,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Option<String>,
}

impl Ask {
    pub fn new(method: Method, path: &str) -> Self {
        Self { method, path: path.to_owned(), headers: Vec::new(), body: None }.by("admin")
    }

    pub fn get(path: &str) -> Self {
        Self::new(Method::GET, path)
    }

    pub fn post(path: &str, body: &Value) -> Self {
        let mut ask = Self::new(Method::POST, path);
        ask.body = Some(body.to_string());
        ask.header("content-type", "application/json")
    }

    /// A body of lines.
    pub fn lines(path: &str, text: &str) -> Self {
        let mut ask = Self::new(Method::POST, path);
        ask.body = Some(text.to_owned());
        ask.header("content-type", "application/x-ndjson")
    }

    pub fn by(self, name: &str) -> Self {
        self.header("authorization", &format!("Bearer {}", credential(name)))
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self = self.without(name);
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(known, _)| known != name);
        self
    }

    fn request(self, host: &str) -> Request<Full<Bytes>> {
        let mut request = Request::builder().method(self.method).uri(self.path);
        if !self.headers.iter().any(|(name, _)| name == "host") {
            request = request.header("host", host);
        }
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        request.body(Full::new(Bytes::from(self.body.unwrap_or_default()))).unwrap()
    }
}

pub fn credential(name: &str) -> String {
    format!("{name}-credential-for-tests")
}

async fn exchange<S>(stream: S, request: Request<Full<Bytes>>) -> Reply
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let answer = sender.send_request(request).await.unwrap();
    let (parts, body) = answer.into_parts();
    let text = body.collect().await.unwrap().to_bytes();
    let body = serde_json::from_slice(&text).unwrap_or(Value::Null);
    Reply { status: parts.status, headers: parts.headers, body, text }
}

/// Nobody reloads here.
fn desk() -> Desk {
    let standing = Standing {
        loaded_at: UnixMs::now(),
        effective: Value::Null,
        needs_restart: Vec::new(),
        last: None,
    };
    Desk::new(standing).0
}

impl Bed {
    pub async fn start() -> Self {
        Self::with(1000, true).await
    }

    pub async fn with(store_limit: u64, remember: bool) -> Self {
        let options = Options::of_limit(store_limit);
        Self::over(store_limit, remember, |place, writer, denylist| {
            Store::open(place, &options, writer, denylist).unwrap()
        })
        .await
    }

    /// With its store on this disk.
    pub async fn on(disk: &SimulatedDisk) -> Self {
        Self::over(100_000, true, |_, writer, denylist| {
            disk.store(writer, denylist, Clock::system()).unwrap()
        })
        .await
    }

    async fn over(
        store_limit: u64,
        remember: bool,
        open: impl FnOnce(&Path, Writer, Arc<Denylist>) -> Store,
    ) -> Self {
        let place = tempfile::tempdir().unwrap();
        let by = Fingerprinter::random();
        let (denylist, writer) = Denylist::new(by.clone());
        let store = open(place.path(), writer, Arc::clone(&denylist));
        let key = SigningKey::generate(Algorithm::ES256).unwrap().with_kid("2026-11");
        let verifier = Arc::new(Verifier::new(
            vec![issuer("main", MAIN, &key), issuer("partner", PARTNER, &key)],
            by.clone(),
            Arc::new(SignatureCache::new(1 << 20)),
        ));
        let people = Arc::new(People::new(remember, by, UnixMs::now()));
        let refusals = Arc::new(Refusals::default());
        let core: Arc<Mutex<AskToReport>> = Arc::new(Mutex::new(Box::new(|_| false)));
        let ready = Arc::new(AtomicBool::new(true));
        let source = Arc::clone(&verifier);
        let keys = crate::control::keys::KeyRing::new(
            Path::new("nowhere"),
            denylist.fingerprinter().clone(),
        );
        let open_streams = Arc::new(OpenStreams::new(Vec::new()));
        let sessions = Sessions::new(sessions::Parts {
            store: store.clone(),
            verifier: {
                let verifier = Arc::clone(&verifier);
                Arc::new(move || Arc::clone(&verifier))
            },
            streams: Arc::clone(&open_streams),
            records: Arc::new(Records::new(store.clone(), Arc::clone(&denylist))),
            people: Arc::clone(&people),
            renewals: Renewals::new(Arc::clone(&denylist), Arc::clone(&keys), Arc::default()),
        });
        let api = Arc::new(Api::new(Parts {
            store: store.clone(),
            denylist: Arc::clone(&denylist),
            verifier: Arc::new(move || Arc::clone(&source)),
            routes: Arc::new(routes),
            people: Arc::clone(&people),
            sessions,
            refusals: Arc::clone(&refusals),
            observed: observed(&core),
            settings: Settings::new(tokens(), &["gateway.example.com".to_owned()], true),
            config: Arc::new(desk()),
            store_limit,
            ready: Arc::clone(&ready),
            upstreams: Arc::new(Vec::new),
            open_streams,
            counters: Counters::default(),
            calls: Arc::default(),
            keys,
        }));
        let socket = place.path().join("admin.sock");
        let tcp = bind(&Listen::Tcp("127.0.0.1:0".parse().unwrap())).unwrap();
        let unix = bind(&Listen::Unix(socket.clone())).unwrap();
        let Listen::Tcp(address) = tcp.address else { panic!("{:?}", tcp.address) };
        let listeners = [tcp, unix]
            .map(|bound| AdminListener::new(bound.socket).unwrap())
            .into_iter()
            .collect();
        let (stop, stopped) = oneshot::channel::<()>();
        let served = tokio::spawn(serve(listeners, Arc::clone(&api), async move {
            let _ = stopped.await;
        }));
        Self {
            address,
            socket,
            key,
            store,
            denylist,
            verifier,
            people,
            refusals,
            core,
            ready,
            api,
            stop: Some(stop),
            served,
            _place: place,
        }
    }

    /// A reload gives this credential other rights.
    pub fn change(&self, name: &str, role: Role, issuers: Option<&[&str]>) {
        let mut tokens = tokens();
        for token in tokens.iter_mut().filter(|token| token.name == name) {
            token.role = role;
            token.issuers =
                issuers.map(|names| names.iter().map(|&name| name.to_owned()).collect());
        }
        self.api.reconfigure(Settings::new(tokens, &[], true));
    }

    pub async fn send(&self, ask: Ask) -> Reply {
        let stream = tokio::net::TcpStream::connect(self.address).await.unwrap();
        let host = self.address.to_string();
        exchange(stream, ask.request(&host)).await
    }

    pub async fn send_by_socket(&self, ask: Ask) -> Reply {
        let stream = tokio::net::UnixStream::connect(&self.socket).await.unwrap();
        exchange(stream, ask.request("portcullis")).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Reply {
        self.send(Ask::post(path, &body)).await
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.send(Ask::get(path)).await
    }

    /// Ends the server and waits until it has.
    pub async fn stop(mut self) -> PathBuf {
        self.stop.take().unwrap().send(()).unwrap();
        (&mut self.served).await.unwrap();
        self.socket.clone()
    }

    /// A token of issuer main for an hour.
    pub fn token(&self, change: Value) -> String {
        let now = UnixMs::now().secs();
        let mut claims = json!({
            "iss": MAIN, "aud": "api", "sub": "alice", "sid": "s-1", "jti": "t-1",
            "iat": now - 10, "exp": now + 3600, "email": "alice@example.com",
            "tenant": "acme", "ver": 3, "client_id": "app", "scope": "profile",
        });
        for (name, value) in change.as_object().unwrap() {
            if value.is_null() {
                claims.as_object_mut().unwrap().remove(name);
            } else {
                claims[name] = value.clone();
            }
        }
        self.key.sign(&claims).unwrap()
    }

    pub fn verified(&self, token: &str) -> VerifiedToken {
        self.verifier.verify(&Credential::new(token), UnixMs::now()).unwrap()
    }

    /// What the data plane would do with it.
    pub fn is_denied(&self, token: &str) -> bool {
        self.denylist.check(self.verified(token).signed().marks()).is_some()
    }

    /// The data plane meets the token.
    pub fn sight(&self, token: &str) -> Arc<Signed> {
        let signed = Arc::clone(self.verified(token).signed());
        self.people.sight(&sighting(&signed));
        signed
    }

    /// The data plane has met the token, and tells it when it is asked. Whether the token was denied
    /// when that was asked first.
    pub fn will_report(&self, token: &str) -> Arc<OnceLock<bool>> {
        let signed = Arc::clone(self.verified(token).signed());
        let (people, denylist) = (Arc::clone(&self.people), Arc::clone(&self.denylist));
        let denied = Arc::<OnceLock<bool>>::default();
        let when_asked = Arc::clone(&denied);
        *self.core.lock() = Box::new(move |remembered| {
            when_asked.get_or_init(|| denylist.check(signed.marks()).is_some());
            people.sight(&sighting(&signed));
            remembered.send(()).is_ok()
        });
        denied
    }
}

/// What one core has seen, which may be exchanged for another.
fn observed(core: &Arc<Mutex<AskToReport>>) -> Arc<Observed> {
    let core = Arc::clone(core);
    Arc::new(Observed::new(vec![Box::new(move |remembered| core.lock()(remembered))]))
}

fn sighting(token: &Arc<Signed>) -> Sighting {
    let address = Some([203, 0, 113, 7].into());
    Sighting { at: UnixMs::now(), token: Arc::clone(token), address }
}

fn tokens() -> Vec<AdminToken> {
    let token = |name: &str, role, issuers: Option<&[&str]>| AdminToken {
        name: name.to_owned(),
        role,
        secret: Secret::new(credential(name).into_bytes()),
        issuers: issuers.map(|names| names.iter().map(|&name| name.to_owned()).collect()),
    };
    vec![
        token("viewer", Role::Viewer, None),
        token("revoker", Role::Revoker, None),
        token("operator", Role::Operator, None),
        token("admin", Role::Admin, None),
        token("partner-backend", Role::Operator, Some(&["partner"])),
    ]
}

fn issuer(name: &str, iss: &str, key: &SigningKey) -> Arc<Issuer> {
    let claim = |name: &str| ClaimPath::parse(name).unwrap();
    let indexed = vec![("tenant".to_owned(), claim("tenant"))];
    let policy = Policy {
        // Tokens of the partner may lack `iat`.
        missing: Missing { iat: name == "partner", ..Missing::default() },
        claims: ClaimNames { indexed, ..ClaimNames::default() },
        display: Some(claim("email")),
        ..Policy::new(name, iss, &["api"], &[Algorithm::ES256])
    };
    let jwks = key.jwks().unwrap().to_string();
    let (keys, _) = KeySet::from_jwks(jwks.as_bytes(), &[Algorithm::ES256]).unwrap();
    Arc::new(Issuer::new(policy, Arc::new(keys)))
}

/// One route, `/api/`, that needs the scope `read`.
fn routes(question: &RouteQuestion<'_>) -> RouteReport {
    let Some(url) = question.url else {
        let before = vec![Check::skipped("route", "needs url")];
        return RouteReport { before, ..RouteReport::default() };
    };
    if !url.contains("/api/") {
        return RouteReport {
            before: vec![Check::fail("route", "no route")],
            refused_before: Some(RouteRefusal { status: 404, code: "no_route" }),
            ..RouteReport::default()
        };
    }
    let scopes = vec!["read".to_owned()];
    let short = question.token.is_some_and(|token| !token.missing_scopes(&scopes).is_empty());
    RouteReport {
        route: Some(RouteFound {
            name: "app".to_owned(),
            host: "*".to_owned(),
            path: "/api/".to_owned(),
            number: 1,
            of: 1,
            access: "required",
        }),
        before: vec![Check::ok("route", "app")],
        after: vec![match (question.token, short) {
            (None, _) => Check::skipped("scopes", "needs a token"),
            (Some(_), true) => Check::fail("scopes", "needs read"),
            (Some(_), false) => Check::ok("scopes", "read"),
        }],
        refused_before: None,
        refused_after: short.then_some(RouteRefusal { status: 403, code: "scope_missing" }),
        scopes,
        scopes_any: Vec::new(),
    }
}

/// A refusal of this token, as the data plane tells it.
pub fn refusal(
    id: &str,
    token: Option<Arc<Signed>>,
    code: &'static str,
) -> crate::telemetry::Refusal {
    crate::telemetry::Refusal {
        at: UnixMs::now(),
        request_id: id.to_owned(),
        method: Method::GET,
        host: "app.example.com".to_owned(),
        path: "/api/orders".to_owned(),
        route: Some("app".into()),
        status: 401,
        code,
        detail: "as the log says".to_owned(),
        address: Some([203, 0, 113, 7].into()),
        token,
        hit: None,
    }
}

/// Sets when a token was last seen.
pub fn seen_at(token: &Signed, at: UnixMs) {
    let last: &AtomicI64 = &token.last_seen;
    last.store(at.0, std::sync::atomic::Ordering::Relaxed);
}
