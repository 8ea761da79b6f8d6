//! "Change the secret": what each way of it does to tokens, to open streams and after a restart, and
//! whom it leaves alone.

use crate::support::{Connection, Gateway, Issuer, Key, Setup, Upstream, eventually};

fn issuer(kid: Option<&str>) -> Issuer {
    Issuer { kid: kid.map(str::to_owned), ..Issuer::new("HS256") }
}

/// The issuer with another secret.
fn changed(issuer: &Issuer, kid: Option<&str>) -> Issuer {
    Issuer { key: issuer.key.other(), kid: kid.map(str::to_owned), ..issuer.clone() }
}

fn secret(issuer: &Issuer) -> String {
    let Key::Secret(secret) = &issuer.key else { unreachable!("a secret") };
    String::from_utf8(secret.to_vec()).unwrap()
}

fn upstream() -> Upstream {
    Upstream::answering(|exchange| {
        if exchange.received.target == "/events" {
            exchange.send(
                "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
                 Transfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n",
            );
            let _ = exchange.connection.rest();
        } else {
            exchange.answer("200 OK", "", "ok");
        }
    })
}

fn setup(issuer: &Issuer, keys: &str) -> Setup {
    Setup::new().issuer_with_keys(issuer, keys, "").upstream("app", &upstream(), "")
}

/// An event stream that has begun.
fn open(gateway: &Gateway, token: &str) -> Connection {
    let mut connection = gateway.connect();
    connection
        .send(format!("GET /events HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n"));
    assert_eq!(connection.head().unwrap().0, 200);
    connection.through(b"\n\n\r\n").unwrap();
    connection
}

/// It was broken off, and does not look whole.
fn is_cut(mut stream: Connection) {
    if let Ok(rest) = stream.rest() {
        assert!(!rest.ends_with(b"0\r\n\r\n"), "{rest:?}");
    }
}

fn cuts(gateway: &Gateway) -> usize {
    gateway.access_log().iter().filter(|line| line["verdict"] == "cut").count()
}

fn reload(gateway: &Gateway) {
    let output = gateway.command(&["reload"], "");
    assert!(output.status.success(), "{output:?}");
}

fn rewrite(gateway: &Gateway, from: &str, to: &str) {
    let text = std::fs::read_to_string(gateway.config()).unwrap();
    assert!(text.contains(from), "{text}");
    std::fs::write(gateway.config(), text.replace(from, to)).unwrap();
    reload(gateway);
}

#[test]
fn another_secret_in_its_file_logs_everybody_out_and_cuts_what_is_open() {
    let old = issuer(None);
    let new = changed(&old, None);
    let gateway =
        setup(&old, "{ secret_file = \"jwt.secret\" }").file("jwt.secret", &secret(&old)).start();
    let token = old.mint("alice");
    assert_eq!(gateway.status(&token), 200);
    let stream = open(&gateway, &token);
    std::fs::write(gateway.dir().join("jwt.secret"), secret(&new)).unwrap();
    reload(&gateway);
    assert_eq!(gateway.status(&token), 401);
    is_cut(stream);
    assert_eq!(gateway.status(&new.mint("alice")), 200);
}

#[test]
fn one_of_two_secrets_is_retired_and_only_its_tokens_end() {
    let old = issuer(Some("old"));
    let new = changed(&old, Some("new"));
    let both = "old = { file = \"old.secret\" }, new = { file = \"new.secret\" }";
    let gateway = setup(&old, &format!("{{ secrets = {{ {both} }} }}"))
        .file("old.secret", &secret(&old))
        .file("new.secret", &secret(&new))
        .start();
    let (first, second) = (old.mint("alice"), new.mint("bob"));
    assert_eq!((gateway.status(&first), gateway.status(&second)), (200, 200));
    let (alice, bob) = (open(&gateway, &first), open(&gateway, &second));
    rewrite(&gateway, both, "new = { file = \"new.secret\" }");
    assert_eq!((gateway.status(&first), gateway.status(&second)), (401, 200));
    is_cut(alice);
    eventually("one cut, and only one", || (cuts(&gateway) == 1).then_some(()));
    drop(bob);
    // Put back, it counts again: removing is no denial.
    rewrite(&gateway, "new = { file = \"new.secret\" }", both);
    assert_eq!(gateway.status(&first), 200);
}

