//! The door before the credential: requests that a browser was made to send are refused.
//!
//! DNS rebinding makes a page's own host name point at loopback, so the Host must be one that this
//! API is meant to be called by. Cross-site requests announce themselves by Origin or
//! Sec-Fetch-Site. No CORS header is ever sent. (Caddy's admin API: CVE-2026-27589.)

use std::net::IpAddr;

use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, header};

use super::problem::Refused;

/// What a request must not contradict.
pub(super) struct Door<'a> {
    /// Address that the connection came in at; `None` for a unix socket, whose Host says nothing.
    pub local: Option<IpAddr>,
    /// Further names, lower case, without port.
    pub hosts: &'a [String],
}

impl Door<'_> {
    pub fn check(&self, request: &Parts) -> Result<(), Refused> {
        let host = single(&request.headers, &header::HOST)?;
        if self.local.is_some() {
            let named = request.uri.authority().map(Authority::as_str);
            if host.is_none() && named.is_none() {
                return refuse("The request has no Host.");
            }
            for name in host.into_iter().chain(named) {
                self.check_host(name)?;
            }
        }
        check_origin(&request.headers, host)
    }

    fn check_host(&self, host: &str) -> Result<(), Refused> {
        let Ok(authority) = host.parse::<Authority>() else {
            return refuse("The Host is malformed.");
        };
        let name = authority.host().trim_end_matches('.').to_ascii_lowercase();
        let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok();
        let known = match address {
            // An attacker's page has a name; an address cannot be rebound. Still only our own.
            Some(address) => {
                address.to_canonical().is_loopback()
                    || Some(address.to_canonical()) == self.local.map(|own| own.to_canonical())
                    || self.hosts.contains(&name)
            }
            None => name == "localhost" || self.hosts.contains(&name),
        };
        // `user@host` never appears in a Host; a reader that takes the wrong half must not exist.
        if known && !host.contains('@') {
            return Ok(());
        }
        refuse("The Host is not one that the admin API answers to. Further names: admin.hosts.")
    }
}

/// Names as the config has them, made comparable.
pub(super) fn comparable_host(name: &str) -> String {
    let host = match name.parse::<Authority>() {
        Ok(authority) => authority.host().to_owned(),
        Err(_) => name.to_owned(),
    };
    host.trim_end_matches('.').to_ascii_lowercase()
}

fn check_origin(headers: &HeaderMap, host: Option<&str>) -> Result<(), Refused> {
    let site = header::HeaderName::from_static("sec-fetch-site");
    if let Some(site) = single(headers, &site)?
        && site != "same-origin"
        && site != "none"
    {
        return refuse("Sec-Fetch-Site says that another site sent the request.");
    }
    let Some(origin) = single(headers, &header::ORIGIN)? else { return Ok(()) };
    let ours = ["http://", "https://"].iter().any(|scheme| {
        origin.strip_prefix(scheme).is_some_and(|authority| {
            let port = if *scheme == "http://" { ":80" } else { ":443" };
            host.is_some_and(|host| same_authority(authority, host, port))
        })
    });
    if ours { Ok(()) } else { refuse("The Origin is not the admin API's own.") }
}

fn same_authority(left: &str, right: &str, default_port: &str) -> bool {
    let bare = |text: &str| {
        let lower = text.to_ascii_lowercase();
        lower.strip_suffix(default_port).map_or(lower.clone(), str::to_owned)
    };
    bare(left) == bare(right)
}

/// A header that may be there once.
fn single<'h>(
    headers: &'h HeaderMap,
    name: &header::HeaderName,
) -> Result<Option<&'h str>, Refused> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() {
        return refuse(&format!("{name} is there twice."));
    }
    match first.map(|value| value.to_str()) {
        None => Ok(None),
        Some(Ok(text)) => Ok(Some(text)),
        Some(Err(_)) => refuse(&format!("{name} is malformed.")),
    }
}

fn refuse<T>(why: &str) -> Result<T, Refused> {
    Err(Refused::CrossSite { why: why.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn passes(local: Option<&str>, headers: &[(&str, &str)]) -> bool {
        let hosts = [comparable_host("Gateway.example.com:9900")];
        let door = Door { local: local.map(|text| text.parse().unwrap()), hosts: &hosts };
        let mut request = Request::builder().uri("/v1/status");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        door.check(&request.body(()).unwrap().into_parts().0).is_ok()
    }

    #[test]
    fn only_hosts_that_the_api_is_called_by_pass() {
        for host in [
            "127.0.0.1:9900",
            "127.8.8.8",
            "[::1]:9900",
            "[::ffff:127.0.0.1]",
            "localhost:9900",
            "LOCALHOST.",
            "10.0.0.5:9900",
            "gateway.example.com",
            "gateway.example.com:1",
        ] {
            assert!(passes(Some("10.0.0.5"), &[("host", host)]), "{host}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "10.0.0.6:9900",
            "localhost@evil.example",
            "evil@localhost",
            "0.0.0.0",
            "a b",
            "",
        ] {
            assert!(!passes(Some("10.0.0.5"), &[("host", host)]), "{host}");
        }
        assert!(!passes(Some("10.0.0.5"), &[]));
        assert!(!passes(Some("10.0.0.5"), &[("host", "localhost"), ("host", "evil.example")]));
    }

    #[test]
    fn a_unix_socket_does_not_ask_for_a_host_but_refuses_a_browser() {
        assert!(passes(None, &[]));
        assert!(passes(None, &[("host", "anything")]));
        assert!(!passes(None, &[("host", "x"), ("origin", "https://evil.example")]));
    }

    #[test]
    fn only_the_own_origin_passes() {
        let host = ("host", "127.0.0.1:9900");
        let local = Some("127.0.0.1");
        assert!(passes(local, &[host, ("origin", "http://127.0.0.1:9900")]));
        assert!(passes(local, &[("host", "localhost"), ("origin", "http://localhost:80")]));
        for origin in [
            "null",
            "http://127.0.0.1:9901",
            "http://127.0.0.1",
            "http://localhost:9900",
            "http://127.0.0.1:9900.evil.example",
            "file://127.0.0.1:9900",
            "127.0.0.1:9900",
        ] {
            assert!(!passes(local, &[host, ("origin", origin)]), "{origin}");
        }
    }

    #[test]
    fn only_same_origin_fetches_pass() {
        let host = ("host", "127.0.0.1:9900");
        for (site, good) in [
            ("same-origin", true),
            ("none", true),
            ("same-site", false),
            ("cross-site", false),
            ("", false),
        ] {
            assert_eq!(
                passes(Some("127.0.0.1"), &[host, ("sec-fetch-site", site)]),
                good,
                "{site}"
            );
        }
    }
}
