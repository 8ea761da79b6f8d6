//! Words of the configuration to values: durations, sizes, addresses, names. Pure; an error is a
//! help line that says what is expected, without the value itself.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::{HostPattern, IpNet};

/// `250ms`, `30s`, `5m`, `12h`, `30d`: one number, one unit.
pub fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = split_unit(text)?;
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(milliseconds).map(Duration::from_millis)
}

/// In the largest unit that says it exactly.
pub fn show_duration(duration: Duration) -> String {
    let milliseconds = duration.as_millis();
    for (unit, size) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)] {
        // A day is said as 24h, as people write lifetimes.
        let least = if unit == "d" { 2 * size } else { size };
        if milliseconds >= least && milliseconds.is_multiple_of(size) {
            return format!("{}{unit}", milliseconds / size);
        }
    }
    if milliseconds == 0 { "0s".to_owned() } else { format!("{milliseconds}ms") }
}

/// `512B`, `64KiB`, `1MiB`, `2GiB`: powers of 1024.
pub fn size(text: &str) -> Option<u64> {
    let (number, unit) = split_unit(text)?;
    let bytes = match unit {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(bytes)
}

/// In the largest unit that says it exactly.
pub fn show_size(bytes: u64) -> String {
    for (unit, shift) in [("GiB", 30), ("MiB", 20), ("KiB", 10)] {
        if bytes >= 1 << shift && bytes.is_multiple_of(1 << shift) {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    format!("{bytes}B")
}

fn split_unit(text: &str) -> Option<(u64, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(digits)?;
    Some((number.parse().ok()?, unit))
}

/// `127.0.0.1:8080`, `[::1]:8080`. Names are not resolved: a listener must not depend on DNS.
pub fn socket_address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    if let Some(rest) = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://")) {
        return Err(format!("without a scheme: \"{}\"", rest.trim_end_matches('/')));
    }
    if let Some(port) = text.strip_prefix("localhost:") {
        return Err(format!("an address instead of a name: \"127.0.0.1:{port}\""));
    }
    let port = text.strip_prefix(':').or_else(|| text.strip_prefix("*:")).unwrap_or(text);
    if port.parse::<u16>().is_ok() {
        return Err(format!(
            "with an address: \"127.0.0.1:{port}\" for this machine, \"0.0.0.0:{port}\" for all"
        ));
    }
    if text.parse::<IpAddr>().is_ok() {
        return Err("with a port: \"127.0.0.1:8080\", \"[::1]:8080\"".to_owned());
    }
    Err("\"127.0.0.1:8080\", \"[::1]:8080\" or \"unix:/run/portcullis.sock\"".to_owned())
}

/// `10.0.0.0/8`, `fd00::/8` or one address. Host bits must be zero, or a typing mistake would
/// trust more than it says.
pub fn network(text: &str) -> Result<IpNet, String> {
    let expected =
        || "an address or a block: \"10.0.0.7\", \"10.0.0.0/8\", \"fd00::/8\"".to_owned();
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().map_err(|_| expected())?;
    let width = if address.is_ipv4() { 32 } else { 128 };
    let prefix = match prefix {
        None => width,
        Some(text) => text.parse().ok().filter(|bits| *bits <= width).ok_or_else(expected)?,
    };
    let masked = mask(address, prefix);
    if masked != address {
        return Err(format!("a block begins at its first address: \"{masked}/{prefix}\""));
    }
    Ok(IpNet { address, prefix })
}

fn mask(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let bits = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            IpAddr::V4((v4.to_bits() & bits).into())
        }
        IpAddr::V6(v6) => {
            let bits = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            IpAddr::V6((v6.to_bits() & bits).into())
        }
    }
}

/// `app.example.com`, `*.example.com` or `*`; lower case, no port.
pub fn host_pattern(text: &str) -> Result<HostPattern, String> {
    let lower = text.to_ascii_lowercase();
    if lower == "*" {
        return Ok(HostPattern::Any);
    }
    if let Some(rest) = lower.strip_prefix("*.") {
        if is_host_name(rest) {
            return Ok(HostPattern::Suffix(format!(".{rest}")));
        }
        return Err("a wildcard stands for the first labels: \"*.example.com\"".to_owned());
    }
    if lower.contains("://") || lower.contains('/') {
        return Err("the host alone, without scheme and path: \"app.example.com\"".to_owned());
    }
    let bracketed = lower.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    if bracketed.is_some_and(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok()) {
        return Ok(HostPattern::Exact(lower));
    }
    if lower.contains(':') {
        return Err("the host without its port: routes do not depend on the port".to_owned());
    }
    if is_host_name(&lower) {
        return Ok(HostPattern::Exact(lower));
    }
    if !lower.is_ascii() {
        return Err("the ASCII form of the name, as browsers send it (xn--…)".to_owned());
    }
    Err("\"app.example.com\" or \"*.example.com\"".to_owned())
}

