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
    backend: Upstream,
    gateway: Gateway,
}

impl Scene {
    fn new() -> Self {
        let issuer = Issuer::new("ES256");
        let backend = Upstream::new();
        let gateway = Setup::simple(&issuer, &backend)
            .server("trusted_proxies = [\"127.0.0.1/32\"]")
            .route("/", "identity = { \"X-Auth-Subject\" = \"sub\" }")
            .route(
                "/admin/",
                "require = { scopes = [\"admin\"] }\nidentity = { \"X-Auth-Subject\" = \"sub\" }",
            )
            .start();
        Self { issuer, backend, gateway }
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
        self.gateway.admin().revoke(json!({"user": "alice"}));
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
    let dir = scene.gateway.dir();
    let server = scene
        .filled(&example("nginx"))
        .replace("listen 80;", &format!("listen unix:{};", scene.socket().display()));
    let dir = dir.display();
    let config = format!(
        "daemon off; master_process off; user root; pid {dir}/nginx.pid; error_log {dir}/error.log; events {{}}
         http {{ access_log off; client_body_temp_path {dir}/b; proxy_temp_path {dir}/p; fastcgi_temp_path {dir}/f;
         uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;\n{server}}}",
    );
    let path = scene.write("nginx.conf", &config);
    let peer = start(
        Command::new(nginx).arg("-c").arg(path).args(["-e", "stderr"]),
        &scene.gateway.dir().join("nginx.log"),
    );
    scene.judge(peer);
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
