//! What the acceptor does where there is no room for another client. It asks the cores to close the
//! connection that idles longest; where none idles, who comes is turned away with a short 503, so
//! that a client knows at once and the kernel's queue does not fill with those who gave up.
//!
//! What always holds: a client that is turned away costs one descriptor for a moment and no memory,
//! and the log one line a minute.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::proxy::core::{Command, Socket};
use crate::telemetry::counters::{CoreCounters, Limit};

use super::{Listener, Target};

/// A burst that the cores digest in this time is kept waiting.
const GRACE: Duration = Duration::from_millis(250);
/// Turned away in one go.
const SLICE: usize = 64;
/// Between two lines of the log.
const QUIET: Duration = Duration::from_secs(60);

const ANSWER: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\n\
    Content-Type: application/problem+json\r\nContent-Length: 96\r\nConnection: close\r\n\r\n\
    {\"title\":\"Service Unavailable\",\"status\":503,\"code\":\"overloaded\",\
    \"detail\":\"Too many connections\"}";

/// Between the acceptor, which asks a core for room, and the core.
#[derive(Default)]
pub struct Room {
    pub asked: AtomicBool,
    /// When it was asked last, nothing idled.
    pub none: AtomicBool,
}

/// See the module.
pub struct Pressure {
    counters: CoreCounters,
    /// Since when somebody waits without room.
    since: Option<Instant>,
    /// Given up when there are no descriptors, so that somebody can be taken in and turned away.
    reserve: Option<File>,
    told: Option<Instant>,
    untold: u64,
}

impl Pressure {
    pub fn new(counters: CoreCounters) -> Self {
        Self { counters, since: None, reserve: reserve(), told: None, untold: 0 }
    }

    /// Nobody waits.
    pub fn is_off(&mut self) {
        self.since = None;
    }

    /// All places are taken: asks the cores for some. `true`: they have none to give.
    pub fn is_on(&mut self, targets: &[Target], now: Instant) -> bool {
        let since = *self.since.get_or_insert(now);
        let mut hopeless = now.duration_since(since) >= GRACE;
        for target in targets {
            hopeless &= target.room.none.load(Ordering::Acquire);
            if !target.room.asked.swap(true, Ordering::AcqRel) {
                target.commands.send(Command::MakeRoom).ok();
            }
        }
        hopeless
    }

    /// Turns away who waits at a listener.
    pub fn turn_away(&mut self, listener: &Listener) {
        for _ in 0..SLICE {
            let Ok(socket) = listener.bound.accept() else { return };
            self.refuse(socket, listener, "limits.connections_max");
        }
    }

    /// No descriptor is left for a new client, whatever the limit says. `false`: nothing helps but
    /// time.
    pub fn out_of_descriptors(&mut self, listener: &Listener) -> bool {
        if self.reserve.take().is_none() {
            self.reserve = reserve();
            return false;
        }
        let accepted = listener.bound.accept();
        let served = accepted.is_ok();
        if let Ok(socket) = accepted {
            self.refuse(socket, listener, "open files");
        }
        self.reserve = reserve();
        served
    }

    fn refuse(&mut self, socket: Socket, listener: &Listener, limit: &str) {
        self.counters.shed(Limit::Connections);
        if listener.entrance.is_plain() {
            socket.turn_away();
        }
        self.untold += 1;
        let now = Instant::now();
        if self.told.is_none_or(|told| now.duration_since(told) >= QUIET) {
            self.told = Some(now);
            let count = std::mem::take(&mut self.untold);
            tracing::warn!(limit, count, "clients were turned away: there is no room for them");
        }
    }
}

impl Socket {
    /// Ends it with a short answer. Best effort: who has sent more than is read here may see a reset
    /// in its place.
    pub fn turn_away(mut self) {
        let mut sent = [0; 16 * 1024];
        let (told, shut) = match &mut self {
            Self::Tcp(stream, _) => (stream.write_all(ANSWER), stream.shutdown(Shutdown::Write)),
            Self::Unix(stream) => (stream.write_all(ANSWER), stream.shutdown(Shutdown::Write)),
        };
        if told.and(shut).is_ok() {
            match &mut self {
                Self::Tcp(stream, _) => stream.read(&mut sent).ok(),
                Self::Unix(stream) => stream.read(&mut sent).ok(),
            };
        }
    }
}

fn reserve() -> Option<File> {
    File::open("/dev/null").ok()
}

#[cfg(test)]
mod tests {
    use super::ANSWER;

    #[test]
    fn the_answer_is_as_long_as_it_says() {
        let text = std::str::from_utf8(ANSWER).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{}", body.len());
        serde_json::from_str::<serde_json::Value>(body).unwrap();
    }
}
