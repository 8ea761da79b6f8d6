//! HTTP/1.1 towards servers that keep to nothing, and clients that do not either: what is said on one
//! connection never becomes part of another answer, nothing that broke off looks whole, and an upload
//! and its answer do not hold each other up.

use std::io::ErrorKind;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};

use bytes::Bytes;
use serde_json::json;

use crate::balancing::{before, quoted};
use crate::support::http2::{self, next};
use crate::support::{
    Connection, Gateway, Http2, Http2Backend, Issuer, PATIENCE, Setup, Upstream, eventually,
};

fn gateway(upstream: &Upstream) -> Gateway {
    before(&[quoted(upstream)], "")
}

/// For servers, which are asked from several threads.
fn tells<T>() -> (Mutex<Sender<T>>, Receiver<T>) {
    let (tell, told) = channel();
    (Mutex::new(tell), told)
}

fn post(length: usize) -> String {
    format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n")
}

/// A server that answers with much while it reads the upload, and tells how much that was.
fn both_ways_at_once(answer: usize) -> (Upstream, Receiver<usize>) {
    let (tell, told) = tells();
    let upstream = Upstream::answering(move |exchange| {
        let mut twin = exchange.connection.twin();
        let writing = std::thread::spawn(move || {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {answer}\r\n\r\n");
            twin.try_send(head).ok();
            twin.try_send(vec![b'a'; answer]).ok();
        });
        exchange.read_body();
        tell.lock().unwrap().send(exchange.received.body.len()).unwrap();
        writing.join().unwrap();
    });
    (upstream, told)
}

/// Far more than the sockets on its way hold.
const MUCH: usize = 48 * 1024 * 1024;

#[test]
fn an_upload_goes_on_while_its_client_takes_nothing_of_the_answer() {
    let (upstream, told) = both_ways_at_once(MUCH);
    let gateway = gateway(&upstream);
    let mut client = gateway.connect();
    client.send(post(MUCH));
    client.send(vec![b'u'; MUCH]);
    assert_eq!(told.recv_timeout(PATIENCE), Ok(MUCH));
    assert_eq!(client.answer().body.len(), MUCH);
}

#[test]
fn the_same_goes_for_a_stream_of_http2() {
    const UPLOAD: usize = 2 * 1024 * 1024;
    let (upstream, told) = both_ways_at_once(UPLOAD);
    let gateway = gateway(&upstream);
    let mut client = Http2::open(gateway.url().strip_prefix("http://").unwrap());
    let (answer, mut upload) = client.send(http2::request("POST", "/", &[]), false);
    upload.send_data(Bytes::from(vec![b'u'; UPLOAD]), true).unwrap();
    let mut answer = client.wait(answer).unwrap().into_body();
    assert_eq!(told.recv_timeout(PATIENCE), Ok(UPLOAD), "with its window shut");
    let mut got = 0;
    while let Some(data) = client.wait(next(&mut answer)) {
        got += data.unwrap().len();
    }
    assert_eq!(got, UPLOAD);
}

#[test]
fn a_server_that_has_answered_still_gets_the_upload_that_it_takes() {
    let (tell, told) = tells();
    let upstream = Upstream::answering(move |exchange| {
        exchange.send("HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\nok");
        exchange.read_body();
        tell.lock().unwrap().send(exchange.received.body.len()).unwrap();
    });
    let gateway = gateway(&upstream);
    let mut client = gateway.connect();
    for length in [5, 60_000] {
        client.send(post(length));
        assert_eq!((client.answer().status), 202);
        client.send(vec![b'u'; length]);
        assert_eq!(told.recv_timeout(PATIENCE), Ok(length));
    }
    assert_eq!(upstream.connections(), 1, "it is used again");
}

#[test]
fn an_early_refusal_reaches_the_client_whole_and_its_connection_is_not_used_again() {
    let upstream = Upstream::answering(|exchange| {
        if exchange.received.method == "GET" {
            return exchange.answer("200 OK", "", "fine");
        }
        let text = "x".repeat(100_000);
        let length = text.len();
        exchange.send(format!(
            "HTTP/1.1 413 Content Too Large\r\nContent-Length: {length}\r\n\r\n{text}"
        ));
        // Reads no more, and waits until the gateway has gone.
        let _ = exchange.connection.rest();
        exchange.close();
    });
    let gateway = gateway(&upstream);
    for _ in 0..5 {
        let mut client = gateway.connect();
        client.send(post(1 << 30));
        let answer = client.answer();
        assert_eq!((answer.status, answer.body.len()), (413, 100_000));
        assert_eq!(gateway.get("/", &[]).text(), "fine");
    }
}

