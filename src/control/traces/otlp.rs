//! `ExportTraceServiceRequest` in its JSON form (OTLP specification, "JSON Protobuf Encoding"):
//! ids in hexadecimal, 64-bit integers as strings. Attribute names are those of OpenTelemetry's
//! semantic conventions for HTTP.

use serde_json::{Value, json};

use crate::telemetry::trace::Span;

const KIND_SERVER: u8 = 2;
const STATUS_ERROR: u8 = 2;

pub fn request(service: &str, spans: &[Span]) -> Vec<u8> {
    let spans: Vec<Value> = spans.iter().map(span).collect();
    let version = env!("CARGO_PKG_VERSION");
    let document = json!({
        "resourceSpans": [{
            "resource": {"attributes": [text("service.name", service)]},
            "scopeSpans": [{
                "scope": {"name": env!("CARGO_PKG_NAME"), "version": version},
                "spans": spans,
            }],
        }],
    });
    document.to_string().into_bytes()
}

fn span(span: &Span) -> Value {
    let start_ns = u128::from(span.started_at.0.unsigned_abs()) * 1_000_000;
    let end_ns = start_ns + span.duration.as_nanos();
    let route = span.route.as_deref();
    let mut attributes = vec![
        text("http.request.method", span.method.as_str()),
        text("url.path", &span.path),
        integer("http.response.status_code", span.status.into()),
        text("portcullis.verdict", span.verdict),
        text("portcullis.request_id", &span.request_id),
    ];
    attributes.extend(route.map(|route| text("http.route", route)));
    attributes.extend(span.client.map(|client| text("client.address", &client.to_string())));
    attributes.extend(span.issuer.as_ref().map(|issuer| text("portcullis.issuer", issuer)));
    if !span.code.is_empty() {
        attributes.push(text("error.type", span.code));
    }
    if let Some(upstream) = span.upstream {
        attributes.push(json!({
            "key": "portcullis.upstream_seconds",
            "value": {"doubleValue": upstream.as_secs_f64()},
        }));
    }
    let mut document = json!({
        "traceId": span.trace.trace.to_string(),
        "spanId": span.trace.span.to_string(),
        "name": format!("{} {}", span.method, route.unwrap_or("(no route)")),
        "kind": KIND_SERVER,
        "startTimeUnixNano": start_ns.to_string(),
        "endTimeUnixNano": end_ns.to_string(),
        "attributes": attributes,
    });
    if let (Some(parent), Some(object)) = (span.trace.parent, document.as_object_mut()) {
        object.insert("parentSpanId".to_owned(), parent.to_string().into());
    }
    // The conventions: a server's span failed when the server did.
    if let (500.., Some(object)) = (span.status, document.as_object_mut()) {
        object.insert("status".to_owned(), json!({"code": STATUS_ERROR}));
    }
    document
}

fn text(key: &str, value: &str) -> Value {
    json!({"key": key, "value": {"stringValue": value}})
}

fn integer(key: &str, value: i64) -> Value {
    json!({"key": key, "value": {"intValue": value.to_string()}})
}
