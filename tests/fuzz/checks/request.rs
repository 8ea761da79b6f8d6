//! A whole request: what is read of it, and what of its headers is passed on.

use http::header::{
    CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING, UPGRADE,
};
use http::request::Parts;
use http::{Method, Request, Uri};
use portcullis::fuzzing;

/// What the gateway would add: nobody else may.
const OURS: [&str; 2] = ["x-user", "x-user-roles"];
/// Those of one connection, and those by which a proxy speaks of its client.
const OF_A_HOP: [&str; 7] = [
    "connection",
    "keep-alive",
    "te",
    "transfer-encoding",
    "upgrade",
    "proxy-connection",
    "expect",
];
const OF_A_PROXY: [&str; 5] =
    ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "x-original-url"];

/// `METHOD target` in the first line, `Name: value` in the others. The last byte of the first line
/// says with `!` that there is a body.
pub fn request(bytes: &[u8]) {
    let Some((parts, bodiless)) = parse(bytes) else { return };
    if let Ok((host, websocket)) = fuzzing::canonical(&parts, bodiless) {
        has_one_reading(&parts, &host);
        if websocket {
            let upgrade: Vec<_> = parts.headers.get_all(UPGRADE).iter().collect();
            assert!(bodiless && parts.method == Method::GET && upgrade.len() == 1);
            assert!(upgrade[0].as_bytes().eq_ignore_ascii_case(b"websocket"));
            assert!(options(&parts.headers).any(|name| name == "upgrade"));
        }
    }
    for trusted in [false, true] {
        leaves_nothing_foreign(&parts.headers, trusted);
    }
    for method in fuzzing::overriding_methods(&parts.headers).into_iter().flatten() {
        assert_eq!(method.as_str(), method.as_str().to_ascii_uppercase());
    }
}

fn parse(bytes: &[u8]) -> Option<(Parts, bool)> {
    let mut lines = bytes.split(|byte| *byte == b'\n').take(40);
    let first = lines.next()?;
    let first = first.strip_suffix(b"!").map_or((first, true), |first| (first, false));
    let (line, bodiless) = first;
    let space = line.iter().position(|byte| *byte == b' ')?;
    let method = Method::from_bytes(&line[..space]).ok()?;
    let uri = Uri::try_from(&line[space + 1..]).ok()?;
    let mut request = Request::builder().method(method).uri(uri).body(()).ok()?;
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?;
        request.headers_mut().append(name, value);
    }
    Some((request.into_parts().0, bodiless))
}

fn has_one_reading(parts: &Parts, host: &str) {
    assert!(parts.method != Method::CONNECT && parts.method != Method::TRACE);
    assert!(parts.uri.path().starts_with('/'));
    let hosts: Vec<_> = parts.headers.get_all(HOST).iter().collect();
    assert_eq!(hosts.len(), 1);
    let said = hosts[0].to_str().unwrap().to_ascii_lowercase();
    if let Some(authority) = parts.uri.authority() {
        assert_eq!(authority.as_str().to_ascii_lowercase(), said);
    }
    // As a URL is read by others.
    let read: Uri = format!("http://{said}/").parse().unwrap();
    let other = read.host().unwrap().trim_matches(['[', ']']).to_owned();
    assert_eq!(host, other);
    let allowed =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._:".contains(&byte);
    assert!(host.bytes().all(allowed) && !host.ends_with('.'), "{host}");
    let codings: Vec<_> = parts.headers.get_all(TRANSFER_ENCODING).iter().collect();
    assert!(codings.len() <= 1);
    assert!(codings.iter().all(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked")));
}

fn leaves_nothing_foreign(headers: &HeaderMap, trusted: bool) {
    let guarded = OURS.map(HeaderName::from_static);
    let left = fuzzing::without_foreign(headers.clone(), trusted, &guarded);
    let named: Vec<String> = options(headers).collect();
    for name in left.keys() {
        let plain = name.as_str().replace(['_', '.'], "-");
        assert!(!OURS.contains(&plain.as_str()), "{name}");
        assert!(!OF_A_HOP.contains(&name.as_str()), "{name}");
        let of_a_proxy = OF_A_PROXY.contains(&plain.as_str());
        assert!(!of_a_proxy || (trusted && plain == name.as_str()), "{name}");
        let nominated = named.iter().any(|option| option == name.as_str());
        assert!(!nominated || *name == HOST, "{name}");
        assert!(left.get_all(name).iter().eq(headers.get_all(name)), "{name} is changed");
    }
    assert_eq!(left.get_all(HOST).iter().count(), headers.get_all(HOST).iter().count());
    assert_eq!(fuzzing::without_foreign(left.clone(), trusted, &guarded), left, "not all at once");
}

/// What `Connection` names, other than what it is always about.
fn options(headers: &HeaderMap) -> impl Iterator<Item = String> {
    let values = headers.get_all(CONNECTION).iter();
    let names = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    let names = names.map(|name| String::from_utf8_lossy(name.trim_ascii()).to_ascii_lowercase());
    names.filter(|name| name != "close" && name != "keep-alive")
}
