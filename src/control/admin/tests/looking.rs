//! People and status.

use std::time::Duration;

use serde_json::json;

use super::bed::{Ask, Bed, PARTNER, seen_at};
use crate::clock::UnixMs;

#[tokio::test]
async fn people_are_found_by_any_name_last_seen_first() {
    let bed = Bed::start().await;
    bed.sight(&bed.token(json!({})));
    bed.sight(&bed.token(json!({"jti": "t-2", "sid": "s-9"})));
    let bob =
        bed.sight(&bed.token(json!({"sub": "bob", "jti": "t-3", "email": "Bob@Example.com"})));
    seen_at(&bob, UnixMs::now().plus(Duration::from_secs(60)));
    let found = async |query: &str| {
        let body = bed.send(Ask::get(&format!("/v1/people?{query}"))).await.body;
        let items = body["items"].as_array().unwrap_or_else(|| panic!("{body}"));
        items.iter().map(|item| item["subject"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(found("q=ALI").await, ["alice"]);
    assert_eq!(found("q=bob@example").await, ["bob"]);
    assert_eq!(found("q=s-9").await, ["alice"]);
    assert_eq!(found("q=example.com").await, ["bob", "alice"]);
    assert_eq!(found("").await, ["bob", "alice"]);
    assert_eq!(found("limit=1").await, ["bob"]);
    assert!(found("q=nobody").await.is_empty());
    let alice = bed.get("/v1/people?q=alice").await.body;
    let alice = &alice["items"][0];
    assert_eq!(alice["tokens"], 2);
    assert_eq!(alice["sessions"], json!(["s-1", "s-9"]));
    assert_eq!((&alice["address"], &alice["issuer"]), (&json!("203.0.113.7"), &json!("main")));
    assert_eq!(bed.get("/v1/people?who=x").await.code(), "invalid_query");
}

#[tokio::test]
async fn the_same_subject_of_another_issuer_is_another_person() {
    let bed = Bed::start().await;
    bed.sight(&bed.token(json!({})));
    bed.sight(&bed.token(json!({"iss": PARTNER})));
    assert_eq!(bed.get("/v1/people?q=alice").await.body["items"].as_array().unwrap().len(), 2);
    let dry = json!({"issuer": "main", "user": "alice", "dry_run": true});
    assert_eq!(bed.post("/v1/block", dry).await.body["would"]["tokens_seen"], 1);
}

#[tokio::test]
async fn with_people_off_nobody_is_remembered_and_nothing_is_claimed() {
    let bed = Bed::with(100, false).await;
    bed.sight(&bed.token(json!({})));
    let people = bed.get("/v1/people").await.body;
    assert_eq!((&people["people"], &people["items"]), (&json!("off"), &json!([])));
    let made = bed.post("/v1/block", json!({"issuer": "main", "user": "nobody"})).await;
    assert!(made.body["outcome"].get("tokens_seen").is_none());
    assert_eq!(made.warnings(), [""; 0]);
}

#[tokio::test]
async fn one_person_is_bounded_and_a_token_seen_twice_is_one() {
    let bed = Bed::start().await;
    for number in 0..40 {
        bed.sight(&bed.token(json!({"jti": format!("t-{}", number / 2)})));
    }
    let body = bed.get("/v1/people?q=alice").await.body;
    assert_eq!(body["items"][0]["tokens"], 16);
}

#[tokio::test]
async fn status_begins_with_a_verdict_and_tells_what_cannot_be_revoked_finely() {
    let bed = Bed::start().await;
    let status = bed.get("/v1/status").await.body;
    assert_eq!((&status["verdict"], &status["problems"]), (&json!("ok"), &json!([])));
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(status["denials"], json!({"in_force": 0, "limit": 1000, "folded": 0}));
    assert_eq!(status["issuers"][0]["keys"], 1);
    assert!(status["issuers"][0].get("unrevocable").is_none());
    bed.sight(&bed.token(json!({})));
    bed.sight(&bed.token(json!({"jti": null, "sid": null})));
    let everyone = json!({"issuer": "main", "everyone": true});
    let id = bed.post("/v1/block", everyone).await.id();
    let status = bed.get("/v1/status").await.body;
    assert_eq!(
        status["issuers"][0]["unrevocable"],
        json!({"no_jti": 0.5, "no_sid": 0.5, "no_iat": 0.0})
    );
    assert_eq!((&status["verdict"], &status["sequence"]), (&json!("degraded"), &json!(1)));
    assert!(status["problems"][0]["detail"].as_str().unwrap().contains(&id));
}
