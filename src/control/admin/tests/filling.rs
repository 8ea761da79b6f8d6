//! A disk that is full or fails, as callers meet it: what is refused says why, what stood stands,
//! and when the disk is well again the same call is taken.

use http::StatusCode;
use serde_json::json;

use crate::control::store::tests::disk::SimulatedDisk;

use super::bed::{Ask, Bed};

fn lines(from: usize) -> String {
    let line = |n: usize| format!("{{\"issuer\":\"main\",\"user\":\"u{n}\",\"always\":true}}\n");
    (from..from + 500).map(line).collect()
}

#[tokio::test]
async fn a_full_disk_is_507_for_one_and_for_each_line_of_many_and_what_stood_stands() {
    let disk = SimulatedDisk::new();
    let bed = Bed::on(&disk).await;
    let ban = |user: &str| json!({"issuer": "main", "user": user});
    assert_eq!(bed.post("/v1/block", ban("alice")).await.status, StatusCode::CREATED);
    disk.is_full(true);
    let mut taken = 0;
    let refused = loop {
        let answer = bed.send(Ask::lines("/v1/denials/batch", &lines(taken))).await.lines();
        if answer[0]["status"] != 201 {
            break answer;
        }
        taken += 500;
        assert!(taken < 100_000, "the disk is full at some time");
    };
    let (sum, each) = refused.split_last().unwrap();
    assert!(each.iter().all(|line| line["status"] == 507 && line["code"] == "disk_full"));
    assert_eq!((sum["done"].as_bool(), sum["failed"].as_u64()), (Some(true), Some(500)), "{sum}");
    // A single row may find a free page; some of them do not.
    let mut one = bed.post("/v1/block", ban("bob")).await;
    for number in 0..2000 {
        if one.status != StatusCode::CREATED {
            break;
        }
        one = bed.post("/v1/block", ban(&format!("bob-{number}"))).await;
    }
    assert_eq!((one.status, one.code()), (StatusCode::INSUFFICIENT_STORAGE, "disk_full"));
    assert!(one.body["detail"].as_str().unwrap().contains("stays denied"), "{}", one.body);
    let registered = bed.post("/v1/registrations", json!({"issuer": "main", "session": "s"})).await;
    assert_eq!(registered.code(), "disk_full");
    assert!(bed.is_denied(&bed.token(json!({}))));
    let refusals = bed.store.figures().refusals();
    assert!(refusals.iter().any(|(cause, n)| *cause == "no_space" && *n >= 501), "{refusals:?}");
    disk.is_full(false);
    let again = bed.send(Ask::lines("/v1/denials/batch", &lines(taken))).await.lines();
    assert_eq!(again.last().unwrap()["created"], 500, "{:?}", again.last());
    assert_eq!(bed.post("/v1/block", ban("carol")).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn a_disk_that_fails_is_503_and_no_507() {
    let disk = SimulatedDisk::new();
    let bed = Bed::on(&disk).await;
    let ban = json!({"issuer": "main", "user": "alice"});
    disk.is_broken(true);
    let refused = bed.post("/v1/block", ban.clone()).await;
    assert_eq!((refused.status, refused.code()), (StatusCode::SERVICE_UNAVAILABLE, "store_failed"));
    assert!(!bed.is_denied(&bed.token(json!({}))));
    disk.is_broken(false);
    assert_eq!(bed.post("/v1/block", ban).await.status, StatusCode::CREATED);
    assert!(bed.is_denied(&bed.token(json!({}))));
}
