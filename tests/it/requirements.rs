//! What a route asks of a good token beyond being good, and how it is said that it lacks something.

use serde_json::{Value, json};

use crate::support::{Gateway, Issuer, Setup, Upstream, now};

const ROUTES: &[(&str, &str)] = &[
    ("/", ""),
    ("/aud/", "require = { audiences = [\"https://billing.example.com\", \"other\"] }"),
    ("/type/", "require = { type = \"at+jwt\" }"),
    ("/short/", "require = { max_lifetime = \"5m\" }"),
    ("/all/", "require = { scopes = [\"read\", \"write\"] }"),
    ("/any/", "require = { scopes = [\"read\"], scopes_any = [\"staff\", \"admin\"] }"),
    (
        "/equal/",
        "require = { claims = [{ claim = \"/data/role\", equals = \"admin\" }, { claim = \"level\", equals = 3 }] }",
    ),
    (
        "/contains/",
        "require = { claims = [{ claim = \"/realm_access/roles\", contains = \"editor\" }] }",
    ),
    ("/one/", "require = { claims = [{ claim = \"tenant\", one_of = [\"acme\", \"initech\"] }] }"),
    ("/login/", "require = { max_age = \"15m\" }"),
    (
        "/optional/",
        "access = \"optional\"\ncredentials = [\"cookie:session\"]\nrequire = { type = \"at+jwt\" }",
    ),
];

fn scene(issuer: &Issuer) -> (Gateway, Upstream) {
    let upstream = Upstream::new();
    let setup = Setup::simple(issuer, &upstream);
    let gateway =
        ROUTES.iter().fold(setup, |setup, (path, lines)| setup.route(path, lines)).start();
    (gateway, upstream)
}

/// Status, code and challenge.
fn answer(gateway: &Gateway, path: &str, token: &str) -> (u16, String, String) {
    let answer = gateway.get_with(path, token);
    let code = if answer.status == 200 { String::new() } else { answer.code() };
    let challenge = answer.header("www-authenticate").unwrap_or("").to_owned();
    (answer.status, code, challenge)
}

#[test]
fn a_route_takes_only_tokens_that_name_its_audience_are_of_its_type_and_live_no_longer() {
    let issuer = Issuer::new("ES256");
    let (gateway, _upstream) = scene(&issuer);
    let plain = issuer.mint("alice");
    let both = json!([issuer.audience, "https://billing.example.com"]);
    let cases = [
        ("/aud/", issuer.token("alice").claim("aud", both).mint()),
        ("/type/", issuer.token("alice").header("typ", "application/AT+JWT").mint()),
        ("/short/", issuer.token("alice").claim("exp", now() + 200).mint()),
    ];
    for (path, good) in cases {
        assert_eq!(answer(&gateway, path, &good).0, 200, "{path}");
        let (status, code, challenge) = answer(&gateway, path, &plain);
        assert_eq!((status, code.as_str()), (401, "token_invalid"), "{path}");
        assert!(challenge.contains("error=\"invalid_token\""), "{challenge}");
        assert_eq!(answer(&gateway, "/", &good).0, 200, "{path}");
    }
}

#[test]
fn scopes_are_all_or_any_and_the_challenge_names_what_to_ask_for() {
    let issuer = Issuer::new("ES256");
    let (gateway, _upstream) = scene(&issuer);
    let with = |scope: &str| issuer.token("alice").claim("scope", scope).mint();
    for (path, scope) in
        [("/all/", "write read x"), ("/any/", "read admin"), ("/any/", "staff read")]
    {
        assert_eq!(answer(&gateway, path, &with(scope)).0, 200, "{path} {scope}");
    }
    for (path, scope, needed) in [
        ("/all/", "read", "read write"),
        ("/all/", "read writes", "read write"),
        ("/any/", "read", "read staff admin"),
        ("/any/", "admin staff", "read staff admin"),
        ("/any/", "", "read staff admin"),
    ] {
        let (status, code, challenge) = answer(&gateway, path, &with(scope));
        assert_eq!((status, code.as_str()), (403, "scope_missing"), "{path} {scope}");
        assert_eq!(
            challenge,
            format!("Bearer error=\"insufficient_scope\", scope=\"{needed}\""),
            "{path} {scope}"
        );
    }
}

