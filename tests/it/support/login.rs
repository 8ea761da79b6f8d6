//! A gateway in front of a backend whose login answers with a token as JSON, which is captured.

use std::sync::{Arc, Mutex};

use serde_json::json;

use super::{Answer, Connection, Gateway, Issuer, Jar, Setup, Token, Upstream};

/// A page of the same origin asks.
pub const OURS: (&str, &str) = ("Sec-Fetch-Site", "same-origin");

const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// See the module. `/ws` echoes bytes, every other path what it was asked.
pub struct LoginScene {
    pub issuer: Issuer,
    pub gateway: Gateway,
    /// What the backend's login answers with.
    pub token: Arc<Mutex<String>>,
    pub upstream: Upstream,
}

impl LoginScene {
    /// With these lines of `[[issuer]]` and `[session]`.
    #[track_caller]
    pub fn start(issuer_lines: &str, session: &str, more: impl FnOnce(Setup) -> Setup) -> Self {
        let issuer = Issuer::new("ES256");
        let token: Arc<Mutex<String>> = Arc::default();
        let given = Arc::clone(&token);
        let upstream =
            Upstream::answering(move |exchange| match exchange.received.target.as_str() {
                "/login" | "/login/again" => {
                    let token = given.lock().unwrap().clone();
                    let body = json!({"access": token, "refresh": "r-1"}).to_string();
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
        let setup = Setup::new()
            .issuer(&issuer, issuer_lines)
            .upstream("app", &upstream, "")
            .tables(&format!("[session]\n{session}"))
            .route(
                "/login",
                "access = \"public\"\ncapture = { token = \"/access\", refresh = \"/refresh\" }",
            )
            .route("/open", "credentials = [\"session\"]\naccess = \"optional\"")
            .route("/", "credentials = [\"bearer\", \"session\", \"cookie:session\"]");
        let gateway = more(setup).start();
        Self { issuer, gateway, token, upstream }
    }

    pub fn post(&self, target: &str, headers: &[(&str, &str)]) -> Answer {
        self.gateway.connect().request("POST", target, &[&[OURS], headers].concat(), b"")
    }

    pub fn log_in(&self, token: &str, before: &Jar) -> (Answer, Jar) {
        token.clone_into(&mut self.token.lock().unwrap());
        let answer = self.post("/login", &[("Cookie", &before.header())]);
        let mut jar = before.clone();
        jar.take(&answer);
        (answer, jar)
    }

    pub fn get(&self, target: &str, jar: &Jar) -> Answer {
        self.gateway.get(target, &[("Cookie", &jar.header()), OURS])
    }

    pub fn status(&self, jar: &Jar) -> u16 {
        self.get("/", jar).status
    }

    pub fn log_out(&self, jar: &Jar) -> Answer {
        self.post("/.auth/logout", &[("Cookie", &jar.header())])
    }

    pub fn alice(&self, session: &str) -> Token {
        self.issuer.token("alice").claim("sid", session)
    }

    /// A WebSocket of the page, through which bytes have gone both ways.
    pub fn socket(&self, jar: &Jar) -> Connection {
        let mut connection = self.gateway.connect();
        connection.send(format!(
            "GET /ws HTTP/1.1\r\nHost: a\r\nOrigin: http://a\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Version: 13\r\nCookie: {}\r\n\r\n",
            jar.header()
        ));
        assert_eq!(connection.head().unwrap().0, 101);
        speak(&mut connection);
        connection
    }
}

/// A masked text frame "hi" of mask 0 goes there and back.
pub fn speak(connection: &mut Connection) {
    connection.send(b"\x81\x82\0\0\0\0hi");
    assert_eq!(connection.exactly(8).unwrap(), b"\x81\x82\0\0\0\0hi");
}
