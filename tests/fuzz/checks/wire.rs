//! Headers and frames.

use http::Method;
use http::header::{AUTHORIZATION, COOKIE, HeaderMap, HeaderValue};
use portcullis::fuzzing::{self, Frames, Progress, Source};
use portcullis::telemetry::trace::Parent;

const NAME: &str = "session";

/// Lines of headers, those that begin with `A` of Authorization and all others of Cookie: a
/// credential that is taken is the only one that a plain reader finds, and none is passed on behind
/// the cookies that leave.
pub fn credential(bytes: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).take(8) {
        let Ok(value) = HeaderValue::from_bytes(&line[1..]) else { return };
        headers.append(if line[0] == b'A' { AUTHORIZATION } else { COOKIE }, value);
    }
    let bearer = headers.get_all(AUTHORIZATION).iter().filter_map(|value| bearer(value.as_bytes()));
    let cookies: Vec<_> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    let by_semicolon = cookies.iter().flat_map(|header| cookies_in(header, b";"));
    let by_comma = cookies.iter().flat_map(|header| cookies_in(header, b";,"));
    let (bearer, plain): (Vec<_>, Vec<_>) = (bearer.collect(), by_semicolon.collect());
    let most = plain.len().max(by_comma.count());
    if let Ok(found) = fuzzing::credential(&headers, NAME, 4096) {
        assert!(bearer.len() <= 1 && most <= 1, "two credentials, one taken");
        let given = bearer.iter().chain(&plain).filter(|token| !token.is_empty());
        for token in given {
            assert_eq!(found.as_deref().map(str::as_bytes), Some(*token), "another one is taken");
        }
        assert!(found.is_none_or(|token| token.len() <= 4096 && !token.is_empty()));
    }
    for header in headers.get_all(COOKIE) {
        let Some(left) = fuzzing::without_cookie(header, NAME) else { continue };
        let left_over = cookies_in(left.as_bytes(), b";").chain(cookies_in(left.as_bytes(), b";,"));
        assert_eq!(left_over.count(), 0, "{left:?}");
        assert_eq!(fuzzing::without_cookie(&left, NAME).as_ref(), Some(&left), "not all at once");
    }
}

/// `Bearer TOKEN` in any case.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

/// The values of our cookie for a reader to whom any of `ends` ends a cookie.
fn cookies_in<'h>(header: &'h [u8], ends: &'h [u8]) -> impl Iterator<Item = &'h [u8]> {
    header.split(move |byte| ends.contains(byte)).filter_map(|pair| {
        let at = pair.iter().position(|byte| *byte == b'=')?;
        let value = pair[at + 1..].trim_ascii();
        let quoted = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
        (pair[..at].trim_ascii() == NAME.as_bytes()).then_some(quoted.unwrap_or(value))
    })
}

/// However the bytes come in, the answer is the same and never taken back.
pub fn proxy_protocol(bytes: &[u8]) {
    let bytes = bytes.get(..700).unwrap_or(bytes);
    let whole = fuzzing::proxy_header(bytes);
    let mut decided = None;
    for length in 0..=bytes.len() {
        let now = fuzzing::proxy_header(&bytes[..length]);
        match decided {
            None if now == Progress::More => {}
            None => decided = Some(now),
            Some(before) => assert_eq!(before, now, "{length}"),
        }
    }
    assert_eq!(decided.unwrap_or(Progress::More), whole);
    let Progress::Header(source, length) = whole else { return };
    assert!(length <= bytes.len());
    if let Some(line) = bytes[..length].strip_prefix(b"PROXY ") {
        assert!(length <= 107);
        let line = std::str::from_utf8(line).unwrap().strip_suffix("\r\n").unwrap();
        let words: Vec<&str> = line.split(' ').collect();
        match source {
            Source::Peer => assert_eq!(words[0], "UNKNOWN"),
            Source::Address(address) => {
                assert_eq!(words.len(), 5);
                let said: std::net::IpAddr = words[1].parse().unwrap();
                assert_eq!(said.to_canonical(), address);
            }
            Source::Nameless => panic!("version 1 knows no unix sockets"),
        }
    } else {
        let said = usize::from(u16::from_be_bytes([bytes[14], bytes[15]]));
        assert_eq!((bytes[12] >> 4, 16 + said), (2, length));
    }
}