#[test]
fn claims_are_compared_by_type_and_value_wherever_they_are_nested() {
    let issuer = Issuer::new("ES256");
    let (gateway, _upstream) = scene(&issuer);
    let with = |claims: &Value| {
        let claims = claims.as_object().unwrap();
        claims
            .iter()
            .fold(issuer.token("alice"), |token, (name, value)| token.claim(name, value.clone()))
            .mint()
    };
    let passes = |path: &str, claims: Value| {
        let (status, code, challenge) = answer(&gateway, path, &with(&claims));
        match status {
            200 => true,
            _ => {
                assert_eq!((status, code.as_str()), (403, "claim_unmet"), "{path} {claims}");
                assert!(
                    challenge.starts_with("Bearer error=\"insufficient_scope\""),
                    "{challenge}"
                );
                assert!(!challenge.contains("admin"), "what is wanted is not the client's to know");
                false
            }
        }
    };
    assert!(passes("/equal/", json!({"data": {"role": "admin"}, "level": 3})));
    for claims in [
        json!({"data": {"role": "admin"}}),
        json!({"data": {"role": "admin"}, "level": "3"}),
        json!({"data": {"role": "admin"}, "level": 3.0}),
        json!({"data": {"role": "Admin"}, "level": 3}),
        json!({"data": {"role": ["admin"]}, "level": 3}),
        json!({"data": "admin", "role": "admin", "level": 3}),
        json!({"/data/role": "admin", "level": 3}),
    ] {
        assert!(!passes("/equal/", claims.clone()), "{claims}");
    }
    let roles = |roles: Value| json!({"realm_access": {"roles": roles}});
    assert!(passes("/contains/", roles(json!(["user", "editor"]))));
    for other in
        [json!(["user"]), json!("editor"), json!(["editors"]), json!([["editor"]]), json!(null)]
    {
        assert!(!passes("/contains/", roles(other.clone())), "{other}");
    }
    assert!(passes("/one/", json!({"tenant": "acme"})));
    assert!(passes("/one/", json!({"tenant": ["x", "initech"]})));
    for other in [json!("acm"), json!("acme,initech"), json!([]), json!({"acme": true})] {
        assert!(!passes("/one/", json!({"tenant": other.clone()})), "{other}");
    }
}

#[test]
fn an_old_login_is_sent_back_to_log_in_again() {
    let issuer = Issuer::new("ES256");
    let (gateway, _upstream) = scene(&issuer);
    let fresh = issuer.token("alice").claim("auth_time", now() - 60).mint();
    assert_eq!(answer(&gateway, "/login/", &fresh).0, 200);
    for old in [issuer.token("alice").claim("auth_time", now() - 3600).mint(), issuer.mint("alice")]
    {
        let (status, code, challenge) = answer(&gateway, "/login/", &old);
        assert_eq!((status, code.as_str()), (401, "too_old_login"));
        assert_eq!(challenge, "Bearer error=\"insufficient_user_authentication\", max_age=\"900\"");
    }
}

#[test]
fn a_cookie_that_is_not_for_an_optional_route_leaves_its_owner_anonymous() {
    let issuer = Issuer::new("ES256");
    let upstream = Upstream::new();
    let gateway = Setup::simple(&issuer, &upstream)
        .route("/", &format!("{}\nidentity = {{ X-Who = \"sub\" }}", ROUTES[10].1))
        .start();
    let cookie = |token: &str| gateway.get("/", &[("Cookie", &format!("session={token}"))]).status;
    assert_eq!(cookie(&issuer.token("alice").header("typ", "at+jwt").mint()), 200);
    assert_eq!(upstream.last().header("x-who"), Some("alice"));
    assert_eq!(cookie(&issuer.mint("alice")), 200);
    assert_eq!((upstream.last().header("x-who"), upstream.last().header("cookie")), (None, None));
}

