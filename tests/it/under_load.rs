//! Reload and takeover while everybody asks: HTTP/1.1 on kept and on new connections, HTTP/2 over
//! TLS, uploads in pieces, WebSockets. Not one request may fail, and no WebSocket may end.

use serde_json::{Value, json};

use crate::replacement::deny;
use crate::stream_rules::{backend, echoes, open, open_at};
use crate::support::http2::request;
use crate::support::load::{Load, Turn};
use crate::support::{Authority, Connection, Gateway, Http2, Issued, Issuer, Setup, Upstream, der};

/// Requests of each client between two changes.
const EACH: usize = 8;
const PIECE: &[u8] = &[b'x'; 6_000];
const NAME: &str = "app.example.com";

struct Scene {
    authority: Authority,
    gateway: Gateway,
    issuer: Issuer,
    /// Answers at `/`; there is another, to which the upstream may be changed.
    upstreams: [Upstream; 2],
    _sockets: Upstream,
}

fn scene() -> Scene {
    let (authority, issuer) = (Authority::new(), Issuer::new("ES256"));
    let (upstreams, sockets) = ([Upstream::new(), Upstream::new()], backend());
    let setup = Setup::new()
        .issuer(&issuer, "")
        .upstream("app", &upstreams[0], "")
        .upstream("sockets", &sockets, "")
        .route("/", "")
        .route("/ws", "upstream = \"sockets\"")
        .server("watch = false\ndrain_timeout = \"60s\"")
        .tables(
            "[[listener]]\nlisten = \"127.0.0.1:0\"\n\
             tls.certificates = [{ chain = \"a.pem\", key = \"a.key\" }]",
        );
    authority.issue(&[NAME]).write(setup.dir(), "a");
    Scene { authority, gateway: setup.start(), issuer, upstreams, _sockets: sockets }
}

impl Scene {
    /// Where TLS is spoken.
    fn secure(&self) -> String {
        let ready: Value = serde_json::from_str(&self.gateway.stdout.all()[0]).unwrap();
        ready["listen"][1].as_str().unwrap().strip_prefix("https://").unwrap().to_owned()
    }

    fn bearer(&self) -> String {
        format!("Bearer {}", self.issuer.mint("alice"))
    }

    fn load(&self) -> Load {
        let mut load = Load::default();
        for _ in 0..2 {
            load.client("HTTP/1.1", self.connect(), get(self.bearer()));
            load.client("uploads", self.connect(), upload(self.bearer()));
            let (mut client, at) = (self.authority.client().alpn(&["h2"]), self.secure());
            let open = move || Http2::secured(&at, client.config(), NAME);
            load.client("HTTP/2, TLS", open, get_http2(self.bearer()));
        }
        let mut once = get(self.bearer());
        load.client("a connection each", self.connect(), move |connection| {
            once(connection);
            Turn::ServedLast
        });
        let address = self.gateway.address.clone();
        let token = self.issuer.mint("alice");
        load.client(
            "WebSockets",
            move || open_at(&address, "/ws", &token),
            |mut socket| {
                echoes(&mut socket);
                Turn::Served(socket)
            },
        );
        load
    }

    fn connect(&self) -> impl FnMut() -> Connection + Send + 'static {
        let address = self.gateway.address.clone();
        move || Connection::open(&address)
    }

    /// A request whose body has begun.
    fn half_sent(&self) -> Connection {
        let mut upload = self.gateway.connect();
        upload.send(head(&self.bearer(), 2));
        upload.send(PIECE);
        upload
    }
}

/// Of a body of so many pieces.
fn head(bearer: &str, pieces: usize) -> String {
    let length = PIECE.len() * pieces;
    format!(
        "POST /upload HTTP/1.1\r\nHost: {NAME}\r\nAuthorization: {bearer}\r\n\
         Content-Length: {length}\r\n\r\n"
    )
}

fn get(bearer: String) -> impl FnMut(Connection) -> Turn<Connection> + Send + 'static {
    move |mut connection| {
        let answer = connection.get("/", &[("Authorization", &bearer)]);
        assert_eq!(answer.status, 200, "{}", answer.text());
        next(connection, answer.header("connection"))
    }
}

fn upload(bearer: String) -> impl FnMut(Connection) -> Turn<Connection> + Send + 'static {
    move |mut connection| {
        connection.send(head(&bearer, 3));
        (0..3).for_each(|_| connection.send(PIECE));
        let closing = uploaded(&mut connection, 3);
        next(connection, closing.as_deref())
    }
}

/// All of it has come to the backend; `Connection` of the answer.
#[track_caller]
fn uploaded(connection: &mut Connection, pieces: usize) -> Option<String> {
    let answer = connection.answer();
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["body_bytes"], json!(PIECE.len() * pieces));
    answer.header("connection").map(str::to_owned)
}

fn next(connection: Connection, answered: Option<&str>) -> Turn<Connection> {
    if answered == Some("close") { Turn::ServedLast } else { Turn::Served(connection) }
}

