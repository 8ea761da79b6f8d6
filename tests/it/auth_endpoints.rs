//! What the gateway answers itself below `/.auth`: who is logged in, logging out, and the verdict for
//! another proxy.

use serde_json::json;

use crate::support::{Answer, Gateway, Issuer, Setup, Upstream};

struct Scene {
    issuer: Issuer,
    upstream: Upstream,
    gateway: Gateway,
}

fn scene(server: &str) -> Scene {
    let issuer = Issuer::new("ES256");
    let upstream = Upstream::new();
    let gateway = Setup::simple(&issuer, &upstream)
        .server(server)
        .route("/", "credentials = [\"bearer\", \"cookie:__Host-session\"]")
        .route(
            "/orders",
            "require = { scopes = [\"orders\"] }\nidentity = { \"X-Auth-Subject\" = \"sub\" }",
        )
        .route("/open", "access = \"optional\"\nidentity = { \"X-Auth-Subject\" = \"sub\" }")
        .start();
    Scene { issuer, upstream, gateway }
}

const OURS: (&str, &str) = ("Sec-Fetch-Site", "same-origin");

impl Scene {
    fn ask(&self, method: &str, target: &str, headers: &[(&str, &str)]) -> Answer {
        self.gateway.connect().request(method, target, headers, b"")
    }

    fn session(&self, subject: &str, session: &str) -> String {
        self.issuer.token(subject).claim("sid", session).mint()
    }
}

#[test]
fn a_page_learns_who_is_logged_in_and_never_the_token() {
    let scene = scene("");
    let token = scene.session("alice", "s-1");
    let cookie = format!("__Host-session={token}");
    let answer = scene.ask("GET", "/.auth/me", &[("Cookie", &cookie), OURS]);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let me = answer.json();
    assert_eq!((&me["subject"], &me["session"]), (&json!("alice"), &json!("s-1")));
    assert!(!answer.text().contains(&token));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(scene.ask("GET", "/.auth/me", &[]).code(), "token_missing");
    let evil = [("Cookie", cookie.as_str()), ("Origin", "https://evil.example")];
    assert_eq!(scene.ask("GET", "/.auth/me", &evil).code(), "cross_site");
    assert_eq!(scene.ask("POST", "/.auth/me", &[OURS]).status, 405);
    assert_eq!(scene.upstream.begun(), 0);
}

#[test]
fn a_log_out_denies_first_and_then_clears_the_cookie() {
    let scene = scene("");
    let (token, other) = (scene.session("alice", "s-1"), scene.session("alice", "s-2"));
    let cookie = format!("__Host-session={token}");
    let answer = scene.ask("POST", "/.auth/logout", &[("Cookie", &cookie), OURS]);
    assert_eq!((answer.status, answer.json()), (200, json!({"ended": "session"})));
    let cleared = answer.header("set-cookie").unwrap();
    assert!(cleared.starts_with("__Host-session=; "), "{cleared}");
    for attribute in ["Path=/", "Secure", "HttpOnly", "Max-Age=0"] {
        assert!(cleared.contains(attribute), "{cleared}");
    }
    assert_eq!(answer.header("clear-site-data"), Some("\"cache\", \"storage\""));
    // A stolen copy is refused whatever carries it; the other session goes on.
    assert_eq!(scene.gateway.status(&token), 401);
    assert_eq!(scene.ask("GET", "/", &[("Cookie", &cookie)]).code(), "token_revoked");
    assert_eq!(scene.gateway.status(&other), 200);
    let denials = scene.gateway.admin().get("/v1/denials");
    let denial = &denials["items"][0];
    assert_eq!(denial["session"], "s-1", "{denials}");
    assert_eq!(denial["created_by"]["role"], "self", "{denials}");
    // Once more is no mistake.
    let again = scene.ask("POST", "/.auth/logout", &[("Cookie", &cookie), OURS]);
    assert_eq!(again.status, 200);
}

#[test]
fn a_token_without_a_session_is_ended_alone() {
    let scene = scene("");
    let (token, other) = (scene.issuer.mint("alice"), scene.issuer.mint("alice"));
    let bearer = format!("Bearer {token}");
    let answer = scene.ask("POST", "/.auth/logout", &[("Authorization", &bearer), OURS]);
    assert_eq!(answer.json(), json!({"ended": "token"}));
    assert_eq!((scene.gateway.status(&token), scene.gateway.status(&other)), (401, 200));
}

