//! What systemd is told (sd_notify): that the service is ready, reloads, stops, and lives. Where
//! nobody listens every word is a cheap nothing.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// See the module. Cheap to clone.
#[derive(Clone, Default)]
pub struct Notifier(Option<Arc<UnixDatagram>>);

impl Notifier {
    /// To `NOTIFY_SOCKET`, a path or `@` and an abstract name.
    pub fn from_environment() -> Self {
        let Some(name) = std::env::var_os("NOTIFY_SOCKET") else { return Self::default() };
        let address = match name.as_bytes().strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name),
            None => SocketAddr::from_pathname(&name),
        };
        let connected = address.and_then(|address| {
            let socket = UnixDatagram::unbound()?;
            socket.connect_addr(&address)?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        });
        match connected {
            Ok(socket) => Self(Some(Arc::new(socket))),
            Err(error) => {
                tracing::warn!(%error, "NOTIFY_SOCKET cannot be reached");
                Self::default()
            }
        }
    }

    pub fn ready(&self, status: &str) {
        self.say(&format!("READY=1\nSTATUS={status}"));
    }

    /// `READY` must follow. The time lets systemd tell this reload from an older one.
    pub fn reloading(&self) {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let micros = now.tv_sec.saturating_mul(1_000_000).saturating_add(now.tv_nsec / 1000);
        self.say(&format!("RELOADING=1\nMONOTONIC_USEC={micros}\nSTATUS=Reading the config"));
    }

    /// The service's main process is another one now.
    pub fn succeeded_by(&self, pid: i32) {
        self.say(&format!("MAINPID={pid}"));
    }

    pub fn stopping(&self) {
        self.say("STOPPING=1\nSTATUS=Draining");
    }

    /// While every core's count goes on, says so in half the time that systemd waits for it.
    pub fn watchdog(&self, beats: Vec<Arc<AtomicU64>>) -> std::io::Result<()> {
        let number = |name| std::env::var(name).ok()?.parse::<u64>().ok();
        let Some(micros) = number("WATCHDOG_USEC").filter(|micros| *micros > 0) else {
            return Ok(());
        };
        let ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        if !ours || self.0.is_none() {
            return Ok(());
        }
        let notifier = self.clone();
        let count =
            move || -> Vec<u64> { beats.iter().map(|beat| beat.load(Ordering::Relaxed)).collect() };
        std::thread::Builder::new().name("watchdog".to_owned()).spawn(move || {
            let mut before = count();
            loop {
                std::thread::sleep(Duration::from_micros(micros / 2));
                let now = count();
                if before.iter().zip(&now).all(|(before, now)| before != now) {
                    notifier.say("WATCHDOG=1");
                }
                before = now;
            }
        })?;
        Ok(())
    }

    fn say(&self, text: &str) {
        if let Some(socket) = &self.0 {
            // Full or gone: nothing here depends on it.
            socket.send(text.as_bytes()).ok();
        }
    }
}
