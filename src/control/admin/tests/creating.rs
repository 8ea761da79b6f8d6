//! Making denials: what is taken, what it does, and what is refused.

use std::time::{Duration, Instant};

use http::StatusCode;
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::bed::{Ask, Bed, PARTNER};
use crate::clock::UnixMs;

#[tokio::test]
async fn revoke_ends_the_tokens_that_exist_and_spares_those_of_others_and_later_ones() {
    let bed = Bed::start().await;
    let alice = bed.token(json!({}));
    let bob = bed.token(json!({"sub": "bob", "jti": "t-2"}));
    let before = UnixMs::now();
    let body = json!({"issuer": "main", "user": "alice", "reason": "password changed",
                      "reference": "INC-4711"});
    let made = bed.post("/v1/revoke", body).await;
    let after = UnixMs::now();
    assert_eq!(made.status, StatusCode::CREATED);
    assert_eq!(made.headers["location"], format!("/v1/denials/{}", made.id()));
    assert!(bed.is_denied(&alice) && !bed.is_denied(&bob));
    let answer = &made.body;
    assert_eq!(answer["state"], "in_force");
    assert_eq!(answer["issuer"], "main");
    assert_eq!(answer["subject"], "alice");
    assert_eq!(answer["reason"], "password changed");
    assert_eq!(answer["reference"], "INC-4711");
    assert_eq!(answer["created_by"]["name"], "admin");
    assert_eq!(answer["created_by"]["via"], "api");
    assert_eq!(answer["created_by"]["address"], "127.0.0.1");
    assert_eq!(answer["outcome"]["durable"], true);
    let replicas = &answer["outcome"]["replicas"];
    assert_eq!((&replicas["applied"], &replicas["known"]), (&json!(1), &json!(1)));
    let pass_from = answer["outcome"]["tokens_pass_from"].as_str().unwrap();
    let pass_from = UnixMs::parse_rfc3339(pass_from).unwrap();
    assert!(pass_from > before && pass_from.0 <= after.0 + 1_000);
    assert_eq!(answer["issued_before"], answer["outcome"]["tokens_pass_from"]);
    let later = bed.token(json!({"iat": pass_from.secs(), "jti": "t-3"}));
    assert!(!bed.is_denied(&later), "a token issued at the cutoff passes");
    assert!(answer["ends_at"].is_string(), "a cutoff is forgotten by itself");
}

#[tokio::test]
async fn block_keeps_out_also_later_tokens_and_ends_when_it_was_told() {
    let bed = Bed::start().await;
    let later = bed.token(json!({"iat": UnixMs::now().secs() + 20}));
    let body = json!({"issuer": "main", "user": "alice"});
    let made = bed.post("/v1/block", body.clone()).await;
    assert_eq!((made.status, &made.body["always"]), (StatusCode::CREATED, &json!(true)));
    assert!(bed.is_denied(&later));
    assert!(made.body.get("ends_at").is_none());
    assert!(made.body["outcome"].get("tokens_pass_from").is_none());

    let again = bed.post("/v1/block", body).await;
    assert_eq!((again.status, again.id()), (StatusCode::OK, made.id()));
    assert_eq!(again.body["already"], true);
    assert!(made.body.get("already").is_none());

    let timed = json!({"issuer": "main", "user": "bob", "for": "24h"});
    let timed = bed.post("/v1/block", timed).await;
    let end = UnixMs::parse_rfc3339(timed.body["ends_at"].as_str().unwrap()).unwrap();
    let hours = end.0 - UnixMs::now().0;
    assert!((86_390_000..=86_400_000).contains(&hours), "{hours}");
}