#[test]
fn an_app_logs_out_with_its_bearer_token_alone_and_says_no_origin() {
    let scene = scene("");
    let (token, victim) = (scene.session("alice", "s-1"), scene.session("bob", "s-2"));
    let bearer = format!("Bearer {token}");
    let cookie = format!("__Host-session={victim}");
    let both = [("Authorization", bearer.as_str()), ("Cookie", cookie.as_str())];
    assert_eq!(scene.ask("POST", "/.auth/logout", &both).code(), "cross_site");
    assert_eq!([&token, &victim].map(|token| scene.gateway.status(token)), [200, 200]);
    let alone = [("Authorization", bearer.as_str()), ("Cookie", "theme=dark")];
    assert_eq!(scene.ask("POST", "/.auth/logout", &alone).json(), json!({"ended": "session"}));
    assert_eq!([&token, &victim].map(|token| scene.gateway.status(token)), [401, 200]);
}

#[test]
fn whose_token_names_nobody_has_no_other_sessions_and_keeps_the_one() {
    let scene = scene("");
    for token in [scene.issuer.token("").mint(), scene.issuer.token("a").without("sub").mint()] {
        let bearer = format!("Bearer {token}");
        for (method, target) in [("POST", "/.auth/logout-all"), ("GET", "/.auth/sessions")] {
            let answer = scene.ask(method, target, &[("Authorization", &bearer)]);
            assert_eq!((answer.status, answer.code().as_str()), (403, "claim_unmet"), "{target}");
        }
        assert_eq!(scene.gateway.status(&token), 200);
    }
}

#[test]
fn a_forged_token_denies_nothing_and_an_expired_one_ends_its_session() {
    let scene = scene("");
    let stranger = Issuer::new("ES256");
    let victim = scene.session("alice", "s-1");
    let forged = stranger.token("alice").claim("sid", "s-1").mint();
    for (method, target) in [("POST", "/.auth/logout"), ("POST", "/.auth/logout-all")] {
        let bearer = format!("Bearer {forged}");
        let answer = scene.ask(method, target, &[("Authorization", &bearer), OURS]);
        assert_eq!(scene.gateway.status(&victim), 200, "{target}: {}", answer.text());
    }
    assert_eq!(scene.gateway.admin().get("/v1/denials")["items"], json!([]));
    let expired = scene.issuer.token("alice").claim("sid", "s-1").times(-7200, -3600).mint();
    let bearer = format!("Bearer {expired}");
    let everywhere = scene.ask("POST", "/.auth/logout-all", &[("Authorization", &bearer), OURS]);
    assert_eq!((everywhere.status, scene.gateway.status(&victim)), (401, 200));
    let answer = scene.ask("POST", "/.auth/logout", &[("Authorization", &bearer), OURS]);
    assert_eq!((answer.status, scene.gateway.status(&victim)), (200, 401));
}

#[test]
fn everywhere_is_everywhere_and_elsewhere_spares_this_session() {
    let scene = scene("");
    let sessions: Vec<String> =
        ["s-1", "s-2"].iter().map(|session| scene.session("alice", session)).collect();
    let bob = scene.session("bob", "s-3");
    let bearer = format!("Bearer {}", sessions[0]);
    let headers = [("Authorization", bearer.as_str()), OURS];
    let statuses = || -> Vec<u16> {
        sessions.iter().chain([&bob]).map(|token| scene.gateway.status(token)).collect()
    };
    let answer = scene.ask("POST", "/.auth/logout-all?others=yes", &headers);
    assert_eq!((answer.status, answer.code().as_str()), (400, "bad_request"));
    assert_eq!(statuses(), [200, 200, 200], "a word that is none ends nothing");
    let answer = scene.ask("POST", "/.auth/logout-all?others=true", &headers);
    assert_eq!(answer.json(), json!({"ended": "other sessions"}));
    assert_eq!(answer.header("set-cookie"), None);
    assert_eq!(statuses(), [200, 401, 200]);
    let answer = scene.ask("POST", "/.auth/logout-all", &headers);
    assert_eq!(answer.json(), json!({"ended": "all sessions"}));
    assert_eq!(statuses(), [401, 401, 200]);
}

#[test]
fn another_site_logs_nobody_out_and_a_link_asks_first() {
    let scene = scene("");
    let token = scene.session("alice", "s-1");
    let cookie = format!("__Host-session={token}");
    for headers in [
        [("Cookie", cookie.as_str()), ("Origin", "https://evil.example")],
        [("Cookie", cookie.as_str()), ("Sec-Fetch-Site", "cross-site")],
        [("Cookie", cookie.as_str()), ("X-Nothing", "said")],
        [("X-No", "cookie"), ("Origin", "https://evil.example")],
    ] {
        let answer = scene.ask("POST", "/.auth/logout", &headers);
        assert_eq!(answer.code(), "cross_site", "{headers:?}");
        assert!(answer.all("set-cookie").is_empty());
    }
    let page = scene.ask("GET", "/.auth/logout?return_to=/a%3Fb", &[("Cookie", &cookie)]);
    assert_eq!(page.status, 200);
    assert!(page.header("content-security-policy").unwrap().contains("default-src 'none'"));
    assert!(page.text().contains("action=\"/.auth/logout?return_to=/a%3Fb\""), "{}", page.text());
    assert_eq!(scene.gateway.status(&token), 200);
}

