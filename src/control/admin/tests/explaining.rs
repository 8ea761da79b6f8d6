//! Why a token would pass or fail.

use http::StatusCode;
use serde_json::{Value, json};

use super::bed::{Bed, MAIN, refusal, seen_at};
use crate::clock::UnixMs;

fn check<'b>(body: &'b Value, name: &str) -> &'b Value {
    let checks = body["checks"].as_array().unwrap();
    checks.iter().find(|check| check["check"] == name).unwrap_or_else(|| panic!("{name}: {body}"))
}

#[tokio::test]
async fn a_good_token_passes_and_every_check_is_there() {
    let bed = Bed::start().await;
    let token = bed.token(json!({"scope": "read profile"}));
    let url = "https://app.example.com/api/orders";
    let answer = bed.post("/v1/explain", json!({"token": token, "url": url})).await;
    assert_eq!(answer.status, StatusCode::OK);
    let body = &answer.body;
    assert_eq!(
        (&body["pass"], &body["status"], &body["code"]),
        (&json!(true), &json!(200), &json!("ok"))
    );
    assert_eq!(body["route"]["path"], "/api/");
    for name in
        ["route", "form", "issuer", "key", "signature", "audience", "times", "denylist", "scopes"]
    {
        assert_eq!(check(body, name)["result"], "ok", "{name}");
    }
    assert!(check(body, "times")["expires_at"].is_string());
    assert!(body.get("would_pass_with").is_none());
    assert!(!body.to_string().contains(&token), "no token in an answer");
}

#[tokio::test]
async fn all_failures_show_with_the_denials_and_what_would_pass() {
    let bed = Bed::start().await;
    let token = bed.token(json!({}));
    let revoked = bed.post("/v1/revoke", json!({"issuer": "main", "user": "alice"})).await;
    bed.post("/v1/block", json!({"issuer": "main", "user": "bob"})).await;
    let ask = json!({"token": token, "url": "/api/x"});
    let body = bed.post("/v1/explain", ask.clone()).await.body;
    assert_eq!(
        (&body["pass"], &body["status"], &body["code"]),
        (&json!(false), &json!(401), &json!("token_revoked"))
    );
    let denylist = check(&body, "denylist");
    assert_eq!(
        (&denylist["result"], &denylist["denials"]),
        (&json!("fail"), &json!([revoked.id()]))
    );
    let scopes = check(&body, "scopes");
    assert_eq!(
        (&scopes["result"], &scopes["needs"], &scopes["has"]),
        (&json!("fail"), &json!(["read"]), &json!(["profile"]))
    );
    assert_eq!(scopes["detail"], "needs read; token has: profile");
    let cutoff = revoked.body["issued_before"].as_str().unwrap();
    let hint = format!("a token that is issued at {cutoff} or later and has scope read");
    assert_eq!(body["would_pass_with"], hint);

    let blocked = bed.post("/v1/block", json!({"issuer": "main", "user": "alice"})).await.id();
    let body = bed.post("/v1/explain", ask).await.body;
    assert!(body["would_pass_with"].as_str().unwrap().contains(&format!("an undo of {blocked}")));
}

#[tokio::test]
async fn denials_that_do_not_match_are_not_named() {
    let bed = Bed::start().await;
    let token = bed.token(json!({}));
    for body in [
        json!({"issuer": "main", "user": "alice", "issued_before": 0}),
        json!({"issuer": "main", "user": "alice", "version_below": 3}),
        json!({"issuer": "main", "user": "alice", "issued_before": "now", "except": {"jti": "t-1"}}),
        json!({"issuer": "partner", "user": "alice", "always": true}),
        json!({"issuer": "main", "session": "s-2", "always": true}),
    ] {
        assert!(bed.post("/v1/denials", body).await.status.is_success());
    }
    let answer = bed.post("/v1/explain", json!({"token": token})).await.body;
    assert_eq!(check(&answer, "denylist")["result"], "ok", "{answer}");
    assert_eq!(check(&answer, "route")["result"], "skipped");
    assert_eq!(answer["pass"], true);
    for (name, value) in [
        ("jti", json!("t-1")),
        ("session", json!("s-1")),
        ("client", json!("app")),
        ("key", json!("2026-11")),
        ("claim", json!({"name": "tenant", "value": "acme"})),
        ("everyone", json!(true)),
    ] {
        let made = bed.post("/v1/block", json!({"issuer": "main", name: value})).await;
        let answer = bed.post("/v1/explain", json!({"token": token})).await.body;
        assert_eq!(check(&answer, "denylist")["denials"], json!([made.id()]), "{name}");
        bed.post(&format!("/v1/denials/{}/undo", made.id()), json!({})).await;
    }
}

