//! `[tracing]`: spans for an OpenTelemetry collector; none by default.

use http::Uri;

use super::cursor::{Table, show};
use super::diagnostic::{Code, Diagnostic};
use super::item::Item;
use super::keys::authorities;
use super::value;

/// One in so many requests, unless said.
const SAMPLE: u64 = 100;

/// Spans for an OpenTelemetry collector.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tracing {
    /// OTLP/HTTP, for example `http://127.0.0.1:4318/v1/traces`.
    pub endpoint: http::Uri,
    /// Of so many requests one has a span; 0: only those that a trusted proxy samples.
    pub sample: u32,
    pub service: String,
    /// Certificates to trust in place of the system's, in PEM.
    pub ca: Option<Vec<u8>>,
}

pub fn tracing(table: &Table<'_>) -> Option<Tracing> {
    let endpoint = table.get("otlp").and_then(|item| endpoint(&item));
    let sample = table.integer("sample", SAMPLE, 0..=1_000_000);
    let service =
        table.string("service").map_or_else(|| "portcullis".to_owned(), |text| text.value);
    let ca = table.get("ca").and_then(|item| authorities(&item));
    table.finish();
    Some(Tracing { endpoint: endpoint?, sample: u32::try_from(sample).unwrap_or(0), service, ca })
}

fn endpoint(item: &Item<'_>) -> Option<Uri> {
    let text = item.string()?;
    let uri = text.value.parse::<Uri>().ok().filter(|uri| {
        let known = matches!(uri.scheme_str(), Some("http" | "https"));
        known && uri.host().is_some_and(is_host)
    });
    if uri.is_none() {
        let message = format!("\"{}\" is not the URL of a collector", show(&text.raw));
        let help = "the OTLP/HTTP endpoint for traces: \"http://127.0.0.1:4318/v1/traces\"";
        item.reader.report(&item.span, Diagnostic::error(Code::BadAddress, message).help(help));
    }
    uri
}

fn is_host(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    address.parse::<std::net::IpAddr>().is_ok() || value::is_host_name(host)
}
