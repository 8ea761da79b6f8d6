//! Export and import.

use http::StatusCode;
use serde_json::{Value, json};

use super::bed::{Ask, Bed};

const EXPORT: &str = "/v1/denials/export";
const IMPORT: &str = "/v1/denials/import";

async fn filled() -> Bed {
    let bed = Bed::start().await;
    for body in [
        json!({"issuer": "main", "subject": "alice", "issued_before": "now",
               "except": {"session": "s-9"}, "reason": "lost \"laptop\"", "reference": "INC-1"}),
        json!({"issuer": "main", "user": "bob", "always": true, "for": "24h"}),
        json!({"issuer": "main", "key": "2026-11", "version_below": 2}),
        json!({"issuer": "partner", "claim": {"name": "tenant", "value": "acme"}, "always": true}),
        json!({"token": bed.token(json!({"jti": null, "sub": "carol"}))}),
    ] {
        let made = bed.post("/v1/denials", body).await;
        assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    }
    let lifted = bed.post("/v1/block", json!({"issuer": "main", "user": "dave"})).await.id();
    bed.post(&format!("/v1/denials/{lifted}/undo"), json!({"reason": "wrong dave"})).await;
    bed
}

fn lines(text: &[u8]) -> Vec<String> {
    String::from_utf8(text.to_vec()).unwrap().lines().map(str::to_owned).collect()
}

async fn import(bed: &Bed, text: &str) -> Value {
    let answer = bed.send(Ask::lines(IMPORT, text)).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    answer.body
}

fn outcomes(new: u64, known: u64) -> Value {
    json!({"new": new, "known": known, "expired": 0, "conflict": 0})
}

#[tokio::test]
async fn an_export_makes_another_store_the_same_and_comes_any_number_of_times() {
    let from = filled().await;
    let export = from.get(EXPORT).await;
    assert_eq!(export.headers["content-type"], "application/x-ndjson");
    let text = String::from_utf8(export.text.to_vec()).unwrap();
    let parsed = export.lines();
    assert_eq!((&parsed[0]["portcullis_export"], &parsed[0]["sequence"]), (&json!(1), &json!(7)));
    assert_eq!(parsed.last().unwrap(), &json!({"end": {"denials": 6, "lifts": 1}}));

    let to = Bed::start().await;
    // The other gateway has another key: its tokens of the same people.
    let alice = to.token(json!({}));
    let dave = to.token(json!({"sub": "dave", "jti": "d", "sid": "d"}));
    assert!(!to.is_denied(&alice));
    let done = import(&to, &text).await;
    assert_eq!((&done["complete"], &done["failed"]), (&json!(true), &json!(0)));
    assert_eq!((&done["denials"], &done["lifts"]), (&outcomes(6, 0), &outcomes(1, 0)));
    assert!(to.is_denied(&alice) && !to.is_denied(&dave));
    let again = import(&to, &text).await;
    assert_eq!((&again["denials"], &again["lifts"]), (&outcomes(0, 6), &outcomes(0, 1)));
    assert_eq!(to.store.count(), 5);

    // Without the first line, which has a time, the exports are the same.
    assert_eq!(lines(&to.get(EXPORT).await.text)[1..], lines(&export.text)[1..]);
    let all = |bed: Value| -> Vec<Value> {
        let keep =
            ["id", "created_at", "created_by", "undone_by", "undo_reason", "reason", "state"];
        let items = bed["items"].as_array().unwrap().iter();
        items.map(|item| json!(keep.map(|name| item[name].clone()))).collect()
    };
    let path = "/v1/denials?state=all";
    assert_eq!(all(to.get(path).await.body), all(from.get(path).await.body));
}

