//! Many WebSockets of many users, one user denied at a time, then everybody: `address`, `admin`,
//! `admin_token`, `secret`, `sockets`, `users`, `rounds`, `pause_ms` (between denials),
//! `echoes_per_second`.
//!
//! What must hold is asserted here: a denied user's sockets end, all with code 1008, nobody else's
//! does, and no echo of anybody else is lost. Times are told as they are; `streams.py` judges them.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::spawn_local;

use super::admin::{Admin, Call};
use super::crowd_socket::{Ends, Socket};
use super::figures::distribution;
use super::wire::Place;
use super::{Arguments, tokens};

const MAIN: &str = "https://main.example.com/";
const OTHER: &str = "https://other.example.com/";
/// Who speaks at the same time, each with one socket after the other.
const SPEAKERS: usize = 64;
/// After this a socket that should have ended has not.
const PATIENCE: Duration = Duration::from_secs(30);
/// What is measured before anybody is denied.
const BEFORE: Duration = Duration::from_secs(5);

/// Something that was begun then and took so long.
type Sample = (Instant, Duration);

struct Crowd {
    sockets: Vec<Rc<Socket>>,
    users: usize,
    ends: Rc<Ends>,
    /// Users below it have been denied.
    denied: Cell<usize>,
    echoes: RefCell<Vec<Sample>>,
    lost: Cell<usize>,
    stop: Cell<bool>,
}

pub async fn run(arguments: &Arguments) {
    let crowd = Rc::new(gather(arguments).await);
    eprintln!("  {} sockets are open", crowd.sockets.len());
    let mut admin = Admin::of(arguments).await;
    let speakers = speak(&crowd, arguments.number("echoes_per_second"));
    let one_by_one = deny_users(&crowd, &mut admin, arguments).await;
    crowd.stop.set(true);
    for speaker in speakers {
        speaker.await.unwrap();
    }
    let still = everyone_left_echoes(&crowd).await;
    let everybody = cut_all(&crowd, &mut admin, arguments).await;
    println!(
        "{}",
        json!({
            "sockets": crowd.sockets.len(), "users": crowd.users, "one_by_one": one_by_one,
            "echo_afterwards": still, "everybody": everybody,
        })
    );
}

async fn gather(arguments: &Arguments) -> Crowd {
    let place = Rc::new(Place::of(arguments));
    let (sockets, users): (usize, usize) = (arguments.number("sockets"), arguments.number("users"));
    let (ends, turns) = (Rc::<Ends>::default(), Rc::new(Semaphore::new(64)));
    let opening: Vec<_> = (0..sockets)
        .map(|number| {
            let (user, secret) = (number % users, arguments.text("secret").to_owned());
            let (place, turns, ends) = (Rc::clone(&place), Rc::clone(&turns), Rc::clone(&ends));
            spawn_local(async move {
                let _turn = turns.acquire().await.unwrap();
                let (name, session) = (format!("user-{user}"), format!("session-{number}"));
                let mut connection = place.connect().await;
                connection.upgrade(&tokens::mint(&secret, MAIN, &name, &session)).await;
                Socket::watched(user, connection, &ends)
            })
        })
        .collect();
    let mut sockets = Vec::new();
    for one in opening {
        sockets.push(one.await.expect("each socket is opened"));
    }
    Crowd {
        sockets,
        users,
        ends,
        denied: Cell::new(0),
        echoes: RefCell::default(),
        lost: Cell::new(0),
        stop: Cell::new(false),
    }
}

/// Echoes on all sockets in turn, at an even rate, of users that are not denied.
fn speak(crowd: &Rc<Crowd>, per_second: usize) -> Vec<tokio::task::JoinHandle<()>> {
    let pause = Duration::from_secs_f64(SPEAKERS as f64 / per_second as f64);
    (0..SPEAKERS)
        .map(|speaker| {
            let crowd = Rc::clone(crowd);
            spawn_local(async move {
                let mut clock = tokio::time::interval(pause);
                clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
                let mut at = speaker;
                while !crowd.stop.get() {
                    clock.tick().await;
                    let socket = &crowd.sockets[at % crowd.sockets.len()];
                    at += SPEAKERS;
                    if socket.user < crowd.denied.get() {
                        continue;
                    }
                    let begun = Instant::now();
                    match socket.echo().await {
                        Some(took) => crowd.echoes.borrow_mut().push((begun, took)),
                        // It may have been denied meanwhile.
                        None if socket.user < crowd.denied.get() => {}
                        None => crowd.lost.set(crowd.lost.get() + 1),
                    }
                }
            })
        })
        .collect()
}

