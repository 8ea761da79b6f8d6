//! Programs that nobody here wrote, as clients and as backends: curl, Python's httpx, websockets
//! and http.server, nginx. A Debian program that is not installed is named loudly and its test ends there;
//! `tests/run` installs them all.

use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::support::peers::{Peer, installed, python, script};
use crate::support::{Issuer, Setup, Upstream, run_to_end};

#[test]
fn curl_gets_in_with_a_header_file_and_a_cookie_and_is_refused_after_revocation() {
    let Some(curl) = installed("curl") else { return };
    let issuer = Issuer::new("ES256");
    let gateway = Setup::simple(&issuer, &Upstream::new())
        .route("/", "credentials = [\"bearer\", \"cookie:session\"]")
        .start();
    let token = issuer.mint("alice");
    let header = gateway.dir().join("alice");
    std::fs::write(&header, format!("Authorization: Bearer {token}\n")).unwrap();
    let at_header = format!("@{}", header.display());
    let cookie = format!("session={token}");
    let url = format!("{}/api/whoami", gateway.url());
    let status = |arguments: &[&str]| {
        let output = run_to_end(
            Command::new(&curl)
                .args(["-s", "-o", "/dev/null", "-w", "%{http_code}"])
                .args(arguments)
                .arg(&url),
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert_eq!(status(&["-H", &at_header]), "200");
    assert_eq!(status(&["-b", &cookie]), "200");
    assert_eq!(status(&["-H", &at_header, "-I"]), "200");
    assert_eq!(status(&["-H", &at_header, "-T", header.to_str().unwrap()]), "200");
    assert_eq!(status(&["-H", &at_header, "--http2"]), "200");
    assert_eq!(status(&["-H", &at_header, "--http2-prior-knowledge"]), "200");
    assert_eq!(status(&[]), "401");
    assert_eq!(status(&["--path-as-is", "-H", &at_header, "--request-target", "/a/../b"]), "400");
    gateway.admin().revoke(json!({"user": "alice"}));
    assert_eq!(status(&["-H", &at_header]), "401");
    assert_eq!(status(&["-b", &cookie]), "401");
}

#[test]
fn httpx_keeps_its_connection_streams_and_sees_the_revocation() {
    let python = python();
    let issuer = Issuer::new("RS256");
    let gateway = Setup::simple(&issuer, &Upstream::new()).start();
    let token = std::fs::read_to_string(gateway.dir().join("data/admin.token")).unwrap();
    let output = run_to_end(
        Command::new(python)
            .arg(script("httpx_client.py"))
            .arg(gateway.url())
            .arg(gateway.admin_url())
            .env("TOKEN", issuer.mint("alice"))
            .env("OTHER_TOKEN", issuer.mint("bob"))
            .env("ADMIN_TOKEN", token.trim()),
    );
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_websocket_of_the_websockets_library_echoes_through_the_gateway() {
    let python = python();
    let (_backend, port) = Peer::start(Command::new(&python).arg(script("websocket_backend.py")));
    let issuer = Issuer::new("ES256");
    let gateway = Setup::new()
        .issuer(&issuer, "")
        .upstream_at("app", &format!("http://127.0.0.1:{port}"), "")
        .route("/", "credentials = [\"bearer\", \"cookie:session\"]")
        .start();
    let output = run_to_end(
        Command::new(&python)
            .arg(script("websocket_client.py"))
            .arg(gateway.url().replace("http://", "ws://"))
            .env("TOKEN", issuer.mint("alice")),
    );
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn pythons_http_server_behind_the_gateway_serves_its_files() {
    let Some(python) = installed("python3") else { return };
    let issuer = Issuer::new("ES256");
    let setup = Setup::new();
    let site = setup.dir().join("site");
    std::fs::create_dir(&site).unwrap();
    let content: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 253) as u8).collect();
    std::fs::write(site.join("big.bin"), &content).unwrap();
    let (_backend, port) =
        Peer::start(Command::new(python).arg(script("file_backend.py")).current_dir(&site));
    let gateway = setup
        .issuer(&issuer, "")
        .upstream_at("app", &format!("http://127.0.0.1:{port}"), "")
        .start();
    let token = issuer.mint("alice");
    let answer = gateway.get_with("/big.bin", &token);
    assert_eq!((answer.status, answer.body == content), (200, true));
    assert!(gateway.get_with("/", &token).text().contains("big.bin"));
    assert_eq!(gateway.get_with("/none", &token).status, 404);
    assert_eq!(gateway.get("/big.bin", &[]).status, 401);
}

#[test]
fn nginx_behind_the_gateway_serves_ranges_and_conditional_requests() {
    let Some(nginx) = installed("nginx") else { return };
    let issuer = Issuer::new("ES256");
    let setup = Setup::new();
    let dir = setup.dir().to_owned();
    std::fs::write(dir.join("file.txt"), "0123456789").unwrap();
    let socket = dir.join("nginx.sock");
    let config = format!(
        "daemon off; master_process off; pid {dir}/nginx.pid; error_log {dir}/error.log; events {{}}
         http {{ access_log off; client_body_temp_path {dir}/b; proxy_temp_path {dir}/p; fastcgi_temp_path {dir}/f; uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;
           server {{ listen unix:{socket}; root {dir}; gzip on; gzip_min_length 1; gzip_types text/plain; }} }}",
        dir = dir.display(),
        socket = socket.display(),
    );
    std::fs::write(dir.join("nginx.conf"), config).unwrap();
    let child = Command::new(nginx)
        .arg("-c")
        .arg(dir.join("nginx.conf"))
        .args(["-e", "stderr"])
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let _backend = Peer::of(child);
    crate::support::eventually("nginx listens", || UnixStream::connect(&socket).ok().map(drop));
    // nginx runs as another user when it is started by root; the directory must let it in.
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o755)).unwrap();
    let gateway = setup
        .issuer(&issuer, "")
        .upstream_at("app", &format!("unix:{}", socket.display()), "")
        .start();
    let bearer = format!("Bearer {}", issuer.mint("alice"));
    let authorization = ("Authorization", bearer.as_str());
    let mut connection = gateway.connect();
    let whole = connection.get("/file.txt", &[authorization]);
    assert_eq!((whole.status, whole.text().as_str()), (200, "0123456789"));
    let part = connection.get("/file.txt", &[authorization, ("Range", "bytes=2-4")]);
    assert_eq!((part.status, part.text().as_str()), (206, "234"));
    let etag = whole.header("etag").expect("an ETag").to_owned();
    let unchanged = connection.get("/file.txt", &[authorization, ("If-None-Match", &etag)]);
    assert_eq!(unchanged.status, 304);
    let packed = connection.get("/file.txt", &[authorization, ("Accept-Encoding", "gzip")]);
    assert_eq!((packed.status, packed.header("content-encoding")), (200, Some("gzip")));
    assert_eq!(connection.get("/file.txt", &[authorization]).text(), "0123456789");
}