#[tokio::test]
async fn an_import_merges_in_any_order_and_takes_nothing_away() {
    let from = filled().await;
    let mut text = lines(&from.get(EXPORT).await.text);
    let to = Bed::start().await;
    let own = to.post("/v1/block", json!({"issuer": "main", "user": "own"})).await.id();
    // Tombstones before their records.
    text[1..].reverse();
    let end = text.remove(1);
    text.push(end);
    let done = import(&to, &text.join("\n")).await;
    assert_eq!((&done["complete"], &done["denials"]), (&json!(true), &outcomes(6, 0)));
    assert_eq!(to.store.count(), 6);
    assert!(!to.is_denied(&to.token(json!({"sub": "dave", "jti": "d", "sid": "d"}))));
    assert_eq!(to.get(&format!("/v1/denials/{own}")).await.body["state"], "in_force");
}

#[tokio::test]
async fn a_wrong_line_fails_alone_and_a_file_that_was_cut_off_is_told() {
    let from = filled().await;
    let text = lines(&from.get(EXPORT).await.text);
    let to = Bed::start().await;
    let mut changed: Value = serde_json::from_str(&text[1]).unwrap();
    changed["denial"]["reason"] = json!("another");
    let mut future: Value = serde_json::from_str(&text[1]).unwrap();
    future["denial"]["id"] = json!("dn_0000000000000001");
    future["denial"]["condition"]["issued_before"] = json!("2999-01-01T00:00:00Z");
    let mut stranger: Value = serde_json::from_str(&text[2]).unwrap();
    stranger["denial"]["sudo"] = json!(true);
    let sent = [
        text[0].clone(),
        text[1].clone(),
        changed.to_string(),
        future.to_string(),
        stranger.to_string(),
        "{".to_owned(),
        "x".repeat(70_000),
        text[2].clone(),
    ];
    let done = import(&to, &sent.join("\n")).await;
    assert_eq!(done["complete"], false);
    assert_eq!(done["denials"], json!({"new": 2, "known": 0, "expired": 0, "conflict": 1}));
    let faults: Vec<(u64, &str)> = done["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|fault| (fault["line"].as_u64().unwrap(), fault["code"].as_str().unwrap()))
        .collect();
    let expected = [
        (4, "invalid_record"),
        (5, "invalid_record"),
        (6, "malformed_json"),
        (7, "line_too_large"),
    ];
    assert_eq!((faults.as_slice(), &done["failed"]), (expected.as_slice(), &json!(4)));
    assert_eq!(to.store.count(), 2);
}

#[tokio::test]
async fn what_is_no_export_or_of_another_version_is_refused() {
    let bed = Bed::start().await;
    let header = |version: u64| {
        let at = "2026-11-21T00:00:00Z";
        json!({"portcullis_export": version, "exported_at": at, "sequence": 0}).to_string()
    };
    for (text, code) in [
        ("", "not_an_export"),
        ("{}", "not_an_export"),
        ("{\"issuer\":\"main\",\"user\":\"a\",\"always\":true}", "not_an_export"),
        (header(2).as_str(), "unknown_export_version"),
        (header(0).as_str(), "unknown_export_version"),
    ] {
        let refused = bed.send(Ask::lines(IMPORT, text)).await;
        assert_eq!((refused.status.as_u16(), refused.code()), (422, code), "{text}");
    }
    assert_eq!(import(&bed, &header(1)).await["complete"], false);
    let json = Ask::lines(IMPORT, &header(1)).header("content-type", "application/json");
    assert_eq!(bed.send(json).await.code(), "not_ndjson");
}

#[tokio::test]
async fn only_an_admin_imports_and_a_bound_credential_exports_its_own_issuer() {
    let bed = filled().await;
    let text = String::from_utf8(bed.get(EXPORT).await.text.to_vec()).unwrap();
    for role in ["viewer", "revoker", "operator"] {
        let refused = bed.send(Ask::lines(IMPORT, &text).by(role)).await;
        assert_eq!(refused.code(), "role_too_small", "{role}");
        assert_eq!(bed.send(Ask::get(EXPORT).by(role)).await.lines().len(), text.lines().count());
    }
    let own = bed.send(Ask::get(EXPORT).by("partner-backend")).await.lines();
    assert_eq!(own.len(), 3);
    assert_eq!(own[1]["denial"]["issuer_id"], super::bed::PARTNER);
    assert_eq!(own[2], json!({"end": {"denials": 1, "lifts": 0}}));
}
