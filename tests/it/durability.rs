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
