//! Distributed traces: one span for a request that is sampled, handed to the control plane in
//! batches. A request that is not sampled costs one look at the configuration.
//!
//! What always holds: what waits for the exporter is bounded and what does not fit is counted; a
//! span holds no token, no query and no header.

mod context;

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;

use crate::clock::UnixMs;

pub use context::{Parent, SpanId, TraceId};

/// Spans that a core keeps between two hand-overs.
const KEPT_MAX: usize = 1024;
/// Hand-overs that may wait for the exporter.
const WAITING_MAX: usize = 64;

/// A request under way that is sampled.
#[derive(Clone, Debug)]
pub struct Trace {
    pub trace: TraceId,
    pub span: SpanId,
    /// Of the caller, where it sent one.
    pub parent: Option<SpanId>,
}

/// A request that has ended.
#[derive(Clone, Debug)]
pub struct Span {
    pub trace: Trace,
    pub started_at: UnixMs,
    pub duration: Duration,
    pub upstream: Option<Duration>,
    pub method: http::Method,
    /// Path without query.
    pub path: String,
    pub route: Option<Arc<str>>,
    pub issuer: Option<String>,
    pub status: u16,
    pub verdict: &'static str,
    pub code: &'static str,
    pub client: Option<IpAddr>,
    pub request_id: String,
}

/// The data plane's end. Cheap to clone.
#[derive(Clone)]
pub struct Tracer {
    batches: mpsc::Sender<Vec<Span>>,
    dropped: Arc<AtomicU64>,
}

/// One core's end.
pub struct CoreTracer {
    tracer: Tracer,
    kept: RefCell<Vec<Span>>,
    ids: context::Ids,
    passed: Cell<u32>,
}

impl Trace {
    /// `traceparent` for the upstream, whose parent is our span.
    pub fn header(&self) -> Option<http::HeaderValue> {
        context::header(&self.trace, &self.span)
    }

    /// Nobody's before us: what a client says of another one does not belong to it.
    pub fn is_new(&self) -> bool {
        self.parent.is_none()
    }
}

impl Tracer {
    pub fn new() -> (Self, mpsc::Receiver<Vec<Span>>) {
        let (batches, receiver) = mpsc::channel(WAITING_MAX);
        (Self { batches, dropped: Arc::default() }, receiver)
    }

    pub fn core_tracer(&self) -> CoreTracer {
        CoreTracer {
            tracer: self.clone(),
            kept: RefCell::default(),
            ids: context::Ids::random(),
            passed: Cell::new(0),
        }
    }

    /// Spans that were not exported because the exporter was behind.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

impl CoreTracer {
    /// Begins a span where one is due: the caller we trust sampled its trace, or it is the turn of
    /// one in `of`. A stranger's trace is continued, and its wish to be sampled is not: else it
    /// could have every request exported.
    pub fn begin(&self, parent: Option<Parent>, trusted: bool, of: u32) -> Option<Trace> {
        let wished = trusted && parent.as_ref().is_some_and(|parent| parent.sampled);
        if !wished && !self.is_due(of) {
            return None;
        }
        Some(Trace {
            trace: parent.as_ref().map_or_else(|| self.ids.trace(), |parent| parent.trace),
            span: self.ids.span(),
            parent: parent.map(|parent| parent.span),
        })
    }

    fn is_due(&self, of: u32) -> bool {
        let passed = self.passed.get() + 1;
        let due = of > 0 && passed >= of;
        self.passed.set(if due { 0 } else { passed });
        due
    }

    pub fn end(&self, span: Span) {
        let mut kept = self.kept.borrow_mut();
        if kept.len() < KEPT_MAX {
            kept.push(span);
        } else {
            self.tracer.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Hands on what was kept; with the core's tick.
    pub fn flush(&self) {
        let kept = self.kept.take();
        let count = kept.len() as u64;
        if count > 0 && self.tracer.batches.try_send(kept).is_err() {
            self.tracer.dropped.fetch_add(count, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stranger_continues_a_trace_and_does_not_choose_to_be_sampled() {
        let (tracer, _batches) = Tracer::new();
        let core = tracer.core_tracer();
        let text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let parent = || Parent::read(text.as_bytes());
        assert!(core.begin(parent(), false, 0).is_none());
        let trace = core.begin(parent(), true, 0).unwrap();
        assert_eq!(trace.trace.to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(trace.parent.map(|id| id.to_string()).as_deref(), Some("b7ad6b7169203331"));
        let sampled = (0..100).filter(|_| core.begin(parent(), false, 10).is_some()).count();
        assert_eq!(sampled, 10);
    }

    #[test]
    fn spans_that_nobody_takes_are_bounded_and_counted() {
        let (tracer, mut batches) = Tracer::new();
        let core = tracer.core_tracer();
        let span = Span {
            trace: core.begin(None, false, 1).unwrap(),
            started_at: UnixMs(0),
            duration: Duration::ZERO,
            upstream: None,
            method: http::Method::GET,
            path: "/".to_owned(),
            route: None,
            issuer: None,
            status: 200,
            verdict: "forwarded",
            code: "",
            client: None,
            request_id: String::new(),
        };
        (0..KEPT_MAX + 7).for_each(|_| core.end(span.clone()));
        core.flush();
        assert_eq!(tracer.dropped(), 7);
        assert_eq!(batches.try_recv().unwrap().len(), KEPT_MAX);
    }
}
