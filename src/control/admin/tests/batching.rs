//! Many denials in one call.

use http::StatusCode;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};

use super::bed::{Ask, Bed, credential};

const BATCH: &str = "/v1/denials/batch";

fn text(lines: &[Value]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

#[tokio::test]
async fn each_line_has_its_answer_and_one_fault_stops_nothing() {
    let bed = Bed::start().await;
    let alice = bed.token(json!({}));
    let bob = bed.token(json!({"sub": "bob", "jti": "t-2"}));
    let carol = bed.token(json!({"sub": "carol", "jti": "t-3"}));
    let lines = [
        json!({"issuer": "main", "subject": "alice", "issued_before": "now"}).to_string(),
        json!({"issuer": "main", "subject": "carol", "issued_befor": "now"}).to_string(),
        String::new(),
        "{\"issuer\":".to_owned(),
        json!({"issuer": "mian", "user": "x", "always": true, "reasn": ""}).to_string(),
        format!("{{\"reason\":\"{}\"}}", "x".repeat(70_000)),
        json!({"issuer": "main", "user": "x", "always": true, "dry_run": true}).to_string(),
        json!({"issuer": "main", "user": "bob", "always": true}).to_string(),
    ];
    let sent = Ask::lines(BATCH, &lines.join("\n"));
    let answer = bed.send(sent).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.headers["content-type"], "application/x-ndjson");
    let got = answer.lines();
    let brief: Vec<(u64, u64, &str)> = got[..7]
        .iter()
        .map(|line| {
            let code = line["code"].as_str().unwrap_or_default();
            (line["line"].as_u64().unwrap(), line["status"].as_u64().unwrap(), code)
        })
        .collect();
    assert_eq!(
        brief,
        [
            (1, 201, ""),
            (2, 422, "unknown_member"),
            (4, 400, "malformed_json"),
            (5, 422, "unknown_issuer"),
            (6, 413, "line_too_large"),
            (7, 200, ""),
            (8, 201, ""),
        ]
    );
    assert_eq!(got[1]["pointer"], "/issued_befor");
    assert_eq!(got[1]["detail"], "Did you mean issued_before?");
    assert!(got[1].get("errors").is_none());
    assert_eq!(got[3]["errors"].as_array().unwrap().len(), 2);
    assert_eq!(got[5]["dry_run"], true);
    let sum = json!({"done": true, "lines": 7, "created": 2, "already": 0, "failed": 4,
                     "dry_runs": 1, "durable": true, "sequence": 2});
    assert_eq!(got[7], sum);
    assert!(bed.is_denied(&alice) && bed.is_denied(&bob) && !bed.is_denied(&carol));
    let id = got[6]["id"].as_str().unwrap();
    let record = bed.get(&format!("/v1/denials/{id}")).await.body;
    assert_eq!(
        (&record["subject"], &record["created_by"]["name"]),
        (&json!("bob"), &json!("admin"))
    );

    let again = bed.send(Ask::lines(BATCH, lines.last().unwrap())).await.lines();
    assert_eq!(again[0], json!({"line": 1, "status": 200, "id": id, "already": true}));
    assert_eq!((&again[1]["created"], &again[1]["already"]), (&json!(0), &json!(1)));
    assert_eq!(bed.store.count(), 2);
}

#[tokio::test]
async fn with_stop_on_error_nothing_after_the_first_fault_is_done() {
    let bed = Bed::start().await;
    let line = |user: &str| json!({"issuer": "main", "user": user, "always": true});
    let lines = text(&[line("a"), line("b"), json!({}), line("c"), json!({})]);
    let path = format!("{BATCH}?stop_on_error=true");
    let got = bed.send(Ask::lines(&path, &lines)).await.lines();
    assert_eq!(got.len(), 4);
    assert_eq!((&got[2]["line"], &got[2]["status"]), (&json!(3), &json!(422)));
    assert_eq!((&got[3]["done"], &got[3]["stopped_at"]), (&json!(true), &json!(3)));
    assert_eq!(bed.store.count(), 2);
    let all = bed.send(Ask::lines(&format!("{BATCH}?stop_on_error=false"), &lines)).await.lines();
    assert_eq!((&all[5]["created"], &all[5]["already"]), (&json!(1), &json!(2)));
    assert!(all[5].get("stopped_at").is_none());
}

#[tokio::test]
async fn the_limit_of_the_store_fails_lines_and_what_stands_is_still_answered() {
    let bed = Bed::with(3, true).await;
    let line = |user: &str| json!({"issuer": "main", "user": user, "always": true});
    let lines = text(&[line("a"), line("b"), line("c"), line("d"), line("a")]);
    let got = bed.send(Ask::lines(BATCH, &lines)).await.lines();
    let statuses: Vec<u64> = got[..5].iter().map(|line| line["status"].as_u64().unwrap()).collect();
    assert_eq!(statuses, [201, 201, 201, 507, 200]);
    assert_eq!(got[3]["code"], "denylist_full");
}