#[tokio::test]
async fn bad_tokens_get_the_code_that_the_gateway_answers() {
    let bed = Bed::start().await;
    let old = UnixMs::now().secs() - 7_200;
    let stranger = crate::keys::SigningKey::generate(crate::keys::Algorithm::ES256).unwrap();
    let now = UnixMs::now().secs();
    let forged = stranger
        .with_kid("2026-11")
        .sign(&json!({"iss": MAIN, "aud": "api", "sub": "alice", "iat": now, "exp": now + 60}))
        .unwrap();
    for (token, code, failed) in [
        (bed.token(json!({"iat": old, "exp": old + 60})), "token_expired", "times"),
        (bed.token(json!({"aud": "other"})), "token_invalid", "audience"),
        (bed.token(json!({"iss": "https://other.example/"})), "token_invalid", "issuer"),
        (forged, "token_invalid", "signature"),
        ("garbage".to_owned(), "token_invalid", "form"),
    ] {
        let body = bed.post("/v1/explain", json!({"token": token})).await.body;
        assert_eq!((&body["pass"], &body["code"]), (&json!(false), &json!(code)), "{failed}");
        assert_eq!(check(&body, failed)["result"], "fail");
        assert_eq!(body["status"], 401);
    }
    let body =
        bed.post("/v1/explain", json!({"token": bed.token(json!({})), "url": "/x"})).await.body;
    assert_eq!((&body["status"], &body["code"]), (&json!(404), &json!("no_route")));
}

#[tokio::test]
async fn a_refused_request_is_explained_by_its_id() {
    let bed = Bed::start().await;
    let signed = bed.sight(&bed.token(json!({})));
    let id = bed.post("/v1/block", json!({"issuer": "main", "user": "alice"})).await.id();
    let mut refused = refusal("req-1", Some(std::sync::Arc::clone(&signed)), "token_revoked");
    refused.hit = bed.denylist.check(signed.marks());
    bed.refusals.add(refused);
    bed.refusals.add(refusal("req-2", None, "token_missing"));
    let body = bed.post("/v1/explain", json!({"request_id": "req-1"})).await.body;
    assert_eq!((&body["pass"], &body["code"]), (&json!(false), &json!("token_revoked")));
    assert_eq!(check(&body, "denylist")["denials"], json!([id]));
    assert_eq!(
        (&body["request_id"], &body["request"]["path"]),
        (&json!("req-1"), &json!("/api/orders"))
    );
    assert!(body["at"].is_string());
    assert_eq!(check(&body, "scopes")["result"], "fail", "the route is asked too");
    // The denial shows that it works.
    assert!(bed.get(&format!("/v1/denials/{id}")).await.body["last_hit_at"].is_string());

    bed.post(&format!("/v1/denials/{id}/undo"), json!({})).await;
    let body = bed.post("/v1/explain", json!({"request_id": "req-1"})).await.body;
    assert_eq!(check(&body, "denylist")["result"], "ok", "now it would not be");
    assert_eq!(body["request"]["code"], "token_revoked", "but then it was");

    let body = bed.post("/v1/explain", json!({"request_id": "req-2"})).await.body;
    assert_eq!((&body["pass"], &body["code"]), (&json!(false), &json!("token_missing")));
    let none = bed.post("/v1/explain", json!({"request_id": "req-3"})).await;
    assert_eq!((none.status, none.code()), (StatusCode::NOT_FOUND, "no_such_request"));
}

#[tokio::test]
async fn explain_takes_exactly_one_question_and_counts_nobody_as_seen() {
    let bed = Bed::start().await;
    let token = bed.token(json!({}));
    for bad in [
        json!({}),
        json!({"token": token, "request_id": "x"}),
        json!({"token": 1}),
        json!({"token": token, "method": "G E T"}),
        json!({"token": token, "uri": "/"}),
    ] {
        assert_eq!(bed.post("/v1/explain", bad).await.code(), "invalid_body");
    }
    let signed = bed.sight(&token);
    let long_ago = UnixMs::now().minus(std::time::Duration::from_secs(3_000));
    seen_at(&signed, long_ago);
    assert!(bed.post("/v1/explain", json!({"token": token})).await.status.is_success());
    assert_eq!(signed.last_seen.load(std::sync::atomic::Ordering::Relaxed), long_ago.0);
}
