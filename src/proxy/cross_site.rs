//! Requests that another site made a browser send. A cookie comes along whoever asked for the
//! request, so a cookie credential counts only where the browser says that our own page, the person
//! at the address bar or a link asked (Fetch Metadata, RFC 6454). A bearer token is put there by a
//! script that had it and is never asked about.

use http::header::{HOST, ORIGIN};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::connection::Connection;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Why a request counts as another site's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CrossSite {
    /// `Origin` is there and is not ours.
    OtherOrigin,
    /// `Origin: null`: a sandboxed frame, a data URL, a redirect across sites.
    NullOrigin,
    /// `Sec-Fetch-Site` says cross-site or same-site, and it is no top-level navigation.
    OtherSite,
    /// Neither header is there, and the method is not a safe one.
    Unsaid,
    /// A WebSocket handshake without `Origin`.
    SocketWithoutOrigin,
}

impl CrossSite {
    /// For the log; `external_origins` is what an operator may have to set.
    pub fn reason(self) -> &'static str {
        match self {
            Self::OtherOrigin => {
                "cross-site: Origin is not the external origin (if it should be: \
                 [server] external_origins, or trusted_proxies for X-Forwarded-Proto)"
            }
            Self::NullOrigin => "cross-site: Origin is null",
            Self::OtherSite => "cross-site: Sec-Fetch-Site is not same-origin",
            Self::Unsaid => "a cookie with an unsafe method, and neither Sec-Fetch-Site nor Origin",
            Self::SocketWithoutOrigin => "a cookie opens a WebSocket without an Origin",
        }
    }
}

/// The question, without a request: what the rule looks at.
#[derive(Clone, Copy)]
pub struct Asked<'r> {
    pub method: &'r Method,
    pub headers: &'r HeaderMap,
    /// The request opens a WebSocket.
    pub websocket: bool,
    /// What the page's own origin is, as far as the gateway is told.
    pub scheme: &'r str,
    pub host: &'r [u8],
}

impl<'r> Asked<'r> {
    /// Of a request as it came: scheme and host from a trusted proxy's headers or the connection.
    pub fn of(
        method: &'r Method,
        headers: &'r HeaderMap,
        websocket: bool,
        connection: &Connection,
    ) -> Self {
        let trusted = connection.is_trusted();
        let forwarded = |name: &HeaderName| {
            let value = if trusted { headers.get(name)?.as_bytes() } else { return None };
            value.split(|&byte| byte == b',').next().map(<[u8]>::trim_ascii)
        };
        let own = headers.get(HOST).map(HeaderValue::as_bytes).unwrap_or_default();
        let scheme = match forwarded(&X_FORWARDED_PROTO) {
            Some(scheme) if scheme.eq_ignore_ascii_case(b"https") => "https",
            Some(_) => "http",
            None => connection.scheme,
        };
        Self {
            method,
            headers,
            websocket,
            scheme,
            host: forwarded(&X_FORWARDED_HOST).unwrap_or(own),
        }
    }

    /// The rule for a cookie credential, and for what sets one. `listed` are origins that the
    /// config names.
    pub fn check(&self, listed: &[String]) -> Result<(), CrossSite> {
        let origin = self.headers.get_all(ORIGIN).iter().collect::<Vec<_>>();
        let ours = match origin.as_slice() {
            [] => None,
            [only] => Some(self.is_ours(only.as_bytes(), listed)),
            _ => Some(false),
        };
        if self.websocket {
            // A handshake reads the answers of its socket whatever the same-origin policy says.
            return match ours {
                Some(true) => Ok(()),
                Some(false) => Err(other(&origin)),
                None => Err(CrossSite::SocketWithoutOrigin),
            };
        }
        let site = single(self.headers, &SEC_FETCH_SITE);
        if matches!(site, Some(b"same-origin" | b"none")) || ours == Some(true) {
            return Ok(());
        }
        if ours == Some(false) {
            return Err(other(&origin));
        }
        let reads = matches!(*self.method, Method::GET | Method::HEAD);
        match site {
            None if reads || *self.method == Method::OPTIONS => Ok(()),
            None => Err(CrossSite::Unsaid),
            Some(_) if reads && self.is_navigation() => Ok(()),
            Some(_) => Err(CrossSite::OtherSite),
        }
    }

    /// Our own origin as the outside knows it: that of the request, unless the config lists others
    /// only. `None`: it says no host.
    pub fn origin(&self, listed: &[String]) -> Option<String> {
        let host = std::str::from_utf8(self.host).ok().filter(|host| !host.is_empty())?;
        let own = format!("{}://{}", self.scheme, host.to_ascii_lowercase());
        match listed.first() {
            Some(first) if !listed.contains(&own) => Some(first.clone()),
            Some(_) | None => Some(own),
        }
    }

