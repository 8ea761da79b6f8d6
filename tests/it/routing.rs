//! Which route a request gets, and routes that answer by themselves.

use serde_json::{Value, json};

use crate::support::{Gateway, Issuer, Setup, Upstream, program, run_to_end};

/// A gateway whose routes answer with their own names.
fn named(routes: &[(&str, &str)]) -> Gateway {
    let issuer = Issuer::new("HS256");
    let mut setup = Setup::simple(&issuer, &Upstream::new());
    for (name, lines) in routes {
        setup = setup.tables(&format!(
            "[[route]]\nname = \"{name}\"\naccess = \"public\"\n{lines}\nanswer = {{ body = \"{name}\" }}\n"
        ));
    }
    setup.route("/unused/", "").start()
}

#[track_caller]
fn route_of(gateway: &Gateway, method: &str, target: &str, headers: &[(&str, &str)]) -> String {
    let answer = gateway.connect().request(method, target, headers, b"");
    if answer.status == 200 { answer.text() } else { answer.status.to_string() }
}

#[test]
fn the_most_specific_route_is_taken_whatever_stands_first_in_the_file() {
    let routes = [
        ("any", "path = \"/\""),
        ("any-api", "path = \"/api/\""),
        ("wide", "path = \"/\"\nhost = \"*.example.com\""),
        ("wider", "path = \"/api/v2\"\nhost = \"*.example.com\""),
        ("longer", "path = \"/\"\nhost = \"*.b.example.com\""),
        ("private", "path = \"/\"\nhost = \"*.lan\""),
        ("exact", "path = \"/x/\"\nhost = \"a.b.example.com\""),
        ("post", "path = \"/api\"\nmethods = [\"POST\", \"PUT\"]"),
        ("beta", "path = \"/api\"\nheaders = { X-Beta = true }"),
        ("beta-post", "path = \"/api\"\nheaders = { X-Beta = true }\nmethods = [\"POST\"]"),
        ("beta-2", "path = \"/api\"\nheaders = { X-Beta = \"2\" }"),
        ("file", "path_exact = \"/api\""),
    ];
    let cases = [
        ("GET", "/", "other.org", "", "any"),
        ("GET", "/api/x", "other.org", "", "any-api"),
        ("GET", "/api", "other.org", "", "file"),
        ("POST", "/api", "other.org", "", "file"),
        ("POST", "/api/x", "other.org", "", "post"),
        ("DELETE", "/api/x", "other.org", "", "any-api"),
        ("GET", "/api/x", "other.org", "1", "beta"),
        ("GET", "/api/x", "other.org", "2", "beta-2"),
        ("PUT", "/api/x", "other.org", "2", "beta-2"),
        ("POST", "/api/x", "other.org", "2", "beta-post"),
        ("GET", "/apix", "other.org", "", "any"),
        ("GET", "/api/x", "c.example.com", "", "wide"),
        ("GET", "/api/v2/x", "c.example.com", "", "wider"),
        ("GET", "/api/v2/x", "c.b.example.com", "", "longer"),
        ("GET", "/x/y", "a.b.example.com", "", "exact"),
        ("GET", "/y", "a.b.example.com", "", "longer"),
        ("GET", "/y", "A.B.Example.com:8080", "", "longer"),
        ("GET", "/y", "example.com", "", "any"),
        ("GET", "/y", "a.nas.lan", "", "private"),
        ("GET", "/y", "lan", "", "any"),
    ];
    for turned in [false, true] {
        let mut routes = routes.to_vec();
        // "post" and "beta" ask for as much as each other; only one of them may stand there.
        routes.retain(|(name, _)| *name != "post" || !turned);
        routes.retain(|(name, _)| *name != "beta" || turned);
        if turned {
            routes.reverse();
        }
        let gateway = named(&routes);
        for (method, target, host, beta, expected) in cases {
            let without = if turned { "post" } else { "beta" };
            if expected == without {
                continue;
            }
            let mut headers = vec![("Host", host)];
            if !beta.is_empty() {
                headers.push(("X-Beta", beta));
            }
            let found = route_of(&gateway, method, target, &headers);
            assert_eq!(found, expected, "{method} {host}{target} {beta}");
        }
    }
}