// C25
#[test]
fn after_a_log_out_a_page_goes_to_a_path_of_this_host_only() {
    let scene = scene("");
    let back = |query: &str| {
        let target = format!("/.auth/logout{query}");
        let answer = scene.ask("POST", &target, &[("Accept", "text/html"), OURS]);
        assert_eq!(answer.status, 303, "{query}");
        answer.header("location").unwrap().to_owned()
    };
    assert_eq!(back("?return_to=/bye%3Fa=b"), "/bye?a=b");
    assert_eq!(back(""), "/");
    for evil in [
        "//evil.example",
        "/\\evil.example",
        "/%09/evil.example",
        "%2F%2Fevil.example",
        "https:evil.example",
        "https://evil.example",
        "%0d%0aSet-Cookie:a=b",
    ] {
        assert_eq!(back(&format!("?return_to={evil}").replace('\\', "%5C")), "/", "{evil}");
    }
}

#[test]
fn no_route_shadows_these_paths_and_no_spelling_leads_around_them() {
    let issuer = Issuer::new("HS256");
    let upstream = Upstream::new();
    let gateway = Setup::simple(&issuer, &upstream)
        .route("/.auth/", "access = \"public\"")
        .route("/", "access = \"public\"")
        .start();
    assert_eq!(gateway.get("/.auth/me", &[]).code(), "token_missing");
    assert_eq!(gateway.get("/.auth/nothing", &[]).status, 404);
    for odd in ["/.auth%2Fme", "//.auth/me", "/.auth;a/me", "/%2eauth/me", "/.%61uth/me"] {
        assert_eq!(gateway.get(odd, &[]).status, 400, "{odd}");
    }
    assert_eq!(upstream.begun(), 0);
    let moved = Setup::simple(&issuer, &upstream)
        .tables("[session]\nprefix = \"/_gate\"")
        .route("/", "access = \"public\"")
        .start();
    assert_eq!(moved.get("/_gate/me", &[]).code(), "token_missing");
    assert_eq!(moved.get("/.auth/me", &[]).status, 200, "the backend's own");
    let off = Setup::simple(&issuer, &upstream)
        .tables("[session]\nprefix = \"\"")
        .route("/", "access = \"public\"")
        .start();
    assert_eq!(off.get("/.auth/me", &[]).status, 200, "the backend's own");
}

#[test]
fn a_verdict_is_given_to_listed_proxies_only_and_says_what_to_set() {
    let stranger = scene("");
    let bearer = format!("Bearer {}", stranger.issuer.mint("alice"));
    let told = [
        ("Authorization", bearer.as_str()),
        ("X-Forwarded-Uri", "/"),
        ("X-Forwarded-Host", "app.example.com"),
    ];
    let answer = stranger.gateway.get("/.auth/verify", &told);
    assert_eq!((answer.status, answer.code().as_str()), (403, "not_trusted"));
    assert!(answer.text().contains("trusted_proxies"), "{}", answer.text());
}