/// Letters, digits, `-` and `_` in labels of 1 to 63, no trailing dot.
pub fn is_host_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 253
        && text.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        })
}

/// A path as requests are matched: the canonical reading only, so that a route cannot be written
/// that no request can select.
pub fn path(text: &str) -> Result<(), String> {
    let fault = if !text.starts_with('/') {
        "a path begins with /"
    } else if text.contains(['?', '#']) {
        "the path alone: no query and no fragment"
    } else if text.contains('*') {
        "no wildcards: a path matches everything below it by itself"
    } else if text.contains('%') {
        "no % escapes: write the characters themselves"
    } else if text.contains("//") {
        "no empty segments: one / at a time"
    } else if text.contains(';') {
        "no path parameters (;)"
    } else if text.split('/').any(|segment| matches!(segment, "." | "..")) {
        "no . or .. segments"
    } else if text.contains('\\') || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        "visible ASCII characters only, no backslash"
    } else {
        return Ok(());
    };
    Err(fault.to_owned())
}

/// RFC 9110 section 5.6.2; cookie names are tokens too (RFC 6265 section 4.1.1).
pub fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

/// Names of issuers, upstreams, routes and admin tokens: they are printed, logged and typed.
pub fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 100
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_one_number_and_one_unit() {
        assert_eq!(duration("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(duration("30d"), Some(Duration::from_secs(30 * 86_400)));
        for bad in ["30", "s", "", "1h30m", "-1s", "1.5h", "30 s", "99999999999999999999s"] {
            assert_eq!(duration(bad), None, "{bad}");
        }
        assert_eq!(duration(&format!("{}d", u64::MAX)), None);
        for text in ["24h", "30d", "5m", "30s", "250ms", "0s", "90m"] {
            assert_eq!(show_duration(duration(text).unwrap()), text);
        }
    }

    #[test]
    fn sizes_are_powers_of_1024() {
        assert_eq!(size("64KiB"), Some(65_536));
        assert_eq!(size("1MiB"), Some(1 << 20));
        for bad in ["64KB", "64", "KiB", "64kib", "1 MiB"] {
            assert_eq!(size(bad), None, "{bad}");
        }
        assert_eq!(show_size(65_536), "64KiB");
        assert_eq!(show_size(100), "100B");
    }

    #[test]
    fn a_listener_needs_an_address_and_a_port() {
        assert!(socket_address("[::1]:8080").is_ok());
        assert!(socket_address("localhost:8080").unwrap_err().contains("127.0.0.1:8080"));
        assert!(socket_address(":8080").unwrap_err().contains("0.0.0.0:8080"));
        assert!(socket_address("http://127.0.0.1:80/").unwrap_err().contains("\"127.0.0.1:80\""));
        assert!(socket_address("127.0.0.1").unwrap_err().contains("port"));
        assert!(socket_address("127.0.0.1:99999").is_err());
    }

    #[test]
    fn a_network_has_no_host_bits() {
        assert_eq!(network("10.0.0.0/8").map(|net| net.prefix), Ok(8));
        assert_eq!(network("::1").map(|net| net.prefix), Ok(128));
        assert_eq!(network("0.0.0.0/0").map(|net| net.prefix), Ok(0));
        assert!(network("10.0.0.1/8").unwrap_err().contains("10.0.0.0/8"));
        assert!(network("10.0.0.0/33").is_err());
        assert!(network("ten").is_err());
    }

    #[test]
    fn a_host_is_exact_or_a_wildcard_in_front() {
        assert_eq!(
            host_pattern("App.Example.com"),
            Ok(HostPattern::Exact("app.example.com".into()))
        );
        assert_eq!(host_pattern("*.example.com"), Ok(HostPattern::Suffix(".example.com".into())));
        assert_eq!(host_pattern("*.lan"), Ok(HostPattern::Suffix(".lan".into())));
        assert_eq!(host_pattern("*"), Ok(HostPattern::Any));
        for bad in
            ["app.example.com:443", "https://a.b", "*.", "*.*.a", "a.*.b", "-a.b", "a..b", "é.fr"]
        {
            assert!(host_pattern(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_path_is_canonical() {
        for good in ["/", "/api/", "/a/b.c/~d", "/..a"] {
            assert!(path(good).is_ok(), "{good}");
        }
        for bad in
            ["api", "/a/../b", "/a//b", "/a;b", "/a%2f", "/a/*", "/a?b", "/a\\b", "/é", "/.", ""]
        {
            assert!(path(bad).is_err(), "{bad}");
        }
    }
}
