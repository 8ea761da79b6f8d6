//! How a gateway ends: drained, or replaced by another process.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::proxy::core::{Command, CoreHandle};

use super::Gateway;
use super::live::Live;
use super::reload::ReloadThread;
use super::replace::{Behind, Held};

/// What is left at the deadline of a replaced process gets this long to say good-bye.
const FAREWELL: Duration = Duration::from_secs(1);
/// What is cut at the end gets this long to be told: what is not, may look whole.
const PARTING: Duration = Duration::from_secs(1);
/// How long the last lines of requests may take.
const LAST_LINES: Duration = Duration::from_secs(2);

/// How a drain ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Drained {
    /// Every request in flight was finished.
    Clean,
    /// The deadline passed with this many connections open.
    Cut { connections: usize },
}

impl Gateway {
    /// Finishes what is in flight and ends: readiness goes first, then the sockets, then idle
    /// connections; after the deadline the rest is cut, and none of it looks whole.
    pub fn drain(mut self) -> Drained {
        self.held.lock().closed = true;
        self.ready.store(false, Ordering::Release);
        self.notifier.stopping();
        let drain_timeout = match self.reload.take().and_then(ReloadThread::stop) {
            Some(Live { config, acceptor, .. }) => {
                // Whoever sends clients here sees that it is not ready, and sends them elsewhere.
                std::thread::sleep(config.server.drain_delay);
                acceptor.stop();
                // From here on nobody connects; the names of unix sockets are gone.
                drop(std::mem::take(&mut self.held.lock().public));
                config.server.drain_timeout
            }
            None => Duration::ZERO,
        };
        for core in &self.cores {
            core.commands.send(Command::Drain).ok();
        }
        let deadline = Instant::now() + drain_timeout;
        while open(&self.cores) > 0 && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        self.end()
    }

    /// Serves what is open to its end: another process accepts whoever comes. After the deadline,
    /// or where that process is gone and no denial would be heard of any more, the rest is cut.
    pub(super) fn retire(mut self) -> Drained {
        self.control.close();
        let drain_timeout = match self.reload.take().and_then(ReloadThread::stop) {
            Some(Live { config, acceptor, .. }) => {
                acceptor.stop();
                config.server.drain_timeout
            }
            None => Duration::ZERO,
        };
        *self.held.lock() = Held { closed: true, ..Held::default() };
        for core in &self.cores {
            core.commands.send(Command::Retire).ok();
        }
        let deadline = Instant::now() + drain_timeout;
        let goes_on = |cores: &[CoreHandle]| open(cores) > 0 && !self.outcome.is_lost();
        while goes_on(&self.cores) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        for core in &self.cores {
            core.commands.send(Command::Drain).ok();
        }
        // For the close frames of WebSockets.
        let deadline = Instant::now() + FAREWELL;
        while goes_on(&self.cores) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        // Without this process it would hear of no denial, and cut what it has.
        let behind = self.behind.take();
        while behind.as_ref().is_some_and(Behind::follows) && !self.outcome.is_lost() {
            std::thread::sleep(Duration::from_millis(20));
        }
        self.end()
    }

    fn end(mut self) -> Drained {
        let left = open(&self.cores);
        for core in &self.cores {
            core.commands.send(Command::BreakOff).ok();
        }
        let deadline = Instant::now() + PARTING;
        while open(&self.cores) > 0 && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        for CoreHandle { commands, thread, .. } in self.cores.drain(..) {
            drop(commands);
            thread.join().ok();
        }
        self.control.stop();
        // Nothing is left to hand over: the admin's and the metrics' sockets close, too.
        *self.held.lock() = Held { closed: true, ..Held::default() };
        self.store.close();
        if let Some((log, thread)) = self.log.take() {
            drop(log);
            // Nobody may read what it writes to.
            let deadline = Instant::now() + LAST_LINES;
            while !thread.is_finished() && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        if left == 0 { Drained::Clean } else { Drained::Cut { connections: left } }
    }
}

fn open(cores: &[CoreHandle]) -> usize {
    cores.iter().map(|core| core.open.load(Ordering::Relaxed)).sum()
}