#[tokio::test]
async fn the_rules_of_roles_and_issuers_hold_for_each_line() {
    let bed = Bed::start().await;
    let lines = text(&[
        json!({"issuer": "main", "user": "a", "always": true}),
        json!({"issuer": "main", "everyone": true, "always": true}),
        json!({"issuer": "main", "everyone": true, "always": true, "dry_run": true}),
        json!({"issuer": "partner", "user": "a", "always": true}),
    ]);
    let codes = async |name: &str| -> Vec<String> {
        let got = bed.send(Ask::lines(BATCH, &lines).by(name)).await.lines();
        got[..4].iter().map(|line| line["code"].as_str().unwrap_or("-").to_owned()).collect()
    };
    assert_eq!(codes("revoker").await, ["-", "role_too_small", "-", "-"]);
    let bound = ["issuer_not_allowed", "issuer_not_allowed", "issuer_not_allowed", "-"];
    assert_eq!(codes("partner-backend").await, bound);
    assert_eq!(codes("admin").await, ["-", "-", "-", "-"]);
    assert_eq!(bed.send(Ask::lines(BATCH, &lines).by("viewer")).await.code(), "role_too_small");
    let anyone = Ask::lines(BATCH, &lines).without("authorization");
    assert_eq!(bed.send(anyone).await.code(), "admin_token_missing");
}

#[tokio::test]
async fn only_lines_of_json_are_taken_and_a_page_of_another_site_cannot_send_them() {
    let bed = Bed::start().await;
    let ask = || Ask::lines(BATCH, "{}");
    for wrong in ["application/json", "text/plain", "application/x-www-form-urlencoded"] {
        let refused = bed.send(ask().header("content-type", wrong)).await;
        assert_eq!(refused.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
        assert_eq!(refused.code(), "not_ndjson");
    }
    assert_eq!(bed.send(ask().without("content-type")).await.code(), "not_ndjson");
    let foreign = ask().header("origin", "https://evil.example");
    assert_eq!(bed.send(foreign).await.code(), "cross_site");
    assert_eq!(bed.get(BATCH).await.code(), "method_not_allowed");
    let query = format!("{BATCH}?stop_on_eror=true");
    assert_eq!(bed.send(Ask::lines(&query, "{}")).await.code(), "invalid_query");
    assert_eq!(bed.send(Ask::lines(BATCH, "")).await.lines()[0]["lines"], 0);
}

#[tokio::test]
async fn many_lines_are_all_in_force_and_written_in_few_transactions() {
    let bed = Bed::with(100_000, false).await;
    let lines: String = (0..10_000)
        .map(|number| format!("{{\"issuer\":\"main\",\"user\":\"u-{number}\",\"always\":true}}\n"))
        .collect();
    let got = bed.send(Ask::lines(BATCH, &lines)).await.lines();
    assert_eq!(got.len(), 10_001);
    assert_eq!(got[10_000]["created"], 10_000);
    assert!(got.iter().take(10_000).zip(1..).all(|(line, number)| line["line"] == json!(number)));
    assert_eq!(bed.store.count(), 10_000);
    assert!(bed.is_denied(&bed.token(json!({"sub": "u-9999"}))));
    assert!(!bed.is_denied(&bed.token(json!({"sub": "u-10000"}))));
}

/// Sends a chunk of a chunked body.
async fn chunk(stream: &mut tokio::net::TcpStream, text: &str) {
    let chunk = format!("{:x}\r\n{text}\r\n", text.len());
    stream.write_all(chunk.as_bytes()).await.unwrap();
}

async fn begun(bed: &Bed) -> tokio::net::TcpStream {
    let mut stream = tokio::net::TcpStream::connect(bed.address).await.unwrap();
    let head = format!(
        "POST {BATCH} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\n\
         Connection: close\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n",
        bed.address,
        credential("admin")
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

#[tokio::test]
async fn a_line_is_answered_while_the_body_is_still_open() {
    let bed = Bed::start().await;
    let mut stream = begun(&bed).await;
    for user in ["a", "b"] {
        let line = json!({"issuer": "main", "user": user, "always": true});
        chunk(&mut stream, &format!("{line}\n")).await;
        let mut reader = BufReader::new(&mut stream);
        loop {
            let mut text = String::new();
            assert_ne!(reader.read_line(&mut text).await.unwrap(), 0);
            if text.contains("\"status\":201") {
                break;
            }
        }
    }
    assert_eq!(bed.store.count(), 2);
}

#[tokio::test]
async fn a_body_that_breaks_off_has_no_last_line_and_its_half_line_is_not_read() {
    for whole in [true, false] {
        let bed = Bed::start().await;
        let mut stream = begun(&bed).await;
        chunk(&mut stream, "{\"issuer\":\"main\",\"user\":\"a\",\"always\":true}\n").await;
        chunk(&mut stream, "{\"issuer\":\"main\",\"user\":\"b\",\"always\":true}").await;
        stream.write_all(if whole { b"0\r\n\r\n" } else { b"zz\r\n" }).await.unwrap();
        let mut text = String::new();
        let _ = stream.read_to_string(&mut text).await;
        assert_eq!(text.contains("\"done\":true"), whole, "{text}");
        assert_eq!(text.contains("\"line\":2"), whole, "{text}");
        let b = crate::denylist::Selector::Subject("b".to_owned());
        let main = crate::denylist::IssuerId::new(super::bed::MAIN);
        assert_eq!(bed.store.in_force(&main, &b).unwrap().len(), usize::from(whole));
    }
}