#[tokio::test]
async fn every_selector_denies_its_token_and_not_its_neighbour() {
    let thumbprint =
        |bed: &Bed| bed.verifier.issuers()[0].keys.load().keys()[0].thumbprint().to_string();
    let neighbour = json!({"sub": "bob", "sid": "s-2", "jti": "t-2", "tenant": "other",
                           "client_id": "app-2"});
    for (name, value) in [
        ("jti", json!("t-1")),
        ("session", json!("s-1")),
        ("subject", json!("alice")),
        ("user", json!("alice")),
        ("client", json!("app")),
        ("claim", json!({"name": "tenant", "value": "acme"})),
        ("key", json!("2026-11")),
        ("key", json!("thumbprint")),
        ("everyone", json!(true)),
        ("token", json!("token")),
    ] {
        let bed = Bed::start().await;
        let token = bed.token(json!({}));
        let other = bed.token(neighbour.clone());
        let value = match value.as_str() {
            Some("thumbprint") => json!(thumbprint(&bed)),
            Some("token") => json!(token),
            _ => value,
        };
        let mut body = json!({"always": true, "reason": "x"});
        body[name] = value;
        if name != "token" {
            body["issuer"] = json!("main");
        }
        let made = bed.post("/v1/denials", body).await;
        assert_eq!(made.status, StatusCode::CREATED, "{name}: {}", made.body);
        assert!(bed.is_denied(&token), "{name}");
        // The same key signs for both issuers: another issuer's token is the neighbour there.
        let foreign = bed.token(json!({"iss": PARTNER}));
        assert!(!bed.is_denied(&foreign), "{name}");
        let wide = matches!(name, "key" | "everyone");
        assert_eq!(bed.is_denied(&other), wide, "{name}");
    }
}

#[tokio::test]
async fn a_token_is_denied_by_showing_it_and_a_forged_or_foreign_one_never() {
    let bed = Bed::start().await;
    let token = bed.token(json!({}));
    let stranger = crate::keys::SigningKey::generate(crate::keys::Algorithm::ES256).unwrap();
    let forged = stranger
        .with_kid("2026-11")
        .sign(&json!({"iss": super::bed::MAIN, "aud": "api", "sub": "alice", "jti": "t-1",
                "iat": UnixMs::now().secs(), "exp": UnixMs::now().secs() + 60}));
    let (head, _) = token.rsplit_once('.').unwrap();
    for bad in [forged.unwrap(), format!("{head}.AAAA"), format!("{head}."), "x".to_owned()] {
        for path in ["/v1/revoke", "/v1/block", "/v1/denials"] {
            let refused = bed.post(path, json!({"token": bad})).await;
            assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
            assert_eq!(refused.faults(), [("token_not_genuine", "/token")], "{path}");
            assert!(!refused.body.to_string().contains(head), "no token in an error");
        }
    }
    assert_eq!(bed.store.count(), 0);
    assert!(!bed.is_denied(&token));

    let made = bed.post("/v1/revoke", json!({"token": token})).await;
    assert_eq!(made.status, StatusCode::CREATED);
    assert_eq!((&made.body["jti"], &made.body["issuer"]), (&json!("t-1"), &json!("main")));
    assert!(bed.is_denied(&token));
    let exp = bed.verified(&token).signed().expires_at();
    assert_eq!(made.body["ends_at"], json!(exp.plus(std::time::Duration::from_secs(30)).rfc3339()));
    let mismatch = bed.post("/v1/revoke", json!({"token": token, "issuer": "partner"})).await;
    assert_eq!(mismatch.faults(), [("issuer_mismatch", "/issuer")]);
}

#[tokio::test]
async fn a_token_without_jti_is_denied_by_its_digest_and_an_expired_one_with_a_warning() {
    let bed = Bed::start().await;
    let token = bed.token(json!({"jti": null}));
    let twin = bed.token(json!({"jti": null, "sub": "bob"}));
    let made = bed.post("/v1/revoke", json!({"token": token})).await;
    assert!(made.body["token"].as_str().unwrap().starts_with("sha256:"));
    assert!(bed.is_denied(&token) && !bed.is_denied(&twin));
    let old = UnixMs::now().secs() - 7_200;
    let expired = bed.token(json!({"iat": old, "exp": old + 60}));
    let made = bed.post("/v1/revoke", json!({"token": expired})).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    assert_eq!(made.warnings(), ["already_expired"]);
}

