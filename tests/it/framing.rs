//! Messages whose end two parsers could see in two places. Each is refused, or reaches the backend
//! in a form that has one reading only; the second request hidden in it never does.

use crate::support::{Gateway, Issuer, ReadError, Setup, Upstream};

fn scene() -> (Upstream, Gateway) {
    let upstream = Upstream::new();
    let gateway = Setup::simple(&Issuer::new("HS256"), &upstream)
        .route("/", "access = \"public\"")
        .route("/admin/", "")
        .start();
    (upstream, gateway)
}

/// What is hidden behind the ambiguous request.
const HIDDEN: &str = "GET /admin/hidden HTTP/1.1\r\nHost: a\r\n\r\n";

/// Behind everything: asks to close, so that the answers have an end.
const LAST: &str = "GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

/// Sends the bytes and checks that no backend ever saw the hidden request as one of its own. The
/// statuses of all answers until the connection closed or was asked to.
#[track_caller]
fn nothing_slips(upstream: &Upstream, gateway: &Gateway, bytes: impl AsRef<[u8]>) -> Vec<u16> {
    let mut connection = gateway.connect();
    connection.send([bytes.as_ref(), LAST.as_bytes()].concat());
    let mut statuses = Vec::new();
    loop {
        match connection.answer_to("GET") {
            Ok(answer) if answer.text().contains("\"/last\"") => break,
            Ok(answer) => statuses.push(answer.status),
            Err(ReadError::Closed | ReadError::Broken(_)) => break,
            Err(error @ (ReadError::Late(_) | ReadError::Malformed(_))) => {
                panic!("{error:?} for {}", bytes.as_ref().escape_ascii())
            }
        }
    }
    // A further request on the pooled upstream connections is still in step.
    let check = gateway.get("/in-step", &[]);
    assert_eq!(check.json()["target"], "/in-step");
    for received in upstream.received() {
        assert!(
            !received.target.starts_with("/admin"),
            "{:?}",
            String::from_utf8_lossy(bytes.as_ref())
        );
        let framings = received
            .headers
            .iter()
            .filter(|(name, _)| {
                name.eq_ignore_ascii_case("content-length")
                    || name.eq_ignore_ascii_case("transfer-encoding")
            })
            .count();
        assert!(framings <= 1, "{}", received.head_text());
    }
    statuses
}

#[test]
fn a_message_with_two_lengths_is_refused() {
    let (upstream, gateway) = scene();
    let length = HIDDEN.len();
    let good = format!("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{HIDDEN}");
    assert_eq!(nothing_slips(&upstream, &gateway, good), [200]);
    for lengths in [
        format!("Content-Length: 0\r\nContent-Length: {length}"),
        format!("Content-Length: {length}\r\nContent-Length: 0"),
        format!("Content-Length: 0, {length}"),
        format!("Content-Length: +{length}"),
        format!("Content-Length: -{length}"),
        format!("Content-Length: 0x{length:x}"),
        "Content-Length: 1e1".to_owned(),
        "Content-Length: ".to_owned(),
        "Content-Length: 99999999999999999999999".to_owned(),
        format!("Content-Length : {length}"),
    ] {
        let request = format!("POST /a HTTP/1.1\r\nHost: a\r\n{lengths}\r\n\r\n{HIDDEN}");
        let statuses = nothing_slips(&upstream, &gateway, request);
        assert!(matches!(statuses.as_slice(), [] | [400]), "{statuses:?} for {lengths}");
    }
}

#[test]
fn length_and_transfer_encoding_together_never_leave_a_second_request_behind() {
    let (upstream, gateway) = scene();
    let good = format!(
        "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{HIDDEN}\r\n0\r\n\r\n",
        HIDDEN.len()
    );
    assert_eq!(nothing_slips(&upstream, &gateway, good), [200]);
    for fields in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 4",
    ] {
        let request = format!("POST /a HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n0\r\n\r\n{HIDDEN}");
        let statuses = nothing_slips(&upstream, &gateway, request);
        // RFC 9112 section 6.1: the connection is closed after such a message.
        assert!(statuses.len() <= 1, "{statuses:?} for {fields}");
    }
}