#[test]
fn get_also_means_head_and_a_method_is_taken_letter_by_letter() {
    let gateway = named(&[("read", "path = \"/\"\nmethods = [\"GET\"]")]);
    let mut connection = gateway.connect();
    assert_eq!(connection.request("HEAD", "/", &[], b"").status, 200);
    for method in ["POST", "get", "OPTIONS", "GETX"] {
        assert_eq!(route_of(&gateway, method, "/", &[]), "404", "{method}");
    }
}

#[test]
fn every_reading_of_a_path_selects_the_same_route_for_the_method_that_comes() {
    let gateway =
        named(&[("all", "path = \"/\""), ("write", "path = \"/pub/admin\"\nmethods = [\"POST\"]")]);
    let ambiguous = "/pub%2Fadmin";
    assert_eq!(route_of(&gateway, "GET", ambiguous, &[]), "all");
    assert_eq!(route_of(&gateway, "POST", ambiguous, &[]), "400");
    assert_eq!(route_of(&gateway, "POST", "/pub/admin", &[]), "write");
}

#[test]
fn two_header_lines_are_no_value_and_a_route_by_header_is_not_met() {
    let gateway =
        named(&[("all", "path = \"/\""), ("two", "path = \"/\"\nheaders = { X-V = \"2\" }")]);
    assert_eq!(route_of(&gateway, "GET", "/", &[("X-V", "2")]), "two");
    for headers in [&[("X-V", "2"), ("X-V", "2")][..], &[("X-V", "3")], &[("X_V", "2")], &[]] {
        assert_eq!(route_of(&gateway, "GET", "/", headers), "all", "{headers:?}");
    }
}

#[test]
fn routes_that_all_answer_by_themselves_need_no_upstream() {
    let route = "[[route]]\npath = \"/\"\naccess = \"public\"\nanswer = { body = \"closed\" }\n";
    let setup = Setup::new().tables(route);
    let text = setup.text();
    let gateway = setup.start_with(&text);
    assert_eq!(gateway.get("/", &[]).text(), "closed");
}

#[test]
fn a_fixed_answer_asks_for_a_token_like_any_other_route() {
    let issuer = Issuer::new("HS256");
    let gateway = Setup::simple(&issuer, &Upstream::new())
        .tables(
            "[[route]]\npath_exact = \"/secret\"\nanswer = { status = 218, body = \"{}\", content_type = \"application/json\" }\n",
        )
        .tables("[[route]]\npath_exact = \"/gone\"\naccess = \"public\"\nanswer = { status = 410 }\n")
        .route("/", "")
        .start();
    let refused = gateway.get("/secret", &[]);
    assert_eq!((refused.status, refused.code().as_str()), (401, "token_missing"));
    let answer = gateway.get_with("/secret", &issuer.mint("alice"));
    assert_eq!((answer.status, answer.text().as_str()), (218, "{}"));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let id = answer.header("x-request-id").unwrap();
    let line = gateway.access_line(id);
    assert_eq!(
        (line["verdict"].as_str(), line["subject"].as_str()),
        (Some("answered"), Some("alice"))
    );
    gateway.admin().block(json!({"subject": "alice"}));
    let refused = gateway.get_with("/secret", &issuer.mint("alice"));
    assert_eq!(refused.code(), "token_revoked");

    let gone = gateway.get("/gone", &[]);
    assert_eq!((gone.status, gone.body.len(), gone.header("content-type")), (410, 0, None));
    let mut connection = gateway.connect();
    let head = connection.request("HEAD", "/gone", &[], b"");
    assert_eq!((head.status, head.body.len()), (410, 0));
    assert_eq!(connection.request("POST", "/gone", &[], b"hello").status, 410);
}