#[tokio::test]
async fn a_cutoff_spares_the_session_or_token_that_it_excepts() {
    for except in [json!({"session": "s-1"}), json!({"jti": "t-1"}), json!({"token": ""})] {
        let bed = Bed::start().await;
        let kept = bed.token(json!({}));
        let ended = bed.token(json!({"sid": "s-2", "jti": "t-2"}));
        let except = if except.get("token").is_some() { json!({"token": kept}) } else { except };
        let body = json!({"issuer": "main", "user": "alice", "except": except});
        let made = bed.post("/v1/revoke", body).await;
        assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
        assert!(bed.is_denied(&ended) && !bed.is_denied(&kept));
        let shown = &made.body["except"];
        assert!(shown["session"] == "s-1" || shown["jti"] == "t-1", "{shown}");
    }
}

/// A body, and the fault that it must give; the same body mended must be taken.
#[tokio::test]
async fn each_member_is_refused_when_it_is_worse_by_one_detail() {
    let bed = Bed::start().await;
    let future = UnixMs::now().secs() + 60;
    let ms = UnixMs::now().0;
    let long = "x".repeat(1025);
    let cases: Vec<(Value, Value, &str, &str)> = vec![
        (json!({"subject": ""}), json!({"subject": "a"}), "empty", "/subject"),
        (json!({"subject": long}), json!({"subject": "x".repeat(1024)}), "too_long", "/subject"),
        (json!({"subject": "a\u{0}"}), json!({"subject": "a"}), "control_character", "/subject"),
        (json!({"subject": 1.5}), json!({"subject": 42}), "wrong_type", "/subject"),
        (json!({"subject": null}), json!({"subject": "null"}), "wrong_type", "/subject"),
        (json!({"issuer": "mian"}), json!({"issuer": "main"}), "unknown_issuer", "/issuer"),
        (json!({"always": false}), json!({"always": true}), "wrong_type", "/always"),
        (json!({"reason": "x".repeat(257)}), json!({"reason": "x"}), "too_long", "/reason"),
        (json!({"reason": "a\nb"}), json!({"reason": "a b"}), "control_character", "/reason"),
        (
            json!({"reference": "x".repeat(129)}),
            json!({"reference": "x"}),
            "too_long",
            "/reference",
        ),
        (json!({"dry_run": "yes"}), json!({"dry_run": true}), "wrong_type", "/dry_run"),
        (json!({"for": "1 day"}), json!({"for": "1d"}), "not_a_duration", "/for"),
        (json!({"ends_in": 60}), json!({"ends_in": "60s"}), "not_a_duration", "/ends_in"),
        (json!({"subjcet": "a"}), json!({}), "unknown_member", "/subjcet"),
        (json!({"session": "s"}), json!({}), "selector_ambiguous", ""),
        (json!({"issued_before": "now"}), json!({}), "condition_ambiguous", ""),
        (json!({"except": {"session": "s"}}), json!({}), "except_not_here", "/except"),
    ];
    for (worse, better, code, pointer) in cases {
        let base = json!({"issuer": "main", "subject": "alice", "always": true});
        let refused = bed.post("/v1/denials", merged(&base, &worse)).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{worse}");
        assert_eq!(refused.code(), "invalid_denial", "{worse}");
        assert!(refused.faults().contains(&(code, pointer)), "{worse}: {}", refused.body);
        let taken = bed.post("/v1/denials", merged(&base, &better)).await;
        assert!(taken.status.is_success(), "{better}: {}", taken.body);
    }
    let cutoffs = [
        (json!(ms), json!(ms / 1000), "looks_like_milliseconds"),
        (json!(future), json!("now"), "in_the_future"),
        (json!("in 24h"), json!("2026-01-01T00:00:00Z"), "in_the_future"),
        (json!("yesterday"), json!(0), "not_a_time"),
    ];
    for (worse, better, code) in cutoffs {
        let body = |at: &Value| json!({"issuer": "main", "subject": "alice", "issued_before": at});
        let refused = bed.post("/v1/denials", body(&worse)).await;
        assert_eq!(refused.faults(), [(code, "/issued_before")], "{worse}");
        let taken = bed.post("/v1/denials", body(&better)).await;
        assert!(taken.status.is_success(), "{better}: {}", taken.body);
    }
}

