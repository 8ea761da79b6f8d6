//! The admin API: who may do what, and what no browser and no stranger may make it do.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};

use crate::support::{Connection, Gateway, Issuer, Setup, Upstream, now};

const ROLES: [&str; 4] = ["viewer", "revoker", "operator", "admin"];

/// A gateway with one named credential for each role, whose token is `<role>-token-…`.
fn scene() -> (Issuer, Gateway) {
    let issuer = Issuer::new("HS256");
    let mut setup = Setup::simple(&issuer, &Upstream::new());
    for role in ROLES {
        setup = setup.file(&format!("secrets/{role}.token"), &token_of(role)).tables(&format!(
            "[[admin.token]]\nname = \"{role}-name\"\nrole = \"{role}\"\nfile = \"secrets/{role}.token\"\n"
        ));
    }
    (issuer, setup.start())
}

fn token_of(role: &str) -> String {
    format!("{role}-token-0123456789abcdef0123456789abcdef")
}

/// The first credential, since [`scene`]'s tokens come from the config.
fn first_admin() -> (Issuer, Gateway) {
    let issuer = Issuer::new("HS256");
    let gateway = Setup::simple(&issuer, &Upstream::new()).start();
    (issuer, gateway)
}

/// A call written by hand; the status.
fn raw(gateway: &Gateway, method: &str, path: &str, fields: &str, body: &str) -> u16 {
    let mut connection = Connection::open(&gateway.admin_address);
    connection.send(format!(
        "{method} {path} HTTP/1.1\r\n{fields}Content-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    connection.answer().status
}

#[test]
fn the_first_credential_is_a_file_that_only_its_owner_reads() {
    let (_, gateway) = first_admin();
    let file = gateway.dir().join("data/admin.token");
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let token = std::fs::read_to_string(&file).unwrap();
    assert!(token.trim().len() >= 32, "long enough not to be guessed");
    assert!(gateway.admin().get("/v1/denials")["items"].is_array());
    let again = gateway.restart();
    assert_eq!(std::fs::read_to_string(again.dir().join("data/admin.token")).unwrap(), token);
}

#[test]
fn calls_without_a_right_credential_change_nothing() {
    let (issuer, gateway) = first_admin();
    let host = format!("Host: {}\r\n", gateway.admin_address);
    let good = std::fs::read_to_string(gateway.dir().join("data/admin.token")).unwrap();
    let good = good.trim();
    let body = "{\"user\":\"alice\",\"reason\":\"x\"}";
    let json = "Content-Type: application/json\r\n";
    let credentials = [
        String::new(),
        "Authorization: Bearer \r\n".to_owned(),
        format!("Authorization: Bearer {}\r\n", &good[..good.len() - 1]),
        format!("Authorization: Bearer {good}x\r\n"),
        format!("Authorization: Basic {good}\r\n"),
        format!("Authorization: Bearer {}\r\n", issuer.mint("root")),
        format!("X-Api-Key: {good}\r\n"),
        format!("Cookie: token={good}\r\n"),
    ];
    for path in ["/v1/revoke", "/v1/block"] {
        for credential in &credentials {
            let status = raw(&gateway, "POST", path, &format!("{host}{json}{credential}"), body);
            assert_eq!(status, 401, "{path} {credential:?}");
        }
        let status = raw(
            &gateway,
            "POST",
            &format!("{path}?access_token={good}"),
            &format!("{host}{json}"),
            body,
        );
        assert_eq!(status, 401, "a credential in the query is none");
    }
    for path in ["/v1/denials", "/v1/people", "/v1/status", "/v1/denials/dn_0000000000000000"] {
        assert_eq!(raw(&gateway, "GET", path, &host, ""), 401, "{path}");
    }
    assert_eq!(gateway.status(&issuer.mint("alice")), 200, "nothing happened");
    let right = format!("{host}{json}Authorization: Bearer {good}\r\n");
    assert_eq!(raw(&gateway, "POST", "/v1/revoke", &right, body), 201);
}

#[test]
fn health_needs_no_credential_and_says_nothing_more() {
    let (_, gateway) = first_admin();
    let host = format!("Host: {}\r\n", gateway.admin_address);
    for path in ["/livez", "/readyz"] {
        assert_eq!(raw(&gateway, "GET", path, &host, ""), 200, "{path}");
    }
}

#[test]
fn the_admin_api_is_not_on_the_public_listener() {
    let (issuer, gateway) = first_admin();
    let token = std::fs::read_to_string(gateway.dir().join("data/admin.token")).unwrap();
    let bearer = format!("Bearer {}", token.trim());
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    let answer = gateway.connect().request(
        "POST",
        "/v1/block",
        &headers,
        b"{\"user\":\"alice\",\"reason\":\"x\"}",
    );
    assert_eq!(answer.status, 401, "to the public side it is a bad token");
    assert_eq!(gateway.status(&issuer.mint("alice")), 200);
}

#[test]
fn a_call_from_a_web_page_is_refused_whatever_it_carries() {
    let (issuer, gateway) = first_admin();
    let token = std::fs::read_to_string(gateway.dir().join("data/admin.token")).unwrap();
    let address = &gateway.admin_address;
    let port = address.rsplit_once(':').unwrap().1;
    let right = format!(
        "Host: {address}\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n",
        token.trim()
    );
    let body = "{\"user\":\"alice\",\"reason\":\"x\"}";
    for foreign in [
        "Origin: https://evil.example\r\n".to_owned(),
        "Origin: null\r\n".to_owned(),
        "Sec-Fetch-Site: cross-site\r\n".to_owned(),
        "Sec-Fetch-Site: same-site\r\n".to_owned(),
        format!("Origin: http://evil.example:{port}\r\n"),
        format!("Origin: https://{address}.evil.example\r\n"),
    ] {
        let status = raw(&gateway, "POST", "/v1/block", &format!("{right}{foreign}"), body);
        assert_eq!(status, 403, "{foreign}");
    }
    // DNS rebinding: the page's own name resolves to loopback.
    for host in [
        format!("evil.example:{port}"),
        "evil.example".to_owned(),
        format!("127.0.0.1.evil.example:{port}"),
    ] {
        let fields = right.replace(&format!("Host: {address}"), &format!("Host: {host}"));
        let status = raw(&gateway, "POST", "/v1/block", &fields, body);
        assert!(matches!(status, 403 | 421), "{status} for Host {host}");
        let status = raw(&gateway, "GET", "/v1/denials", &fields, "");
        assert!(matches!(status, 403 | 421), "{status} for GET with Host {host}");
    }
    // What a page may send without asking first.
    for kind in
        ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""]
    {
        let fields =
            right.replace("Content-Type: application/json", &format!("Content-Type: {kind}"));
        assert_eq!(raw(&gateway, "POST", "/v1/block", &fields, body), 415, "{kind:?}");
    }
    // A preflight gets no permission.
    let mut connection = Connection::open(address);
    connection.send(format!("OPTIONS /v1/block HTTP/1.1\r\nHost: {address}\r\nOrigin: https://evil.example\r\nAccess-Control-Request-Method: POST\r\n\r\n"));
    let preflight = connection.answer();
    assert_eq!(preflight.header("access-control-allow-origin"), None);
    assert!(preflight.status >= 400, "{}", preflight.status);
    assert_eq!(gateway.status(&issuer.mint("alice")), 200, "nothing happened");
    assert_eq!(raw(&gateway, "POST", "/v1/block", &right, body), 201, "the call itself was right");
}

#[test]
fn each_role_may_do_what_the_ones_before_it_may_and_no_more() {
    let (_, gateway) = scene();
    let admin = crate::support::Admin::new(&gateway.admin_address, &token_of("admin"));
    let victim = admin.block(json!({"user": "victim"}));
    // For each call the first role that may make it.
    let calls: [(&str, &str, Option<Value>, usize); 6] = [
        ("GET", "/v1/denials", None, 0),
        (
            "POST",
            "/v1/denials",
            Some(json!({"user": "dry", "always": true, "reason": "x", "dry_run": true})),
            1,
        ),
        ("POST", "/v1/revoke", Some(json!({"user": "alice", "reason": "x"})), 1),
        ("POST", "/v1/block", Some(json!({"user": "alice", "reason": "x"})), 1),
        ("POST", &format!("/v1/denials/{victim}/undo"), Some(json!({"reason": "x"})), 2),
        ("POST", "/v1/block", Some(json!({"everyone": true, "reason": "x"})), 3),
    ];
    for (method, path, body, first) in &calls {
        for (rank, role) in ROLES.iter().enumerate() {
            let answer = admin.with_token(&token_of(role)).call(method, path, body.as_ref());
            if rank < *first {
                assert_eq!(answer.status, 403, "{role} {path}: {}", answer.text());
                assert_eq!(answer.json()["code"], "role_too_small");
            } else {
                assert!((200..300).contains(&answer.status), "{role} {path}: {}", answer.text());
            }
        }
    }
    let denial = admin.get(&format!("/v1/denials/{victim}"));
    assert_eq!(denial["created_by"]["name"], "admin-name");
    assert_eq!(denial["undone_by"]["name"], "operator-name", "{denial}");
}

#[test]
fn a_denial_is_complete_and_exact_or_refused() {
    let (issuer, gateway) = first_admin();
    let admin = gateway.admin();
    let refused: [(Value, &str); 17] = [
        (json!({"subject": "alice", "reason": "x"}), "no condition"),
        (
            json!({"subject": "alice", "always": true, "issued_before": "now", "reason": "x"}),
            "two conditions",
        ),
        (json!({"always": true, "reason": "x"}), "no selector"),
        (
            json!({"subject": "alice", "session": "s", "always": true, "reason": "x"}),
            "two selectors",
        ),
        (
            json!({"subject": "alice", "issued_before": 1_795_259_641_000_u64, "reason": "x"}),
            "milliseconds",
        ),
        (
            json!({"subject": "alice", "issued_before": now() + 3600, "reason": "x"}),
            "a cutoff in the future",
        ),
        (json!({"subject": "alice", "issued_before": -1, "reason": "x"}), "before time began"),
        (json!({"subject": "alice", "issued_befor": "now", "reason": "x"}), "a misspelt member"),
        (json!({"subject": "alice", "always": false, "reason": "x"}), "always: false"),
        (json!({"subject": ["alice"], "always": true, "reason": "x"}), "a list"),
        (json!({"subject": {"id": 1}, "always": true, "reason": "x"}), "an object"),
        (json!({"subject": "", "always": true, "reason": "x"}), "an empty id"),
        (
            json!({"subject": "alice", "always": true, "issuer": "mian", "reason": "x"}),
            "an unknown issuer",
        ),
        (json!({"subject": "x".repeat(100_000), "always": true, "reason": "x"}), "a huge id"),
        (json!({"subject": "alice\u{0}", "always": true, "reason": "x"}), "a control character"),
        (json!({"everyone": false, "always": true, "reason": "x"}), "everyone: false"),
        (
            json!({"subject": "alice", "always": true, "reason": "x".repeat(100_000)}),
            "a huge reason",
        ),
    ];
    for (body, what) in refused {
        let answer = admin.call("POST", "/v1/denials", Some(&body));
        assert!(
            matches!(answer.status, 400 | 413 | 422),
            "{what}: {} {}",
            answer.status,
            answer.text()
        );
        assert!(!answer.json()["code"].as_str().unwrap_or_default().is_empty(), "{what}");
    }
    let host = format!("Host: {}\r\n", gateway.admin_address);
    let token = std::fs::read_to_string(gateway.dir().join("data/admin.token")).unwrap();
    let right = format!(
        "{host}Authorization: Bearer {}\r\nContent-Type: application/json\r\n",
        token.trim()
    );
    for body in [
        "",
        "{",
        "[]",
        "null",
        "{\"subject\":\"alice\",\"subject\":\"bob\",\"always\":true,\"reason\":\"x\"}",
        "{\"subject\":\"alice\",\"always\":true,\"reason\":\"x\"}{}",
        "\u{feff}{\"subject\":\"alice\",\"always\":true,\"reason\":\"x\"}",
    ] {
        let status = raw(&gateway, "POST", "/v1/denials", &right, body);
        assert!(matches!(status, 400 | 422), "{status} for {body:?}");
    }
    assert_eq!(admin.get("/v1/denials")["in_force"], 0, "none of it was taken");
    assert_eq!(gateway.status(&issuer.mint("alice")), 200);
}

#[test]
fn ids_are_taken_byte_for_byte_look_alikes_and_all() {
    let (issuer, gateway) = first_admin();
    let admin = gateway.admin();
    for (denied, spared) in [
        ("\u{430}lice", "alice"),
        ("caf\u{e9}", "cafe\u{301}"),
        ("Alice", "alice"),
        ("alice ", "alice"),
        ("auth0|5f7c", "auth0"),
        ("42", "042"),
    ] {
        let id = admin.block(json!({"subject": denied}));
        assert_eq!(gateway.status(&issuer.mint(denied)), 401, "{denied:?}");
        assert_eq!(gateway.status(&issuer.mint(spared)), 200, "{spared:?}");
        admin.undo(&id);
    }
    let number = issuer.token("x").claim("sub", 42).mint();
    admin.block(json!({"subject": "42"}));
    assert_ne!(gateway.status(&number), 200, "an integer is its decimal form");
}

#[test]
fn a_token_posted_for_revocation_must_be_one_that_verifies() {
    let (issuer, gateway) = first_admin();
    let admin = gateway.admin();
    let bob = issuer.token("bob").claim("jti", "bobs-token");
    // Somebody else's jti in a token that the issuer never signed: denial by forgery.
    let forged =
        issuer.token("mallory").claim("jti", "bobs-token").signed_by(&issuer.key.other(), "HS256");
    let answer =
        admin.call("POST", "/v1/revoke", Some(&json!({"token": forged.mint(), "reason": "x"})));
    assert!(matches!(answer.status, 400 | 422), "{} {}", answer.status, answer.text());
    assert!(!answer.text().contains(&forged.mint()));
    assert_eq!(gateway.status(&bob.mint()), 200);
    admin.revoke(json!({"token": bob.mint()}));
    assert_eq!(gateway.status(&bob.mint()), 401);
}

#[test]
fn a_full_denylist_says_so_and_evicts_nothing() {
    let issuer = Issuer::new("HS256");
    let gateway = Setup::simple(&issuer, &Upstream::new()).store("limit = 1000").start();
    let admin = gateway.admin();
    let mut connection = Connection::open(&gateway.admin_address);
    let mut accepted = Vec::new();
    let full = loop {
        let subject = format!("user-{}", accepted.len());
        let body = json!({"user": subject, "reason": "x"});
        let answer = admin.call_on(&mut connection, "POST", "/v1/block", Some(&body));
        if answer.status != 201 {
            break answer;
        }
        accepted.push(subject);
        assert!(accepted.len() <= 1000, "the limit holds");
    };
    assert_eq!((full.status, full.json()["code"].as_str()), (507, Some("denylist_full")));
    let mut connection = gateway.connect();
    for subject in &accepted {
        let bearer = format!("Bearer {}", issuer.mint(subject));
        assert_eq!(connection.get("/", &[("Authorization", &bearer)]).status, 401, "{subject}");
    }
    assert_eq!(gateway.status(&issuer.mint("bystander")), 200);
}

#[test]
fn the_unix_socket_serves_the_same_api() {
    let issuer = Issuer::new("HS256");
    let setup = Setup::simple(&issuer, &Upstream::new())
        .admin("listen = [\"127.0.0.1:0\", \"unix:data/admin.sock\"]");
    let gateway = setup.start();
    let socket = gateway.dir().join("data/admin.sock");
    let mode = std::fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o007, 0, "others of this machine have no access: {mode:o}");
    let token = std::fs::read_to_string(gateway.dir().join("data/admin.token")).unwrap();
    let bearer = format!("Bearer {}", token.trim());
    let mut connection = Connection::open_unix(&socket);
    let answer =
        connection.get("/v1/denials", &[("Host", "localhost"), ("Authorization", &bearer)]);
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[test]
fn answers_of_the_admin_api_carry_a_request_id_and_are_not_stored() {
    let (_, gateway) = first_admin();
    let admin = gateway.admin();
    for (method, path) in [("GET", "/v1/denials"), ("GET", "/v1/nothing"), ("PUT", "/v1/denials")] {
        let answer = admin.call(method, path, None);
        assert!(answer.header("x-request-id").is_some(), "{method} {path}: {}", answer.head);
    }
    assert_eq!(admin.call("GET", "/v1/nothing", None).status, 404);
    assert_eq!(admin.call("PUT", "/v1/denials", None).status, 405);
    assert_eq!(admin.call("GET", "/v1/denials/dn_0000000000000000", None).status, 404);
}

#[test]
fn a_body_that_nobody_asked_for_costs_no_connection_and_one_that_is_too_large_says_so() {
    let issuer = Issuer::new("HS256");
    let gateway = Setup::simple(&issuer, &Upstream::new()).start();
    let admin = gateway.admin();
    let mut connection = admin.connect();
    let credential = std::fs::read_to_string(gateway.dir().join("data/admin.token")).unwrap();
    let head = |method: &str, path: &str, more: &str| {
        format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\n\
             Content-Type: application/json\r\n{more}\r\n",
            gateway.admin_address,
            credential.trim()
        )
    };
    // As clients send it: the body behind its head, in a piece of its own, sized or chunked.
    let chunked = ("Transfer-Encoding: chunked\r\n", "2\r\n{}\r\n0\r\n\r\n");
    for (framing, body) in [("Content-Length: 2\r\n", "{}"), chunked] {
        for (method, path, status) in [
            ("DELETE", "/v1/denials/{id}", 200),
            ("DELETE", "/v1/denials/dn_0000000000", 404),
            ("GET", "/v1/status", 200),
            ("GET", "/readyz", 200),
            ("PUT", "/v1/status", 405),
            ("POST", "/v1/nowhere", 404),
        ] {
            let id = admin.block(json!({"user": "alice"}));
            connection.send(head(method, &path.replace("{id}", &id), framing));
            connection.send(body);
            let answer = connection.answer_to(method).unwrap();
            assert_eq!(answer.status, status, "{method} {path}: {}", answer.text());
            assert_eq!(answer.header("connection"), None, "{method} {path}");
        }
    }
    // One that never comes, one that is too large, and one that waits to be asked for.
    for (framing, begun) in [
        ("Content-Length: 2\r\n", "{".to_owned()),
        ("Content-Length: 200000\r\n", " ".repeat(70_000)),
        ("Expect: 100-continue\r\nContent-Length: 2\r\n", String::new()),
    ] {
        let mut last = admin.connect();
        last.send(head("GET", "/v1/status", framing));
        last.send(begun);
        let answer = last.answer();
        let told = (answer.status, answer.header("connection"), answer.informational.len());
        assert_eq!(told, (200, Some("close"), 0), "{framing}");
        last.assert_closed();
    }
}

#[test]
fn where_there_is_no_issuer_a_denial_is_told_so() {
    let gateway = Setup::new()
        .upstream("app", &Upstream::new(), "")
        .route("/", "access = \"public\"")
        .start();
    for (denial, detail) in [
        (json!({"user": "alice"}), "No issuer is configured, so no token passes"),
        (json!({"user": "alice", "issuer": "main"}), "None is configured."),
    ] {
        let answer = gateway.admin().call("POST", "/v1/revoke", Some(&denial));
        assert_eq!(answer.status, 422);
        assert!(answer.text().contains(detail), "{}", answer.text());
    }
}
