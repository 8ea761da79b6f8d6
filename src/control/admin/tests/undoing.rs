//! All that stands of somebody, taken back at once.

use http::StatusCode;
use serde_json::{Value, json};

use super::bed::{Ask, Bed, PARTNER};

fn ids(value: &Value) -> Vec<&str> {
    value["ids"].as_array().unwrap().iter().map(|id| id.as_str().unwrap()).collect()
}

#[tokio::test]
async fn all_that_stands_of_a_user_is_told_first_and_then_taken_back_with_its_ids() {
    let bed = Bed::start().await;
    let alice = json!({"issuer": "main", "user": "alice"});
    let revoked = bed.post("/v1/revoke", alice.clone()).await.id();
    let blocked = bed.post("/v1/block", alice.clone()).await.id();
    bed.post("/v1/block", json!({"issuer": "main", "user": "bob"})).await;
    bed.post("/v1/block", json!({"issuer": "partner", "user": "alice"})).await;
    let everyone = bed.post("/v1/revoke", json!({"issuer": "main", "everyone": true})).await.id();
    let ask = |more: Value| {
        let mut body = alice.clone();
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let dry = bed.post("/v1/undo", ask(json!({"dry_run": true}))).await;
    assert_eq!((dry.status, &dry.body["dry_run"]), (StatusCode::OK, &json!(true)), "{}", dry.body);
    assert_eq!(ids(&dry.body), [blocked.as_str(), revoked.as_str()]);
    let still = dry.body["warnings"][0]["detail"].as_str().unwrap();
    assert!(still.contains(&everyone) && !still.contains(&blocked), "{still}");
    assert_eq!(bed.store.count(), 5, "a dry run changes nothing");
    let blocks = bed.post("/v1/undo", ask(json!({"condition": "always"}))).await;
    assert_eq!(ids(&blocks.body), [blocked.as_str()]);
    assert!(bed.is_denied(&bed.token(json!({}))));
    let rest = bed.post("/v1/undo", ask(json!({"reason": "false alarm"}))).await;
    assert_eq!(ids(&rest.body), [revoked.as_str()]);
    assert_eq!(rest.body["denials"][0]["undo_reason"], "false alarm");
    assert_eq!(rest.warnings(), ["still_denied"], "by the one of everyone");
    let nothing = bed.post("/v1/undo", ask(json!({}))).await;
    assert_eq!((nothing.status, ids(&nothing.body).len()), (StatusCode::OK, 0));
    assert!(bed.is_denied(&bed.token(json!({"iss": PARTNER}))), "of another issuer");
    bed.post("/v1/undo", json!({"issuer": "main", "everyone": true})).await;
    assert!(!bed.is_denied(&bed.token(json!({}))));
    assert!(bed.is_denied(&bed.token(json!({"sub": "bob", "jti": "t-2"}))));
    let acts = bed.get("/v1/audit?action=undone").await.body;
    assert_eq!(acts["items"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn undo_by_selector_asks_for_the_same_rights_as_undo_by_id() {
    let bed = Bed::start().await;
    bed.post("/v1/block", json!({"issuer": "main", "user": "alice"})).await;
    bed.post("/v1/revoke", json!({"issuer": "main", "everyone": true})).await;
    let ask = |name: &str, body: Value| Ask::post("/v1/undo", &body).by(name);
    let alice = json!({"issuer": "main", "user": "alice"});
    assert_eq!(bed.send(ask("revoker", alice.clone())).await.code(), "role_too_small");
    assert_eq!(bed.send(ask("partner-backend", alice.clone())).await.code(), "issuer_not_allowed");
    let everyone = json!({"issuer": "main", "everyone": true});
    assert_eq!(bed.send(ask("operator", everyone)).await.code(), "role_too_small");
    for (wrong, code) in [
        (json!({"issuer": "main"}), "selector_missing"),
        (json!({"issuer": "main", "user": "a", "session": "b"}), "selector_ambiguous"),
        (json!({"issuer": "main", "user": "a", "condition": "all"}), "unknown_condition"),
        (json!({"issuer": "main", "usr": "a"}), "unknown_member"),
    ] {
        let refused = bed.send(ask("operator", wrong)).await;
        assert_eq!(refused.faults()[0].0, code, "{}", refused.body);
        assert_eq!(refused.faults().len(), 1, "{}", refused.body);
    }
    assert_eq!(bed.store.count(), 2);
    assert_eq!(bed.send(ask("operator", alice)).await.status, StatusCode::OK);
    assert_eq!(bed.store.count(), 1);
}

#[tokio::test]
async fn a_bound_credential_learns_nothing_of_what_it_may_not_see() {
    let bed = Bed::start().await;
    for number in 0..5 {
        let user = format!("u{number}");
        bed.post("/v1/block", json!({"issuer": "main", "user": user})).await;
    }
    let own = bed.post("/v1/block", json!({"issuer": "partner", "user": "pat"})).await.id();
    bed.post("/v1/registrations", json!({"issuer": "partner", "session": "s"})).await;
    let bound = |path: &str| Ask::get(path).by("partner-backend");
    let listed = bed.send(bound("/v1/denials")).await;
    assert_eq!(listed.body["in_force"], 1, "{}", listed.body);
    assert_eq!(bed.get("/v1/denials").await.body["in_force"], 6);
    // All ids of these days begin alike: what it may not see makes none of them ambiguous.
    let begin = &own[..4];
    let found = bed.send(bound(&format!("/v1/denials/{begin}"))).await;
    assert_eq!((found.status, found.id()), (StatusCode::OK, own.clone()));
    assert_eq!(bed.get(&format!("/v1/denials/{begin}")).await.code(), "ambiguous_id");
    let registrations = bed.send(bound("/v1/registrations")).await.body;
    assert!(registrations.get("in_force").is_none(), "{registrations}");
    let one = bed.send(bound(&format!("/v1/registrations/{begin}"))).await;
    assert_eq!(one.body["session"], "s", "denials do not count as registrations");
}

#[tokio::test]
async fn a_denial_by_its_id_says_what_was_done_with_it() {
    let bed = Bed::start().await;
    let body = json!({"issuer": "main", "user": "alice", "reason": "lost laptop"});
    let id = bed.post("/v1/block", body).await.id();
    let path = format!("/v1/denials/{id}");
    let history = |body: &Value| -> Vec<String> {
        let steps = body["history"].as_array().unwrap().iter();
        steps
            .map(|step| {
                let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
                let by = text(&step["by"]["name"]);
                format!("{by} {} {}", text(&step["action"]), text(&step["reason"]))
            })
            .collect()
    };
    assert_eq!(history(&bed.get(&path).await.body), ["admin denied lost laptop"]);
    let undo = Ask::post(&format!("{path}/undo"), &json!({"reason": "found"})).by("operator");
    bed.send(undo).await;
    assert_eq!(
        history(&bed.get(&path).await.body),
        ["admin denied lost laptop", "operator undone found"]
    );
}
