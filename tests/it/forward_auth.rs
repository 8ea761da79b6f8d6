//! The examples of `docs/forward-auth.md`, run as they stand by the programs that they are for:
//! only addresses are put in.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::json;

use crate::support::peers::{Peer, installed, python};
use crate::support::{Connection, Gateway, Issuer, Setup, Upstream, eventually};

/// The block of this language.
fn example(language: &str) -> String {
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/forward-auth.md");
    let guide = std::fs::read_to_string(guide).unwrap();
    let (_, behind) = guide.split_once(&format!("\n```{language}\n")).expect(language);
    behind.split_once("\n```").unwrap().0.to_owned() + "\n"
}

struct Scene {
    issuer: Issuer,
    away: Issuer,
    backend: Upstream,
    gateway: Gateway,
}

impl Scene {
    fn new() -> Self {
        let issuer = Issuer::new("ES256");
        let backend = Upstream::new();
        // An issuer whose keys nobody serves.
        let away = Issuer::named("away", "https://away.example/", "ES256");
        let keys = "{ jwks_url = \"https://127.0.0.1:9/keys\" }";
        let gateway = Setup::simple(&issuer, &backend)
            .issuer_with_keys(&away, keys, "")
            .server(
                "trusted_proxies = [\"127.0.0.1/32\"]\nlimits.failed_credentials_per_minute = 20",
            )
            .route("/", "identity = { \"X-Auth-Subject\" = \"sub\" }")
            .route("/open/", "access = \"optional\"\nidentity = { \"X-Auth-Subject\" = \"sub\" }")
            .route(
                "/admin/",
                "require = { scopes = [\"admin\"] }\nidentity = { \"X-Auth-Subject\" = \"sub\" }",
            )
            .route("/page", "credentials = [\"session\"]\nlogin_url = \"/login\"")
            .start();
        Self { issuer, away, backend, gateway }
    }

    fn socket(&self) -> PathBuf {
        self.gateway.dir().join("front.sock")
    }

    /// The example with the addresses of this test.
    fn filled(&self, text: &str) -> String {
        let backend = self.backend.address();
        let (_, gateway_port) = self.gateway.address.rsplit_once(':').unwrap();
        text.replace("127.0.0.1:8080", &self.gateway.address)
            .replace("127.0.0.1:3000", &backend.to_string())
            .replace("port_value: 8080", &format!("port_value: {gateway_port}"))
            .replace("port_value: 3000", &format!("port_value: {}", backend.port()))
    }