#[test]
fn an_answer_until_close_that_was_reset_beside_an_upload_never_looks_whole() {
    let upstream = Upstream::answering(|exchange| {
        exchange.send("HTTP/1.1 200 OK\r\n\r\nhalf");
        exchange.connection.through(b"more").unwrap();
        exchange.connection.ends_with_a_reset();
        exchange.close();
    });
    let gateway = gateway(&upstream);
    for number in 0..30 {
        let mut client = gateway.connect();
        let mut twin = client.twin();
        client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
        let sending = std::thread::spawn(move || while twin.try_send("4\r\nmore\r\n").is_ok() {});
        let answer = client.answer_to("POST");
        assert!(!matches!(answer, Ok(ref answer) if answer.status == 200), "{number}: {answer:?}");
        drop(client);
        sending.join().unwrap();
    }
}

#[test]
fn what_broke_off_does_not_look_whole_to_a_client_of_http_1_0_either() {
    let upstream = Upstream::answering(|exchange| {
        match exchange.received.target.as_str() {
            "/whole" => exchange.send(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n\r\n",
            ),
            _ => {
                exchange.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")
            }
        }
        exchange.close();
    });
    let gateway = gateway(&upstream);
    let ask = |target: &str| {
        let mut client = gateway.connect();
        client.send(format!("GET {target} HTTP/1.0\r\nHost: a\r\n\r\n"));
        client.until_gone()
    };
    let (bytes, broken) = ask("/whole");
    assert!(bytes.ends_with(b"half") && broken.is_none(), "{broken:?}");
    let (bytes, broken) = ask("/half");
    assert_eq!(broken, Some(ErrorKind::ConnectionReset), "{}", bytes.escape_ascii());
}

#[test]
fn what_a_server_of_http_1_0_broke_off_does_not_look_whole() {
    let upstream = Upstream::answering(|exchange| {
        exchange.send("HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nhalf");
        if exchange.received.target == "/half" {
            exchange.connection.ends_with_a_reset();
        } else {
            exchange.read_body();
        }
        exchange.close();
    });
    let gateway = gateway(&upstream);
    let whole = gateway.get("/whole", &[]);
    assert_eq!((whole.status, whole.text().as_str()), (200, "half"));
    assert!(whole.head.starts_with("HTTP/1.1 "), "{}", whole.head);
    let half = gateway.connect().try_get("/half");
    assert!(half.as_ref().map_or(true, |answer| answer.status == 502), "{half:?}");
}

#[test]
fn the_head_of_an_answer_that_broke_off_at_once_is_sent_all_the_same() {
    let upstream = Upstream::answering(|exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf");
        exchange.close();
    });
    let gateway = gateway(&upstream);
    // A connection that is closed without a byte looks as if it had idled too long: clients send
    // their request again, and some of them a POST too.
    for _ in 0..20 {
        let mut client = gateway.connect();
        client.send(post(0));
        let (bytes, _) = client.until_gone();
        assert!(bytes.starts_with(b"HTTP/1.1 200 "), "{}", bytes.escape_ascii());
        assert!(bytes.ends_with(b"\r\n\r\nhalf"), "{}", bytes.escape_ascii());
    }
}

