//! The two forms of an answer of ours: RFC 9457 problem JSON for programs, a small page for people.

use super::Shape;

pub fn problem(shape: &Shape, id: &str) -> (&'static str, String) {
    let title = shape.status.canonical_reason().unwrap_or("Refused");
    // Every text is ours and holds no character that JSON would escape.
    let text = format!(
        "{{\"status\":{},\"title\":\"{title}\",\"code\":\"{}\",\"detail\":\"{}\",\"request_id\":\"{id}\"}}\n",
        shape.status.as_u16(),
        shape.code,
        shape.detail,
    );
    ("application/problem+json", text)
}

pub fn page(shape: &Shape, id: &str) -> (&'static str, String) {
    let title = shape.status.canonical_reason().unwrap_or("Refused");
    let text = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{title}</title>\
         <body style=\"font-family:sans-serif;max-width:34rem;margin:15vh auto;padding:0 1rem\">\
         <h1>{title}</h1><p>{}.</p><p><small>{} · {} · request {id}</small></p></body></html>\n",
        shape.detail,
        shape.status.as_u16(),
        shape.code,
    );
    ("text/html; charset=utf-8", text)
}
