//! HTTP/1.1 in both directions: what leaves one side arrives at the other, and connections are
//! kept, reused and given up when they should be.

use std::sync::mpsc;
use std::time::Duration;

use crate::support::{Connection, Gateway, Issuer, Setup, Upstream, eventually};

/// A public route, since nothing here is about tokens.
fn open_gateway(upstream: &Upstream) -> Gateway {
    Setup::new()
        .issuer(&Issuer::new("HS256"), "")
        .upstream("app", upstream, "")
        .route("/", "access = \"public\"")
        .start()
}

#[test]
fn connections_are_kept_on_both_sides() {
    let upstream = Upstream::new();
    let gateway = open_gateway(&upstream);
    let mut connection = gateway.connect();
    for number in 0..20 {
        let answer = connection.get(&format!("/{number}"), &[]);
        assert_eq!(
            (answer.status, answer.json()["target"].as_str()),
            (200, Some(format!("/{number}").as_str()))
        );
    }
    assert_eq!(upstream.connections(), 1, "one upstream connection for requests in a row");
    assert!(upstream.received().iter().all(|received| received.connection == 0));
    // Another client connection may live on another core, but never needs one each time.
    for _ in 0..20 {
        assert_eq!(gateway.get("/", &[]).status, 200);
    }
    assert!(upstream.connections() <= 10, "{}", upstream.connections());
}

#[test]
fn requests_sent_ahead_are_answered_in_order() {
    let upstream = Upstream::new();
    let gateway = open_gateway(&upstream);
    let mut connection = gateway.connect();
    let requests: String =
        (0..10).map(|n| format!("GET /{n} HTTP/1.1\r\nHost: a.example\r\n\r\n")).collect();
    connection.send(requests);
    for number in 0..10 {
        assert_eq!(connection.answer().json()["target"], format!("/{number}"));
    }
}

#[test]
fn an_answer_does_not_wait_for_the_rest_of_the_next_request() {
    let gateway = open_gateway(&Upstream::new());
    let mut connection = gateway.connect();
    connection.send("GET /one HTTP/1.1\r\nHost: a\r\n\r\nGET /two HTTP/1.1\r\nHo");
    assert_eq!(connection.answer().json()["target"], "/one");
    connection.send("st: a\r\n\r\n");
    assert_eq!(connection.answer().json()["target"], "/two");
}

#[test]
fn an_answer_is_not_lost_when_garbage_follows_the_request() {
    let gateway = open_gateway(&Upstream::new());
    let mut connection = gateway.connect();
    connection.send("GET /one HTTP/1.1\r\nHost: a\r\n\r\n\u{1}\u{2}\r\n\r\n");
    assert_eq!(connection.answer().json()["target"], "/one");
    assert_eq!(connection.answer().status, 400);
    connection.assert_closed();
}

#[test]
fn http_1_0_and_connection_close_end_the_connection() {
    let gateway = open_gateway(&Upstream::new());
    let mut connection = gateway.connect();
    connection.send("GET / HTTP/1.0\r\nHost: a.example\r\n\r\n");
    assert_eq!(connection.answer().status, 200);
    connection.assert_closed();
    let mut connection = gateway.connect();
    assert_eq!(connection.get("/", &[("Connection", "close")]).status, 200);
    connection.assert_closed();
}

#[test]
fn a_body_with_a_length_and_a_chunked_one_arrive_whole() {
    let upstream = Upstream::new();
    let gateway = open_gateway(&upstream);
    let body: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
    let mut connection = gateway.connect();
    assert_eq!(connection.request("POST", "/length", &[], &body).status, 200);
    let received = upstream.last();
    assert!(received.body == body && received.complete);
    assert_eq!(received.header("content-length"), Some("300000"));

    let mut request =
        b"POST /chunked HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
            .to_vec();
    for chunk in body.chunks(7001) {
        request.extend(format!("{:x};ext=1\r\n", chunk.len()).bytes());
        request.extend(chunk);
        request.extend(b"\r\n");
    }
    request.extend(b"0\r\nX-Sum: 42\r\n\r\n");
    connection.send(request);
    assert_eq!(connection.answer().status, 200);
    let received = upstream.last();
    assert!(received.body == body && received.complete);
    assert_eq!(received.header("content-length"), None);
    let trailers: Vec<_> = received.trailers.into_iter().map(lower).collect();
    assert_eq!(trailers, [("x-sum".to_owned(), "42".to_owned())]);
}