#[test]
fn a_transfer_coding_that_the_client_would_not_know_of_is_no_answer() {
    let upstream = Upstream::answering(|exchange| {
        let coding = exchange.received.header("x-coding").unwrap();
        let coding = coding.replace('|', "\r\nTransfer-Encoding: ");
        let body = "4\r\nbody\r\n0\r\n\r\n";
        exchange.send(format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: {coding}\r\n\r\n{body}"));
        exchange.close();
    });
    let gateway = gateway(&upstream);
    for (coding, status) in [
        ("Chunked", 200),
        ("gzip, chunked", 502),
        ("gzip|chunked", 502),
        ("gzip", 502),
        ("chunked, gzip", 502),
    ] {
        assert_eq!(gateway.get("/", &[("X-Coding", coding)]).status, status, "{coding}");
    }
}

#[test]
fn a_server_that_only_ever_informs_is_given_up_early() {
    let upstream = Upstream::answering(|exchange| {
        let informs = "HTTP/1.1 100 Continue\r\n\r\n".repeat(1000);
        while exchange.connection.try_send(&informs).is_ok() {}
        exchange.close();
    });
    assert_eq!(gateway(&upstream).get("/", &[]).status, 502);
}

#[test]
fn uploads_that_clients_break_off_or_withhold_are_no_fault_of_a_server() {
    let (one, two) = (Upstream::new(), Upstream::new());
    let lines = "balance = \"round_robin\"\nresponse_timeout = \"2s\"\n\
                 ejection = { failures = 2, time = \"1h\", time_max = \"1h\" }";
    let gateway = before(&[quoted(&one), quoted(&two)], lines);
    let mut withheld = Vec::new();
    for number in 1..=8 {
        let mut client = gateway.connect();
        client.send(post(1000) + "only this");
        eventually("it arrives", || (one.begun() + two.begun() == number).then_some(()));
        if number % 4 < 2 {
            client.finish_sending();
            client.rest().ok();
        } else {
            withheld.push(client);
        }
    }
    withheld.iter_mut().for_each(|client| assert_eq!(client.answer().status, 408));
    let asked = one.begun();
    let mut client = gateway.connect();
    (0..4).for_each(|_| assert_eq!(client.get("/", &[]).status, 200));
    assert_eq!(one.begun() - asked, 2, "both are asked");
}

#[test]
fn a_body_that_is_none_is_told_as_its_clients_fault_and_a_server_that_breaks_off_as_the_servers() {
    let upstream = Upstream::answering(|exchange| {
        if exchange.received.target == "/gone" {
            return exchange.close();
        }
        exchange.read_body();
        exchange.answer("200 OK", "", "");
    });
    let backend = Http2Backend::new();
    let gateway = Setup::new()
        .issuer(&Issuer::new("HS256"), "")
        .upstream("app", &upstream, "")
        .upstream_at("streams", &backend.url(), "http2 = true")
        .route("/", "access = \"public\"\nupstream = \"app\"")
        .route("/streams", "access = \"public\"\nupstream = \"streams\"")
        .start();
    let told = |target: &str, chunks: &str| {
        let mut client = gateway.connect();
        let head = "HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked";
        client.send(format!("POST {target} {head}\r\n\r\n{chunks}"));
        if chunks.is_empty() || !chunks.ends_with("\r\n\r\n") {
            client.finish_sending();
        }
        let answer = client.answer();
        client.assert_closed();
        let code = if answer.status == 200 { String::new() } else { answer.code() };
        (answer.status, code)
    };
    let bad = (400, "bad_request".to_owned());
    assert_eq!(told("/", "3\r\nabc\r\n0\r\n\r\n").0, 200);
    for target in ["/", "/streams"] {
        for chunks in
            ["zz\r\n\r\n", "3\r\nabcd\r\n\r\n", "3;\nabc\r\n0\r\n\r\n", "3\r\nabc\r\n", ""]
        {
            assert_eq!(told(target, chunks), bad, "{target} {chunks:?}");
        }
    }
    assert_eq!(told("/gone", "3\r\nabc\r\n0\r\n\r\n"), (502, "upstream_broken".to_owned()));
    let mut owing = gateway.connect();
    owing.send("POST /gone HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    assert_eq!(owing.answer().status, 502, "it was the server who left");
}

#[test]
fn what_follows_an_answer_is_never_taken_for_the_next_one() {
    let (tell, told) = tells();
    let (go, wait) = tells();
    let wait = Mutex::new(wait);
    let upstream = Upstream::answering(move |exchange| {
        let evil = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
        match exchange.received.target.as_str() {
            "/with" => {
                exchange.send(format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok{evil}"))
            }
            "/chunks" => exchange.send(format!(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n{evil}"
            )),
            "/none" => exchange.send(format!("HTTP/1.1 204 No Content\r\n\r\n{evil}")),
            "/head" => exchange.send(format!("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n{evil}")),
            "/newline" => exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok\r\n"),
            "/after" => {
                exchange.answer("200 OK", "", "ok");
                wait.lock().unwrap().recv().unwrap();
                exchange.send(evil);
                tell.lock().unwrap().send(()).unwrap();
            }
            _ => exchange.answer("200 OK", "", "next"),
        }
    });
    let gateway = gateway(&upstream);
    let mut client = gateway.connect();
    for target in ["/with", "/chunks", "/none", "/newline", "/head", "/after"] {
        let method = if target == "/head" { "HEAD" } else { "GET" };
        let connections = upstream.connections();
        let answer = client.request(method, target, &[], b"");
        assert!(matches!(answer.text().as_str(), "ok" | ""), "{target}: {}", answer.text());
        if target == "/after" {
            go.lock().unwrap().send(()).unwrap();
            told.recv_timeout(PATIENCE).unwrap();
        }
        // Nothing that could be sent once more.
        let next = client.request("POST", "/next", &[], b"x");
        assert_eq!((next.status, next.text().as_str()), (200, "next"), "{target}");
        assert!(upstream.connections() > connections, "{target}");
    }
}

#[test]
fn a_connection_that_its_server_closed_while_it_idled_takes_no_request() {
    let (tell, told) = tells();
    let (go, wait) = tells();
    let wait = Mutex::new(wait);
    let upstream = Upstream::answering(move |exchange| {
        exchange.answer("200 OK", "", "ok");
        if exchange.received.method == "GET" {
            wait.lock().unwrap().recv().unwrap();
            exchange.connection.finish_sending();
            tell.lock().unwrap().send(()).unwrap();
        }
    });
    let gateway = gateway(&upstream);
    let mut client = gateway.connect();
    for number in 0..10 {
        assert_eq!(client.get("/", &[]).status, 200);
        go.lock().unwrap().send(()).unwrap();
        told.recv_timeout(PATIENCE).unwrap();
        let answer = client.request("POST", "/", &[], b"pay 10");
        assert_eq!(answer.status, 200, "{number}");
    }
}

#[test]
fn a_server_of_http_1_0_keeps_its_connection_only_where_it_says_so() {
    let upstream = Upstream::answering(|exchange| {
        exchange.read_body();
        let kept = match exchange.received.target.as_str() {
            "/kept" => "Connection: Keep-Alive\r\n",
            _ => "",
        };
        exchange.send(format!("HTTP/1.0 200 Fine\r\n{kept}Content-Length: 2\r\n\r\nok"));
    });
    let gateway = gateway(&upstream);
    let mut client = gateway.connect();
    for (target, connections) in [("/kept", 1), ("/kept", 1), ("/closed", 1), ("/closed", 2)] {
        let answer = client.get(target, &[]);
        assert!(answer.head.starts_with("HTTP/1.1 200 Fine\r\n"), "{}", answer.head);
        assert_eq!((answer.text().as_str(), upstream.connections()), ("ok", connections));
    }
}

#[test]
fn an_answer_may_come_byte_by_byte() {
    let upstream = Upstream::answering(|exchange| {
        let answer = "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\n\
                      Transfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n1\r\n!\r\n0\r\nX-A: 1\r\n\r\n";
        answer.bytes().for_each(|byte| exchange.send([byte]));
    });
    let gateway = gateway(&upstream);
    let mut client = gateway.connect();
    for _ in 0..3 {
        assert_eq!(client.get("/", &[]).text(), "hello!");
    }
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn a_target_that_is_nothing_but_a_query_has_a_path() {
    let upstream = Upstream::new();
    let gateway = gateway(&upstream);
    let mut client = gateway.connect();
    client.send("GET http://a?x=1 HTTP/1.1\r\nHost: a\r\n\r\n");
    let answer = client.answer();
    if answer.status == 200 {
        assert_eq!(upstream.last().target, "/?x=1");
    } else {
        assert_eq!((answer.status, upstream.begun()), (400, 0));
    }
}

#[test]
fn a_switch_that_nobody_asked_for_is_no_answer() {
    let upstream = Upstream::answering(|exchange| {
        exchange
            .send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n");
        let _ = exchange.connection.rest();
        exchange.close();
    });
    let gateway = gateway(&upstream);
    let mut client: Connection = gateway.connect();
    for method in ["GET", "POST"] {
        assert_eq!(client.request(method, "/", &[], b"body").status, 502);
    }
    eventually("both are closed", || (upstream.received().len() == 2).then_some(()));
}

#[test]
fn a_connection_that_its_server_closed_is_closed_here_too() {
    let (tell, told) = tells();
    let upstream = Upstream::answering(move |exchange| {
        exchange.answer("200 OK", "", "ok");
        exchange.connection.finish_sending();
        tell.lock().unwrap().send(exchange.connection.rest().is_ok()).unwrap();
        exchange.close();
    });
    let gateway = gateway(&upstream);
    assert_eq!(gateway.get("/", &[]).status, 200);
    assert_eq!(told.recv_timeout(PATIENCE), Ok(true), "by the sweeper");
}

#[test]
fn what_broke_off_or_stalled_is_reset_on_http2_and_counts_as_no_reset_of_the_client() {
    let upstream = Upstream::answering(|exchange| {
        let target = exchange.received.target.clone();
        match target.as_str() {
            "/length" | "/stalled" => {
                exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
            }
            "/chunked" => {
                exchange.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n");
            }
            "/reset" => {
                exchange.send("HTTP/1.1 200 OK\r\n\r\nhalf");
                exchange.connection.ends_with_a_reset();
            }
            _ => return exchange.answer("200 OK", "", "whole"),
        }
        if target == "/stalled" {
            exchange.connection.rest().ok();
        }
        exchange.close();
    });
    let gateway = Setup::new()
        .issuer(&Issuer::new("HS256"), "")
        .server("limits = { http2_resets_max = 10 }")
        .upstream("app", &upstream, "body_timeout = \"100ms\"")
        .route("/", "access = \"public\"")
        .start();
    let mut client = Http2::open(gateway.url().strip_prefix("http://").unwrap());
    let targets = ["/length", "/chunked", "/reset"].into_iter().chain(["/stalled"; 40]);
    // All at once: more than may be given up in a second.
    let asked: Vec<_> = targets
        .map(|target| (target, client.send(http2::request("GET", target, &[]), true).0))
        .collect();
    for (target, answer) in asked {
        let whole = client.wait(http2::whole(answer));
        assert!(whole.as_ref().map_or(true, |whole| whole.status == 502), "{target}: {whole:?}");
    }
    assert_eq!(client.get("/", &[]).body, b"whole");
}

#[test]
fn a_cut_ends_an_upload_whose_client_takes_nothing_of_the_answer() {
    let (tell, told) = tells();
    let upstream = Upstream::answering(move |exchange| {
        let mut twin = exchange.connection.twin();
        std::thread::spawn(move || {
            twin.try_send(format!("HTTP/1.1 200 OK\r\nContent-Length: {MUCH}\r\n\r\n")).ok();
            twin.try_send(vec![b'a'; MUCH]).ok();
        });
        exchange.read_body();
        tell.lock().unwrap().send(exchange.received.complete).unwrap();
        exchange.close();
    });
    let issuer = Issuer::new("HS256");
    let gateway = Setup::simple(&issuer, &upstream).start();
    let mut client = gateway.connect();
    let token = issuer.mint("alice");
    client.send(format!(
        "POST / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\nContent-Length: {}\r\n\r\n",
        usize::MAX / 4
    ));
    let mut twin = client.twin();
    let sending = std::thread::spawn(move || while twin.try_send(vec![b'u'; 65536]).is_ok() {});
    eventually("it is listed with its bytes", || {
        let listed = gateway.admin().get("/v1/streams");
        let items = listed["items"].as_array()?;
        items.iter().any(|item| item["bytes_in"].as_u64() > Some(1 << 25)).then_some(())
    });
    gateway.admin().revoke(json!({"user": "alice"}));
    assert_eq!(told.recv_timeout(PATIENCE), Ok(false));
    sending.join().unwrap();
    assert!(client.answer_to("POST").is_err());
}
