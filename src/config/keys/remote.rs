//! `jwks_url` and `discovery`: keys that are fetched. Checked here is what can be known without
//! asking anybody; `check --online` asks.

use std::time::Duration;

use http::Uri;

use super::super::cursor::{Table, show};
use super::super::diagnostic::{Code, Diagnostic};
use super::super::files;
use super::super::item::{Item, Text};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const WELL_KNOWN: &str = "/.well-known/openid-configuration";

/// Keys at a URL.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RemoteKeys {
    pub location: KeyLocation,
    /// Plain HTTP is taken from other machines too.
    pub allow_http: bool,
    /// A redirect may lead to another host.
    pub allow_redirects: bool,
    /// Certificates in PEM that are trusted in the place of the system's.
    pub ca: Option<Vec<u8>>,
    /// Bounds of what the server says about freshness.
    pub refresh_min: Duration,
    pub refresh_max: Duration,
    /// Between two fetches that unknown keys ask for.
    pub cooldown: Duration,
    /// For a whole fetch.
    pub timeout: Duration,
    /// How long a request with an unknown key may wait for a fetch; zero: not at all.
    pub wait: Duration,
    /// How long the last good set is served.
    pub max_stale: Duration,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum KeyLocation {
    Jwks(Uri),
    /// OpenID Connect Discovery 1.0 section 4: a document that must name exactly this issuer.
    Discovery {
        document: Uri,
        issuer: String,
    },
}

impl KeyLocation {
    /// The URL that is asked first.
    pub fn url(&self) -> &Uri {
        match self {
            Self::Jwks(url) | Self::Discovery { document: url, .. } => url,
        }
    }
}

/// Keys of the table that only fetched keys have.
const SETTINGS: [&str; 9] = [
    "ca",
    "allow_http",
    "allow_redirects",
    "refresh_min",
    "refresh_max",
    "cooldown",
    "timeout",
    "wait",
    "max_stale",
];

/// How to fetch, without where.
pub struct Settings {
    pub allow_http: bool,
    allow_redirects: bool,
    ca: Option<Vec<u8>>,
    refresh_min: Duration,
    refresh_max: Duration,
    cooldown: Duration,
    timeout: Duration,
    wait: Duration,
    max_stale: Duration,
}

pub fn settings(table: &Table<'_>) -> Settings {
    let settings = Settings {
        allow_http: table.boolean("allow_http", false),
        allow_redirects: table.boolean("allow_redirects", false),
        ca: table.get("ca").and_then(|item| authorities(&item)),
        refresh_min: table.duration("refresh_min", MINUTE, SECOND..=24 * HOUR),
        refresh_max: table.duration("refresh_max", 15 * MINUTE, SECOND..=24 * HOUR),
        cooldown: table.duration("cooldown", 10 * SECOND, SECOND..=HOUR),
        timeout: table.duration("timeout", 5 * SECOND, SECOND / 10..=MINUTE),
        wait: table.duration("wait", 2 * SECOND, Duration::ZERO..=10 * SECOND),
        max_stale: table.duration("max_stale", 24 * HOUR, MINUTE..=30 * 24 * HOUR),
    };
    if settings.refresh_min > settings.refresh_max {
        let item = table.get("refresh_min").or_else(|| table.get("refresh_max"));
        let message = "`refresh_min` is longer than `refresh_max`";
        if let Some(item) = item {
            item.reader.report(&item.span, Diagnostic::error(Code::OutOfRange, message));
        }
    }
    settings
}

/// What says how to fetch says nothing about a file.
pub fn only_for_fetched(table: &Table<'_>, source: &Item<'_>) {
    if matches!(source.key.as_str(), "jwks_url" | "discovery") {
        return;
    }
    for setting in SETTINGS.iter().filter_map(|key| table.get(key)) {
        let message = format!("`{}` is for keys that are fetched", show(&setting.key));
        let diagnostic = Diagnostic::error(Code::Exclusive, message)
            .help("it goes with `jwks_url` and `discovery`");
        setting.reader.report(&setting.key_span, diagnostic);
    }
}

impl Settings {
    pub fn at(self, location: KeyLocation) -> RemoteKeys {
        RemoteKeys {
            location,
            allow_http: self.allow_http,
            allow_redirects: self.allow_redirects,
            ca: self.ca,
            refresh_min: self.refresh_min,
            refresh_max: self.refresh_max,
            cooldown: self.cooldown,
            timeout: self.timeout,
            wait: self.wait,
            max_stale: self.max_stale,
        }
    }
}

/// `jwks_url = "https://…"`.
pub fn jwks_url(item: &Item<'_>, allow_http: bool) -> Option<KeyLocation> {
    let text = item.string()?;
    match url(&text.value, allow_http) {
        Ok(url) => Some(KeyLocation::Jwks(url)),
        Err(fault) => {
            fault.report(item, &text);
            None
        }
    }
}