#[test]
fn transfer_codings_that_are_not_exactly_chunked_are_refused() {
    let (upstream, gateway) = scene();
    for coding in [
        "chunked, identity",
        "identity, chunked",
        "identity",
        "gzip",
        "gzip, chunked",
        "chunked, chunked",
        "xchunked",
        "chunked;q=1",
        "\u{b}chunked",
        "chunked\r\nTransfer-Encoding: identity",
        "chunked\r\nTransfer-Encoding: chunked",
        "",
    ] {
        let request = format!(
            "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: {coding}\r\n\r\n0\r\n\r\n{HIDDEN}"
        );
        let statuses = nothing_slips(&upstream, &gateway, request);
        assert!(matches!(statuses.as_slice(), [] | [400 | 501]), "{statuses:?} for {coding:?}");
    }
    for name in ["Transfer-Encoding ", "Transfer\u{b}-Encoding", " Transfer-Encoding"] {
        let request =
            format!("POST /a HTTP/1.1\r\nHost: a\r\n{name}: chunked\r\n\r\n0\r\n\r\n{HIDDEN}");
        let statuses = nothing_slips(&upstream, &gateway, request);
        assert!(matches!(statuses.as_slice(), [] | [400]), "{statuses:?} for {name:?}");
    }
}

#[test]
fn http_1_0_with_transfer_encoding_is_not_believed() {
    let (upstream, gateway) = scene();
    let request = format!(
        "POST /a HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{HIDDEN}"
    );
    let statuses = nothing_slips(&upstream, &gateway, request);
    assert!(statuses.len() <= 1, "{statuses:?}");
}

#[test]
fn chunk_sizes_that_overflow_or_are_dressed_up_are_refused() {
    let (upstream, gateway) = scene();
    for size in [
        "fffffffffffffffff",
        "10000000000000000",
        "-1",
        "+0",
        "0x0",
        "",
        " 0",
        "0\u{b}",
        "g",
        "0;\n",
        "0\n",
    ] {
        let request = format!(
            "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{size}\r\n\r\n{HIDDEN}"
        );
        let statuses = nothing_slips(&upstream, &gateway, request);
        assert!(statuses.len() <= 1 && !statuses.contains(&401), "{statuses:?} for {size:?}");
    }
}

#[test]
fn folded_lines_and_bare_line_ends_do_not_hide_fields() {
    let (upstream, gateway) = scene();
    for head in [
        "GET /a HTTP/1.1\r\nHost: a\r\nX-A: 1\r\n Transfer-Encoding: chunked\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: a\r\nX-A: 1\rX-B: 2\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: a\r\nX-A: 1\0\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: a\r\nX A: 1\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: a\r\n: 1\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n",
        "GET  /a HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /a  HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /a HTTP/1.1 \r\nHost: a\r\n\r\n",
        "GET /a HTTP/2.0\r\nHost: a\r\n\r\n",
        "GET /a HTTP/1.12\r\nHost: a\r\n\r\n",
        "GET /a\r\nHost: a\r\n\r\n",
        "G\u{e9}T /a HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET\t/a\tHTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        let statuses = nothing_slips(&upstream, &gateway, head);
        assert!(matches!(statuses.as_slice(), [] | [400 | 505]), "{statuses:?} for {head:?}");
    }
    // A lone line feed may end a line (RFC 9112 section 2.2), but the backend sees CRLF only.
    nothing_slips(&upstream, &gateway, "GET /a HTTP/1.1\nHost: a\nX-A: 1\n\n");
    for received in upstream.received() {
        let head = received.head_text().replace("\r\n", "");
        assert!(!head.contains('\n') && !head.contains('\r'), "{head:?}");
    }
}

#[test]
fn a_body_that_a_refused_request_brought_is_not_read_as_a_request() {
    let (upstream, gateway) = scene();
    let length = HIDDEN.len();
    let request =
        format!("POST /admin/x HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{HIDDEN}");
    let statuses = nothing_slips(&upstream, &gateway, request);
    assert_eq!(statuses, [401], "one answer for one request");
}

#[test]
fn a_head_that_never_ends_is_given_up() {
    let upstream = Upstream::new();
    let gateway = Setup::simple(&Issuer::new("HS256"), &upstream)
        .server("limits = { header_timeout = \"1s\" }")
        .start();
    let mut connection = gateway.connect();
    connection.send("GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ");
    if let Ok(answer) = connection.answer_to("GET") {
        assert!(matches!(answer.status, 400 | 408), "{}", answer.status);
    }
    assert_eq!(upstream.begun(), 0);
}

#[test]
fn the_beginning_of_another_request_does_not_hold_an_answer_back() {
    let (_upstream, gateway) = scene();
    let mut connection = gateway.connect();
    connection.send("GET /first HTTP/1.1\r\nHost: a\r\n\r\nGET /second HTTP/1.1\r\nHos");
    assert_eq!(connection.answer().json()["target"], "/first");
    connection.send("t: a\r\n\r\n\u{1} /third");
    assert_eq!(connection.answer().json()["target"], "/second");
    assert_eq!(connection.answer().status, 400);
    connection.assert_closed();
}