fn merged(base: &Value, with: &Value) -> Value {
    let mut all = base.clone();
    for (name, value) in with.as_object().unwrap() {
        all[name] = value.clone();
    }
    all
}

#[tokio::test]
async fn nothing_that_decides_between_log_out_and_ban_has_a_default() {
    let bed = Bed::start().await;
    let refused = bed.post("/v1/denials", json!({"issuer": "main", "user": "alice"})).await;
    assert_eq!(refused.faults(), [("condition_missing", "")]);
    let refused = bed.post("/v1/denials", json!({"issuer": "main", "always": true})).await;
    assert_eq!(refused.faults(), [("selector_missing", "")]);
    let refused = bed.post("/v1/revoke", json!({"user": "alice"})).await;
    assert_eq!(refused.faults(), [("issuer_missing", "/issuer")]);
    assert!(refused.body["detail"].as_str().unwrap().contains("main, partner"));
    for (path, body) in [
        ("/v1/revoke", json!({"issuer": "main", "user": "a", "always": true})),
        ("/v1/block", json!({"issuer": "main", "user": "a", "issued_before": "now"})),
    ] {
        let refused = bed.post(path, body).await;
        assert_eq!(refused.faults()[0].0, "condition_not_here", "{path}");
    }
    let refused = bed.post("/v1/revoke", json!({"issuer": "main", "user": "a", "for": "1h"})).await;
    assert_eq!(refused.faults(), [("unknown_member", "/for")]);
    assert_eq!(bed.store.count(), 0);
    let token = bed.post("/v1/denials", json!({"issuer": "main", "jti": "t-1"})).await;
    assert_eq!(token.status, StatusCode::CREATED, "a token needs no condition");
    assert_eq!(token.body["always"], true);
}

#[tokio::test]
async fn all_faults_are_reported_at_once_and_a_misspelt_word_gets_one_suggestion() {
    let bed = Bed::start().await;
    let body = json!({"issuer": "mian", "subject": "alice", "issued_before": 1_795_259_641_000_i64,
                      "resaon": "x"});
    let refused = bed.post("/v1/denials", body).await;
    let faults = refused.faults();
    assert!(faults.contains(&("looks_like_milliseconds", "/issued_before")), "{faults:?}");
    assert!(faults.contains(&("unknown_issuer", "/issuer")));
    assert!(faults.contains(&("unknown_member", "/resaon")));
    assert_eq!(refused.body["detail"], "3 members are wrong.");
    let text = refused.body.to_string();
    assert!(text.contains("Did you mean reason?") && text.contains("Did you mean main?"));
    assert!(text.contains("Did you mean 1795259641?"));
    let body = json!({"issuer": "main", "user": "alice", "issued_befor": "now"});
    let refused = bed.post("/v1/denials", body).await;
    assert_eq!(refused.faults(), [("unknown_member", "/issued_befor")], "one slip, one fault");
    assert_eq!(refused.body["detail"], "Did you mean issued_before?");
    let claim = json!({"issuer": "main", "always": true, "claim": {"name": "tenat", "value": "a"}});
    let refused = bed.post("/v1/denials", claim).await;
    assert_eq!(refused.faults(), [("claim_not_indexed", "/claim/name")]);
    assert!(refused.body.to_string().contains("Did you mean tenant?"));
    let key = json!({"issuer": "main", "always": true, "key": "2026-12"});
    let refused = bed.post("/v1/denials", key).await;
    assert_eq!(refused.faults(), [("unknown_key", "/key")]);
    assert!(refused.body.to_string().contains("Did you mean 2026-11?"));
}

