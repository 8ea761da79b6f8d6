//! Lists, ids and undo.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::bed::{Ask, Bed};

fn subjects(body: &Value) -> Vec<String> {
    let items = body["items"].as_array().unwrap();
    items.iter().map(|item| item["subject"].as_str().unwrap_or("-").to_owned()).collect()
}

async fn block(bed: &Bed, user: &str) -> String {
    bed.post("/v1/block", json!({"issuer": "main", "user": user})).await.id()
}

#[tokio::test]
async fn pages_are_newest_first_and_stable_while_others_write() {
    let bed = Bed::start().await;
    for number in 0..5 {
        block(&bed, &format!("u{number}")).await;
    }
    let first = bed.get("/v1/denials?limit=2").await.body;
    assert_eq!(subjects(&first), ["u4", "u3"]);
    assert_eq!(first["in_force"], 5);
    block(&bed, "late").await;
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = bed.get(&format!("/v1/denials?limit=2&cursor={cursor}")).await.body;
    assert_eq!(subjects(&second), ["u2", "u1"]);
    let cursor = second["next_cursor"].as_str().unwrap();
    let third = bed.get(&format!("/v1/denials?cursor={cursor}&limit=2")).await.body;
    assert_eq!(subjects(&third), ["u0"]);
    assert!(third.get("next_cursor").is_none(), "the end is the absence of a cursor");
    for bad in ["x", "AAAA", "%00", ""] {
        let refused = bed.get(&format!("/v1/denials?cursor={bad}")).await;
        assert_eq!(refused.code(), "invalid_cursor", "{bad}");
    }
    let other = bed.get(&format!("/v1/denials?reason=x&cursor={cursor}")).await;
    assert_eq!(other.code(), "invalid_cursor", "a cursor fits only its own list");
}

#[tokio::test]
async fn a_bound_credential_pages_through_its_own_records_only() {
    let bed = Bed::start().await;
    for number in 0..6 {
        let issuer = if number % 2 == 0 { "main" } else { "partner" };
        bed.post("/v1/block", json!({"issuer": issuer, "user": format!("u{number}")})).await;
    }
    let mut seen = Vec::new();
    let mut cursor = String::new();
    for _ in 0..6 {
        let path = format!("/v1/denials?limit=1{cursor}");
        let page = bed.send(Ask::get(&path).by("partner-backend")).await.body;
        seen.extend(subjects(&page));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, ["u5", "u3", "u1"]);
}

#[tokio::test]
async fn each_filter_keeps_what_it_names_and_drops_the_neighbour() {
    let bed = Bed::start().await;
    for body in [
        json!({"issuer": "main", "user": "alice", "reason": "Lost Laptop", "reference": "INC-1"}),
        json!({"issuer": "partner", "user": "alice"}),
        json!({"issuer": "main", "user": "bob", "reason": "fraud"}),
        json!({"issuer": "main", "session": "s-1"}),
        json!({"issuer": "main", "jti": "t-1"}),
        json!({"issuer": "main", "client": "app"}),
        json!({"issuer": "main", "key": "2026-11"}),
        json!({"issuer": "main", "claim": {"name": "tenant", "value": "a=b"}}),
    ] {
        assert!(bed.post("/v1/block", body).await.status.is_success());
    }
    let body = json!({"issuer": "main", "user": "carol"});
    bed.send(Ask::post("/v1/block", &body).by("revoker")).await;
    for (query, count) in [
        ("", 9),
        ("user=alice", 2),
        ("subject=alice&issuer=main", 1),
        ("issuer=partner", 1),
        ("issuer=https%3A%2F%2Fpartner.example.com%2F", 1),
        ("issuer=https%3A%2F%2Fhas.left.example.com%2F", 0),
        ("issuer=https%3A%2F%2Fpartner1.example.com%2F", 0),
        ("session=s-1", 1),
        ("session=s-2", 0),
        ("jti=t-1", 1),
        ("client=app", 1),
        ("key=2026-11", 1),
        ("claim=tenant%3Da%3Db", 1),
        ("claim=tenant%3Da", 0),
        ("kind=subject", 4),
        ("reason=laptop", 1),
        ("reference=INC-1", 1),
        ("reference=INC", 0),
        ("created_by=revoker", 1),
        ("since=2020-01-01T00%3A00%3A00Z", 9),
        ("since=1577836800", 9),
        ("since=4102444800", 0),
        ("state=all", 9),
        ("state=undone", 0),
    ] {
        let listed = bed.get(&format!("/v1/denials?{query}")).await;
        let items = listed.body["items"].as_array().unwrap_or_else(|| panic!("{}", listed.body));
        assert_eq!(items.len(), count, "{query}");
    }
    for (query, code) in [
        ("usr=alice", "unknown_parameter"),
        ("user=a&user=b", "duplicate_parameter"),
        ("user=a&session=b", "selector_ambiguous"),
        ("limit=0", "wrong_type"),
        ("limit=x", "wrong_type"),
        ("state=gone", "unknown_state"),
        ("kind=person", "unknown_kind"),
        ("since=1795259641000", "looks_like_milliseconds"),
        ("issuer=mian", "unknown_issuer"),
        ("issuer=nobody", "unknown_issuer"),
        ("issuer=https%3A%2F%2Fpartner.example.com", "unknown_issuer"),
        ("claim=tenat%3Dacme", "claim_not_indexed"),
        ("claim=colour%3Dred", "claim_not_indexed"),
        ("claim=tenant", "wrong_type"),
        ("key=nobody", "unknown_key"),
        ("user=", "empty"),
    ] {
        let refused = bed.get(&format!("/v1/denials?{query}")).await;
        assert_eq!(refused.code(), "invalid_query", "{query}");
        assert_eq!(refused.faults()[0].0, code, "{query}");
    }
}

