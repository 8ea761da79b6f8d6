//! What an answer to a denial tells beside the record: how long it waited, who was seen, from when
//! on tokens pass, and what could surprise the caller.

use http::StatusCode;
use serde_json::json;

use super::bed::{Ask, Bed};

#[tokio::test]
async fn an_answer_says_how_long_it_waited_and_is_complete_for_whoever_waits_for_all() {
    let bed = Bed::start().await;
    for (number, wait) in [json!("all"), json!(1)].into_iter().enumerate() {
        let body = json!({"issuer": "main", "user": format!("u{number}"), "wait": wait,
                          "wait_timeout": "2s"});
        let made = bed.post("/v1/block", body).await;
        assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
        let replicas = &made.body["outcome"]["replicas"];
        assert_eq!((&replicas["applied"], &replicas["known"]), (&json!(1), &json!(1)));
        assert!(replicas["waited_ms"].is_u64() && made.warnings().is_empty(), "{}", made.body);
    }
    let more = json!({"issuer": "main", "user": "u2", "wait": 3});
    let more = bed.post("/v1/block", more).await;
    assert_eq!((more.status, more.warnings()), (StatusCode::CREATED, vec!["replicas_behind"]));
    for (wrong, code) in [
        (json!({"issuer": "main", "user": "u", "wait": "some"}), "wrong_type"),
        (json!({"issuer": "main", "user": "u", "wait": 0}), "wrong_type"),
        (json!({"issuer": "main", "user": "u", "wait_timeout": "2s"}), "nothing_to_wait_for"),
        (json!({"issuer": "main", "user": "u", "wait": 1, "wait_timeout": 2}), "not_a_duration"),
    ] {
        let refused = bed.post("/v1/block", wrong).await;
        assert_eq!(refused.faults()[0].0, code, "{}", refused.body);
    }
}

#[tokio::test]
async fn new_tokens_pass_from_a_time_only_where_no_block_keeps_them_out() {
    let bed = Bed::start().await;
    let alice = json!({"issuer": "main", "user": "alice"});
    let from = |reply: &super::bed::Reply| reply.body["outcome"].get("tokens_pass_from").cloned();
    assert!(from(&bed.post("/v1/revoke", alice.clone()).await).is_some());
    let block = bed.post("/v1/block", alice.clone()).await.id();
    let revoke =
        |reference: &str| json!({"issuer": "main", "user": "alice", "reference": reference});
    assert_eq!(from(&bed.post("/v1/revoke", revoke("1")).await), None);
    bed.send(Ask::new(http::Method::DELETE, &format!("/v1/denials/{block}"))).await;
    assert!(from(&bed.post("/v1/revoke", revoke("2")).await).is_some());
    bed.post("/v1/block", json!({"issuer": "main", "everyone": true})).await;
    assert_eq!(from(&bed.post("/v1/revoke", revoke("3")).await), None);
}

#[tokio::test]
async fn who_was_seen_is_told_with_when_and_from_where() {
    let bed = Bed::start().await;
    bed.sight(&bed.token(json!({})));
    let made = bed.post("/v1/revoke", json!({"issuer": "main", "user": "alice"})).await;
    let outcome = &made.body["outcome"];
    assert_eq!(
        (&outcome["tokens_seen"], &outcome["last_seen_from"]),
        (&json!(1), &json!("203.0.113.7"))
    );
    assert!(outcome["last_seen_at"].is_string(), "{outcome}");
    let nobody = bed.post("/v1/revoke", json!({"issuer": "main", "user": "zoe"})).await;
    assert!(nobody.body["outcome"].get("last_seen_at").is_none(), "{}", nobody.body);
}

#[tokio::test]
async fn what_tokens_never_carry_is_told_and_what_comes_close() {
    let bed = Bed::start().await;
    bed.sight(&bed.token(json!({"sub": null, "tenant": null})));
    let warn = async |body: serde_json::Value| bed.post("/v1/block", body).await;
    let subject = warn(json!({"issuer": "main", "user": "alice"})).await;
    assert_eq!(subject.warnings(), ["claim_absent"], "{}", subject.body);
    let tenant = json!({"issuer": "main", "claim": {"name": "tenant", "value": "acme"}});
    let absent = warn(tenant).await;
    assert_eq!(absent.warnings(), ["claim_absent"], "{}", absent.body);
    bed.sight(&bed.token(json!({"tenant": "acme-corp", "client_id": "mobile-app", "jti": "t-2"})));
    for (body, close) in [
        (json!({"issuer": "main", "claim": {"name": "tenant", "value": "acme-crop"}}), "acme-corp"),
        (json!({"issuer": "main", "client": "mobile-ap"}), "mobile-app"),
    ] {
        let near = warn(body).await;
        assert_eq!(near.warnings(), ["never_seen"], "{}", near.body);
        assert_eq!(near.body["warnings"][0]["close"], json!([close]));
    }
}

#[tokio::test]
async fn a_session_that_can_come_back_or_that_a_block_of_its_user_covers_is_told() {
    let bed = Bed::start().await;
    bed.sight(&bed.token(json!({})));
    let session = json!({"issuer": "main", "session": "s-1"});
    let revoked = bed.post("/v1/revoke", session.clone()).await;
    assert_eq!(revoked.warnings(), ["refresh_survives"], "{}", revoked.body);
    let user = json!({"issuer": "main", "user": "alice"});
    bed.post("/v1/block", user).await;
    let covered = bed.post("/v1/block", session.clone()).await;
    assert_eq!(covered.warnings(), ["already_covered"], "{}", covered.body);
    let other = bed.post("/v1/block", json!({"issuer": "main", "session": "s-2"})).await;
    assert!(!other.warnings().contains(&"already_covered"), "{}", other.body);
    let token = bed.token(json!({"jti": "t-9"}));
    let token = bed.post("/v1/revoke", json!({"token": token})).await;
    assert_eq!(token.warnings(), ["already_covered"], "{}", token.body);
}

#[tokio::test]
async fn a_dry_run_in_a_batch_says_what_it_would_hit() {
    let bed = Bed::start().await;
    bed.sight(&bed.token(json!({})));
    let line = json!({"issuer": "main", "user": "alice", "always": true, "dry_run": true});
    let lines = bed.send(Ask::lines("/v1/denials/batch", &line.to_string())).await.lines();
    assert_eq!(lines[0]["would"]["tokens_seen"], 1, "{}", lines[0]);
    assert_eq!((&lines[1]["dry_runs"], bed.store.count()), (&json!(1), 0));
}