#[tokio::test]
async fn a_version_denial_ends_older_versions() {
    let bed = Bed::start().await;
    let body = |below: Value| json!({"issuer": "main", "user": "alice", "version_below": below});
    for bad in [json!(0), json!(-1), json!("4"), json!(1.5)] {
        let refused = bed.post("/v1/denials", body(bad)).await;
        assert_eq!(refused.faults(), [("wrong_type", "/version_below")]);
    }
    let made = bed.post("/v1/denials", body(json!(4))).await;
    assert_eq!(made.body["version_below"], 4);
    assert!(bed.is_denied(&bed.token(json!({"ver": 3}))));
    assert!(!bed.is_denied(&bed.token(json!({"ver": 4, "jti": "t-2"}))));
}

#[tokio::test]
async fn a_dry_run_says_what_it_would_reach_and_changes_nothing() {
    let bed = Bed::start().await;
    let token = bed.token(json!({}));
    bed.sight(&token);
    bed.sight(&bed.token(json!({"jti": "t-2", "sid": "s-2"})));
    bed.sight(&bed.token(json!({"sub": "bob", "jti": "t-3", "email": "bob@example.com"})));
    let body = |name: &str| json!({"issuer": "main", "user": name, "dry_run": true});
    let dry = bed.post("/v1/block", body("alice")).await;
    assert_eq!(dry.status, StatusCode::OK);
    assert_eq!(dry.body["dry_run"], true);
    assert_eq!(dry.body["would"]["tokens_seen"], 2);
    assert_eq!(dry.body["would"]["subjects"], 1);
    assert_eq!(dry.warnings(), [""; 0]);
    assert!(!bed.is_denied(&token));
    assert_eq!(bed.store.count(), 0);
    let dry = bed.post("/v1/block", body("alic")).await;
    assert_eq!(dry.warnings(), ["never_seen"]);
    assert_eq!(dry.body["warnings"][0]["pointer"], "/user");
    assert_eq!(dry.body["warnings"][0]["close"], json!(["alice"]));
    // By the name that people know him by.
    let dry = bed.post("/v1/block", body("alice@example.com")).await;
    assert_eq!(dry.body["warnings"][0]["close"], json!(["alice"]));
    let real = bed.post("/v1/revoke", json!({"issuer": "main", "user": "alice"})).await;
    assert_eq!(real.body["outcome"]["tokens_seen"], 2);
}

#[tokio::test]
async fn what_a_core_has_not_told_yet_is_asked_for_once_the_denial_is_in_force() {
    let bed = Bed::start().await;
    bed.sight(&bed.token(json!({"sub": "bob", "jti": "t-0"})));
    let plan = |dry_run: bool| json!({"issuer": "main", "user": "alice", "dry_run": dry_run});
    let unseen = bed.post("/v1/revoke", plan(true)).await;
    assert_eq!(
        (&unseen.body["would"]["tokens_seen"], unseen.warnings()),
        (&json!(0), vec!["never_seen"])
    );
    bed.will_report(&bed.token(json!({})));
    let dry = bed.post("/v1/revoke", plan(true)).await;
    assert_eq!((&dry.body["would"]["tokens_seen"], dry.warnings()), (&json!(1), vec![]));
    let denied = bed.will_report(&bed.token(json!({"jti": "t-2"})));
    let made = bed.post("/v1/revoke", plan(false)).await;
    assert_eq!((&made.body["outcome"]["tokens_seen"], made.warnings()), (&json!(2), vec![]));
    assert_eq!(denied.get(), Some(&true));
}

#[tokio::test]
async fn a_core_that_tells_nothing_holds_up_no_denial() {
    let bed = Bed::start().await;
    let (token, since) = (bed.token(json!({})), Instant::now());
    let silent = Mutex::new(Vec::new());
    *bed.core.lock() = Box::new(move |remembered| {
        silent.lock().push(remembered);
        true
    });
    let made = bed.post("/v1/revoke", json!({"issuer": "main", "user": "alice"})).await;
    assert_eq!(
        (made.status, &made.body["outcome"]["tokens_seen"]),
        (StatusCode::CREATED, &json!(0))
    );
    assert!(bed.is_denied(&token));
    assert!(since.elapsed() < Duration::from_secs(20), "{:?}", since.elapsed());
}

