//! The access log. A core formats its lines into its own buffer; ten times a second the buffer goes
//! to one writer thread. A request never waits for the log: when the writer is behind, buffers are
//! dropped and counted.

mod file;
mod lines;
mod repeats;

use std::cell::{Cell, RefCell};
use std::io::Write;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use crate::clock::UnixMs;

pub use file::LogFile;

use repeats::Repeats;

/// Buffers that may wait for the writer.
const BACKLOG: usize = 256;
/// A buffer this full is handed on at once.
const BUFFER_BYTES: usize = 64 * 1024;

/// How a request ended for its client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    Forwarded,
    /// By the route itself, which has no upstream.
    Answered,
    /// By us.
    Refused,
    /// By the upstream's fault.
    Failed,
    /// By us, in the middle: its token no longer counts.
    Cut,
}

/// One line. Paths come without their query, which may hold secrets.
pub struct Entry<'a> {
    pub at: UnixMs,
    pub request_id: &'a str,
    pub client: Option<IpAddr>,
    pub method: &'a str,
    pub version: http::Version,
    pub host: &'a str,
    pub path: &'a str,
    pub route: Option<&'a str>,
    pub status: u16,
    pub verdict: Verdict,
    pub code: &'static str,
    pub reason: Option<&'a str>,
    pub issuer: Option<&'a str>,
    pub subject: Option<&'a str>,
    pub duration: Duration,
    pub upstream: Option<Duration>,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub broken: bool,
    /// Only where the format has them: [`CoreLog::names_clients`].
    pub referer: Option<&'a str>,
    pub agent: Option<&'a str>,
}

impl<'a> Entry<'a> {
    /// Of a request of which nothing more is known than that it was refused.
    pub fn refused(at: UnixMs, request_id: &'a str, status: u16, code: &'static str) -> Self {
        Self {
            at,
            request_id,
            client: None,
            method: "",
            version: http::Version::HTTP_11,
            host: "",
            path: "",
            route: None,
            status,
            verdict: Verdict::Refused,
            code,
            reason: None,
            issuer: None,
            subject: None,
            duration: Duration::ZERO,
            upstream: None,
            bytes_in: 0,
            bytes_out: 0,
            broken: false,
            referer: None,
            agent: None,
        }
    }
}

/// How lines are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    Json,
    /// For people on a terminal.
    Text,
    /// As nginx and Apache write it.
    Combined,
}

/// Hands buffers to the writer thread. Cheap to clone.
#[derive(Clone)]
pub struct AccessLogWriter {
    format: Format,
    buffers: mpsc::SyncSender<Vec<u8>>,
    dropped: Arc<AtomicU64>,
}

/// One core's end.
pub struct CoreLog {
    writer: AccessLogWriter,
    buffer: RefCell<Vec<u8>>,
    /// Forwarded requests since the last whose line was written.
    passed: Cell<u32>,
    repeats: RefCell<Repeats>,
}

impl AccessLogWriter {
    /// Starts the writer thread, which ends when the last sender is gone.
    pub fn spawn(
        format: Format,
        mut sink: impl Write + Send + 'static,
    ) -> std::io::Result<(Self, std::thread::JoinHandle<()>)> {
        let (buffers, inbox) = mpsc::sync_channel::<Vec<u8>>(BACKLOG);
        let dropped: Arc<AtomicU64> = Arc::default();
        let lost = Arc::clone(&dropped);
        let mut failing = false;
        let thread =
            std::thread::Builder::new().name("access-log".to_owned()).spawn(move || {
                while let Ok(buffer) = inbox.recv() {
                    // A log that cannot be written must not stop the gateway, nor fill the other.
                    let fault = sink.write_all(&buffer).and_then(|()| sink.flush()).err();
                    if let (Some(fault), false) = (&fault, failing) {
                        tracing::error!(%fault, "the access log cannot be written; its lines are lost");
                    }
                    if fault.is_some() {
                        lost.fetch_add(1, Ordering::Relaxed);
                    }
                    failing = fault.is_some();
                }
            })?;
        Ok((Self { format, buffers, dropped }, thread))
    }

    pub fn core_log(&self) -> CoreLog {
        CoreLog {
            writer: self.clone(),
            buffer: RefCell::default(),
            passed: Cell::new(0),
            repeats: RefCell::default(),
        }
    }

    /// Buffers that were dropped: the writer was behind, or could not write.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

impl CoreLog {
    /// The format shows who refers and which program asks.
    pub fn names_clients(&self) -> bool {
        self.writer.format == Format::Combined
    }

    /// Whether the line of this forwarded request is written, when one of `of` is.
    pub fn samples(&self, of: u32) -> bool {
        let passed = self.passed.get() + 1;
        let is_it = passed >= of;
        self.passed.set(if is_it { 0 } else { passed });
        is_it
    }

    /// `repeats_max`: lines a second of one client with one reason; the rest is counted, and
    /// [`Self::summarise`] writes how many they were.
    pub fn write(&self, entry: &Entry<'_>, repeats_max: u32) {
        let refused = entry.verdict.is_refusal();
        let may_leave_out = refused && self.writer.format != Format::Combined;
        if may_leave_out && self.repeats.borrow_mut().is_one_too_many(entry, repeats_max) {
            return;
        }
        let mut buffer = self.buffer.borrow_mut();
        match self.writer.format {
            Format::Json => lines::json(entry, &mut buffer),
            Format::Text => lines::text(entry, &mut buffer),
            Format::Combined => lines::combined(entry, &mut buffer),
        }
        if buffer.len() >= BUFFER_BYTES {
            self.hand_on(&mut buffer);
        }
    }

    /// To be called once a second: a line for each client and reason whose lines were left out.
    pub fn summarise(&self, now: UnixMs) {
        let mut buffer = self.buffer.borrow_mut();
        for left_out in self.repeats.borrow_mut().take() {
            match self.writer.format {
                Format::Json => lines::json_repeats(&left_out, now, &mut buffer),
                Format::Text | Format::Combined => {
                    lines::text_repeats(&left_out, now, &mut buffer);
                }
            }
        }
    }

    pub fn flush(&self) {
        let mut buffer = self.buffer.borrow_mut();
        if !buffer.is_empty() {
            self.hand_on(&mut buffer);
        }
    }

    fn hand_on(&self, buffer: &mut Vec<u8>) {
        if self.writer.buffers.try_send(std::mem::take(buffer)).is_err() {
            self.writer.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Verdict {
    /// The request did not get what it asked for.
    pub fn is_refusal(self) -> bool {
        !matches!(self, Self::Forwarded | Self::Answered)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Forwarded => "forwarded",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Cut => "cut",
        }
    }
}
