//! Where a token may come from, and what becomes of every carrier on the way to the backend.

use crate::support::{Gateway, Issuer, Setup, Upstream};

struct Scene {
    issuer: Issuer,
    upstream: Upstream,
    gateway: Gateway,
}

/// One route that takes a bearer token or the cookie `session`, with further lines.
fn scene(lines: &str) -> Scene {
    let issuer = Issuer::new("ES256");
    let upstream = Upstream::new();
    let gateway = Setup::simple(&issuer, &upstream)
        .route("/", &format!("credentials = [\"bearer\", \"cookie:session\"]\n{lines}"))
        .start();
    Scene { issuer, upstream, gateway }
}

impl Scene {
    #[track_caller]
    fn status(&self, headers: &[(&str, &str)]) -> u16 {
        self.gateway.get("/", headers).status
    }
}

#[test]
fn a_token_passes_from_either_carrier_and_is_stripped_by_default() {
    let scene = scene("");
    let token = scene.issuer.mint("alice");
    let bearer = format!("Bearer {token}");
    assert_eq!(scene.status(&[("Authorization", &bearer)]), 200);
    assert_eq!(scene.upstream.last().header("authorization"), None);
    assert_eq!(scene.status(&[("Cookie", &format!("session={token}"))]), 200);
    assert_eq!(scene.upstream.last().header("cookie"), None);
    assert!(!scene.upstream.last().head_text().contains(&token));
}

#[test]
fn the_scheme_is_compared_without_case_and_the_rest_strictly() {
    let scene = scene("");
    let token = scene.issuer.mint("alice");
    for good in ["Bearer ", "bearer ", "BEARER "] {
        assert_eq!(scene.status(&[("Authorization", &format!("{good}{token}"))]), 200, "{good:?}");
    }
    let bad = [
        format!("Bearer{token}"),
        format!("Bearer {token},{token}"),
        format!("Bearer {token} {token}"),
        format!("Bearer \"{token}\""),
        format!("Bearer, {token}"),
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
    ];
    for value in bad {
        let status = scene.status(&[("Authorization", &value)]);
        assert!(matches!(status, 400 | 401), "{status} for {value:?}");
    }
}

#[test]
fn two_credentials_in_one_request_are_refused_whichever_is_good() {
    let scene = scene("");
    let (good, other) = (scene.issuer.mint("alice"), scene.issuer.mint("bob"));
    let (good_bearer, other_bearer) = (format!("Bearer {good}"), format!("Bearer {other}"));
    let (good_cookie, other_cookie) = (format!("session={good}"), format!("session={other}"));
    assert_eq!(scene.status(&[("Authorization", &good_bearer)]), 200);
    assert_eq!(scene.status(&[("Cookie", &good_cookie)]), 200);
    let before = scene.upstream.begun();
    let pairs: [&[(&str, &str)]; 8] = [
        &[("Authorization", &good_bearer), ("Authorization", &other_bearer)],
        &[("Authorization", &good_bearer), ("authorization", "Bearer garbage")],
        &[("Authorization", "Bearer garbage"), ("Authorization", &good_bearer)],
        &[("Authorization", &good_bearer), ("Cookie", &other_cookie)],
        &[("Authorization", "Bearer garbage"), ("Cookie", &good_cookie)],
        &[("Cookie", &format!("{good_cookie}; {other_cookie}"))],
        &[("Cookie", &good_cookie), ("Cookie", &other_cookie)],
        &[("Cookie", &format!("session=garbage; {good_cookie}"))],
    ];
    for headers in pairs {
        let status = scene.status(headers);
        assert!(matches!(status, 400 | 401), "{status} for {headers:?}");
    }
    assert_eq!(scene.upstream.begun(), before, "nothing of it reached the backend");
}

#[test]
fn only_our_cookie_is_removed_and_the_other_bytes_stay() {
    let scene = scene("");
    let token = scene.issuer.mint("alice");
    let cases = [
        (format!("session={token}"), None),
        (format!("a=1; session={token}"), Some("a=1")),
        (format!("session={token}; a=1"), Some("a=1")),
        (format!("a=1; session={token}; b=2"), Some("a=1; b=2")),
        (
            format!("a=\"x,y z\"; session={token}; __Host-b=%3D=="),
            Some("a=\"x,y z\"; __Host-b=%3D=="),
        ),
        (
            format!("xsession=1; session={token}; sessio=2; session2=3"),
            Some("xsession=1; sessio=2; session2=3"),
        ),
        (format!("flag; session={token}; =odd"), Some("flag; =odd")),
    ];
    for (cookie, left) in cases {
        assert_eq!(scene.status(&[("Cookie", &cookie)]), 200, "{cookie}");
        assert_eq!(scene.upstream.last().header("cookie"), left, "{cookie}");
    }
}

#[test]
fn cookies_without_ours_arrive_byte_for_byte() {
    let scene = scene("access = \"optional\"");
    for cookie in
        ["a=1;b=2", "a=1;  b=2 ;", "a=\"1;2\"", "a", "sessio=n; xsession=1", "a=1; a=2;;c"]
    {
        assert_eq!(scene.status(&[("Cookie", cookie)]), 200, "{cookie}");
        assert_eq!(scene.upstream.last().header("cookie"), Some(cookie.trim()), "{cookie}");
    }
}

