//! Sessions that are renewed: a backend whose login gives an access token and a refresh token, the
//! token endpoint of its issuer, and the gateway that keeps both in cookies.

use std::path::Path;
use std::sync::{Arc, Mutex};

use serde_json::json;

use super::{Answer, Connection, Gateway, Issuer, Jar, Setup, Token, TokenEndpoint, Upstream};

pub const OURS: (&str, &str) = ("Sec-Fetch-Site", "same-origin");
/// A person opens a page.
pub const NAVIGATION: [(&str, &str); 3] =
    [("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "document"), ("Sec-Fetch-Site", "none")];
const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
const HANDSHAKE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";
pub const ACCESS: &str = "__Host-portcullis";
pub const REFRESH: &str = "__Host-portcullis-refresh";
/// A masked text frame of one letter, of mask 0.
const ECHO: &[u8] = b"\x81\x81\0\0\0\0x";

/// See the module.
pub struct SessionScene {
    pub issuer: Issuer,
    pub endpoint: TokenEndpoint,
    pub upstream: Upstream,
    pub gateway: Gateway,
    /// Access and refresh token of the next login.
    login: Arc<Mutex<(String, String)>>,
}

impl SessionScene {
    /// Renewed at the token endpoint; clocks are the same everywhere.
    pub fn new() -> Self {
        Self::of_issuer("leeway = \"0s\"")
    }

    /// With these lines for the issuer.
    pub fn of_issuer(lines: &str) -> Self {
        Self::with(lines, "", |endpoint| {
            format!(
                "{{ token_url = \"{}\", revoke_url = \"{}\", client_id = \"the gateway\", \
                 client_secret_env = \"CLIENT_SECRET\" }}",
                endpoint.url("/token"),
                endpoint.url("/revoke"),
            )
        })
    }

    /// Of an issuer whose keys are elsewhere: what is given is the directory of the config.
    pub fn of_keys(issuer: &Issuer, keys: impl FnOnce(&Path) -> String) -> Self {
        let setup = Setup::new();
        let keys = keys(setup.dir());
        Self::start(issuer.clone(), "", |issuer, endpoint| {
            let url = endpoint.url("/token");
            let renewal = format!("renewal = {{ token_url = \"{url}\", client_id = \"gateway\" }}");
            setup.issuer_with_keys(issuer, &keys, &renewal)
        })
    }

    /// With further lines for the issuer and for `[session]`, and the renewal as it is told.
    pub fn with(
        issuer_lines: &str,
        session: &str,
        renewal: impl FnOnce(&TokenEndpoint) -> String,
    ) -> Self {
        Self::start(Issuer::new("ES256"), session, |issuer, endpoint| {
            let renewal = renewal(endpoint);
            Setup::new().issuer(issuer, &format!("renewal = {renewal}\n{issuer_lines}"))
        })
    }

    fn start(
        issuer: Issuer,
        session: &str,
        setup: impl FnOnce(&Issuer, &TokenEndpoint) -> Setup,
    ) -> Self {
        let minted = issuer.token("alice").claim("sid", "s-1");
        let endpoint = TokenEndpoint::new(move || again(&minted).mint());
        let login: Arc<Mutex<(String, String)>> = Arc::default();
        let answers = Arc::clone(&login);
        let upstream =
            Upstream::answering(move |exchange| match exchange.received.target.as_str() {
                "/login" => {
                    let (access, refresh) = answers.lock().unwrap().clone();
                    let body = json!({"access": access, "refresh": refresh}).to_string();
                    exchange.answer("200 OK", "Content-Type: application/json\r\n", body);
                }
                "/ws" => {
                    exchange.send(SWITCHED);
                    while let Ok(bytes) = exchange.connection.exactly(1) {
                        exchange.send(bytes);
                    }
                }
                _ => exchange.echo(),
            });
        let gateway = setup(&issuer, &endpoint)
            .upstream("app", &upstream, "")
            .tables(&format!("[session]\n{session}\n[metrics]\nlisten = \"127.0.0.1:0\""))
            .environment("CLIENT_SECRET", "s:e%c")
            .route(
                "/login",
                "access = \"public\"\ncapture = { token = \"/access\", refresh = \"/refresh\" }",
            )
            .route("/", "credentials = [\"bearer\", \"session\"]\nforward = \"bearer\"")
            .route(
                "/open",
                "credentials = [\"session\"]\naccess = \"optional\"\nforward = \"bearer\"",
            )
            .route("/page", "credentials = [\"session\"]\nlogin_url = \"/login\"")
            .start();
        Self { issuer, endpoint, upstream, gateway, login }
    }

    /// A token of alice's session that is good for an hour.
    pub fn token(&self) -> Token {
        self.issuer.token("alice").claim("sid", "s-1")
    }

    /// A browser that has just logged in.
    #[track_caller]
    pub fn log_in(&self, access: &Token) -> Jar {
        let answer = self.try_to_log_in(access);
        assert_eq!((answer.status, answer.text().as_str()), (200, "{}"));
        let mut jar = Jar::default();
        jar.take(&answer);
        assert!(jar.0.keys().any(|name| name.starts_with(REFRESH)), "{:?}", jar.0.keys());
        jar
    }

    pub fn try_to_log_in(&self, access: &Token) -> Answer {
        self.try_to_log_in_with(&access.mint(), &Jar::default())
    }

    /// In a browser that has cookies.
    pub fn try_to_log_in_with(&self, access: &str, jar: &Jar) -> Answer {
        *self.login.lock().unwrap() = (access.to_owned(), self.endpoint.issue());
        let cookie = jar.header();
        let headers = [OURS, ("Cookie", cookie.as_str())];
        let headers = if cookie.is_empty() { &headers[..1] } else { &headers[..] };
        self.gateway.connect().request("POST", "/login", headers, b"{}")
    }

    /// The same when its access cookie is over, as browsers forget it with the token's end.
    #[track_caller]
    pub fn log_in_and_wait(&self, access: &Token) -> Jar {
        let mut jar = self.log_in(access);
        forget_access(&mut jar);
        jar
    }

    pub fn get(&self, target: &str, jar: &Jar) -> Answer {
        self.gateway.get(target, &[("Cookie", &jar.header()), OURS])
    }

    pub fn get_with(&self, target: &str, jar: &Jar, headers: &[(&str, &str)]) -> Answer {
        let cookie = jar.header();
        self.gateway.get(target, &[&[("Cookie", cookie.as_str())], headers].concat())
    }

    pub fn post(&self, target: &str, jar: &Jar) -> Answer {
        let headers = [("Cookie", jar.header()), (OURS.0, OURS.1.to_owned())];
        let headers: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
        self.gateway.connect().request("POST", target, &headers, b"")
    }

    /// A WebSocket that has echoed.
    #[track_caller]
    pub fn socket(&self, jar: &Jar) -> Connection {
        let (mut socket, status, _) = self.handshake(jar);
        assert_eq!(status, 101);
        echoes(&mut socket);
        socket
    }

    /// Its connection, status and head.
    #[track_caller]
    pub fn handshake(&self, jar: &Jar) -> (Connection, u16, String) {
        let mut socket = self.gateway.connect();
        let (address, cookie) = (&self.gateway.address, jar.header());
        socket.send(format!(
            "GET /ws HTTP/1.1\r\nHost: {address}\r\nOrigin: http://{address}\r\n{HANDSHAKE}Cookie: {cookie}\r\n\r\n"
        ));
        let (status, head, _) = socket.head().unwrap();
        (socket, status, head)
    }

    /// With the same config and store.
    #[track_caller]
    pub fn restart(self) -> Self {
        Self { gateway: self.gateway.restart(), ..self }
    }

    /// The token that the backend got last.
    #[track_caller]
    pub fn forwarded(&self) -> String {
        let received = self.upstream.last();
        let value = received.header("authorization").expect("a token").to_owned();
        value.strip_prefix("Bearer ").expect("a bearer token").to_owned()
    }

    /// `portcullis_renewals_total` of a result.
    #[track_caller]
    pub fn count(&self, result: &str) -> u64 {
        let text = Connection::open(self.gateway.metrics_address()).get("/metrics", &[]).text();
        let begin = format!("portcullis_renewals_total{{result=\"{result}\"}} ");
        let line = text.lines().find_map(|line| line.strip_prefix(begin.as_str()));
        line.unwrap_or_else(|| panic!("{result} in {text}")).parse().unwrap()
    }
}

/// The same token with a `jti` of its own.
pub fn again(token: &Token) -> Token {
    let mut jti = [0_u8; 12];
    aws_lc_rs::rand::fill(&mut jti).unwrap();
    token.clone().claim("jti", super::base64url(jti))
}

pub fn forget_access(jar: &mut Jar) {
    jar.0.retain(|name, _| name.starts_with(REFRESH));
}

/// The answer clears the session's cookies.
#[track_caller]
pub fn assert_cleared(answer: &Answer) {
    let cleared = |name: &str| {
        let begin = format!("{name}=; Max-Age=0");
        answer.all("set-cookie").iter().any(|line| line.starts_with(&begin))
    };
    assert!(cleared(ACCESS) && cleared(REFRESH), "{}", answer.head);
}

#[track_caller]
pub fn echoes(socket: &mut Connection) {
    socket.send(ECHO);
    assert_eq!(socket.exactly(ECHO.len()).unwrap(), ECHO);
}