/// The first byte says how the rest is cut into reads: the boundaries are those that a second
/// reader of whole frames finds, wherever the cuts are.
pub fn frames(bytes: &[u8]) {
    let Some((&cut, stream)) = bytes.split_first() else { return };
    let ends = frame_ends(stream);
    let mut frames = Frames::default();
    let mut at = 0;
    for part in stream.chunks(usize::from(cut).max(1)) {
        let next = ends.iter().find(|end| **end >= at as u64);
        let whole = &stream[at..];
        let ahead = next.filter(|end| **end <= stream.len() as u64).map(|end| *end as usize - at);
        assert_eq!(frames.to_boundary(whole), ahead, "at {at} of {ends:?}");
        frames.pass(part);
        at += part.len();
        assert_eq!(frames.at_boundary(), ends.contains(&(at as u64)), "at {at} of {ends:?}");
    }
}

/// The first byte says how the rest, which a server sent, is cut into reads, and whether HEAD asked for
/// it: the answer is the same however the bytes come in, no longer than they are, and what comes behind
/// it is seen, so that it is never taken for the next one.
pub fn answer(bytes: &[u8]) {
    let Some((&cut, sent)) = bytes.split_first() else { return };
    let method = if cut & 0x80 == 0 { Method::GET } else { Method::HEAD };
    let whole = fuzzing::server_answer(&method, [sent].into_iter());
    let step = usize::from(cut & 0x7f).max(1);
    let pieces = fuzzing::server_answer(&method, sent.chunks(step));
    let Ok(whole) = whole else { return assert!(pieces.is_err(), "{pieces:?}") };
    assert_eq!(pieces.ok().as_ref(), Some(&whole));
    assert!(whole.body.len() + whole.behind < sent.len());
    if method == Method::HEAD || matches!(whole.status.as_u16(), 101 | 204 | 304) {
        assert!(whole.body.is_empty() && whole.trailers.is_empty());
    }
    // Without what came behind it, and without its last byte.
    let alone = &sent[..sent.len() - whole.behind];
    let again = fuzzing::server_answer(&method, [alone].into_iter()).expect("it is whole");
    assert_eq!((&again.body, again.behind), (&whole.body, 0));
    let short = fuzzing::server_answer(&method, [&alone[..alone.len() - 1]].into_iter());
    assert!(!whole.keep_alive || short.is_err(), "{short:?}");
}

/// Where frames end, the start counted as such an end (RFC 6455 section 5.2). The last may be
/// beyond what there is.
fn frame_ends(stream: &[u8]) -> Vec<u64> {
    let mut ends = vec![0];
    let mut at = 0;
    while let Some(&[_, second]) = stream.get(at..at + 2) {
        let extended = match second & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let Some(length) = stream.get(at + 2..at + 2 + extended) else { break };
        let length = match extended {
            0 => u64::from(second & 0x7f),
            _ => length.iter().fold(0, |all, byte| all << 8 | u64::from(*byte)),
        };
        let header = 2 + extended + if second & 0x80 == 0 { 0 } else { 4 };
        let end = (at as u64 + header as u64).saturating_add(length);
        ends.push(end);
        match usize::try_from(end) {
            Ok(end) if end < stream.len() => at = end,
            Ok(_) | Err(_) => break,
        }
    }
    ends
}

/// Read where the standard's grammar says so, and nowhere else.
pub fn traceparent(bytes: &[u8]) {
    let read = Parent::read(bytes);
    let hex = |part: &[u8]| part.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let field = |from: usize, to: usize| bytes.get(from..to).filter(|part| hex(part));
    let dashes = [2, 35, 52].iter().all(|at| bytes.get(*at) == Some(&b'-'));
    let fields = (field(0, 2), field(3, 35), field(36, 52), field(53, 55));
    let (Some(version), Some(trace), Some(span), Some(flags)) = fields else {
        return assert_eq!(read, None);
    };
    let zeros = |part: &[u8]| part.iter().all(|byte| *byte == b'0');
    let ends = match version {
        b"00" => bytes.len() == 55,
        b"ff" => false,
        _ => bytes.len() == 55 || bytes[55] == b'-',
    };
    let good = dashes && ends && !zeros(trace) && !zeros(span);
    // A later version may bring more, but only text.
    if std::str::from_utf8(bytes).is_err() || !good {
        return assert_eq!(read, None);
    }
    let read = read.expect("it keeps the grammar");
    assert_eq!(read.trace.to_string().as_bytes(), trace);
    assert_eq!(read.span.to_string().as_bytes(), span);
    let last = char::from(flags[1]).to_digit(16).unwrap();
    assert_eq!(read.sampled, last & 1 == 1);
}
