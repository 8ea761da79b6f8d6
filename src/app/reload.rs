//! The thread that reloads: asked by a signal, by the admin API, or by a file that changed. One
//! reload at a time; who asks while one waits to begin shares it.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::clock::UnixMs;
use crate::config::{Diagnostic, Severity};
use crate::control::config::{Ask, Desk, Last, Outcome, ReloadFault, Trigger};

use super::live::Live;
use super::watch::Watch;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(2);

/// See the module.
pub struct ReloadThread {
    desk: Arc<Desk>,
    thread: JoinHandle<Live>,
}

impl ReloadThread {
    /// `watch`: the files as they were before they were read.
    pub fn start(live: Live, asks: Receiver<Ask>, watch: Watch) -> std::io::Result<Self> {
        let desk = Arc::clone(&live.desk);
        let thread = std::thread::Builder::new()
            .name("reload".to_owned())
            .spawn(move || run(live, &asks, watch))?;
        Ok(Self { desk, thread })
    }

    /// Ends it; what is in force comes back. `None`: the thread has panicked.
    pub fn stop(self) -> Option<Live> {
        self.desk.close();
        self.thread.join().ok()
    }
}

type Reply = oneshot::Sender<Outcome>;

fn run(mut live: Live, asks: &Receiver<Ask>, mut watch: Watch) -> Live {
    loop {
        let mut waiting: Vec<(Trigger, Option<Reply>)> = Vec::new();
        let mut take = |ask: Ask, live: &Live| match ask {
            Ask::Reload { trigger, reply } => waiting.push((trigger, reply)),
            // Who does not wait any more does not matter.
            Ask::Check(reply) => drop(reply.send(live.check())),
        };
        match asks.recv_timeout(LOOK) {
            Ok(ask) => take(ask, &live),
            Err(RecvTimeoutError::Timeout) if live.config.server.watch && watch.has_changed() => {
                watch.settle();
                take(Ask::Reload { trigger: Trigger::File, reply: None }, &live);
            }
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => return live,
        }
        asks.try_iter().for_each(|ask| take(ask, &live));
        let Some((trigger, _)) = waiting.first() else { continue };
        let trigger = *trigger;
        // Stamped before they are read, so that a change in between is seen the next time.
        watch = Watch::of(watch.paths());
        live.notifier.reloading();
        let (outcome, named) = live.reload();
        live.notifier.ready(if outcome.is_ok() {
            "Serving"
        } else {
            "Serving; the last reload failed"
        });
        watch.watch_also(&named);
        watch.forget_all_but(&named);
        if outcome.is_ok() {
            live.api.reloaded(trigger);
        }
        tell(&live.desk, trigger, &outcome);
        for reply in waiting.into_iter().filter_map(|(_, reply)| reply) {
            reply.send(outcome.clone()).ok();
        }
    }
}

/// The log, and whoever asks later.
fn tell(desk: &Desk, trigger: Trigger, outcome: &Outcome) {
    let at = UnixMs::now();
    match outcome {
        Ok(reloaded) => {
            let restart = reloaded.needs_restart.join(" ");
            if restart.is_empty() {
                tracing::info!(trigger = trigger.as_str(), "the config was reloaded");
            } else {
                tracing::warn!(
                    trigger = trigger.as_str(),
                    needs_restart = restart,
                    "the config was reloaded, but for what needs a restart"
                );
            }
            reloaded.notes.items.iter().for_each(say);
        }
        Err(fault) => {
            tracing::error!(
                trigger = trigger.as_str(),
                "the config was not reloaded, the one in force stays: {fault}"
            );
            if let ReloadFault::Config(found) = fault {
                found.items.iter().for_each(say);
            }
        }
    }
    let fault = outcome.as_ref().err().cloned();
    desk.set(|standing| standing.last = Some(Last { at, trigger, fault }));
}

/// One diagnostic in the log.
pub fn say(item: &Diagnostic) {
    let code = item.code.to_string();
    let (line, column) = item.place.as_ref().map_or((0, 0), |place| (place.line, place.column));
    let detail = item.detail.as_deref().or(item.suggestion.as_deref()).unwrap_or_default();
    let help = item.help.as_deref().unwrap_or_default();
    match item.severity {
        Severity::Error => tracing::error!(code, line, column, detail, help, "{}", item.message),
        Severity::Warning => tracing::warn!(code, line, column, detail, help, "{}", item.message),
        Severity::Note => {}
    }
}
