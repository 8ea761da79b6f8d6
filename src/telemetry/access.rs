//! The access log. A core formats its lines into its own buffer; ten times a second the buffer goes
//! to one writer thread. A request never waits for the log: when the writer is behind, buffers are
//! dropped and counted.

use std::cell::RefCell;
use std::io::Write;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use serde::Serialize;

use crate::clock::UnixMs;

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
    pub host: &'a str,
    pub path: &'a str,
    pub route: Option<&'a str>,
    pub status: u16,
    pub verdict: Verdict,
    pub code: &'a str,
    pub reason: Option<&'a str>,
    pub issuer: Option<&'a str>,
    pub subject: Option<&'a str>,
    pub duration: Duration,
    pub upstream: Option<Duration>,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub broken: bool,
}

/// How lines are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    Json,
    /// For people on a terminal.
    Text,
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
}

impl AccessLogWriter {
    /// Starts the writer thread, which ends when the last sender is gone.
    pub fn spawn(
        format: Format,
        mut sink: impl Write + Send + 'static,
    ) -> std::io::Result<(Self, std::thread::JoinHandle<()>)> {
        let (buffers, inbox) = mpsc::sync_channel::<Vec<u8>>(BACKLOG);
        let thread =
            std::thread::Builder::new().name("access-log".to_owned()).spawn(move || {
                while let Ok(buffer) = inbox.recv() {
                    // A log that cannot be written must not stop the gateway.
                    if sink.write_all(&buffer).and_then(|()| sink.flush()).is_err() {
                        tracing::warn!("the access log cannot be written");
                    }
                }
            })?;
        Ok((Self { format, buffers, dropped: Arc::default() }, thread))
    }

    pub fn core_log(&self) -> CoreLog {
        CoreLog { writer: self.clone(), buffer: RefCell::default() }
    }

    /// Buffers that were dropped because the writer was behind.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

impl CoreLog {
    pub fn write(&self, entry: &Entry<'_>) {
        let mut buffer = self.buffer.borrow_mut();
        match self.writer.format {
            Format::Json => json(entry, &mut buffer),
            Format::Text => text(entry, &mut buffer),
        }
        if buffer.len() >= BUFFER_BYTES {
            self.hand_on(&mut buffer);
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

#[derive(Serialize)]
struct JsonLine<'a> {
    event: &'static str,
    time: String,
    request_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<IpAddr>,
    method: &'a str,
    host: &'a str,
    path: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<&'a str>,
    status: u16,
    verdict: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    issuer: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    duration_us: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream_us: Option<u64>,
    #[serde(skip_serializing_if = "is_zero")]
    bytes_in: u64,
    bytes_out: u64,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    broken: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn json(entry: &Entry<'_>, buffer: &mut Vec<u8>) {
    let line = JsonLine {
        event: "request",
        time: entry.at.rfc3339(),
        request_id: entry.request_id,
        client: entry.client,
        method: entry.method,
        host: entry.host,
        path: entry.path,
        route: entry.route,
        status: entry.status,
        verdict: entry.verdict.as_str(),
        reason: entry.code,
        detail: entry.reason,
        issuer: entry.issuer,
        subject: entry.subject,
        duration_us: micros(entry.duration),
        upstream_us: entry.upstream.map(micros),
        bytes_in: entry.bytes_in,
        bytes_out: entry.bytes_out,
        broken: entry.broken,
    };
    // Writing to memory does not fail, and every value is a string or a number.
    if serde_json::to_writer(&mut *buffer, &line).is_ok() {
        buffer.push(b'\n');
    }
}

/// `11:14:05  401  alice  GET /api/whoami   0.4 ms   token_revoked: denied by subject`
fn text(entry: &Entry<'_>, buffer: &mut Vec<u8>) {
    let seconds = entry.at.secs().rem_euclid(86_400);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let who: String = entry.subject.unwrap_or("-").chars().filter(|c| !c.is_control()).collect();
    let took = entry.duration.as_secs_f64() * 1e3;
    let mut line = format!(
        "{hour:02}:{minute:02}:{second:02}  {}  {who}  {} {}   {took:.1} ms",
        entry.status, entry.method, entry.path
    );
    if let Some(reason) = entry.reason {
        line.push_str("   ");
        line.push_str(entry.code);
        line.push_str(": ");
        line.extend(reason.chars().filter(|c| !c.is_control()));
    }
    line.push('\n');
    buffer.extend_from_slice(line.as_bytes());
}
