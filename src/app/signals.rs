//! Signals: SIGTERM and SIGINT ask for a drain; a second one ends the process at once.

use std::io;

use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGTERM and SIGINT no longer end the process but are waited for. Made before anybody is told
/// that the process is ready, so that no request to stop is answered by dying.
pub struct StopSignals {
    runtime: Runtime,
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    pub fn listen() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (terminate, interrupt) = {
            let _inside = runtime.enter();
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?)
        };
        Ok(Self { runtime, terminate, interrupt })
    }

    /// Blocks until the process is asked to stop. A second request ends it without waiting further.
    pub fn wait(mut self) -> io::Result<()> {
        self.next();
        std::thread::Builder::new().name("second-signal".to_owned()).spawn(move || {
            self.next();
            // What was acknowledged is on disk; everything else is the asker's choice.
            std::process::exit(130);
        })?;
        Ok(())
    }

    fn next(&mut self) {
        let Self { runtime, terminate, interrupt } = self;
        runtime.block_on(async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        });
    }
}
