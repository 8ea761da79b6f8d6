//! The audit: who did what.

use serde_json::{Value, json};

use super::bed::{Ask, Bed};

async fn worked() -> (Bed, String) {
    let bed = Bed::start().await;
    let block = |name: &str, issuer: &str, user: &str| {
        let body = json!({"issuer": issuer, "user": user, "reason": format!("why {user}"),
                          "reference": "INC-1"});
        Ask::post("/v1/block", &body).by(name)
    };
    let alice = bed.send(block("revoker", "main", "alice")).await.id();
    bed.send(block("admin", "partner", "pat")).await;
    let undo = Ask::post(&format!("/v1/denials/{alice}/undo"), &json!({"reason": "false alarm"}));
    bed.send(undo.by("operator")).await;
    bed.send_by_socket(block("admin", "main", "bob").without("authorization")).await;
    (bed, alice)
}

fn brief(answer: &Value) -> Vec<String> {
    let items = answer["items"].as_array().unwrap().iter();
    items
        .map(|item| {
            let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
            format!(
                "{} {} {}",
                text(&item["by"]["name"]),
                text(&item["action"]),
                text(&item["subject"])
            )
        })
        .collect()
}

#[tokio::test]
async fn every_act_is_there_with_who_why_and_from_where_newest_first() {
    let (bed, alice) = worked().await;
    let answer = bed.get("/v1/audit").await.body;
    let own = format!("uid {} denied bob", rustix::process::geteuid().as_raw());
    let expected =
        [own.as_str(), "operator undone alice", "admin denied pat", "revoker denied alice"];
    assert_eq!(brief(&answer), expected);
    assert!(answer.get("next_cursor").is_none());
    let undone = &answer["items"][1];
    assert_eq!((&undone["denial"], &undone["reason"]), (&json!(alice), &json!("false alarm")));
    assert_eq!((&undone["issuer"], &undone["always"]), (&json!("main"), &json!(true)));
    assert_eq!(
        (&undone["by"]["address"], &undone["reference"]),
        (&json!("127.0.0.1"), &json!("INC-1"))
    );
    let denied = &answer["items"][3];
    assert_eq!(
        (&denied["reason"], &denied["by"]["role"]),
        (&json!("why alice"), &json!("revoker"))
    );
    assert!(denied["at"].is_string() && answer["items"][0]["by"].get("address").is_none());
}

#[tokio::test]
async fn filters_and_pages_give_what_they_say() {
    let (bed, alice) = worked().await;
    for (query, count) in [
        ("by=operator", 1),
        ("by=nobody", 0),
        ("action=denied", 3),
        ("action=undone", 1),
        ("action=ended", 0),
        ("issuer=partner", 1),
        ("user=alice", 2),
        ("address=127.0.0.1", 3),
        (&format!("denial={alice}"), 2),
        ("since=2020-01-01T00:00:00Z", 4),
        ("until=2020-01-01T00:00:00Z", 0),
        ("user=alice&by=revoker", 1),
    ] {
        let found = brief(&bed.get(&format!("/v1/audit?{query}")).await.body);
        assert_eq!(found.len(), count, "{query}: {found:?}");
    }
    let all = brief(&bed.get("/v1/audit").await.body);
    let mut paged = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = bed.get(&format!("/v1/audit?limit=1{cursor}")).await.body;
        paged.extend(brief(&page));
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(paged, all);
    let backwards = "since=2026-01-02T00:00:00Z&until=2026-01-01T00:00:00Z";
    for wrong in [
        "by=a&by=b",
        "acton=denied",
        "action=x",
        "denial=dn_1",
        "since=x",
        "limit=0",
        "address=10.0.0",
        backwards,
    ] {
        let refused = bed.get(&format!("/v1/audit?{wrong}")).await;
        assert_eq!(refused.code(), "invalid_query", "{wrong}");
    }
    assert_eq!(bed.get("/v1/audit?cursor=x").await.code(), "invalid_cursor");
}

#[tokio::test]
async fn the_audit_comes_as_lines_to_whoever_asks_for_lines() {
    let (bed, _) = worked().await;
    let ask = |path: &str| Ask::get(path).header("accept", "application/x-ndjson");
    let items = bed.get("/v1/audit").await.body["items"].clone();
    let lines = bed.send(ask("/v1/audit")).await;
    assert_eq!(lines.headers["content-type"], "application/x-ndjson");
    assert_eq!(json!(lines.lines()), items);
    assert_eq!(bed.send(ask("/v1/audit?limit=2&action=denied")).await.lines().len(), 2);
}

#[tokio::test]
async fn a_bound_credential_sees_the_acts_of_its_own_issuer() {
    let (bed, _) = worked().await;
    for name in ["viewer", "revoker"] {
        assert_eq!(brief(&bed.send(Ask::get("/v1/audit").by(name)).await.body).len(), 4);
    }
    let own = brief(&bed.send(Ask::get("/v1/audit").by("partner-backend")).await.body);
    assert_eq!(own, ["admin denied pat"]);
}

#[tokio::test]
async fn a_batch_and_an_import_are_acts_with_their_numbers_for_those_who_see_all_issuers() {
    let (bed, _) = worked().await;
    let line = |user: &str| json!({"issuer": "main", "user": user, "always": true}).to_string();
    let lines = format!("{}\n{}\n{{\n", line("u1"), line("u2"));
    bed.send(Ask::lines("/v1/denials/batch", &lines).by("revoker")).await;
    let other = Bed::start().await;
    other.post("/v1/block", json!({"issuer": "main", "user": "elsewhere"})).await;
    let exported = other.get("/v1/denials/export").await.text;
    let exported = String::from_utf8(exported.to_vec()).unwrap();
    bed.send(Ask::lines("/v1/denials/import", &exported)).await;
    // The same once more brings nothing and is no act.
    bed.send(Ask::lines("/v1/denials/import", &exported)).await;
    let acts = bed.get("/v1/audit?limit=4").await.body;
    assert_eq!(
        brief(&acts),
        ["admin imported -", "revoker batch -", "revoker denied u2", "revoker denied u1"]
    );
    assert_eq!(acts["items"][0]["counts"], json!({"denials": 1}));
    assert_eq!(acts["items"][1]["counts"], json!({"lines": 3, "created": 2, "failed": 1}));
    assert!(acts["items"][0].get("denial").is_none());
    let own = brief(&bed.send(Ask::get("/v1/audit").by("partner-backend")).await.body);
    assert_eq!(own, ["admin denied pat"]);
}