#[test]
fn explain_shows_each_requirement_and_what_the_gateway_answers() {
    let issuer = Issuer::new("ES256");
    let (gateway, _upstream) = scene(&issuer);
    let explain = |path: &str, token: &str| {
        gateway.admin().post("/v1/explain", &json!({"token": token, "url": path}))
    };
    let token = issuer.token("alice").claim("scope", "read").mint();
    let cases = [
        ("/aud/", "audience", 401, "token_invalid"),
        ("/type/", "type", 401, "token_invalid"),
        ("/short/", "lifetime", 401, "token_invalid"),
        ("/any/", "scopes", 403, "scope_missing"),
        ("/equal/", "claims", 403, "claim_unmet"),
        ("/login/", "login", 401, "too_old_login"),
    ];
    for (path, check, status, code) in cases {
        let told = explain(path, &token);
        assert_eq!((told["pass"].as_bool(), told["status"].as_u64()), (Some(false), Some(status)));
        assert_eq!(told["code"], code, "{told}");
        let checks = told["checks"].as_array().unwrap();
        let failed: Vec<_> = checks.iter().filter(|check| check["result"] == "fail").collect();
        assert_eq!(failed.len(), 1, "{told}");
        assert_eq!(failed[0]["check"], check, "{told}");
        let (said, said_code, _) = answer(&gateway, path, &token);
        assert_eq!((u64::from(said), said_code.as_str()), (status, code), "as the gateway does");
    }
    let told = explain("/any/", &token);
    assert_eq!(told["would_pass_with"], "a token that has scope staff or admin", "{told}");
    let told = explain("/", &token);
    assert_eq!(told["pass"], true, "{told}");
}

#[test]
fn one_string_is_one_value_of_an_identity_header() {
    let issuer = Issuer::new("ES256");
    let upstream = Upstream::new();
    let gateway = Setup::simple(&issuer, &upstream)
        .route("/", "identity = { X-Groups = \"groups\" }")
        .start();
    let header = |groups: Value| {
        assert_eq!(gateway.status(&issuer.token("alice").claim("groups", groups).mint()), 200);
        upstream.last().header("x-groups").map(str::to_owned)
    };
    assert_eq!(header(json!("admins,staff")).as_deref(), Some("admins%2Cstaff"));
    assert_eq!(header(json!(["admins", "staff"])).as_deref(), Some("admins,staff"));
    assert_eq!(header(json!(["admins,staff"])).as_deref(), Some("admins%2Cstaff"));
    assert_eq!(header(json!("50%2C")).as_deref(), Some("50%252C"));
}

#[test]
fn a_cookie_of_another_route_reaches_no_backend_however_it_is_spelt() {
    let issuer = Issuer::new("ES256");
    let upstream = Upstream::new();
    let gateway = Setup::simple(&issuer, &upstream)
        .server("external_origins = [\"https://app.example.com\"]")
        .route("/", "access = \"public\"")
        .route("/api/", "")
        .route("/pages/", "credentials = [\"cookie:app_session\"]\nforward = \"pass\"")
        .start();
    let token = issuer.mint("alice");
    for spelt in [
        "app_session=T",
        "App_Session=T",
        "app.session=T",
        "app%5Fsession=T",
        "app session=T",
        "=app_session=T",
        "x=1 app_session=T",
        "x=\"1, app_session=T\"",
        "x=1,APP_SESSION=T",
    ] {
        let cookie = format!("a=1; {}; b=2", spelt.replace('T', &token));
        let bearer = format!("Bearer {token}");
        for (path, headers) in [
            ("/", &[("Cookie", cookie.as_str())][..]),
            ("/api/", &[("Cookie", cookie.as_str()), ("Authorization", bearer.as_str())]),
        ] {
            assert_eq!(gateway.get(path, headers).status, 200, "{path} {spelt}");
            let received = upstream.last();
            assert_eq!(received.header("cookie"), Some("a=1; b=2"), "{path} {spelt}");
            assert!(!received.head_text().contains(&token), "{path} {spelt}");
        }
    }
    let cookie = format!("app_session={token}; App_Session=other; b=2");
    assert_eq!(gateway.get("/pages/", &[("Cookie", &cookie)]).status, 200);
    assert_eq!(
        upstream.last().header("cookie"),
        Some(format!("app_session={token}; b=2").as_str())
    );
}