#[test]
fn a_denied_secret_stays_denied_after_a_restart_and_under_another_name() {
    let leaked = issuer(Some("app-1"));
    let other = changed(&leaked, Some("app-2"));
    let two = "app-1 = { file = \"1.secret\" }, app-2 = { file = \"2.secret\" }";
    let gateway = setup(&leaked, &format!("{{ secrets = {{ {two} }} }}"))
        .file("1.secret", &secret(&leaked))
        .file("2.secret", &secret(&other))
        .start();
    let (token, neighbour) = (leaked.mint("alice"), other.mint("bob"));
    assert_eq!((gateway.status(&token), gateway.status(&neighbour)), (200, 200));
    let stream = open(&gateway, &token);
    let output = gateway.command(&["block", "--key", "app-1", "--reason", "leaked"], "");
    assert!(output.status.success(), "{output:?}");
    is_cut(stream);
    let denied = |gateway: &Gateway, token: &str| {
        let answer = gateway.get_with("/", token);
        assert_eq!((answer.status, answer.code().as_str()), (401, "token_revoked"));
    };
    denied(&gateway, &token);
    denied(&gateway, &leaked.mint("what a thief makes now"));
    assert_eq!(gateway.status(&neighbour), 200);
    let gateway = gateway.restart();
    denied(&gateway, &token);
    // Given again under another name it is the same secret.
    rewrite(&gateway, "app-1 = {", "app-3 = {");
    denied(&gateway, &leaked.token("alice").header("kid", "app-3").mint());
    assert_eq!(gateway.status(&token), 401, "nothing has the old name");
    // Another secret under the old name is another one.
    let fresh = changed(&leaked, Some("app-1"));
    std::fs::write(gateway.dir().join("1.secret"), secret(&fresh)).unwrap();
    rewrite(&gateway, "app-3 = {", "app-1 = {");
    assert_eq!(gateway.status(&fresh.mint("alice")), 200);
    assert_eq!(gateway.status(&token), 401);
}

#[test]
fn a_secret_that_is_bound_to_a_client_from_now_on_ends_the_tokens_of_others() {
    let issuer = issuer(Some("a"));
    let gateway = setup(&issuer, "{ secrets = { a = { file = \"a.secret\" } } }")
        .file("a.secret", &secret(&issuer))
        .start();
    let of = |client: &str| issuer.token("svc").claim("client_id", client).mint();
    let (one, two) = (of("one"), of("two"));
    assert_eq!((gateway.status(&one), gateway.status(&two)), (200, 200));
    let (first, second) = (open(&gateway, &one), open(&gateway, &two));
    rewrite(&gateway, "file = \"a.secret\"", "file = \"a.secret\", client = \"one\"");
    assert_eq!((gateway.status(&one), gateway.status(&two)), (200, 401));
    is_cut(second);
    eventually("one cut, and only one", || (cuts(&gateway) == 1).then_some(()));
    drop(first);
}

#[test]
fn a_directory_of_secrets_binds_each_client_to_the_secret_of_its_name() {
    let one = issuer(Some("one"));
    let two = changed(&one, Some("two"));
    let with = |keys: &str| {
        setup(&one, keys)
            .file("clients/one.secret", &secret(&one))
            .file("clients/two", &secret(&two))
            .start()
    };
    let of = |issuer: &Issuer, client: &str| issuer.token("svc").claim("client_id", client).mint();
    let bound = with("{ secrets_dir = \"clients\", client = \"kid\" }");
    assert_eq!(bound.status(&of(&one, "one")), 200);
    assert_eq!(bound.status(&of(&two, "two")), 200);
    assert_eq!(bound.status(&of(&one, "two")), 401);
    assert_eq!(bound.status(&one.mint("svc")), 401, "a token that names no client");
    let free = with("{ secrets_dir = \"clients\" }");
    assert_eq!(free.status(&of(&one, "two")), 200);
    assert_eq!(free.status(&one.mint("svc")), 200);
}