#[test]
fn a_redirect_keeps_what_it_is_told_to_and_leads_nowhere_else() {
    let issuer = Issuer::new("HS256");
    let public = "access = \"public\"\n";
    let gateway = Setup::simple(&issuer, &Upstream::new())
        .tables(&format!(
            "[[route]]\nhost = \"*.example.com\"\npath = \"/\"\n{public}redirect = {{ to = \"https://$host$path$query\", status = 308 }}\n\
             [[route]]\npath = \"/old/\"\n{public}redirect = {{ to = \"/new$rest$query\" }}\n\
             [[route]]\npath = \"/slash/\"\n{public}redirect = {{ to = \"$rest/\" }}\n\
             [[route]]\npath = \"/gone/\"\n{public}redirect = {{ to = \"$rest$query\" }}\n"
        ))
        .route("/", "")
        .start();
    let location = |target: &str, host: &str| {
        let answer = gateway.get(target, &[("Host", host)]);
        (answer.status, answer.header("location").map(str::to_owned))
    };
    let found = |status, to: &str| (status, Some(to.to_owned()));
    assert_eq!(
        location("/a%20b?c=d", "App.example.com:8080"),
        found(308, "https://app.example.com/a%20b?c=d")
    );
    assert_eq!(
        location("//evil.org/", "a.example.com"),
        found(308, "https://a.example.com//evil.org/")
    );
    assert_eq!(location("/old", "b"), found(307, "/new"));
    assert_eq!(location("/old/x/y?z", "b"), found(307, "/new/x/y?z"));
    assert_eq!(location("/slash/x", "b"), found(307, "/x/"));
    assert_eq!(location("/gone/x?y", "b"), found(307, "/x?y"));
    assert_eq!(location("/gone?y", "b"), found(307, "/?y"));
    // What is left would be a host to a browser.
    for evil in ["/slash//evil.org", "/slash//evil.org/%2e", "/slash/"] {
        let (status, location) = location(evil, "b");
        assert_eq!((status, location), (400, None), "{evil}");
    }
}

/// `check` with a file of these routes.
fn check(routes: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let setup =
        Setup::simple(&Issuer::new("HS256"), &Upstream::new()).tables(routes).route("/", "");
    let (_dir, path) = setup.write();
    let output = run_to_end(program().arg("check").args(arguments).arg("-c").arg(&path));
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn check_says_which_route_a_request_gets_and_why() {
    let routes = "[[route]]\nname = \"write\"\npath = \"/api\"\nmethods = [\"POST\"]\nupstream = \"app\"\n\
                  [[route]]\nname = \"read\"\npath = \"/api\"\nupstream = \"app\"\n";
    let asked = |arguments: &[&str]| {
        let arguments = [&["--json"], arguments].concat();
        let (code, text) = check(routes, &arguments);
        let document: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}"));
        (code, document["url"].clone())
    };
    let (code, url) = asked(&["--url", "https://a.b/api/x"]);
    assert_eq!(
        (code, url["name"].as_str(), url["route"].as_u64()),
        (Some(0), Some("read"), Some(2))
    );
    assert_eq!(url["passed_over"][0], 1);
    assert_eq!(url["why"], "any host, longest path; the conditions of route 1 do not hold");
    let (_, url) = asked(&["--url", "/api", "--method", "post"]);
    assert_eq!(
        (url["name"].as_str(), &url["why"]),
        (Some("write"), &"any host, longest path, POST".into())
    );
    let (code, url) = asked(&["--url", "/api%2F..%2Fx"]);
    assert_eq!((code, url["status"].as_u64()), (Some(1), Some(400)));
    let (_, text) = check(routes, &["--url", "/api", "--method", "POST"]);
    for part in ["#  host  path  if", "POST", "POST /api\n  → route 1", "never file order"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn routes_that_no_request_can_tell_apart_are_refused_by_their_lines() {
    let twin = "[[route]]\npath = \"/a\"\nmethods = [\"GET\"]\nupstream = \"app\"\n\
                [[route]]\npath = \"/a/\"\nmethods = [\"GET\"]\nupstream = \"app\"\n";
    let (code, text) = check(twin, &[]);
    assert!(code == Some(78) && text.contains("C050") && text.contains("never matches"), "{text}");
    let rivals = twin.replacen("methods = [\"GET\"]", "methods = [\"GET\", \"POST\"]", 1);
    let (code, text) = check(&rivals, &[]);
    assert!(
        code == Some(78) && text.contains("C101") && text.contains("neither goes first"),
        "{text}"
    );
    let apart = twin.replacen("methods = [\"GET\"]", "methods = [\"POST\"]", 1);
    assert_eq!(check(&apart, &[]).0, Some(0));
}