fn lower((name, value): (String, String)) -> (String, String) {
    (name.to_ascii_lowercase(), value)
}

#[test]
fn answers_with_length_chunks_trailers_or_until_close_arrive_as_they_were() {
    let upstream = Upstream::answering(|exchange| {
        match exchange.received.target.as_str() {
        "/length" => exchange.answer("200 OK", "X-A: 1\r\nX-A: 2\r\n", "hello"),
        "/chunked" => exchange.send(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nX-Sum: 5\r\n\r\n",
        ),
        "/close" => {
            exchange.send("HTTP/1.1 200 OK\r\n\r\nuntil the end");
            exchange.close();
        }
        "/empty" => exchange.send("HTTP/1.1 204 No Content\r\n\r\n"),
        "/old" => {
            exchange.send("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok");
            exchange.close();
        }
        _ => exchange.answer("404 Not Found", "", "no"),
    }
    });
    let gateway = open_gateway(&upstream);
    let mut connection = gateway.connect();
    let answer = connection.get("/length", &[]);
    assert_eq!((answer.text().as_str(), answer.header("content-length")), ("hello", Some("5")));
    assert_eq!(answer.all("x-a"), ["1", "2"]);
    let answer = connection.get("/chunked", &[("TE", "trailers")]);
    assert_eq!(answer.text(), "abcde");
    let trailers: Vec<_> = answer.trailers.into_iter().map(lower).collect();
    assert_eq!(trailers, [("x-sum".to_owned(), "5".to_owned())]);
    assert_eq!(connection.get("/close", &[]).text(), "until the end");
    assert_eq!(gateway.get("/empty", &[]).status, 204);
    assert_eq!(gateway.get("/old", &[]).text(), "ok");
    assert_eq!(gateway.get("/none", &[]).status, 404);
}

#[test]
fn head_has_the_fields_and_no_body() {
    let upstream = Upstream::answering(|exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 4096\r\nETag: \"x\"\r\n\r\n");
    });
    let gateway = open_gateway(&upstream);
    let mut connection = gateway.connect();
    for _ in 0..3 {
        let answer = connection.request("HEAD", "/", &[], b"");
        assert_eq!((answer.status, answer.header("content-length")), (200, Some("4096")));
    }
    assert_eq!(upstream.connections(), 1, "the upstream connection is still in step");
}

#[test]
fn a_refused_head_has_no_body() {
    let gateway = Setup::simple(&Issuer::new("HS256"), &Upstream::new()).start();
    let mut connection = gateway.connect();
    assert_eq!(connection.request("HEAD", "/", &[], b"").status, 401);
    let get = connection.get("/", &[]);
    assert_eq!((get.status, get.code().as_str()), (401, "token_missing"));
}

#[test]
fn an_upload_streams_before_it_is_whole_and_waits_for_the_backend() {
    let (released, release) = mpsc::channel::<()>();
    let release = std::sync::Mutex::new(release);
    let upstream = Upstream::answering(move |exchange| {
        // Read nothing until the test has seen that the sender is held back.
        release.lock().unwrap().recv().unwrap();
        exchange.read_body();
        exchange.answer("200 OK", "", "done");
    });
    let gateway = open_gateway(&upstream);
    let mut connection = gateway.connect();
    // Far more than two sockets' buffers hold.
    let total = 512 * 1024 * 1024;
    connection.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {total}\r\n\r\n"));
    let chunk = vec![7_u8; 256 * 1024];
    connection.send(&chunk);
    eventually("the head is there before the body is", || (upstream.begun() == 1).then_some(()));
    // With nobody reading, only what fits into buffers can be sent.
    connection.write_patience(Duration::from_millis(500));
    let mut sent = chunk.len();
    while sent < total && connection.try_send(&chunk).is_ok() {
        sent += chunk.len();
    }
    assert!(sent < total / 2, "{sent} bytes were taken while the backend read none");
    released.send(()).unwrap();
}