async fn deny_users(crowd: &Crowd, admin: &mut Admin, arguments: &Arguments) -> Value {
    let pause = Duration::from_millis(arguments.number("pause_ms"));
    let rounds: usize = arguments.number("rounds");
    tokio::time::sleep(BEFORE).await;
    let (mut after, mut since, mut calls) = (Vec::new(), Vec::new(), Vec::<Call>::new());
    for user in 0..rounds {
        crowd.denied.set(user + 1);
        let name = format!("user-{user}");
        let denial = json!({ "issuer": "main", "user": name, "reason": "benchmark" });
        let call = admin.revoke(&denial).await;
        let mine: Vec<_> = crowd.sockets.iter().skip(user).step_by(crowd.users).collect();
        wait(crowd, || mine.iter().all(|socket| socket.end.get().is_some())).await;
        for socket in &mine {
            let end = socket.end.get().unwrap();
            assert_eq!(end.code, Some(1008), "how a denied socket of user {user} ended");
            after.push(end.at.saturating_duration_since(call.acknowledged));
            since.push(end.at.saturating_duration_since(call.begun));
        }
        calls.push(call);
        tokio::time::sleep(pause).await;
        let expected = crowd.sockets.iter().filter(|socket| socket.user <= user).count();
        assert_eq!(crowd.ends.count.get(), expected, "ended sockets after {user} was denied");
    }
    assert_eq!(crowd.lost.get(), 0, "echoes of others that were lost");
    let echoes = crowd.echoes.borrow();
    let (first, last) = (calls[0].begun, calls[calls.len() - 1].acknowledged);
    let of = |wanted: &dyn Fn(Instant) -> bool| {
        distribution(echoes.iter().filter(|(at, _)| wanted(*at)).map(|(_, took)| *took).collect())
    };
    json!({
        "rounds": rounds,
        "seconds": (last - first).as_secs_f64(),
        "acknowledged_after": distribution(calls.iter().map(|call| call.acknowledged - call.begun).collect()),
        "from_acknowledgement": distribution(after),
        "from_request": distribution(since),
        "echo_before": of(&|at| at < first),
        "echo_meanwhile": of(&|at| at >= first && at <= last),
    })
}

async fn wait(crowd: &Crowd, holds: impl Fn() -> bool) {
    let waiting = async {
        loop {
            let changed = crowd.ends.changed.notified();
            if holds() {
                return;
            }
            changed.await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("the denied sockets end");
}

/// All that were not denied, one after the other.
async fn everyone_left_echoes(crowd: &Crowd) -> usize {
    let left: Vec<_> = crowd.sockets.iter().filter(|one| one.user >= crowd.denied.get()).collect();
    for socket in &left {
        assert!(socket.echo().await.is_some(), "a socket of user {} is silent", socket.user);
    }
    left.len()
}

/// Everybody of one issuer is denied, while another issuer's requests go on.
async fn cut_all(crowd: &Crowd, admin: &mut Admin, arguments: &Arguments) -> Value {
    let (requests, stop) = (Rc::new(RefCell::new(Vec::<Sample>::new())), Rc::new(Cell::new(false)));
    let mut askers = Vec::new();
    for number in 0..4 {
        let mut connection = Place::of(arguments).connect().await;
        let token = tokens::mint(arguments.text("secret"), OTHER, "neighbour", "n");
        let request =
            format!("GET / HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n");
        let (requests, stop) = (Rc::clone(&requests), Rc::clone(&stop));
        askers.push(spawn_local(async move {
            while !stop.get() {
                let begun = Instant::now();
                let (status, _) = connection.ask(&request).await;
                assert_eq!(status, 200, "another issuer's request, asker {number}");
                requests.borrow_mut().push((begun, begun.elapsed()));
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }));
    }
    tokio::time::sleep(BEFORE).await;
    let before = crowd.ends.count.get();
    let everyone = json!({ "issuer": "main", "everyone": true, "reason": "benchmark" });
    let call = admin.revoke(&everyone).await;
    wait(crowd, || crowd.ends.count.get() == crowd.sockets.len()).await;
    let ends: Vec<_> = crowd.sockets.iter().filter_map(|socket| socket.end.get()).collect();
    let cut: Vec<_> = ends.iter().filter(|end| end.at >= call.begun).collect();
    assert!(ends.iter().all(|end| end.code == Some(1008)), "everybody ends with 1008");
    let last = cut.iter().map(|end| end.at).max().unwrap_or(call.acknowledged);
    stop.set(true);
    for asker in askers {
        asker.await.expect("the neighbours' requests are answered");
    }
    let requests = requests.borrow();
    let of = |wanted: &dyn Fn(&Sample) -> bool| {
        distribution(requests.iter().filter(|one| wanted(one)).map(|(_, took)| *took).collect())
    };
    json!({
        "ended": crowd.sockets.len() - before,
        "acknowledged_after_ms": (call.acknowledged - call.begun).as_secs_f64() * 1e3,
        "from_request": distribution(cut.iter().map(|end| end.at - call.begun).collect()),
        "neighbours_before": of(&|(at, _)| *at < call.begun),
        "neighbours_meanwhile": of(&|(at, took)| *at <= last && *at + *took >= call.begun),
    })
}
