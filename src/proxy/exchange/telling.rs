//! What is told of an exchange: to the log, to the control plane, to a trace. The path is told
//! without its query, which may hold secrets; what a stranger can make long is cut.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::time::Duration;

use http::Method;
use http::uri::PathAndQuery;

use crate::config::AccessLog;
use crate::proxy::published::Published;
use crate::telemetry::access::Entry;
use crate::telemetry::counters::Unrevocable;
use crate::telemetry::trace::{Span, Trace};
use crate::telemetry::{Observation, Refusal};
use crate::verify::Signed;

use super::Exchange;

const PATH_BYTES_REMEMBERED: usize = 2048;
const METHOD_BYTES_REMEMBERED: usize = 32;

impl Exchange {
    pub(super) fn observe_refusal(&self) {
        let refusal = || Refusal {
            at: self.at,
            request_id: self.request_id.to_str().unwrap_or("").to_owned(),
            method: remembered_method(&self.method),
            host: self.host_text().to_owned(),
            path: remembered_path(&printable(self.path())).to_owned(),
            route: self.route().cloned(),
            status: self.status,
            code: self.code,
            detail: self.reason.clone().unwrap_or_default(),
            address: self.client.address(),
            token: self.token.clone(),
            hit: self.hit,
        };
        self.core.observer.tell(|| Observation::Refusal(refusal()));
    }

    pub(super) fn count_unrevocable(&self, signed: &Signed) {
        let name = &signed.policy().name;
        let lacks = [
            (signed.jti().is_none(), Unrevocable::Token),
            (signed.session().is_none(), Unrevocable::Session),
            (signed.issued_at().is_none(), Unrevocable::IssuedAt),
        ];
        for (_, missing) in lacks.into_iter().filter(|(lacks, _)| *lacks) {
            self.core.counters.unrevocable(name, missing);
        }
    }

    /// An issuer's clock that is ahead of ours: its tokens may pass a cutoff of now.
    pub(super) fn count_ahead(&self, signed: &Signed) {
        let ahead = signed.issued_at().map_or(Duration::ZERO, |issued| issued.since(self.at));
        if !ahead.is_zero() {
            self.core.counters.ahead(&signed.policy().name, ahead, self.at);
        }
    }

    pub(super) fn end_span(&self, trace: Trace, duration: Duration) {
        self.core.tracer.end(Span {
            trace,
            started_at: self.at,
            duration,
            upstream: self.upstream,
            method: remembered_method(&self.method),
            path: remembered_path(&printable(self.path())).to_owned(),
            route: self.route().cloned(),
            issuer: self.token.as_ref().map(|token| token.policy().name.clone()),
            status: self.status,
            verdict: self.verdict.as_str(),
            code: self.code,
            client: self.client.address(),
            request_id: self.request_id.to_str().unwrap_or("").to_owned(),
        });
    }

    pub(super) fn write_line(&self, published: &Published, duration: Duration) {
        if self.unlogged {
            return;
        }
        let refused = self.verdict.is_refusal();
        match published.access_log {
            AccessLog::Off => return,
            AccessLog::Refused if !refused => return,
            AccessLog::Refused | AccessLog::On => {}
        }
        if !refused && published.log_sample > 1 && !self.core.log.samples(published.log_sample) {
            return;
        }
        let subject = self.token.as_ref().filter(|_| published.log_subject);
        let named = |index: usize| {
            let value = self.named.as_ref()?.get(index)?.as_ref()?;
            value.to_str().ok()
        };
        let entry = Entry {
            at: self.at,
            request_id: self.request_id.to_str().unwrap_or(""),
            client: self.client.address(),
            method: self.method.as_str(),
            version: self.version,
            host: self.host_text(),
            path: &printable(self.path()),
            route: self.route().map(|name| &**name),
            status: self.status,
            verdict: self.verdict,
            code: self.code,
            reason: self.reason.as_deref(),
            issuer: self.token.as_ref().map(|token| token.policy().name.as_str()),
            subject: subject.and_then(|token| token.subject()),
            duration,
            upstream: self.upstream,
            bytes_in: self.bytes_in + self.uploaded.as_ref().map_or(0, |received| received.bytes()),
            bytes_out: self.bytes_out,
            broken: self.broken,
            referer: named(0),
            agent: named(1),
        };
        self.core.log.write(&entry, published.log_repeats_max);
    }

    fn host_text(&self) -> &str {
        self.host.as_ref().and_then(|host| host.to_str().ok()).unwrap_or("")
    }

    fn path(&self) -> &str {
        self.target.as_ref().map_or("", PathAndQuery::path)
    }
}

/// What is written of a path: a byte that is not visible ASCII, which only a refused path can hold,
/// becomes an escape. A terminal that shows a log obeys U+009B and U+202E.
fn printable(path: &str) -> Cow<'_, str> {
    if path.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Cow::Borrowed(path);
    }
    let mut text = String::with_capacity(path.len() + 16);
    for byte in path.bytes() {
        if byte.is_ascii_graphic() {
            text.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
    Cow::Owned(text)
}

/// The beginning of a path. Thousands of refusals are remembered, and a stranger chooses how long
/// their paths are.
fn remembered_path(path: &str) -> &str {
    path.get(..PATH_BYTES_REMEMBERED).unwrap_or(path)
}

/// A method may be as long as a head; none that exists is.
fn remembered_method(method: &Method) -> Method {
    let long = method.as_str().as_bytes().get(..METHOD_BYTES_REMEMBERED);
    long.and_then(|start| Method::from_bytes(start).ok()).unwrap_or_else(|| method.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_of_a_refusal_is_bounded_and_the_usual_is_whole() {
        assert_eq!(remembered_path("/a/b"), "/a/b");
        let long = "/".repeat(60_000);
        assert_eq!(remembered_path(&long).len(), PATH_BYTES_REMEMBERED);
        assert_eq!(remembered_method(&Method::DELETE), Method::DELETE);
        let long = Method::from_bytes("M".repeat(60_000).as_bytes()).unwrap();
        assert_eq!(remembered_method(&long).as_str().len(), METHOD_BYTES_REMEMBERED);
    }

    #[test]
    fn a_path_that_steers_terminals_is_written_in_escapes_and_others_as_they_are() {
        assert!(matches!(printable("/a%20b;c"), Cow::Borrowed("/a%20b;c")));
        assert_eq!(printable("/\u{9b}2J\u{202e}\u{7f}é"), "/%C2%9B2J%E2%80%AE%7F%C3%A9");
    }
}