/// `discovery = true`: the document is where OpenID Connect Discovery 1.0 section 4 puts it.
pub fn discovery(item: &Item<'_>, issuer: &Table<'_>, allow_http: bool) -> Option<KeyLocation> {
    if !item.boolean()? {
        let message = "`discovery` is true, or left out";
        item.reader.report(&item.span, Diagnostic::error(Code::BadChoice, message));
        return None;
    }
    let Some(iss) = issuer.get("issuer").filter(Item::is_string) else {
        let message = "discovery starts at the issuer's URL, and this issuer has none";
        let diagnostic = Diagnostic::error(Code::BadIssuerUrl, message)
            .help("set `issuer` to the exact `iss` of its tokens, or give `jwks_url`");
        item.reader.report(&item.span, diagnostic);
        return None;
    };
    let text = iss.quiet_string()?;
    let place = format!("{}{WELL_KNOWN}", text.value.trim_end_matches('/'));
    let found = match text.value.contains(['?', '#']) {
        true => Err(UrlFault::Form),
        false => url(&place, allow_http),
    };
    match found {
        Ok(document) => Some(KeyLocation::Discovery { document, issuer: text.value }),
        Err(UrlFault::Insecure) => {
            UrlFault::Insecure.report(&iss, &text);
            None
        }
        Err(UrlFault::Form) => {
            let message = format!("issuer \"{}\" is no URL to discover at", show(&text.raw));
            let diagnostic = Diagnostic::error(Code::BadIssuerUrl, message)
                .help("give `jwks_url` where `iss` is only a name");
            iss.reader.report(&iss.span, diagnostic);
            None
        }
    }
}

/// Why a URL is not one that may be asked.
pub enum UrlFault {
    Form,
    Insecure,
}

impl UrlFault {
    fn report(&self, item: &Item<'_>, text: &Text) {
        let diagnostic = match self {
            Self::Form => {
                let message = format!("`{}` is not a URL of keys", show(&item.key));
                Diagnostic::error(Code::BadUrl, message).help(match text.value.contains("://") {
                    true => "\"https://id.example.com/keys\", without user and fragment",
                    false => "\"https://id.example.com/keys\"; keys in a file: jwks_file",
                })
            }
            Self::Insecure => {
                let message = format!(
                    "\"{}\" is plain HTTP: whoever is on the way could give keys of their own",
                    show(&text.raw)
                );
                Diagnostic::error(Code::InsecureKeys, message)
                    .help("https://, or keys = { …, allow_http = true } for a network you trust")
            }
        };
        item.reader.report(&item.span, diagnostic);
    }
}

/// A URL that may be asked: `https`, or plain HTTP to this machine or where that was allowed.
pub fn url(text: &str, allow_http: bool) -> Result<Uri, UrlFault> {
    let url: Uri = text.parse().map_err(|_| UrlFault::Form)?;
    let authority = url.authority().map_or("", |authority| authority.as_str());
    let has_host = url.host().is_some_and(|host| !host.is_empty());
    if !has_host || authority.contains('@') || text.contains('#') {
        return Err(UrlFault::Form);
    }
    match url.scheme_str() {
        Some("https") => Ok(url),
        Some("http") if allow_http || is_loopback(&url) => Ok(url),
        Some("http") => Err(UrlFault::Insecure),
        Some(_) | None => Err(UrlFault::Form),
    }
}

/// This machine: nobody is on the way.
pub fn is_loopback(url: &Uri) -> bool {
    let host = url.host().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

/// The PEM file of `ca`; what is in it is checked before it is used.
pub fn authorities(item: &Item<'_>) -> Option<Vec<u8>> {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject as _;
    let path = item.reader.resolve_file(&item.string()?.value);
    let diagnostic = match files::read(&path) {
        Ok(content) => {
            let certificates: Result<Vec<_>, _> =
                CertificateDer::pem_slice_iter(&content.bytes).collect();
            let found = certificates.unwrap_or_default();
            let (trusted, broken) = rustls::RootCertStore::empty().add_parsable_certificates(found);
            if trusted > 0 && broken == 0 {
                return Some(content.bytes);
            }
            let message = match trusted + broken {
                0 => "`ca` holds no certificate",
                _ => "`ca` holds something that is no authority's certificate",
            };
            Diagnostic::error(Code::BadAuthorities, message).help("certificates in PEM")
        }
        Err(why) => Diagnostic::error(Code::FileUnreadable, "the `ca` file cannot be read")
            .detail(why)
            .help("relative paths start at the config file's directory"),
    };
    item.reader.report(&item.span, diagnostic);
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_urls_that_can_be_asked_safely_are_taken() {
        for good in ["https://id.example.com/keys", "https://[::1]:8443/", "http://127.0.0.1:1/k"] {
            assert!(url(good, false).is_ok(), "{good}");
        }
        for bad in ["http://id.example.com/keys", "http://10.0.0.1/", "http://localhost.evil/"] {
            assert!(matches!(url(bad, false), Err(UrlFault::Insecure)), "{bad}");
            assert!(url(bad, true).is_ok(), "{bad}");
        }
        for bad in ["id.example.com/keys", "/keys", "ftp://a/", "https://u:p@a/", "https://", ""] {
            assert!(matches!(url(bad, true), Err(UrlFault::Form)), "{bad}");
        }
    }
}
