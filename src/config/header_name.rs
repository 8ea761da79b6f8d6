//! Header names that mean something to the gateway, and what may stand in a value. The reader of
//! the configuration and the data plane ask the same questions here.

use http::HeaderValue;

use super::cursor::show;
use super::diagnostic::{Code, Diagnostic};
use super::item::{Item, Text};

/// Headers of one connection only (RFC 9110 section 7.6.1), and those that frame the message.
pub fn is_hop_by_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "te"
            | "transfer-encoding"
            | "upgrade"
            | "content-length"
            | "expect"
            | "http2-settings"
            | "proxy"
    )
}

/// What a proxy in front of us may say of the client, and what backends believe of it. Dropped
/// unless the peer is a trusted proxy.
pub fn speaks_of_client(name: &str) -> bool {
    const BEGINNINGS: [&str; 3] = ["x-forwarded", "x-original-", "x-envoy-"];
    const NAMES: [&str; 13] = [
        "forwarded",
        "x-real-ip",
        "x-client-ip",
        "x-cluster-client-ip",
        "x-rewrite-url",
        "x-request-id",
        "true-client-ip",
        "client-ip",
        "cf-connecting-ip",
        "client-cert",
        "client-cert-chain",
        "front-end-https",
        "x-url-scheme",
    ];
    let first = name.as_bytes().first().copied();
    let candidate = matches!(first, Some(b'x' | b'f' | b't' | b'c'));
    candidate
        && (BEGINNINGS.iter().any(|beginning| begins(name, beginning))
            || NAMES.iter().any(|one| name.len() == one.len() && begins(name, one)))
}

/// `name` begins so in its [`normal`] form, which is not made for it: this is asked of every header
/// of every request.
fn begins(name: &str, beginning: &str) -> bool {
    let reads_as = |(byte, wanted): (u8, u8)| match byte {
        b'_' | b'.' => wanted == b'-',
        _ => byte.eq_ignore_ascii_case(&wanted),
    };
    name.len() >= beginning.len() && name.bytes().zip(beginning.bytes()).all(reads_as)
}

/// As backends read a name: `_` and `.` are `-` to some of them.
pub fn normal(name: &str) -> String {
    name.replace(['_', '.'], "-").to_ascii_lowercase()
}

/// A value as RFC 9110 section 5.5 has it, without bytes outside ASCII: what is written is what
/// every peer reads.
pub fn field_value(item: &Item<'_>, text: &Text) -> Option<HeaderValue> {
    let plain = text.value.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
    let trimmed = text.value.trim_ascii() == text.value;
    let value = HeaderValue::from_str(&text.value).ok().filter(|_| plain && trimmed);
    if value.is_none() {
        let message = format!("`{}` cannot be the value of a header", show(&item.key));
        let help = "visible ASCII and inner spaces: no line ends, no space at the edges";
        let diagnostic = Diagnostic::error(Code::BadHeaderRule, message).help(help);
        item.reader.report(&text.span, diagnostic);
    }
    value
}