fn get_http2(bearer: String) -> impl FnMut(Http2) -> Turn<Http2> + Send + 'static {
    move |mut connection| match connection.try_get(request(
        "GET",
        "/",
        &[("authorization", &bearer)],
    )) {
        Ok(answer) => {
            assert_eq!(answer.status, 200);
            Turn::Served(connection)
        }
        // RFC 9113 section 6.8: what the server has not begun may be sent again.
        Err(left) if left.is_go_away() && left.reason() == Some(h2::Reason::NO_ERROR) => {
            Turn::Again
        }
        Err(other) => panic!("{other}"),
    }
}

fn put(gateway: &Gateway, text: &str) {
    let draft = gateway.config().with_extension("draft");
    std::fs::write(&draft, text).unwrap();
    std::fs::rename(draft, gateway.config()).unwrap();
}

#[test]
fn nobody_is_refused_and_no_connection_ends_while_the_config_changes_again_and_again() {
    let scene = scene();
    let (gateway, admin) = (&scene.gateway, scene.gateway.admin());
    let text = std::fs::read_to_string(gateway.config()).unwrap();
    let load = scene.load();
    load.go_on(EACH);
    let mut certificate = Issued { chain: String::new(), key: String::new() };
    for turn in 0..6_usize {
        let mut upload = scene.half_sent();
        let added = format!(
            "[[route]]\npath = \"/added-{turn}\"\nupstream = \"app\"\naccess = \"public\"\n\
             response_headers = {{ set = {{ \"X-Turn\" = \"{turn}\" }} }}\n"
        );
        let server = scene.upstreams[turn % 2].url();
        put(gateway, &(text.replace(&scene.upstreams[0].url(), &server) + &added));
        certificate = scene.authority.issue(&[NAME]);
        certificate.write(gateway.dir(), "a");
        assert_eq!(admin.post("/v1/config/reload", &json!({}))["reloaded"], true);
        let answer = gateway.get(&format!("/added-{turn}"), &[]);
        assert_eq!(answer.header("x-turn"), Some(turn.to_string().as_str()), "{}", answer.head);
        upload.send(PIECE);
        assert_eq!(uploaded(&mut upload, 2), None, "and its connection stays");
        load.go_on(EACH);
    }
    for (what, opened) in load.end() {
        assert!(opened == 1 || what == "a connection each", "{what}: {opened} connections");
    }
    let port = scene.secure().rsplit(':').next().unwrap().parse().unwrap();
    let secured = scene.authority.client().connect_to(port, NAME).unwrap();
    assert_eq!(secured.certificate, der(&certificate.chain));
    assert!(scene.upstreams.iter().all(|upstream| upstream.begun() > EACH), "both were asked");
}

#[test]
fn nobody_is_refused_and_no_websocket_ends_while_one_process_takes_the_place_of_another() {
    let scene = scene();
    let first = &scene.gateway;
    let denied = scene.issuer.mint("mallory");
    first.admin().revoke(json!({"token": denied}));
    let load = scene.load();
    load.go_on(EACH);
    let mut upload = scene.half_sent();
    let carol = scene.issuer.mint("carol");
    let mut of_carol = open(first, "/ws", &carol);
    let mut second = first.replacement();
    assert_eq!((&second.address, &second.admin_address), (&first.address, &first.admin_address));
    upload.send(PIECE);
    uploaded(&mut upload, 2);
    drop(upload);
    load.go_on(EACH);
    // What the first one acknowledged is in force in the second.
    assert_eq!(second.status(&denied), 401);
    let third = second.replacement();
    load.go_on(EACH);
    for (what, opened) in load.end() {
        match what {
            "a connection each" => {}
            "WebSockets" => assert_eq!(opened, 1, "it outlived both"),
            _ => assert!(opened <= 3, "{what}: {opened} connections"),
        }
    }
    // What the third denies holds in the first, which hears of it from the second.
    assert_eq!(third.status(&carol), 200);
    echoes(&mut of_carol);
    deny(&third, &carol);
    assert_eq!(of_carol.rest().unwrap(), b"\x88\x09\x03\xf0revoked");
    drop(of_carol);
    assert_eq!((third.status(&carol), third.status(&denied)), (401, 401));
    assert_eq!(third.status(&scene.issuer.mint("bob")), 200);
    let mut first = scene.gateway;
    for gone in [&mut first, &mut second] {
        assert_eq!(gone.wait().code(), Some(0));
    }
}

#[test]
fn at_its_deadline_a_process_that_was_replaced_tells_its_websockets_and_ends() {
    let (issuer, upstream) = (Issuer::new("HS256"), backend());
    let mut first = Setup::simple(&issuer, &upstream).server("drain_timeout = \"1s\"").start();
    let mut socket = open(&first, "/ws", &issuer.mint("alice"));
    let second = first.replacement();
    assert_eq!(socket.rest().unwrap(), b"\x88\x0c\x03\xe9going away");
    drop(socket);
    assert_eq!(first.wait().code(), Some(0));
    echoes(&mut open(&second, "/ws", &issuer.mint("alice")));
}
