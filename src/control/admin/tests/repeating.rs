//! `Idempotency-Key` on creates.

use http::StatusCode;
use serde_json::json;

use crate::config::Role;

use super::bed::{Ask, Bed, Reply};

async fn send(bed: &Bed, path: &str, user: &str, key: &str) -> Reply {
    let body = json!({"issuer": "main", "user": user, "reason": "x"});
    bed.send(Ask::post(path, &body).header("idempotency-key", key)).await
}

#[tokio::test]
async fn a_key_gets_the_same_answer_and_another_body_none() {
    let bed = Bed::start().await;
    for path in ["/v1/revoke", "/v1/block"] {
        let first = send(&bed, path, "alice", &format!("key{path}")).await;
        assert_eq!(first.status, StatusCode::CREATED);
        // A revocation that is made anew has another cutoff after a second, so another id.
        let again = send(&bed, path, "alice", &format!("\"key{path}\"")).await;
        assert_eq!((again.status, &again.text), (first.status, &first.text));
        assert_eq!(again.headers["location"], first.headers["location"]);
        let other = send(&bed, path, "bob", &format!("key{path}")).await;
        assert_eq!((other.status.as_u16(), other.code()), (422, "idempotency_key_reused"));
    }
    // The same body on another path is another call.
    let crossed = send(&bed, "/v1/block", "alice", "key/v1/revoke").await;
    assert_eq!(crossed.code(), "idempotency_key_reused");
    assert_eq!(bed.store.count(), 2);
    let without = json!({"issuer": "main", "user": "alice", "reason": "x"});
    let without = bed.post("/v1/block", without).await;
    assert_eq!((without.status, &without.body["already"]), (StatusCode::OK, &json!(true)));
}

#[tokio::test]
async fn a_key_is_its_credentials_own_and_a_refused_call_does_not_use_it_up() {
    let bed = Bed::start().await;
    let ask = |user: serde_json::Value| {
        let body = json!({"issuer": "main", "user": user});
        Ask::post("/v1/block", &body).header("idempotency-key", "k-1")
    };
    assert_eq!(bed.send(ask(json!(""))).await.code(), "invalid_denial");
    let dry = json!({"issuer": "main", "user": "a", "dry_run": true});
    let dry = Ask::post("/v1/block", &dry).header("idempotency-key", "k-1");
    assert_eq!(bed.send(dry).await.status, StatusCode::OK);
    assert_eq!(bed.send(ask(json!("alice"))).await.status, StatusCode::CREATED);
    let other = bed.send(ask(json!("bob")).by("revoker")).await;
    assert_eq!(other.status, StatusCode::CREATED);
    assert_eq!(bed.send(ask(json!("bob"))).await.code(), "idempotency_key_reused");
}

#[tokio::test]
async fn what_is_no_key_is_refused_and_nothing_is_made() {
    let bed = Bed::start().await;
    for key in ["", "\"\"", "a b", "\"", "a\"b", &"x".repeat(256)] {
        let refused = send(&bed, "/v1/block", "alice", key).await;
        assert_eq!(refused.code(), "invalid_idempotency_key", "{key:?}");
    }
    assert_eq!(bed.store.count(), 0);
    let longest = "x".repeat(255);
    assert_eq!(send(&bed, "/v1/block", "alice", &longest).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn whoever_lost_the_right_to_deny_does_not_get_the_answer_of_before_either() {
    let bed = Bed::start().await;
    let ask = |key: &str| {
        let body = json!({"issuer": "main", "user": "alice"});
        Ask::post("/v1/block", &body).header("idempotency-key", key).by("operator")
    };
    assert_eq!(bed.send(ask("k")).await.status, StatusCode::CREATED);
    assert_eq!(bed.send(ask("k")).await.status, StatusCode::CREATED);
    bed.change("operator", Role::Viewer, None);
    assert_eq!(bed.send(ask("k")).await.code(), "role_too_small");
    bed.change("operator", Role::Operator, Some(&["partner"]));
    assert_eq!(bed.send(ask("k")).await.code(), "issuer_not_allowed");
    bed.change("operator", Role::Operator, Some(&["main"]));
    assert_eq!(bed.send(ask("k")).await.status, StatusCode::CREATED);
    let everyone = json!({"issuer": "main", "everyone": true});
    let everyone = || Ask::post("/v1/block", &everyone).header("idempotency-key", "e");
    assert_eq!(bed.send(everyone()).await.status, StatusCode::CREATED);
    bed.change("admin", Role::Operator, None);
    assert_eq!(bed.send(everyone()).await.code(), "role_too_small");
}
