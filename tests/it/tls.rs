//! TLS towards clients: which certificate, which version, who must show one of their own; what
//! changes while the gateway runs; and what those do who never finish a handshake.

use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use rustls::SupportedProtocolVersion;
use rustls::version::{TLS12, TLS13};
use serde_json::json;

use crate::support::{
    Authority, Connection, Issued, Issuer, Setup, Upstream, der, eventually, program, run_to_end,
};

/// One certificate, in `a.pem` and `a.key`.
const ONE: &str = "tls.certificates = [{ chain = \"a.pem\", key = \"a.key\" }]";

static ONLY_12: &[&SupportedProtocolVersion] = &[&TLS12];
static ONLY_13: &[&SupportedProtocolVersion] = &[&TLS13];

fn open(upstream: &Upstream, issued: &Issued, lines: &str) -> Setup {
    let setup = Setup::new()
        .issuer(&Issuer::new("HS256"), "")
        .upstream("app", upstream, "")
        .route("/", "access = \"public\"")
        .server(lines);
    issued.write(setup.dir(), "a");
    setup
}

#[test]
fn the_certificate_is_chosen_by_name_and_by_kind_of_key() {
    let authority = Authority::new();
    let first = authority.issue(&["first.example"]);
    let rsa = authority.issue_with(&["both.example"], &rcgen::PKCS_RSA_SHA256, |_| {});
    let ecdsa = authority.issue(&["both.example", "*.wild.example"]);
    let lines = "tls.certificates = [{ chain = \"a.pem\", key = \"a.key\" }, { chain = \"b.pem\", key = \"b.key\" }, { chain = \"c.pem\", key = \"c.key\" }]";
    let setup = open(&Upstream::new(), &first, lines);
    rsa.write(setup.dir(), "b");
    ecdsa.write(setup.dir(), "c");
    let gateway = setup.start();
    let mut client = authority.client();
    let mut given = |name: &str| client.connect(&gateway, name).map(|secured| secured.certificate);
    assert_eq!(given("first.example").unwrap(), der(&first.chain));
    assert_eq!(given("FIRST.example").unwrap(), der(&first.chain));
    assert_eq!(given("both.example").unwrap(), der(&rsa.chain), "the first of both");
    assert_eq!(given("a.wild.example").unwrap(), der(&ecdsa.chain));
    // A wildcard stands for one label; strangers get the first, which is not theirs.
    for name in ["a.b.wild.example", "wild.example", "other.example"] {
        let refused = given(name).unwrap_err();
        assert!(refused.contains("not valid for name"), "{name}: {refused}");
    }
    let openssl = |algorithms: &str| {
        let output = Command::new("openssl")
            .args(["s_client", "-connect", &gateway.address, "-servername", "both.example"])
            .args(["-sigalgs", algorithms])
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let shown = openssl("ECDSA+SHA256");
    assert!(shown.contains(ecdsa.chain.lines().nth(1).unwrap()), "{shown}");
    let shown = openssl("RSA-PSS+SHA256");
    assert!(shown.contains(rsa.chain.lines().nth(1).unwrap()), "{shown}");
}

#[test]
fn a_request_over_tls_is_a_request_and_the_backend_learns_of_tls() {
    let (authority, upstream) = (Authority::new(), Upstream::new());
    let issuer = Issuer::new("ES256");
    let setup = Setup::simple(&issuer, &upstream)
        .server(ONE)
        .server("forwarded = \"both\"\ntls.hsts = \"365d\"\ntls.hsts_subdomains = true");
    authority.issue(&["app.example.com"]).write(setup.dir(), "a");
    let gateway = setup.start();
    let mut client = authority.client();
    let mut connection = client.connect(&gateway, "app.example.com").unwrap().connection;
    let bearer = format!("Bearer {}", issuer.mint("alice"));
    let hsts = Some("max-age=31536000; includeSubDomains");
    for _ in 0..3 {
        let answer = connection.request("POST", "/x", &[("Authorization", &bearer)], b"hello");
        assert_eq!((answer.status, answer.header("strict-transport-security")), (200, hsts));
        let received = upstream.last();
        assert_eq!(received.body, b"hello");
        assert_eq!(received.header("x-forwarded-proto"), Some("https"));
        assert!(received.header("forwarded").unwrap().ends_with("proto=https"));
    }
    let refused = connection.get("/x", &[]);
    assert_eq!((refused.status, refused.header("strict-transport-security")), (401, hsts));
    assert!(gateway.stdout.all()[0].contains(&format!("https://{}", gateway.address)));
}

#[test]
fn the_oldest_version_is_as_configured() {
    let authority = Authority::new();
    let issued = authority.issue(&["a.example"]);
    let upstream = Upstream::new();
    let gateway = open(&upstream, &issued, ONE).start();
    for versions in [ONLY_12, ONLY_13] {
        assert!(authority.client().versions(versions).connect(&gateway, "a.example").is_ok());
    }
    let gateway = open(&upstream, &issued, ONE).server("tls.min_version = \"1.3\"").start();
    assert!(authority.client().versions(ONLY_13).connect(&gateway, "a.example").is_ok());
    let refused = authority.client().versions(ONLY_12).connect(&gateway, "a.example");
    assert!(refused.err().unwrap().contains("ProtocolVersion"));
}

#[test]
fn only_clients_with_a_certificate_of_the_right_authority_get_in_and_the_backend_sees_it() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let upstream = Upstream::new();
    let start = |auth: &str| {
        let lines = format!("tls.client_ca = \"clients.pem\"\ntls.client_auth = \"{auth}\"");
        let issued = authority.issue(&["a.example"]);
        open(&upstream, &issued, ONE).file("clients.pem", &clients.pem).server(&lines).start()
    };
    // TLS 1.2 says so within the handshake.
    let client = || authority.client().versions(ONLY_12);
    let forged = ("Client-Cert", ":Zm9yZ2Vk:");
    for (auth, without) in [("required", false), ("optional", true)] {
        let gateway = start(auth);
        let mine = clients.issue(&["worker"]);
        let shown = format!(":{}:", base64(&der(&mine.chain)));
        let mut client_of = client().own(mine);
        for _ in 0..2 {
            let mut secured = client_of.connect(&gateway, "a.example").unwrap();
            assert!(!secured.resumed, "a ticket would outlive the authority");
            assert_eq!(secured.connection.get("/", &[forged]).status, 200);
            assert_eq!(upstream.last().header("client-cert"), Some(shown.as_str()));
        }
        let foreign = client().own(authority.issue(&["worker"])).connect(&gateway, "a.example");
        assert!(foreign.is_err(), "{auth}");
        let bare = client().connect(&gateway, "a.example");
        assert_eq!(bare.is_ok(), without, "{auth}");
        if let Ok(mut secured) = bare {
            assert_eq!(secured.connection.get("/", &[forged]).status, 200);
            assert_eq!(upstream.last().header("client-cert"), None);
        }
    }
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

#[test]
fn a_client_that_comes_back_resumes_its_session() {
    let authority = Authority::new();
    let gateway = open(&Upstream::new(), &authority.issue(&["a.example"]), ONE).start();
    for versions in [ONLY_12, ONLY_13] {
        let mut client = authority.client().versions(versions);
        let mut first = client.connect(&gateway, "a.example").unwrap();
        assert!(!first.resumed);
        assert_eq!(first.connection.get("/", &[]).status, 200);
        let mut second = client.connect(&gateway, "a.example").unwrap();
        assert!(second.resumed);
        assert_eq!(second.connection.get("/", &[]).status, 200);
        assert_eq!(gateway.admin().post("/v1/config/reload", &json!({}))["reloaded"], true);
        let third = client.connect(&gateway, "a.example").unwrap();
        assert!(third.resumed, "a reload costs no session");
    }
}

#[test]
fn certificates_change_while_the_gateway_runs_all_or_none() {
    let authority = Authority::new();
    let (old, new) = (authority.issue(&["a.example"]), authority.issue(&["a.example"]));
    let gateway = open(&Upstream::new(), &old, ONE).start();
    let given = || authority.client().connect(&gateway, "a.example").unwrap().certificate;
    let mut before = authority.client().connect(&gateway, "a.example").unwrap().connection;
    assert_eq!(given(), der(&old.chain));
    // The certificate without its key: half a change.
    std::fs::write(gateway.dir().join("a.pem"), &new.chain).unwrap();
    let said = gateway.stderr.find(|line| line.contains("cannot be used").then(|| line.to_owned()));
    assert!(said.unwrap().contains("does not belong"));
    assert_eq!(given(), der(&old.chain));
    new.write(gateway.dir(), "a");
    eventually("the new certificate", || (given() == der(&new.chain)).then_some(()));
    assert_eq!(before.get("/", &[]).status, 200, "open connections stay");
}

#[test]
fn plain_http_is_sent_to_https_by_the_same_host_and_path_or_refused() {
    let authority = Authority::new();
    let upstream = Upstream::new();
    let lines = "redirect_from = \"127.0.0.1:0\"\nredirect_port = 8443";
    let gateway = open(&upstream, &authority.issue(&["a.example"]), ONE).server(lines).start();
    let ready: serde_json::Value = serde_json::from_str(&gateway.stdout.all()[0]).unwrap();
    let plain = ready["listen"][1].as_str().unwrap().strip_prefix("http://").unwrap().to_owned();
    let ask = |method: &str, target: &str, host: &str| {
        let host = ("Host", host);
        Connection::open(&plain).request(method, target, &[host], b"")
    };
    for (target, host, location) in [
        ("/a%20b?c=d", "app.example.com", "https://app.example.com:8443/a%20b?c=d"),
        ("/", "APP.example.com:80", "https://app.example.com:8443/"),
        ("/", "[::1]:80", "https://[::1]:8443/"),
    ] {
        let answer = ask("POST", target, host);
        assert_eq!((answer.status, answer.header("location")), (308, Some(location)));
        assert_eq!(gateway.access_line(answer.header("x-request-id").unwrap())["status"], 308);
    }
    for (target, host) in
        [("/../a", "a"), ("/%2e%2e/a", "a"), ("/", "a@evil"), ("//evil/..", "a"), ("*", "a")]
    {
        let answer = ask("GET", target, host);
        assert_eq!((answer.status, answer.header("location")), (400, None), "{target}");
    }
    let sly = ask("GET", "//evil.example/%09", "app.example.com");
    assert!(
        sly.header("location").is_none_or(|at| at.starts_with("https://app.example.com:8443/"))
    );
    assert_eq!(upstream.begun(), 0);
}

#[test]
fn a_handshake_that_never_ends_is_given_up_and_others_are_served_meanwhile() {
    let authority = Authority::new();
    let lines = "tls.handshake_timeout = \"3s\"\nthreads = 1";
    let gateway =
        open(&Upstream::new(), &authority.issue(&["a.example"]), ONE).server(lines).start();
    let begun = Instant::now();
    let mut silent: Vec<TcpStream> =
        (0..50).map(|_| TcpStream::connect(&gateway.address).unwrap()).collect();
    for stream in &mut silent {
        use std::io::Write as _;
        // The beginning of a ClientHello.
        stream.write_all(&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01]).unwrap();
    }
    let mut secured = authority.client().connect(&gateway, "a.example").unwrap();
    assert_eq!(secured.connection.get("/", &[]).status, 200);
    for stream in silent {
        let mut connection = Connection::accepted(stream);
        connection.rest().ok();
    }
    assert!(begun.elapsed() >= Duration::from_millis(2900), "{:?}", begun.elapsed());
    // Plain HTTP on the encrypted port is no request.
    let mut plain = gateway.connect();
    plain.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(plain.answer_to("GET").is_err());
    assert_eq!(secured.connection.get("/", &[]).status, 200);
    assert!(gateway.access_log().iter().all(|line| line["status"] == 200));
}