    /// A whole page is asked for, in its own tab: not a frame, an image or a script.
    pub fn is_navigation(&self) -> bool {
        single(self.headers, &SEC_FETCH_MODE) == Some(b"navigate")
            && single(self.headers, &SEC_FETCH_DEST) == Some(b"document")
    }

    /// An origin in the one form that browsers send it (RFC 6454 section 6.2): lower case, no
    /// default port.
    fn is_ours(&self, origin: &[u8], listed: &[String]) -> bool {
        if listed.iter().any(|listed| listed.as_bytes() == origin) {
            return true;
        }
        let Some(rest) = origin.strip_prefix(self.scheme.as_bytes()) else { return false };
        let Some(host) = rest.strip_prefix(b"://") else { return false };
        let default: &[u8] = if self.scheme == "https" { b":443" } else { b":80" };
        let own = self.host.strip_suffix(default).unwrap_or(self.host);
        !own.is_empty() && host.eq_ignore_ascii_case(own)
    }
}

fn other(origin: &[&HeaderValue]) -> CrossSite {
    match origin {
        [only] if only.as_bytes() == b"null" => CrossSite::NullOrigin,
        _ => CrossSite::OtherOrigin,
    }
}

/// The only value; one that is there more than once says nothing that could be believed, and is
/// not absent either.
fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h [u8]> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?.as_bytes();
    Some(if values.next().is_some() { b"" } else { first })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = "https://app.example.com";

    fn judge(
        method: &str,
        site: Option<&str>,
        origin: Option<&str>,
        navigation: bool,
        websocket: bool,
    ) -> Result<(), CrossSite> {
        let mut headers = HeaderMap::new();
        let mut add = |name: &'static str, value: &str| {
            headers.append(name, HeaderValue::from_str(value).unwrap());
        };
        if let Some(site) = site {
            add("sec-fetch-site", site);
            add("sec-fetch-mode", if navigation { "navigate" } else { "cors" });
            add("sec-fetch-dest", if navigation { "document" } else { "empty" });
        }
        if let Some(origin) = origin {
            add("origin", origin);
        }
        let method = method.parse().unwrap();
        let asked = Asked {
            method: &method,
            headers: &headers,
            websocket,
            scheme: "https",
            host: b"app.example.com:443",
        };
        asked.check(&["https://other.example.com".to_owned()])
    }

    // The table of the rule: method × Sec-Fetch-Site × Origin.
    #[test]
    fn the_rule_holds_for_every_method_site_and_origin() {
        let methods = ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "PURGE"];
        let sites = [
            None,
            Some("same-origin"),
            Some("none"),
            Some("same-site"),
            Some("cross-site"),
            Some("x"),
        ];
        let origins = [
            None,
            Some(OURS),
            Some("https://other.example.com"),
            Some("null"),
            Some("https://evil.example"),
            Some("http://app.example.com"),
            Some("https://app.example.com:8443"),
            Some("https://app.example.com.evil.example"),
            Some(""),
        ];
        for method in methods {
            for site in sites {
                for origin in origins {
                    for navigation in [false, true] {
                        let reads = matches!(method, "GET" | "HEAD");
                        let ours = matches!(origin, Some(OURS | "https://other.example.com"));
                        let own_site = matches!(site, Some("same-origin" | "none"));
                        let link = site.is_some() && origin.is_none() && navigation && reads;
                        let unsaid = site.is_none() && origin.is_none();
                        let safe = reads || method == "OPTIONS";
                        let passes = own_site || ours || link || (unsaid && safe);
                        let judged = judge(method, site, origin, navigation, false);
                        assert_eq!(
                            judged.is_ok(),
                            passes,
                            "{method} {site:?} {origin:?} navigation {navigation}: {judged:?}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn a_websocket_needs_a_matching_origin_whatever_else_is_said() {
        for site in [None, Some("same-origin"), Some("none"), Some("cross-site")] {
            assert!(judge("GET", site, Some(OURS), false, true).is_ok());
            for origin in [None, Some("null"), Some("https://evil.example"), Some("")] {
                assert!(judge("GET", site, origin, false, true).is_err(), "{site:?} {origin:?}");
            }
        }
    }

    #[test]
    fn a_header_that_is_there_twice_is_not_believed() {
        let mut headers = HeaderMap::new();
        headers.append("sec-fetch-site", HeaderValue::from_static("same-origin"));
        headers.append("sec-fetch-site", HeaderValue::from_static("cross-site"));
        fn asked(headers: &HeaderMap) -> Result<(), CrossSite> {
            let method = &Method::GET;
            Asked { method, headers, websocket: false, scheme: "http", host: b"a" }.check(&[])
        }
        assert_eq!(asked(&headers), Err(CrossSite::OtherSite));
        let mut headers = HeaderMap::new();
        headers.append("origin", HeaderValue::from_static("http://a"));
        assert!(asked(&headers).is_ok());
        headers.append("origin", HeaderValue::from_static("http://a"));
        assert_eq!(asked(&headers), Err(CrossSite::OtherOrigin));
    }
}
