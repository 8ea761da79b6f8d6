//! A refusal of the admin API, and what is known besides.

use http::StatusCode;
use serde_json::Value;

use crate::cli::words;

/// A problem document (RFC 9457) with what we know besides.
#[derive(Clone, Debug)]
pub struct Problem {
    pub status: StatusCode,
    pub code: Option<String>,
    pub document: Value,
    /// Lines of our own below it.
    pub notes: Vec<String>,
}

impl Problem {
    pub fn new(status: StatusCode, document: Value) -> Self {
        let code = document.get("code").and_then(Value::as_str).map(words::printable_line);
        Self { status, code, document, notes: Vec::new() }
    }

    fn text(&self, name: &str) -> Option<String> {
        self.document.get(name).and_then(Value::as_str).map(words::printable_line)
    }

    /// As a request of a client is refused, and no call of the admin API: what asks for a
    /// credential there says so by another code.
    pub fn is_of_another_listener(&self) -> bool {
        let code = self.code.as_deref().unwrap_or_default();
        let is_admin = code.starts_with("admin_");
        self.status == StatusCode::UNAUTHORIZED && !is_admin
            || code == "no_route"
            || code.starts_with("upstream_")
    }

    /// The config file of the gateway is wrong.
    pub fn is_of_config(&self) -> bool {
        self.code.as_deref() == Some("invalid_config")
    }

    /// What is wrong with the config file: as `check` says it, without the lines themselves.
    fn diagnostics(&self) -> impl Iterator<Item = String> {
        let found = self.document.get("diagnostics").and_then(Value::as_array);
        found.into_iter().flatten().flat_map(|item| {
            let text = |name| item.get(name).and_then(Value::as_str).map(words::printable_line);
            let number = |name| item.get(name).and_then(Value::as_u64).map(|n| format!(":{n}"));
            let place = [number("line"), number("column")].into_iter().flatten();
            let head = [text("severity"), text("code")].map(Option::unwrap_or_default);
            let first =
                format!("{}[{}]: {}", head[0], head[1], text("message").unwrap_or_default());
            let place = text("file").unwrap_or_default() + &place.collect::<String>();
            let more = ["suggestion", "detail", "help"].map(text);
            let more = more.into_iter().flatten().map(|text| format!("  = {text}"));
            [first, format!("  --> {place}")].into_iter().chain(more).collect::<Vec<_>>()
        })
    }

    /// `The denial was not created (422 invalid_denial)`.
    pub fn headline(&self) -> String {
        let title = self.text("title").or_else(|| self.text("detail"));
        let title = title.unwrap_or_else(|| "the gateway refused".to_owned());
        match &self.code {
            Some(code) => format!("{title} ({} {code})", self.status.as_u16()),
            None => format!("{title} ({})", self.status.as_u16()),
        }
    }

    /// The faults with their pointers, then the detail and the request id.
    pub fn details(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for fault in self.document.get("errors").and_then(Value::as_array).into_iter().flatten() {
            let text = |name| fault.get(name).and_then(Value::as_str).map(words::printable_line);
            let detail = text("detail").or_else(|| text("code")).unwrap_or_default();
            match text("pointer") {
                Some(pointer) => lines.push(format!("{pointer}: {detail}")),
                None => lines.push(detail),
            }
        }
        // One fault is often the detail over again.
        let detail = self.text("detail").filter(|_| self.text("title").is_some());
        if let Some(detail) = detail.filter(|text| !lines.iter().any(|line| line.ends_with(text))) {
            lines.insert(0, detail);
        }
        lines.extend(self.diagnostics());
        lines.extend(self.notes.iter().cloned());
        lines.extend(self.text("request_id").map(|id| format!("request id {id}")));
        lines
    }
}