    /// Started, and where it listens.
    fn nginx(&self, program: &Path) -> (Peer, PathBuf) {
        let socket = self.socket();
        // Over a socket file it knows no address of its client.
        let server = self
            .filled(&example("nginx"))
            .replace("listen 80;", &format!("listen unix:{};", socket.display()))
            .replace("$remote_addr", "203.0.113.9");
        let dir = self.gateway.dir().display();
        let config = format!(
            "daemon off; master_process off; user root; pid {dir}/nginx.pid; error_log {dir}/error.log; events {{}}
             http {{ access_log off; client_body_temp_path {dir}/b; proxy_temp_path {dir}/p; fastcgi_temp_path {dir}/f;
             uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;\n{server}}}",
        );
        let path = self.write("nginx.conf", &config);
        let peer = start(
            Command::new(program).arg("-c").arg(path).args(["-e", "stderr"]),
            &self.gateway.dir().join("nginx.log"),
        );
        eventually("the proxy listens", || {
            std::os::unix::net::UnixStream::connect(&socket).ok().map(drop)
        });
        (peer, socket)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.gateway.dir().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// What everybody who follows the guide counts on.
    #[track_caller]
    fn judge(&self, peer: Peer) {
        let socket = self.socket();
        eventually("the proxy listens", || {
            std::os::unix::net::UnixStream::connect(&socket).ok().map(drop)
        });
        let ask = |target: &str, headers: &[(&str, &str)]| {
            let forged = [("X-Auth-Subject", "mallory")];
            Connection::open_unix(&socket).get(target, &[&forged, headers].concat())
        };
        let bearer = format!("Bearer {}", self.issuer.mint("alice"));
        let alice = [("Authorization", bearer.as_str())];
        let admin = format!("Bearer {}", self.issuer.token("bob").claim("scope", "admin").mint());
        let bob = [("Authorization", admin.as_str())];
        let passed = ask("/orders?a=b", &alice);
        assert_eq!(passed.status, 200, "{}", passed.text());
        let seen = self.backend.last();
        assert_eq!(
            (seen.target.as_str(), seen.header("x-auth-subject")),
            ("/orders?a=b", Some("alice"))
        );
        let count = self.backend.begun();
        assert_eq!(ask("/orders", &[]).status, 401);
        assert_eq!(ask("/orders", &[("Authorization", "Bearer x.y.z")]).status, 401);
        assert_eq!(ask("/admin/x", &alice).status, 403);
        // The gateway judges the path that the proxy forwards, however it is written.
        for odd in ["/x/../admin/x", "/admin%2Fx", "/%61dmin/x"] {
            assert_ne!(ask(odd, &alice).status, 200, "{odd}");
        }
        assert_eq!(self.backend.begun(), count, "nothing that was refused arrived");
        assert_eq!(ask("/admin/x", &bob).status, 200);
        self.gateway.admin().revoke(json!({"user": "alice", "issuer": "main"}));
        assert_eq!(ask("/orders", &alice).status, 401);
        assert_eq!(ask("/orders", &bob).status, 200);
        drop(peer);
    }
}

fn start(command: &mut Command, log: &Path) -> Peer {
    let log = std::fs::File::create(log).unwrap();
    command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    Peer::of(command.spawn().unwrap())
}

#[test]
fn nginx_asks_the_gateway_as_the_guide_says() {
    let Some(nginx) = installed("nginx") else { return };
    let scene = Scene::new();
    let (peer, _) = scene.nginx(&nginx);
    scene.judge(peer);
}

#[test]
fn nginx_hands_on_what_it_would_turn_into_500() {
    let Some(nginx) = installed("nginx") else { return };
    let scene = Scene::new();
    let (peer, socket) = scene.nginx(&nginx);
    let ask = |target: &str, headers: &[(&str, &str)]| {
        Connection::open_unix(&socket).get(target, headers)
    };
    let page = ask("/page?a=b", &[("Accept", "text/html")]);
    assert_eq!(page.status, 303, "{}", page.text());
    let way = page.header("location").unwrap();
    assert!(way.ends_with("/login?return_to=/page%3Fa%3Db"), "{way}");
    assert_eq!(ask("/page", &[("Accept", "application/json")]).status, 401);
    // Nobody can judge it at the moment.
    let unsure = format!("Bearer {}", scene.away.mint("alice"));
    let unsure = ask("/orders", &[("Authorization", &unsure)]);
    assert_eq!(unsure.status, 503, "{}", unsure.text());
    assert!(unsure.header("retry-after").is_some_and(|wait| wait.parse::<u32>().is_ok()));
    // Too many made-up tokens of one client.
    let refused = (0..40).map(|n| {
        let bearer = format!("Bearer {}", Issuer::new("ES256").token("x").claim("n", n).mint());
        ask("/orders", &[("Authorization", &bearer)])
    });
    let refused = refused.into_iter().find(|answer| answer.status != 401).expect("a limit");
    assert_eq!(refused.status, 429, "{}", refused.text());
    assert!(refused.header("retry-after").is_some_and(|wait| wait.parse::<u32>().is_ok()));
    assert!(refused.text().contains("too_many_failures"), "{}", refused.text());
    drop(peer);
}

#[test]
fn caddy_asks_the_gateway_as_the_guide_says() {
    let Some(caddy) = installed("caddy") else { return };
    let scene = Scene::new();
    let site = scene
        .filled(&example("caddy"))
        .replace(":80 {", &format!(":80 {{\n\tbind unix/{}", scene.socket().display()));
    let config = format!("{{\n\tadmin off\n\tauto_https off\n}}\n{site}");
    let path = scene.write("Caddyfile", &config);
    let peer = start(
        Command::new(caddy)
            .args(["run", "--adapter", "caddyfile", "--config"])
            .arg(path)
            .env("HOME", scene.gateway.dir())
            .env("XDG_DATA_HOME", scene.gateway.dir())
            .env("XDG_CONFIG_HOME", scene.gateway.dir()),
        &scene.gateway.dir().join("caddy.log"),
    );
    scene.judge(peer);
}

#[test]
fn haproxy_asks_the_gateway_as_the_guide_says() {
    let Some(haproxy) = installed("haproxy") else { return };
    let scene = Scene::new();
    scene.write("verify.lua", &scene.filled(&example("lua")));
    let config = scene
        .filled(&example("haproxy"))
        .replace("bind :80", &format!("bind unix@{}", scene.socket().display()));
    let path = scene.write("haproxy.cfg", &config);
    let peer = start(
        Command::new(haproxy).args(["-db", "-f"]).arg(path).current_dir(scene.gateway.dir()),
        &scene.gateway.dir().join("haproxy.log"),
    );
    scene.judge(peer);
}

#[test]
fn envoy_asks_the_gateway_as_the_guide_says() {
    let envoy = python().parent().unwrap().join("envoy");
    let scene = Scene::new();
    let config = scene.filled(&example("yaml")).replace(
        "socket_address: { address: 0.0.0.0, port_value: 80 }",
        &format!("pipe: {{ path: {} }}", scene.socket().display()),
    );
    let path = scene.write("envoy.yaml", &config);
    let peer = start(
        Command::new(envoy).arg("-c").arg(path).args([
            "--use-dynamic-base-id",
            "--concurrency",
            "1",
            "--log-level",
            "warn",
        ]),
        &scene.gateway.dir().join("envoy.log"),
    );
    scene.judge(peer);
}

/// What Traefik's ForwardAuth asks about a request: its headers without those of the hop, and what
/// Traefik itself says of it. `trustForwardHeader` is off, as it is unless somebody turns it on.
fn as_traefik_asks<'h>(
    method: &'h str,
    target: &'h str,
    headers: &[(&'h str, &'h str)],
) -> Vec<(&'h str, &'h str)> {
    let of_the_hop = ["connection", "keep-alive", "te", "trailers", "transfer-encoding", "upgrade"];
    let said = [
        ("Host", "portcullis:8080"),
        ("User-Agent", "curl/8.5.0"),
        ("Accept", "*/*"),
        ("X-Forwarded-For", "203.0.113.7"),
        ("X-Forwarded-Host", "app.example.com"),
        ("X-Forwarded-Method", method),
        ("X-Forwarded-Port", "443"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Server", "traefik-0"),
        ("X-Forwarded-Uri", target),
        ("X-Real-Ip", "203.0.113.7"),
        ("Accept-Encoding", "gzip"),
    ];
    // What a client says of the forwarding is replaced by what Traefik says.
    let own = |name: &str| said.iter().any(|(other, _)| other.eq_ignore_ascii_case(name));
    let passed = headers.iter().filter(|(name, _)| {
        !own(name) && !of_the_hop.contains(&name.to_ascii_lowercase().as_str())
    });
    said.into_iter().chain(passed.copied()).collect()
}

#[test]
fn traefik_gets_its_verdict_by_what_it_sends() {
    let scene = Scene::new();
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/forward-auth.md");
    let guide = std::fs::read_to_string(guide).unwrap();
    let (_, section) = guide.split_once("\n## Traefik\n").unwrap();
    let label = |name: &str| {
        let (_, behind) = section.split_once(&format!("forwardauth.{name}=")).expect(name);
        behind.lines().next().unwrap().to_owned()
    };
    let address = label("address");
    let (_, path) = address.split_once(":8080").unwrap();
    let handed_on = label("authResponseHeaders");
    let ask = |method: &str, target: &str, headers: &[(&str, &str)]| {
        scene.gateway.get(path, &as_traefik_asks(method, target, headers))
    };
    let bearer = format!("Bearer {}", scene.issuer.mint("alice"));
    let alice = ("Authorization", bearer.as_str());
    let passed = ask("POST", "/orders?a=b", &[alice, ("Content-Type", "application/json")]);
    assert_eq!((passed.status, passed.header(&handed_on)), (200, Some("alice")));
    for (target, headers, status) in [
        ("/orders", vec![], 401),
        ("/orders", vec![("Authorization", "Bearer x.y.z")], 401),
        ("/admin/x", vec![alice], 403),
        // Which request it is about only Traefik says.
        ("/admin/x", vec![alice, ("X-Forwarded-Uri", "/orders")], 403),
        ("/x/../admin/x", vec![alice], 400),
        ("/admin%2Fx", vec![alice], 400),
    ] {
        let answer = ask("GET", target, &headers);
        assert_eq!(answer.status, status, "{target} {headers:?}: {}", answer.text());
        assert_eq!(answer.header(&handed_on), None, "{target}");
        assert!(answer.header("x-portcullis-reason").is_some(), "{target}");
    }
    // Nobody known: the header is there and empty, so that Traefik replaces the client's own.
    let anonymous =
        scene.gateway.get(path, &as_traefik_asks("GET", "/open/x", &[("X-Auth-Subject", "root")]));
    assert_eq!((anonymous.status, anonymous.header(&handed_on)), (200, Some("")));
    scene.gateway.admin().revoke(json!({"user": "alice", "issuer": "main"}));
    assert_eq!(ask("GET", "/orders", &[alice]).code(), "token_revoked");
}
