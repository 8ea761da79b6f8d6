//! Signals: SIGTERM and SIGINT ask for a drain, a second one ends the process at once; SIGHUP asks
//! for the configuration to be read again, SIGUSR2 for a new process in the place of this one. SIGUSR1
//! asks for nothing: log rotation sends it to have files reopened, which happens by itself.

use std::io;

use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;

/// These signals no longer end the process but are waited for. Made before anybody is told that
/// the process is ready, so that no request to stop or to reload is answered by dying.
pub struct Signals {
    runtime: Runtime,
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    replace: Signal,
    /// Never waited for; while it is here, the signal does not end the process.
    _reopen: Signal,
}

/// What a signal asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Asked {
    Stop,
    Reload,
    /// By a new process of the program's file as it is now.
    Replace,
    /// By another process that serves now.
    Retire,
}

impl Signals {
    pub fn listen() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (terminate, interrupt, hang_up, replace, reopen) = {
            let _inside = runtime.enter();
            (
                signal(SignalKind::terminate())?,
                signal(SignalKind::interrupt())?,
                signal(SignalKind::hangup())?,
                signal(SignalKind::user_defined2())?,
                signal(SignalKind::user_defined1())?,
            )
        };
        Ok(Self { runtime, terminate, interrupt, hang_up, replace, _reopen: reopen })
    }

    /// Blocks until something is asked.
    pub fn wait(&mut self, replaced: &Notify) -> Asked {
        let Self { runtime, terminate, interrupt, hang_up, replace, _reopen } = self;
        runtime.block_on(async {
            tokio::select! {
                _ = terminate.recv() => Asked::Stop,
                _ = interrupt.recv() => Asked::Stop,
                _ = hang_up.recv() => Asked::Reload,
                _ = replace.recv() => Asked::Replace,
                () = replaced.notified() => Asked::Retire,
            }
        })
    }

    /// From now on a request to stop ends the process without waiting further.
    pub fn end_at_the_second(mut self) -> io::Result<()> {
        std::thread::Builder::new().name("second-signal".to_owned()).spawn(move || {
            while self.wait(&Notify::new()) != Asked::Stop {}
            // What was acknowledged is on disk; everything else is the asker's choice.
            std::process::exit(130);
        })?;
        Ok(())
    }
}
