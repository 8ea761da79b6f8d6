//! An acknowledged denial survives kill -9, whenever it comes; so does an acknowledged undo.

use std::sync::{Arc, Mutex};

use serde_json::json;

use crate::support::{
    Admin, Connection, Gateway, Issuer, Setup, Upstream, eventually, program, run_to_end,
};

const ROUNDS: usize = 8;
const WRITERS: usize = 4;
/// The kill comes once a round has this many acknowledgements, in the middle of the next ones.
const ACKNOWLEDGED_A_ROUND: usize = 40;

#[test]
fn every_acknowledged_denial_is_in_force_after_kill_9_round_after_round() {
    let issuer = Issuer::new("HS256");
    let mut gateway = Setup::simple(&issuer, &Upstream::new()).start();
    let mut denied: Vec<String> = Vec::new();
    let mut undone: Vec<String> = Vec::new();
    for round in 0..ROUNDS {
        let (new_denied, new_undone) = one_round(&mut gateway, round);
        assert!(new_denied.len() + new_undone.len() >= ACKNOWLEDGED_A_ROUND);
        denied.extend(new_denied);
        undone.extend(new_undone);
        gateway = gateway.start_again();
        let mut connection = gateway.connect();
        for subject in &denied {
            assert_eq!(status(&mut connection, &issuer, subject), 401, "{subject}, round {round}");
        }
        for subject in &undone {
            assert_eq!(status(&mut connection, &issuer, subject), 200, "{subject}, round {round}");
        }
        assert_eq!(status(&mut connection, &issuer, "nobody-ever"), 200);
    }
    assert!(undone.len() > ROUNDS, "undo was part of it: {}", undone.len());
}

/// Several writers deny, and undo every third, until the process dies under them. What was
/// acknowledged is returned; for a subject whose undo was under way nothing is claimed.
fn one_round(gateway: &mut Gateway, round: usize) -> (Vec<String>, Vec<String>) {
    let acknowledged = Arc::new(Mutex::new((Vec::new(), Vec::new())));
    let admin = gateway.admin();
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let (admin, address) = (admin.clone(), gateway.admin_address.clone());
            let acknowledged = Arc::clone(&acknowledged);
            std::thread::spawn(move || {
                let mut connection = Connection::open(&address);
                for number in 0.. {
                    let subject = format!("r{round}-w{writer}-{number}");
                    let undo = number % 3 == 0;
                    let Some(id) = deny(&admin, &mut connection, &subject) else { return };
                    if !undo {
                        acknowledged.lock().unwrap().0.push(subject);
                    } else if undo_one(&admin, &mut connection, &id).is_some() {
                        acknowledged.lock().unwrap().1.push(subject);
                    } else {
                        return;
                    }
                }
            })
        })
        .collect();
    eventually("enough acknowledgements", || {
        let lists = acknowledged.lock().unwrap();
        (lists.0.len() + lists.1.len() >= ACKNOWLEDGED_A_ROUND).then_some(())
    });
    gateway.kill9();
    for writer in writers {
        writer.join().unwrap();
    }
    let lists = acknowledged.lock().unwrap();
    lists.clone()
}

/// The id once it is acknowledged; nothing when the process is gone.
fn deny(admin: &Admin, connection: &mut Connection, subject: &str) -> Option<String> {
    let body = json!({"subject": subject, "always": true, "reason": "crash test"});
    let answer = admin.try_call_on(connection, "POST", "/v1/denials", Some(&body))?;
    assert_eq!(answer.status, 201, "{}", answer.text());
    Some(answer.json()["id"].as_str().expect("an id").to_owned())
}

fn undo_one(admin: &Admin, connection: &mut Connection, id: &str) -> Option<()> {
    let path = format!("/v1/denials/{id}/undo");
    let answer = admin.try_call_on(connection, "POST", &path, Some(&json!({})))?;
    assert_eq!(answer.status, 200, "{}", answer.text());
    Some(())
}

fn status(connection: &mut Connection, issuer: &Issuer, subject: &str) -> u16 {
    let bearer = format!("Bearer {}", issuer.mint(subject));
    connection.get("/", &[("Authorization", &bearer)]).status
}

#[test]
fn a_second_gateway_on_the_same_store_refuses_to_start_and_says_why() {
    let issuer = Issuer::new("HS256");
    let gateway = Setup::simple(&issuer, &Upstream::new()).start();
    let output = run_to_end(program().arg("run").arg("-c").arg(gateway.config()));
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("denials.redb"), "{text}");
    assert_eq!(gateway.status(&issuer.mint("alice")), 200, "the first one goes on");
}

#[test]
fn a_damaged_store_is_refused_with_the_way_out_and_a_repair_brings_the_others_back() {
    let issuer = Issuer::new("ES256");
    let mut gateway = Setup::simple(&issuer, &Upstream::new()).start();
    for user in ["mallory", "victor-with-a-name-of-his-own"] {
        let blocked = gateway.command(&["block", "--user", user, "--reason", "fraud"], "");
        assert_eq!(blocked.status.code(), Some(0), "{blocked:?}");
    }
    let text = |output: &std::process::Output| {
        let (out, err) = (&output.stdout, &output.stderr);
        format!("{}{}", String::from_utf8_lossy(out), String::from_utf8_lossy(err))
    };
    let running = gateway.command(&["store", "check"], "");
    assert_eq!(running.status.code(), Some(1));
    assert!(text(&running).contains("a running gateway has"), "{}", text(&running));
    gateway.kill9();
    let whole = gateway.command(&["store", "check", "--json"], "");
    assert_eq!(whole.status.code(), Some(0), "{}", text(&whole));
    let whole: serde_json::Value = serde_json::from_slice(&whole.stdout).unwrap();
    assert_eq!((&whole["whole"], &whole["in_force"]), (&json!(true), &json!(2)));
    let export = gateway.command(&["store", "export"], "");
    assert_eq!(export.status.code(), Some(0));
    let export = String::from_utf8(export.stdout).unwrap();
    assert_eq!(export.lines().count(), 4, "{export}");
    assert!(export.contains(r#""subject":"mallory""#), "{export}");

    let store = find(gateway.dir(), "denials.redb").unwrap();
    let mut bytes = std::fs::read(&store).unwrap();
    let hit = b"victor-with-a-name-of-his-own";
    let places: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(hit)).collect();
    for at in places {
        bytes[at] = b'x';
    }
    std::fs::write(&store, &bytes).unwrap();
    assert_eq!(gateway.command(&["store", "check"], "").status.code(), Some(1));
    let refused = run_to_end(program().arg("run").arg("-c").arg(gateway.config()));
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused).contains("`portcullis store repair`"), "{}", text(&refused));
    let repaired = gateway.command(&["store", "repair"], "");
    assert_eq!(repaired.status.code(), Some(2), "one record is lost: {}", text(&repaired));
    assert_eq!(gateway.command(&["store", "check"], "").status.code(), Some(0));

    let gateway = gateway.start_again();
    let mut connection = gateway.connect();
    assert_eq!(status(&mut connection, &issuer, "mallory"), 401);
    assert_eq!(status(&mut connection, &issuer, "alice"), 200);
}

fn find(below: &std::path::Path, name: &str) -> Option<std::path::PathBuf> {
    std::fs::read_dir(below).unwrap().map(|entry| entry.unwrap().path()).find_map(|path| {
        if path.is_dir() { find(&path, name) } else { path.ends_with(name).then_some(path) }
    })
}