#[test]
fn the_verdict_is_that_of_the_route_that_is_asked_about() {
    let scene = scene("trusted_proxies = [\"127.0.0.0/8\"]");
    let bearer = format!("Bearer {}", scene.issuer.mint("alice"));
    let orders = format!("Bearer {}", scene.issuer.token("alice").claim("scope", "orders").mint());
    let verdict = |target: &str, uri: &str, more: &[(&str, &str)]| {
        let told = [
            ("X-Forwarded-Uri", uri),
            ("X-Forwarded-Method", "GET"),
            ("X-Forwarded-Host", "app.example.com"),
            ("X-Forwarded-Proto", "https"),
            ("X-Auth-Subject", "mallory"),
        ];
        let told: Vec<_> = told.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        scene.gateway.get(target, &[told.as_slice(), more].concat())
    };
    let (plain, nginx) = ("/.auth/verify", "/.auth/verify?dialect=nginx");
    fn with(bearer: &str) -> [(&str, &str); 1] {
        [("Authorization", bearer)]
    }
    // (asked, uri, headers, plain status, status for nginx, reason)
    type Case<'c> = (&'c str, &'c [(&'c str, &'c str)], u16, u16, Option<&'c str>);
    let cases: [Case<'_>; 7] = [
        ("/?a=b", &with(&bearer), 200, 204, None),
        ("/", &[], 401, 401, Some("token_missing")),
        ("/orders", &with(&bearer), 403, 403, Some("scope_missing")),
        ("/orders", &with(&orders), 200, 204, None),
        ("/../orders", &with(&orders), 400, 403, Some("bad_request")),
        ("/orders%2Fx", &with(&orders), 400, 403, Some("bad_request")),
        ("", &with(&bearer), 400, 403, Some("bad_request")),
    ];
    for (uri, headers, status, of_nginx, reason) in cases {
        for (target, wanted) in [(plain, status), (nginx, of_nginx)] {
            let answer = verdict(target, uri, headers);
            assert_eq!(answer.status, wanted, "{target} {uri}: {}", answer.text());
            let said = answer.header("x-portcullis-status").unwrap();
            assert_eq!(said, status.to_string(), "{uri}");
            assert_eq!(answer.header("x-portcullis-reason"), reason, "{uri}");
        }
    }
    // A misspelt dialect would be found out in production, as nginx's 500.
    let misspelt = verdict("/.auth/verify?dialect=ngnix", "/", &with(&bearer));
    assert_eq!((misspelt.status, misspelt.code().as_str()), (400, "bad_request"));
    let answer = verdict(plain, "/orders", &with(&orders));
    assert_eq!(answer.header("x-auth-subject"), Some("alice"));
    // Where nobody is known the name is there and empty, so that no proxy keeps the client's own.
    assert_eq!(verdict(plain, "/open", &[]).header("x-auth-subject"), Some(""));
    // Envoy appends the path to that of the endpoint, and keeps method and host.
    let envoy = |path: &str| {
        let target = format!("/.auth/verify{path}");
        scene.gateway.get(&target, &with(&bearer)).status
    };
    assert_eq!((envoy("/x?y=z"), envoy("/orders")), (200, 403));
    // A cookie is asked whose request it is, with the origin that the proxy tells of.
    let cookie = format!("__Host-session={}", scene.issuer.mint("alice"));
    for (origin, wanted) in [("https://app.example.com", 200), ("https://evil.example", 403)] {
        let answer = verdict(plain, "/", &[("Cookie", &cookie), ("Origin", origin)]);
        assert_eq!(answer.status, wanted, "{origin}");
    }
    scene.gateway.admin().revoke(json!({"user": "alice"}));
    assert_eq!(verdict(plain, "/", &with(&bearer)).code(), "token_revoked");
    assert_eq!(scene.upstream.begun(), 0);
}

#[test]
fn seventy_log_outs_of_one_person_take_few_places_and_each_of_them_holds() {
    let scene = scene("");
    let log_out = |token: &str| {
        let cookie = format!("__Host-session={token}");
        scene.ask("POST", "/.auth/logout", &[("Cookie", &cookie), OURS]).status
    };
    let (bob, operators) = (scene.session("bob", "b-1"), scene.session("alice", "kept"));
    assert_eq!(log_out(&scene.session("bob", "b-2")), 200);
    scene.gateway.admin().block(json!({"session": "kept"}));
    let ended: Vec<String> = (0..70).map(|n| scene.session("alice", &format!("s-{n}"))).collect();
    let other = scene.session("alice", "other");
    for token in &ended[..64] {
        assert_eq!(log_out(token), 200);
    }
    assert_eq!(scene.gateway.status(&other), 200);
    for token in &ended[64..] {
        assert_eq!(log_out(token), 200);
    }
    for token in ended.iter().chain([&other, &operators]) {
        assert_eq!(scene.gateway.status(token), 401);
    }
    assert_eq!(scene.gateway.status(&bob), 200);
    let admin = scene.gateway.admin();
    let status = admin.get("/v1/status");
    let folded = status["denials"]["folded"].as_u64().unwrap();
    assert!(folded >= 64, "{}", status["denials"]);
    // Of the seventy at most six, the cutoff, bob's, and the operator's.
    assert!(status["denials"]["in_force"].as_u64().unwrap() <= 9, "{}", status["denials"]);
    let cutoff = admin.get("/v1/denials?user=alice");
    assert_eq!(cutoff["items"][0]["created_by"]["name"], "subject alice", "{cutoff}");
    // Somebody who logs in now is let in, also after a restart, and what was ended is not.
    let fresh = scene.issuer.token("alice").claim("sid", "new").times(5, 3600).mint();
    assert_eq!(scene.gateway.status(&fresh), 200);
    let Scene { gateway, .. } = scene;
    let mut gateway = gateway;
    gateway.kill9();
    let gateway = gateway.start_again();
    for token in ended.iter().chain([&other]) {
        assert_eq!(gateway.status(token), 401);
    }
    assert_eq!((gateway.status(&fresh), gateway.status(&bob)), (200, 200));
}
