//! Signals: SIGTERM and SIGINT ask for a drain; a second one ends the process at once.

use std::io;

use tokio::signal::unix::{SignalKind, signal};

/// Blocks until the process is asked to stop. A second request ends it without waiting further.
pub fn wait_for_stop() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut terminate, mut interrupt) = {
        let _inside = runtime.enter();
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?)
    };
    runtime.block_on(async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    });
    std::thread::Builder::new().name("second-signal".to_owned()).spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        });
        // What was acknowledged is on disk; everything else is the asker's choice.
        std::process::exit(130);
    })?;
    Ok(())
}
