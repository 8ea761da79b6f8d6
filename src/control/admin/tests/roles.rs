//! Who may do what.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::bed::{Ask, Bed};

#[tokio::test]
async fn each_role_may_do_what_it_is_for_and_nothing_beyond() {
    let bed = Bed::start().await;
    let token = bed.token(json!({}));
    let post = |path: &str, body: Value| Ask::post(path, &body);
    // What is asked, and the roles that may not: those before the first that may.
    for (asked, first) in [
        ("list", 0),
        ("get", 0),
        ("people", 0),
        ("status", 0),
        ("revoke", 1),
        ("block", 1),
        ("dry_run", 1),
        ("dry_run of everyone", 1),
        ("undo", 2),
        ("delete", 2),
        ("explain", 2),
        ("everyone", 3),
        ("undo everyone", 3),
    ] {
        for (number, role) in ["viewer", "revoker", "operator", "admin"].iter().enumerate() {
            let user = json!({"issuer": "main", "user": format!("{asked}-{role}")});
            let id = bed.post("/v1/block", user.clone()).await.id();
            let everyone = json!({"issuer": "main", "everyone": true, "always": true});
            let ask = match asked {
                "list" => Ask::get("/v1/denials"),
                "get" => Ask::get(&format!("/v1/denials/{id}")),
                "people" => Ask::get("/v1/people"),
                "status" => Ask::get("/v1/status"),
                "revoke" => post("/v1/revoke", user),
                "block" => post("/v1/block", user),
                "dry_run" => {
                    post("/v1/block", json!({"issuer": "main", "user": "x", "dry_run": true}))
                }
                "dry_run of everyone" => {
                    post("/v1/block", json!({"issuer": "main", "everyone": true, "dry_run": true}))
                }
                "undo" => post(&format!("/v1/denials/{id}/undo"), json!({})),
                "delete" => Ask::new(Method::DELETE, &format!("/v1/denials/{id}")),
                "explain" => post("/v1/explain", json!({"token": token})),
                "everyone" => post("/v1/denials", everyone),
                _ => {
                    let id = bed.post("/v1/denials", everyone).await.id();
                    post(&format!("/v1/denials/{id}/undo"), json!({}))
                }
            };
            let answer = bed.send(ask.by(role)).await;
            if number < first {
                assert_eq!(answer.code(), "role_too_small", "{role} {asked}");
                assert_eq!(answer.status, StatusCode::FORBIDDEN);
            } else {
                assert!(answer.status.is_success(), "{role} {asked}: {}", answer.body);
            }
        }
    }
    let refused = bed.send(Ask::get("/v1/status").without("authorization")).await;
    assert_eq!((refused.status, refused.code()), (StatusCode::UNAUTHORIZED, "admin_token_missing"));
    assert_eq!(refused.headers["www-authenticate"], "Bearer realm=\"portcullis admin\"");
}

#[tokio::test]
async fn a_credential_bound_to_an_issuer_neither_acts_on_nor_sees_another() {
    let bed = Bed::start().await;
    bed.sight(&bed.token(json!({})));
    bed.sight(&bed.token(json!({"iss": super::bed::PARTNER, "sub": "pat", "jti": "p-1"})));
    let main = bed.post("/v1/block", json!({"issuer": "main", "user": "alice"})).await.id();
    let partner = bed.post("/v1/block", json!({"issuer": "partner", "user": "alice"})).await.id();
    let by = |ask: Ask| bed.send(ask.by("partner-backend"));

    let body = |issuer: &str| json!({"issuer": issuer, "user": "bob"});
    assert_eq!(by(Ask::post("/v1/block", &body("main"))).await.code(), "issuer_not_allowed");
    assert_eq!(by(Ask::post("/v1/block", &body("partner"))).await.status, StatusCode::CREATED);
    let token = bed.token(json!({}));
    let shown = by(Ask::post("/v1/revoke", &json!({"token": token}))).await;
    assert_eq!(shown.code(), "issuer_not_allowed");
    let shown = by(Ask::post("/v1/explain", &json!({"token": token}))).await;
    assert_eq!(shown.code(), "issuer_not_allowed");

    let listed = by(Ask::get("/v1/denials?state=all")).await;
    let issuers: Vec<&Value> =
        listed.body["items"].as_array().unwrap().iter().map(|item| &item["issuer"]).collect();
    assert_eq!(issuers, ["partner", "partner"]);
    for list in ["denials?", "registrations?", "audit?", "streams?", "sessions?user=alice&"] {
        let asked = by(Ask::get(&format!("/v1/{list}issuer=main"))).await;
        assert_eq!(asked.code(), "issuer_not_allowed", "{list}");
        assert!(by(Ask::get(&format!("/v1/{list}issuer=partner"))).await.status.is_success());
    }
    // Nor are others' names suggested to it.
    for (wrong, meant) in [("mai", "main"), ("https%3A%2F%2Fid.example.com", super::bed::MAIN)] {
        let ask = || Ask::get(&format!("/v1/denials?issuer={wrong}"));
        let told = bed.send(ask()).await.body["errors"][0]["detail"].to_string();
        assert!(told.contains(&format!("Did you mean {meant}?")), "{told}");
        let told = by(ask()).await.body.to_string();
        assert!(!told.contains("Did you mean"), "{told}");
    }
    assert_eq!(by(Ask::get(&format!("/v1/denials/{main}"))).await.code(), "no_such_denial");
    assert!(by(Ask::get(&format!("/v1/denials/{partner}"))).await.status.is_success());
    let undo = |id: &str| Ask::post(&format!("/v1/denials/{id}/undo"), &json!({}));
    assert_eq!(by(undo(&main)).await.code(), "no_such_denial");
    assert!(by(undo(&partner)).await.status.is_success());

    let people = by(Ask::get("/v1/people")).await;
    assert_eq!(people.body["items"].as_array().unwrap().len(), 1);
    assert_eq!(people.body["items"][0]["subject"], "pat");
    let status = by(Ask::get("/v1/status")).await;
    assert_eq!(status.body["issuers"].as_array().unwrap().len(), 1);
    assert!(
        by(Ask::post("/v1/block", &json!({"user": "x"})))
            .await
            .body
            .to_string()
            .contains("say which: partner.")
    );
}

#[tokio::test]
async fn wrong_credentials_are_slowed_per_address_and_right_ones_are_not() {
    let bed = Bed::start().await;
    let guess = || Ask::get("/v1/status").header("authorization", "Bearer guess");
    let first = bed.send(guess()).await;
    assert_eq!((first.status, first.code()), (StatusCode::UNAUTHORIZED, "admin_token_wrong"));
    assert!(first.headers["www-authenticate"].to_str().unwrap().contains("invalid_token"));
    let mut slowed = None;
    for _ in 0..12 {
        slowed = Some(bed.send(guess()).await);
    }
    let slowed = slowed.unwrap();
    assert_eq!(
        (slowed.status, slowed.code()),
        (StatusCode::TOO_MANY_REQUESTS, "too_many_failures")
    );
    assert!(slowed.headers["retry-after"].to_str().unwrap().parse::<u64>().unwrap() >= 1);
    assert!(bed.get("/v1/status").await.status.is_success());
}