#[tokio::test]
async fn a_denial_is_found_by_its_id_and_by_any_unique_prefix() {
    let bed = Bed::start().await;
    let first = block(&bed, "alice").await;
    let second = block(&bed, "bob").await;
    let common =
        first.chars().zip(second.chars()).take_while(|(left, right)| left == right).count();
    for id in [&first[..], &first[..=common], &first[3..=common], &first.to_uppercase()] {
        let found = bed.get(&format!("/v1/denials/{id}")).await;
        assert_eq!(found.body["subject"], "alice", "{id}: {}", found.body);
    }
    let both = bed.get(&format!("/v1/denials/{}", &first[..common])).await;
    assert_eq!((both.status, both.code()), (StatusCode::CONFLICT, "ambiguous_id"));
    for none in ["dn_0000000000000000", "dn_", "u", "dn_%2e%2e", "%ff", &"a".repeat(500)] {
        let missing = bed.get(&format!("/v1/denials/{none}")).await;
        assert_eq!(missing.status, StatusCode::NOT_FOUND, "{none}");
    }
}

#[tokio::test]
async fn undo_lets_the_token_pass_again_and_repeating_it_answers_the_same() {
    let bed = Bed::start().await;
    let token = bed.token(json!({}));
    let id = block(&bed, "alice").await;
    assert!(bed.is_denied(&token));
    let ask = || Ask::post(&format!("/v1/denials/{id}/undo"), &json!({"reason": "false alarm"}));
    let undone = bed.send(ask().by("operator")).await;
    assert_eq!(undone.status, StatusCode::OK);
    assert!(!bed.is_denied(&token));
    assert_eq!(undone.body["state"], "undone");
    assert_eq!(undone.body["undo_reason"], "false alarm");
    assert_eq!(undone.body["undone_by"]["name"], "operator");
    assert!(undone.body["undone_at"].is_string());
    assert_eq!(undone.warnings(), [""; 0]);
    let again = bed.send(ask()).await;
    assert_eq!((again.status, &again.body), (StatusCode::OK, &undone.body));
    assert_eq!(bed.get("/v1/denials").await.body["items"], json!([]));
    assert_eq!(bed.get("/v1/denials?state=undone").await.body["items"][0]["id"], id);
    assert_eq!(bed.get(&format!("/v1/denials/{id}")).await.body["state"], "undone");
    let wrong = bed.post(&format!("/v1/denials/{id}/undo"), json!({"resaon": "x"})).await;
    assert_eq!((wrong.code(), wrong.faults()[0]), ("invalid_body", ("unknown_member", "/resaon")));
}

#[tokio::test]
async fn undo_says_what_still_denies_the_same_tokens() {
    let bed = Bed::start().await;
    let token = bed.token(json!({}));
    let revoked = bed.post("/v1/revoke", json!({"issuer": "main", "user": "alice"})).await.id();
    let blocked = block(&bed, "alice").await;
    let delete = |id: &str| Ask::new(Method::DELETE, &format!("/v1/denials/{id}"));
    let first = bed.send(delete(&blocked)).await;
    assert_eq!(first.warnings(), ["still_denied"]);
    assert!(first.body["warnings"][0]["detail"].as_str().unwrap().contains(&revoked));
    assert!(first.body.get("undo_reason").is_none());
    assert!(bed.is_denied(&token));
    let second = bed.send(delete(&revoked)).await;
    assert_eq!(second.warnings(), [""; 0]);
    assert!(!bed.is_denied(&token));
}
