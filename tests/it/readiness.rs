//! `ready_path`: what a load balancer learns at the public listeners, and what nobody else does.

use std::sync::{Mutex, mpsc};

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{
    Authority, Connection, Gateway, Http2, Issuer, Setup, Upstream, eventually, program, run_to_end,
};

const READY: &str = "ready_path = \"/.ready\"";

fn start(upstream: &Upstream, server: &str) -> Gateway {
    Setup::simple(&Issuer::new("HS256"), upstream).server(server).start()
}

fn is_ready(connection: &mut Connection) -> bool {
    let answer = connection.get("/.ready", &[]);
    let known = ["content-type", "cache-control", "content-length", "date"];
    let told = answer.headers.iter().map(|(name, _)| name.to_ascii_lowercase());
    let more: Vec<String> = told.filter(|name| !known.contains(&name.as_str())).collect();
    assert!(more.is_empty(), "{more:?}");
    match (answer.status, answer.text().as_str()) {
        (200, "ready\n") => true,
        (503, "not ready\n") => false,
        other => panic!("{other:?}"),
    }
}

#[test]
fn readiness_is_told_where_the_config_says_so_and_nothing_else_is() {
    let upstream = Upstream::new();
    let off = start(&upstream, "");
    assert_eq!(off.get("/.ready", &[]).status, 401, "a page like any other");
    let gateway = start(&upstream, READY);
    assert!(is_ready(&mut gateway.connect()));
    for (target, headers) in
        [("/.ready?a=b", ("Host", "10.0.0.1")), ("/.ready", ("Authorization", "Bearer x.y.z"))]
    {
        assert_eq!(gateway.get(target, &[headers]).text(), "ready\n");
    }
    let head = gateway.connect().request("HEAD", "/.ready", &[], b"");
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(Http2::open(&gateway.address).get("/.ready", &[]).body, b"ready\n");
    for other in ["/.ready/", "/.ready/x", "/.READY", "/.read%79"] {
        assert_eq!(gateway.get(other, &[]).status, 401, "{other}");
    }
    let post = gateway.connect().request("POST", "/.ready", &[], b"hello");
    assert_eq!((post.status, post.header("allow")), (405, Some("GET, HEAD")));
    assert_eq!(upstream.begun(), 0);
    // Probes leave no line; what is no probe does.
    let refused = gateway.get("/last", &[]);
    gateway.access_line(refused.header("x-request-id").unwrap());
    let paths = gateway.access_log();
    let probes = paths.iter().filter(|line| line["path"] == "/.ready" && line["status"] != 405);
    assert_eq!(probes.count(), 0, "{paths:?}");
}

#[test]
fn a_gateway_that_only_sheds_is_ready_and_one_that_drains_is_not() {
    let (go, going) = mpsc::channel::<()>();
    let going = Mutex::new(going);
    let upstream = Upstream::answering(move |exchange| {
        going.lock().unwrap().recv().unwrap();
        exchange.echo();
    });
    let gateway = Setup::new()
        .upstream("app", &upstream, "")
        .route("/", "access = \"public\"")
        .server(&format!("{READY}\ndrain_delay = \"1h\"\nthreads = 1\nlimits.requests_max = 1"))
        .start();
    let mut held = [gateway.connect(), gateway.connect()];
    held.iter_mut().for_each(|held| held.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    eventually("one of them is under way", || (upstream.begun() == 1).then_some(()));
    assert_eq!(gateway.get("/", &[]).status, 503);
    let mut probes = gateway.connect();
    assert!(is_ready(&mut probes));
    gateway.signal(Signal::TERM);
    eventually("it is not ready", || (!is_ready(&mut probes)).then_some(()));
    assert!(!is_ready(&mut gateway.connect()));
    for mut held in held {
        go.send(()).unwrap();
        let _ = held.answer_to("GET");
    }
}

#[test]
fn the_listener_that_only_redirects_tells_it_too() {
    let authority = Authority::new();
    let setup = Setup::simple(&Issuer::new("HS256"), &Upstream::new()).server(READY).server(
        "tls.certificates = [{ chain = \"a.pem\", key = \"a.key\" }]\nredirect_from = \"127.0.0.1:0\"",
    );
    authority.issue(&["a.example"]).write(setup.dir(), "a");
    let gateway = setup.start();
    let ready: Value = serde_json::from_str(&gateway.stdout.all()[0]).unwrap();
    let plain = ready["listen"][1].as_str().unwrap().strip_prefix("http://").unwrap();
    assert_eq!(Connection::open(plain).get("/.ready", &[]).text(), "ready\n");
    assert_eq!(Connection::open(plain).get("/", &[]).status, 308);
    let mut secured = authority.client().connect(&gateway, "a.example").unwrap();
    assert!(is_ready(&mut secured.connection));
}

#[test]
fn a_route_that_it_would_shadow_is_a_mistake() {
    let check = |route: &str| {
        let setup = Setup::new().upstream("app", &Upstream::new(), "").server(READY);
        let (_dir, path) = setup
            .route("/", "access = \"public\"")
            .tables(&format!("[[route]]\n{route}\naccess = \"public\"\nupstream = \"app\"\n"))
            .write();
        let output = run_to_end(program().arg("check").arg("-c").arg(path));
        let both = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(both).unwrap())
    };
    let (passes, said) = check("path_exact = \"/.ready\"");
    assert!(!passes && said.contains("error[C050]") && said.contains("ready_path"), "{said}");
    let (passes, said) = check("path = \"/.ready/\"");
    assert!(passes && said.contains("ready_path"), "{said}");
    let (passes, said) = check("path = \"/.readyz\"");
    assert!(passes && !said.contains("ready_path"), "{said}");
}