#[test]
fn a_whole_large_upload_arrives_once_the_backend_reads() {
    let upstream = Upstream::new();
    let gateway = open_gateway(&upstream);
    let body = vec![7_u8; 16 * 1024 * 1024];
    let answer = gateway.connect().request("PUT", "/", &[], &body);
    assert_eq!(answer.json()["body_bytes"], body.len());
}

#[test]
fn a_download_streams_before_it_is_whole() {
    let (released, release) = mpsc::channel::<()>();
    let release = std::sync::Mutex::new(release);
    let upstream = Upstream::answering(move |exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n8\r\ndata: 1\n\r\n");
        release.lock().unwrap().recv().unwrap();
        exchange.send("8\r\ndata: 2\n\r\n0\r\n\r\n");
    });
    let gateway = open_gateway(&upstream);
    let mut connection = gateway.connect();
    connection.send("GET /events HTTP/1.1\r\nHost: a\r\n\r\n");
    let (status, _, _) = connection.head().unwrap();
    assert_eq!(status, 200);
    // The first event is here while the answer is still open.
    connection.through(b"data: 1\n\r\n").unwrap();
    released.send(()).unwrap();
    connection.through(b"data: 2\n\r\n0\r\n\r\n").unwrap();
}

#[test]
fn a_download_waits_for_the_client() {
    // Far more than two sockets' buffers hold.
    let total = 512 * 1024 * 1024;
    let (stuck, is_stuck) = mpsc::channel::<usize>();
    let upstream = Upstream::answering(move |exchange| {
        exchange.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {total}\r\n\r\n"));
        exchange.connection.write_patience(Duration::from_millis(500));
        let chunk = vec![7_u8; 256 * 1024];
        let mut sent = 0;
        while sent < total && exchange.connection.try_send(&chunk).is_ok() {
            sent += chunk.len();
        }
        let _ = stuck.send(sent);
        exchange.close();
    });
    let gateway = open_gateway(&upstream);
    let mut connection = gateway.connect();
    connection.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    connection.head().unwrap();
    let sent = is_stuck.recv_timeout(Duration::from_secs(20)).unwrap();
    assert!(sent < total / 2, "{sent} bytes were taken while the client read none");
}

#[test]
fn expect_100_continue_is_answered_before_the_body_is_sent() {
    let upstream = Upstream::new();
    let gateway = open_gateway(&upstream);
    let mut connection = gateway.connect();
    connection
        .send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    assert_eq!(connection.head().unwrap().0, 100);
    connection.send("hello");
    let answer = connection.answer();
    assert_eq!((answer.status, upstream.last().body.as_slice()), (200, b"hello".as_slice()));
}

#[test]
fn a_refused_request_that_expects_100_gets_its_refusal_and_no_100() {
    let gateway = Setup::simple(&Issuer::new("HS256"), &Upstream::new()).start();
    let mut connection = gateway.connect();
    connection
        .send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    let answer = connection.answer();
    assert_eq!((answer.status, answer.informational.as_slice()), (401, [].as_slice()));
    // The body never comes: the connection is of no further use.
    connection.assert_closed();
}

#[test]
fn informational_answers_do_not_stand_for_the_final_one() {
    let upstream = Upstream::answering(|exchange| {
        exchange.send(
            "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n",
        );
        exchange.answer("200 OK", "", "final");
    });
    let gateway = open_gateway(&upstream);
    let mut connection = gateway.connect();
    for _ in 0..2 {
        assert_eq!(connection.get("/", &[]).text(), "final");
    }
}