#[test]
fn forward_pass_keeps_the_token_where_it_was() {
    let scene = scene("forward = \"pass\"");
    let token = scene.issuer.mint("alice");
    let bearer = format!("Bearer {token}");
    assert_eq!(scene.status(&[("Authorization", &bearer)]), 200);
    assert_eq!(scene.upstream.last().header("authorization"), Some(bearer.as_str()));
    let cookie = format!("a=1; session={token}");
    assert_eq!(scene.status(&[("Cookie", &cookie)]), 200);
    assert_eq!(scene.upstream.last().header("cookie"), Some(cookie.as_str()));
}

#[test]
fn forward_bearer_turns_the_cookie_into_a_header() {
    let scene = scene("forward = \"bearer\"");
    let token = scene.issuer.mint("alice");
    let bearer = format!("Bearer {token}");
    for headers in
        [[("Cookie", format!("a=1; session={token}"))], [("Authorization", bearer.clone())]]
    {
        let headers: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        assert_eq!(scene.status(&headers), 200);
        let received = scene.upstream.last();
        assert_eq!(received.header("authorization"), Some(bearer.as_str()));
        assert!(!received.header("cookie").unwrap_or_default().contains("session"));
    }
}

#[test]
fn a_carrier_of_another_route_is_removed_too() {
    let issuer = Issuer::new("ES256");
    let upstream = Upstream::new();
    let gateway = Setup::simple(&issuer, &upstream)
        .route("/", "credentials = [\"bearer\"]\nforward = \"pass\"")
        .route("/site/", "credentials = [\"cookie:session\"]")
        .start();
    let token = issuer.mint("alice");
    let bearer = format!("Bearer {token}");
    let cookie = format!("a=1; session={token}");
    // `session` carries credentials on another route, so it does not leave on this one.
    assert_eq!(gateway.get("/", &[("Authorization", &bearer), ("Cookie", &cookie)]).status, 200);
    let received = upstream.last();
    assert_eq!(received.header("authorization"), Some(bearer.as_str()));
    assert_eq!(received.header("cookie"), Some("a=1"));
    assert_eq!(
        gateway.get("/site/", &[("Authorization", &bearer), ("Cookie", &cookie)]).status,
        200
    );
    let received = upstream.last();
    assert_eq!((received.header("authorization"), received.header("cookie")), (None, Some("a=1")));
    // Where only the cookie counts, a bearer token is none.
    assert_eq!(gateway.get("/site/", &[("Authorization", &bearer)]).status, 401);
}

#[test]
fn basic_authorization_is_not_ours_and_passes_untouched() {
    let scene = scene("access = \"optional\"");
    assert_eq!(scene.status(&[("Authorization", "Basic YWxpY2U6cw==")]), 200);
    assert_eq!(scene.upstream.last().header("authorization"), Some("Basic YWxpY2U6cw=="));
    let token = scene.issuer.mint("alice");
    let cookie = format!("session={token}");
    assert_eq!(scene.status(&[("Authorization", "Basic YWxpY2U6cw=="), ("Cookie", &cookie)]), 200);
}

#[test]
fn on_public_and_optional_routes_a_bad_bearer_is_refused_and_a_bad_cookie_is_anonymous() {
    for access in ["public", "optional"] {
        let scene =
            scene(&format!("access = \"{access}\"\nidentity = {{ \"X-Auth-Subject\" = \"sub\" }}"));
        let good = scene.issuer.mint("alice");
        let bad = scene.issuer.token("alice").times(-7200, -3600).mint();
        assert_eq!(scene.status(&[]), 200, "{access}");
        assert_eq!(scene.upstream.last().header("x-auth-subject"), None);
        assert_eq!(scene.status(&[("Authorization", &format!("Bearer {good}"))]), 200, "{access}");
        assert_eq!(scene.status(&[("Authorization", &format!("Bearer {bad}"))]), 401, "{access}");
        let cookie = format!("a=1; session={bad}");
        assert_eq!(scene.status(&[("Cookie", &cookie)]), 200, "{access}");
        let received = scene.upstream.last();
        assert_eq!(
            (received.header("cookie"), received.header("x-auth-subject")),
            (Some("a=1"), None)
        );
        // A revoked one is a bad one.
        scene.gateway.admin().revoke(serde_json::json!({"subject": "alice"}));
        assert_eq!(scene.status(&[("Authorization", &format!("Bearer {good}"))]), 401, "{access}");
        assert_eq!(scene.status(&[("Cookie", &format!("session={good}"))]), 200, "{access}");
        assert_eq!(scene.upstream.last().header("x-auth-subject"), None);
    }
}

#[test]
fn a_required_route_with_a_bad_cookie_is_401() {
    let scene = scene("");
    let expired = scene.issuer.token("alice").times(-7200, -3600).mint();
    let answer = scene.gateway.get("/", &[("Cookie", &format!("session={expired}"))]);
    assert_eq!((answer.status, answer.code().as_str()), (401, "token_expired"));
}

#[test]
fn a_second_cookie_hidden_in_the_value_of_another_is_refused() {
    let scene = scene("forward = \"pass\"");
    let (good, other) = (scene.issuer.mint("alice"), scene.issuer.mint("bob"));
    for hidden in [
        format!("session={good}; a=1, session={other}"),
        format!("session={good}; a=1 session={other}"),
        format!("session={good}; a=\"session={other}\""),
        format!("a=1,session={other}"),
    ] {
        assert_eq!(scene.status(&[("Cookie", &hidden)]), 400, "{hidden}");
    }
    assert_eq!(scene.upstream.begun(), 0);
    let plain = format!("a=1, 2; b=/?session=2; session={good}");
    assert_eq!(scene.status(&[("Cookie", &plain)]), 200);
    assert_eq!(scene.upstream.last().header("cookie"), Some(plain.as_str()));
}