#[test]
fn what_is_wrong_with_a_certificate_is_said_before_anything_starts() {
    let authority = Authority::new();
    let good = authority.issue(&["a.example", "*.b.example"]);
    let expired = authority.issue_with(&["old.example"], &rcgen::PKCS_ED25519, |params| {
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    });
    let other = authority.issue(&["a.example"]);
    let check = |issued: &Issued, lines: &str| {
        let (_dir, path) = open(&Upstream::new(), issued, lines).write();
        let output = run_to_end(program().arg("check").arg("-c").arg(path));
        let both = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(both).unwrap())
    };
    let (passes, said) = check(&good, ONE);
    assert!(passes && said.contains("tls       a.example, *.b.example  until 4096-"), "{said}");
    assert!(said.contains("https://127.0.0.1:0"), "{said}");
    let (passes, said) = check(&expired, ONE);
    assert!(passes && said.contains("expired at 2020-01-01"), "{said}");
    let (_dir, path) = open(&Upstream::new(), &good, ONE).write();
    let key = path.with_file_name("a.key");
    std::fs::set_permissions(key, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let output = run_to_end(program().arg("check").arg("-c").arg(path));
    assert!(
        String::from_utf8(output.stdout).unwrap().contains("everyone on this machine can read")
    );
    let mixed = Issued { chain: good.chain.clone(), key: other.key };
    let no_key = Issued { chain: good.chain.clone(), key: "secret words".into() };
    let no_chain = Issued { chain: good.key.clone(), key: good.key.clone() };
    for (issued, code, words) in [
        (&mixed, "C070", "does not belong"),
        (&no_key, "C070", "no private key"),
        (&no_chain, "C070", "no certificate"),
    ] {
        let (passes, said) = check(issued, ONE);
        assert!(!passes && said.contains(code) && said.contains(words), "{said}");
        assert!(!said.contains("secret words") && !said.contains("BEGIN"), "{said}");
    }
    let missing = "tls.certificates = [{ chain = \"none.pem\", key = \"a.key\" }]";
    for (lines, code) in [
        (missing, "C040"),
        ("tls = {}", "C011"),
        ("tls.certificates = []", "C011"),
        ("redirect_from = \"127.0.0.1:0\"", "C051"),
        (&format!("{ONE}\ntls.client_auth = \"optional\""), "C051"),
        (&format!("{ONE}\ntls.client_ca = \"a.key\""), "C070"),
        (&format!("{ONE}\ntls.min_version = \"1.1\""), "C025"),
    ] {
        let (passes, said) = check(&good, lines);
        assert!(!passes && said.contains(code), "{lines}: {said}");
    }
}
