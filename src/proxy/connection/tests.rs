//! When a connection rests: it is idle, and nothing is under way on it.

use super::*;

fn limits() -> Limits {
    let text = "[[upstream]]\nname = \"app\"\nservers = [\"http://127.0.0.1:1\"]\n\
                [[route]]\npath = \"/\"\naccess = \"public\"\nupstream = \"app\"\n";
    let path = std::path::Path::new("gateway.toml");
    crate::config::parse(text, path, &|_| None).unwrap().config.server.limits
}

fn idle() -> Connection {
    let connection = Connection::new(Peer::Unknown, Arc::default(), None);
    connection.answer_in_turn();
    connection.begin_request();
    connection.end_request();
    connection
}

fn later(connection: &Connection) -> bool {
    connection.examine(Instant::now() + REST_AFTER, &limits(), |_| {});
    connection.may_rest()
}

#[test]
fn an_idle_connection_may_rest_and_is_told_once() {
    let connection = idle();
    connection.examine(Instant::now(), &limits(), |_| {});
    assert!(!connection.may_rest(), "not at once");
    assert!(later(&connection));
    assert!(!connection.may_rest());
}

#[test]
fn a_connection_with_something_under_way_does_not_rest() {
    let connection = idle();
    connection.begin_request();
    assert!(!later(&connection), "a request");

    let connection = idle();
    connection.activity.reads.store(1, Ordering::Relaxed);
    assert!(!later(&connection), "part of a request");

    let (connection, body) = (idle(), Rc::default());
    connection.receives(&body);
    assert!(!later(&connection), "what would be read as a request");
    drop(body);
    assert!(later(&connection));

    let connection = idle();
    connection.activity.stalls.store(1, Ordering::Relaxed);
    assert!(!later(&connection), "an answer that is not taken");

    let connection = idle();
    connection.examine(Instant::now() + REST_AFTER, &limits(), |_| {});
    connection.activity.reads.store(1, Ordering::Relaxed);
    assert!(!connection.may_rest(), "what came since the sweeper looked");

    let connection = idle();
    connection.multiplex(1);
    connection.in_turn.set(false);
    assert!(!later(&connection), "HTTP/2");
}
