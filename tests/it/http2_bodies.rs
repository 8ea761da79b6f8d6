//! Bodies of HTTP/2 requests on their way to a backend of HTTP/1.1: as long as they say, or not whole.

use bytes::Bytes;

use crate::http2::public;
use crate::support::http2::{request, whole};
use crate::support::{Http2, Upstream, eventually};

#[test]
fn a_body_of_no_bytes_may_end_in_a_frame_of_its_own() {
    let upstream = Upstream::new();
    let gateway = public(&upstream, "");
    let mut client = Http2::open(&gateway.address);
    for method in ["POST", "PUT", "DELETE"] {
        for lengths in [&[("content-length", "0")][..], &[]] {
            let (answer, mut body) = client.send(request(method, "/", lengths), false);
            body.send_data(Bytes::new(), true).unwrap();
            let answer = client.wait(whole(answer)).unwrap();
            assert_eq!(answer.status, 200, "{method} {lengths:?}");
            assert_eq!(upstream.last().body, b"");
        }
    }
}

#[test]
fn a_body_is_as_long_as_it_says_or_never_whole_for_the_backend() {
    let upstream = Upstream::new();
    let gateway = public(&upstream, "");
    let mut client = Http2::open(&gateway.address);
    for length in [None, Some("10")] {
        let headers: Vec<(&str, &str)> =
            length.map(|n| ("content-length", n)).into_iter().collect();
        let (answer, mut body) = client.send(request("POST", "/", &headers), false);
        body.send_data(Bytes::from_static(b"01234"), false).unwrap();
        body.send_data(Bytes::from_static(b"56789"), true).unwrap();
        assert_eq!(client.wait(whole(answer)).unwrap().status, 200);
        assert_eq!(upstream.last().body, b"0123456789");
        assert_eq!(upstream.last().header("content-length"), length);
    }
    let before = upstream.received().len();
    for sent in [&b"01234"[..], b"0123456789ABC"] {
        let (answer, mut body) =
            client.send(request("POST", "/", &[("content-length", "10")]), false);
        body.send_data(Bytes::copy_from_slice(sent), true).unwrap();
        let error = client.wait(whole(answer)).unwrap_err();
        assert_eq!(error.reason(), Some(h2::Reason::PROTOCOL_ERROR), "{sent:?}");
    }
    // Half a body, then RST_STREAM.
    let (_answer, mut body) = client.send(request("POST", "/", &[]), false);
    body.send_data(Bytes::from_static(b"half"), false).unwrap();
    eventually("the backend has it", || (upstream.begun() > before).then_some(()));
    body.send_reset(h2::Reason::CANCEL);
    assert_eq!(client.get("/", &[]).status, 200);
    let received = upstream.received();
    assert!(received[before..].iter().all(|one| one.method == "GET" || !one.complete));
}
