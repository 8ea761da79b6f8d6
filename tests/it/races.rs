//! What happens at the same time: a denial beside requests that are under way, beside new tokens
//! that enter the cache of signatures, beside a batch. A request that starts after a denial was
//! acknowledged is never let through.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{Connection, Issuer, PATIENCE, Setup, Upstream, eventually};

/// For each user: is the next denial acknowledged, and how often was he let through.
struct User {
    token: String,
    denied: AtomicBool,
    passed: AtomicUsize,
}

#[test]
fn no_request_that_starts_after_an_acknowledgement_passes_while_others_race_it() {
    const USERS: usize = 60;
    let issuer = Issuer::new("ES256");
    let upstream = Upstream::new();
    let gateway = Setup::simple(&issuer, &upstream).start();
    let users: Arc<Vec<User>> = Arc::new(
        (0..USERS)
            .map(|number| User {
                token: format!("Bearer {}", issuer.mint(&format!("u{number}"))),
                denied: AtomicBool::new(false),
                passed: AtomicUsize::new(0),
            })
            .collect(),
    );
    let done = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..4_usize)
        .map(|reader| {
            let (users, done) = (Arc::clone(&users), Arc::clone(&done));
            let address = gateway.url().replace("http://", "");
            std::thread::spawn(move || {
                let mut connection = Connection::open(&address);
                let mut turn = reader * 17;
                while !done.load(Ordering::Acquire) {
                    // The first use of a token is a signature that enters the cache meanwhile.
                    let user = &users[turn % USERS];
                    turn += 1;
                    let was_denied = user.denied.load(Ordering::Acquire);
                    let answer = connection.get("/", &[("Authorization", &user.token)]);
                    match answer.status {
                        200 => {
                            assert!(!was_denied, "user {} passed after it", turn % USERS);
                            user.passed.fetch_add(1, Ordering::Relaxed);
                        }
                        401 => {}
                        other => panic!("{other}: {}", answer.text()),
                    }
                }
            })
        })
        .collect();
    let admin = gateway.admin();
    let mut connection = Connection::open(&gateway.admin_address);
    for (number, user) in users.iter().enumerate() {
        let path = if number % 2 == 0 { "/v1/revoke" } else { "/v1/block" };
        let body = json!({"user": format!("u{number}"), "reason": "race"});
        assert_eq!(admin.call_on(&mut connection, "POST", path, Some(&body)).status, 201);
        user.denied.store(true, Ordering::Release);
    }
    done.store(true, Ordering::Release);
    readers.into_iter().for_each(|reader| reader.join().unwrap());
    let passed: usize = users.iter().map(|user| user.passed.load(Ordering::Relaxed)).sum();
    assert!(passed > 0, "some were let through before their denial");
    assert_eq!(gateway.status(&issuer.mint("nobody")), 200);
}