#[tokio::test]
async fn wide_selectors_count_everybody_they_reach_and_excepted_sessions_do_not_count() {
    let bed = Bed::start().await;
    bed.sight(&bed.token(json!({})));
    bed.sight(&bed.token(json!({"jti": "t-2", "sid": "s-2"})));
    bed.sight(&bed.token(json!({"sub": "bob", "jti": "t-3", "sid": "s-3", "tenant": "b"})));
    let would = async |body: Value| {
        let mut body = merged(&json!({"issuer": "main", "dry_run": true}), &body);
        if body.get("always").is_none() && body.get("version_below").is_none() {
            body["issued_before"] = json!("now");
        }
        let dry = bed.post("/v1/denials", body).await;
        let would = &dry.body["would"];
        (would["subjects"].as_u64().unwrap(), would["tokens_seen"].as_u64().unwrap())
    };
    assert_eq!(would(json!({"everyone": true})).await, (2, 3));
    assert_eq!(would(json!({"client": "app"})).await, (2, 3));
    assert_eq!(would(json!({"key": "2026-11"})).await, (2, 3));
    assert_eq!(would(json!({"claim": {"name": "tenant", "value": "acme"}})).await, (1, 2));
    assert_eq!(would(json!({"session": "s-2"})).await, (1, 1));
    assert_eq!(would(json!({"jti": "t-2", "always": true})).await, (1, 1));
    assert_eq!(would(json!({"user": "alice", "except": {"session": "s-1"}})).await, (1, 1));
    assert_eq!(would(json!({"user": "alice", "version_below": 3})).await, (0, 0));
    assert_eq!(would(json!({"user": "alice", "version_below": 4})).await, (1, 2));
}

#[tokio::test]
async fn warnings_say_what_a_denial_cannot_do() {
    let bed = Bed::start().await;
    bed.sight(&bed.token(json!({"sid": null})));
    let made = bed.post("/v1/revoke", json!({"issuer": "main", "session": "s-9"})).await;
    assert_eq!(made.warnings(), ["claim_absent"]);
    assert!(made.body["warnings"][0]["detail"].as_str().unwrap().contains("carry no sid: 0 of 1"));
    bed.sight(&bed.token(json!({"jti": "t-2", "sid": "s-9"})));
    let made = bed.post("/v1/block", json!({"issuer": "main", "session": "s-9"})).await;
    assert_eq!(made.warnings(), [""; 0], "one token carries it");

    let block = bed.post("/v1/block", json!({"issuer": "main", "user": "alice"})).await;
    let covered = bed.post("/v1/revoke", json!({"issuer": "main", "user": "alice"})).await;
    assert_eq!(covered.warnings(), ["already_covered"]);
    assert!(covered.body["warnings"][0]["detail"].as_str().unwrap().contains(&block.id()));
}