#[test]
fn the_hop_by_hop_fields_of_an_answer_stay_behind() {
    let upstream = Upstream::answering(|exchange| {
        exchange.answer(
            "200 OK",
            "Connection: X-Secret, keep-alive\r\nX-Secret: 1\r\nKeep-Alive: timeout=9\r\nProxy-Authenticate: Basic\r\nX-Public: 2\r\n",
            "ok",
        );
    });
    let answer = open_gateway(&upstream).get("/", &[]);
    for name in ["x-secret", "keep-alive", "proxy-authenticate"] {
        assert_eq!(answer.header(name), None, "{name}");
    }
    assert_eq!(answer.header("x-public"), Some("2"));
}

#[test]
fn an_answer_before_the_whole_upload_reaches_the_client() {
    let upstream = Upstream::answering(|exchange| {
        exchange.send(
            "HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 3\r\n\r\nbig",
        );
        exchange.close();
    });
    let gateway = open_gateway(&upstream);
    let mut connection = gateway.connect();
    connection.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nfirst");
    let answer = connection.answer();
    assert_eq!((answer.status, answer.text().as_str()), (413, "big"));
}

#[test]
fn several_servers_share_the_requests() {
    let (one, two) = (Upstream::new(), Upstream::new());
    let gateway = Setup::new()
        .issuer(&Issuer::new("HS256"), "")
        .tables(&format!(
            "[[upstream]]\nname = \"app\"\nservers = [\"{}\", \"{}\"]",
            one.url(),
            two.url()
        ))
        .tables("[[route]]\npath = \"/\"\naccess = \"public\"\nupstream = \"app\"")
        .start();
    for _ in 0..20 {
        assert_eq!(gateway.get("/", &[]).status, 200);
    }
    assert!(one.begun() > 0 && two.begun() > 0, "{} and {}", one.begun(), two.begun());
}

#[test]
fn a_unix_socket_can_be_listener_and_upstream() {
    use std::os::unix::net::UnixListener;
    let setup = Setup::new();
    let backend = setup.dir().join("backend.sock");
    let listener = UnixListener::bind(&backend).unwrap();
    std::thread::spawn(move || {
        use std::io::{Read as _, Write as _};
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut seen = Vec::new();
            while !seen.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                seen.push(byte[0]);
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nunix").unwrap();
        }
    });
    let public = setup.dir().join("public.sock");
    let gateway = setup
        .issuer(&Issuer::new("HS256"), "")
        .upstream_at("app", &format!("unix:{}", backend.display()), "")
        .route("/", "access = \"public\"")
        .listen(&format!("[\"127.0.0.1:0\", \"unix:{}\"]", public.display()))
        .start();
    assert_eq!(gateway.get("/", &[]).text(), "unix");
    let mut connection = Connection::open_unix(&public);
    assert_eq!(connection.get("/", &[]).text(), "unix");
}

#[test]
fn a_client_that_takes_nothing_of_its_answer_is_given_up_and_one_that_waits_for_it_is_not() {
    let (ended, has_ended) = mpsc::channel();
    let upstream = Upstream::answering(move |exchange| {
        if exchange.received.target == "/slow" {
            std::thread::sleep(Duration::from_secs(4));
            return exchange.answer("200 OK", "", "late");
        }
        exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 536870912\r\n\r\n");
        let chunk = vec![7_u8; 256 * 1024];
        while exchange.connection.try_send(&chunk).is_ok() {}
        let _ = ended.send(());
        exchange.close();
    });
    let gateway = Setup::simple(&Issuer::new("HS256"), &upstream)
        .server("limits = { idle_timeout = \"1s\" }")
        .route("/", "access = \"public\"")
        .start();
    let mut stuck = gateway.connect();
    stuck.send("GET /big HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(gateway.get("/slow", &[]).text(), "late");
    has_ended.recv_timeout(Duration::from_secs(10)).unwrap();
    drop(stuck);
}