#[test]
fn a_request_in_flight_when_its_user_is_denied_gets_no_answer_of_the_backend() {
    let issuer = Issuer::new("HS256");
    let entered = Arc::new(AtomicUsize::new(0));
    let leave = Arc::new(AtomicBool::new(false));
    let (inside, may_leave) = (Arc::clone(&entered), Arc::clone(&leave));
    let upstream = Upstream::answering(move |exchange| {
        if exchange.received.target == "/slow" {
            inside.fetch_add(1, Ordering::AcqRel);
            let until = Instant::now() + PATIENCE;
            while !may_leave.load(Ordering::Acquire) && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        exchange.answer("200 OK", "", "secret");
    });
    let gateway = Setup::simple(&issuer, &upstream).start();
    let (alice, bob) = (issuer.mint("alice"), issuer.mint("bob"));
    let ask = |token: &str| {
        let mut connection = gateway.connect();
        connection.send(format!(
            "GET /slow HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n"
        ));
        connection
    };
    let (mut hers, mut his) = (ask(&alice), ask(&bob));
    eventually("both are in flight", || (entered.load(Ordering::Acquire) == 2).then_some(()));
    gateway.admin().block(json!({"user": "alice"}));
    let answer = hers.answer();
    assert_eq!((answer.status, answer.code().as_str()), (401, "token_revoked"));
    leave.store(true, Ordering::Release);
    assert_eq!(his.answer().status, 200);
}

#[test]
fn kill_9_in_the_middle_of_a_batch_loses_no_line_that_was_answered() {
    let issuer = Issuer::new("HS256");
    let mut gateway = Setup::simple(&issuer, &Upstream::new()).start();
    let credential = std::fs::read_to_string(gateway.dir().join("data/admin.token")).unwrap();
    let mut connection = Connection::open(&gateway.admin_address);
    connection.send(format!(
        "POST /v1/denials/batch HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n",
        gateway.admin_address,
        credential.trim()
    ));
    let text = |from: usize, to: usize| -> String {
        (from..to).map(|n| format!("{{\"user\":\"u{n}\",\"always\":true}}\n")).collect()
    };
    let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
    connection.send(chunk(&text(0, 3_000)));
    // The answer begins while the rest is still being sent.
    let mut answered = String::from_utf8(connection.through(b"\"line\":500,").unwrap()).unwrap();
    connection.send(chunk(&text(3_000, 9_000)));
    gateway.kill9();
    while let Ok(more) = connection.through(b"\n") {
        answered.push_str(&String::from_utf8_lossy(&more));
    }
    assert!(!answered.contains("\"done\":true"), "it was cut off");
    let lines: Vec<usize> = answered
        .split("\"line\":")
        .skip(1)
        .filter(|rest| rest.contains("\"status\":201"))
        .filter_map(|rest| rest.split(',').next()?.parse().ok())
        .collect();
    assert!(lines.len() >= 400, "{}", lines.len());
    let gateway = gateway.start_again();
    let mut requests = gateway.connect();
    for line in lines.iter().step_by(7).chain(lines.last()) {
        let bearer = format!("Bearer {}", issuer.mint(&format!("u{}", line - 1)));
        let status = requests.get("/", &[("Authorization", &bearer)]).status;
        assert_eq!(status, 401, "line {line} was answered");
    }
    assert_eq!(gateway.status(&issuer.mint("u9000")), 200, "one that was never sent");

    // The whole file again: what stands is answered as such, and nothing is there twice.
    let held = gateway.admin().get("/v1/denials?limit=1")["in_force"].as_u64().unwrap();
    let again = gateway.command(&["denials", "batch", "-", "--json"], &text(0, 3_000));
    assert_eq!(again.status.code(), Some(0), "{again:?}");
    let all = gateway.admin().get("/v1/denials?limit=1")["in_force"].as_u64().unwrap();
    assert_eq!(all, held.max(3_000));
}

#[test]
fn no_request_passes_by_a_key_whose_file_was_replaced_before_the_reload_was_answered() {
    let mut issuer = Issuer::new("ES256");
    issuer.kid = Some("one".into());
    let upstream = Upstream::new();
    // How many tokens of the other key are refused meanwhile is for chance to say.
    let gateway = Setup::new()
        .server("watch = false\nlimits.failed_credentials_per_minute = 0")
        .issuer_jwks(&issuer, "")
        .upstream("app", &upstream, "");
    let gateway = gateway.route("/", "").start();
    let other = issuer.key.other();
    let set = |key: &crate::support::Key| {
        let mut jwk = key.jwk();
        jwk["alg"] = "ES256".into();
        jwk["kid"] = "one".into();
        json!({"keys": [jwk]}).to_string()
    };
    let file = gateway.dir().join(format!("{}.jwks", issuer.name));
    // Of each key, tokens; and a count that is odd while its removal is acknowledged.
    let tokens: [Vec<String>; 2] = [&issuer.key, &other].map(|key| {
        let mint = |n| issuer.token(&format!("u{n}")).signed_by(key, "ES256").mint();
        (0..20).map(|n| format!("Bearer {}", mint(n))).collect()
    });
    let scene = Arc::new((tokens, [const { AtomicUsize::new(0) }; 2], AtomicBool::new(false)));
    scene.1[1].fetch_add(1, Ordering::SeqCst);
    let passed = Arc::new([const { AtomicUsize::new(0) }; 2]);
    let readers: Vec<_> = (0..3_usize)
        .map(|reader| {
            let (scene, passed) = (Arc::clone(&scene), Arc::clone(&passed));
            let address = gateway.url().replace("http://", "");
            std::thread::spawn(move || {
                let (tokens, gone, done) = &*scene;
                let mut connection = Connection::open(&address);
                let mut turn = reader;
                while !done.load(Ordering::Acquire) {
                    let (which, token) = (turn % 2, turn / 2 % 20);
                    turn += 1;
                    let before = gone[which].load(Ordering::SeqCst);
                    let bearer = &tokens[which][token];
                    let answer = connection.get("/", &[("Authorization", bearer)]);
                    match answer.status {
                        200 => {
                            let after = gone[which].load(Ordering::SeqCst);
                            assert!(
                                before.is_multiple_of(2) || before != after,
                                "key {which} passed"
                            );
                            passed[which].fetch_add(1, Ordering::SeqCst);
                        }
                        401 => {}
                        status => panic!("{status}: {}", answer.text()),
                    }
                }
            })
        })
        .collect();
    for round in 0..12 {
        let (comes, goes) = if round % 2 == 0 { (1, 0) } else { (0, 1) };
        let before = passed[goes].load(Ordering::SeqCst);
        eventually("those of the key in force pass", || {
            (passed[goes].load(Ordering::SeqCst) > before).then_some(())
        });
        scene.1[comes].fetch_add(1, Ordering::SeqCst);
        let draft = file.with_extension("draft");
        std::fs::write(&draft, set(if comes == 1 { &other } else { &issuer.key })).unwrap();
        std::fs::rename(&draft, &file).unwrap();
        assert_eq!(gateway.admin().post("/v1/config/reload", &json!({}))["reloaded"], true);
        scene.1[goes].fetch_add(1, Ordering::SeqCst);
    }
    scene.2.store(true, Ordering::Release);
    readers.into_iter().for_each(|reader| reader.join().unwrap());
}