#[tokio::test]
async fn a_full_denylist_says_so_with_507_and_warns_before() {
    let bed = Bed::with(20, false).await;
    let deny = async |number: usize| {
        bed.post("/v1/block", json!({"issuer": "main", "user": format!("u{number}")})).await
    };
    let mut warned = 0;
    let mut number = 0;
    let full = loop {
        number += 1;
        let answer = deny(number).await;
        if !answer.status.is_success() {
            break answer;
        }
        warned += usize::from(answer.warnings().contains(&"near_limit"));
        assert!(number <= 20, "the limit holds");
    };
    assert_eq!((full.status, full.code()), (StatusCode::INSUFFICIENT_STORAGE, "denylist_full"));
    assert!((1..=6).contains(&warned), "{warned}");
    let first = bed.get("/v1/denials?user=u1").await;
    let id = first.body["items"][0]["id"].as_str().unwrap();
    let undone = bed.send(Ask::new(http::Method::DELETE, &format!("/v1/denials/{id}"))).await;
    assert_eq!(undone.status, StatusCode::OK);
    assert_eq!(deny(100).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn identifiers_compare_byte_for_byte_and_by_issuer() {
    let bed = Bed::start().await;
    for name in ["alice", "Alice", "alice ", "аlice", "a\u{301}lice"] {
        bed.post("/v1/block", json!({"issuer": "main", "user": name})).await;
    }
    assert_eq!(bed.store.count(), 5, "look-alikes are others");
    bed.post("/v1/block", json!({"issuer": "partner", "user": "42"})).await;
    bed.post("/v1/block", json!({"issuer": "partner", "user": 42})).await;
    assert_eq!(bed.store.count(), 6, "an integer is its decimal form");
    assert!(bed.is_denied(&bed.token(json!({"iss": PARTNER, "sub": "42"}))));
    assert!(!bed.is_denied(&bed.token(json!({"sub": "42", "jti": "t-2"}))));
}

#[tokio::test]
async fn a_token_whose_end_is_not_known_is_denied_until_undone_where_iat_may_be_missing() {
    let bed = Bed::start().await;
    // With `iat` a token ends within max_lifetime of it; without, nobody can say when.
    let bounded = bed.post("/v1/revoke", json!({"issuer": "main", "jti": "t-9"})).await;
    assert!(bounded.body["ends_at"].is_string(), "{}", bounded.body);
    let open = bed.post("/v1/revoke", json!({"issuer": "partner", "jti": "t-9"})).await;
    assert_eq!(open.status, StatusCode::CREATED);
    assert!(open.body.get("ends_at").is_none(), "{}", open.body);
    let kept = |reply: &super::bed::Reply| {
        bed.store.find(reply.id().parse().unwrap()).unwrap().unwrap().denial.kept_until
    };
    assert!(kept(&bounded).is_some() && kept(&open).is_none());
    // The token itself says when it ends, with `iat` or without.
    let token = bed.token(json!({"iss": PARTNER, "jti": "t-10"}));
    let known = bed.post("/v1/revoke", json!({"token": token})).await;
    assert_eq!(known.status, StatusCode::CREATED, "{}", known.body);
    let exp = bed.verified(&token).signed().expires_at();
    assert_eq!(kept(&known), Some(exp.plus(std::time::Duration::from_secs(30))));
}

#[tokio::test]
async fn a_clock_that_is_ahead_and_a_wide_denial_are_told() {
    let bed = Bed::start().await;
    let revoke = |subject: &str| {
        Ask::post("/v1/revoke", &json!({"issuer": "main", "user": subject, "reason": "x"}))
    };
    for number in 0..20 {
        let tenant = if number % 2 == 0 { "acme" } else { "other" };
        bed.sight(&bed.token(json!({"sub": format!("u{number}"), "tenant": tenant})));
    }
    assert!(!bed.send(revoke("u0")).await.warnings().contains(&"clock_ahead"));
    let claim =
        json!({"issuer": "main", "claim": {"name": "tenant", "value": "acme"}, "dry_run": true});
    let wide = bed.send(Ask::post("/v1/block", &claim)).await;
    assert!(wide.warnings().contains(&"wide"), "{:?}", wide.body);
    let narrow =
        json!({"issuer": "main", "claim": {"name": "tenant", "value": "none"}, "dry_run": true});
    let narrow = bed.send(Ask::post("/v1/block", &narrow)).await;
    assert!(!narrow.warnings().contains(&"wide"), "{:?}", narrow.body);
    let soon = UnixMs::now().secs() + 8;
    bed.sight(&bed.token(json!({"sub": "fast", "iat": soon})));
    let ahead = bed.send(revoke("fast")).await;
    assert!(ahead.warnings().contains(&"clock_ahead"), "{:?}", ahead.body);
    let ban = bed.send(Ask::post("/v1/block", &json!({"issuer": "main", "user": "fast"}))).await;
    assert!(!ban.warnings().contains(&"clock_ahead"), "a ban has no cutoff: {:?}", ban.body);
}
