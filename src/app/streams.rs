//! Between the planes: changes reach the open streams of all cores, and so do questions about them
//! and about what the cores have seen.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc::WeakUnboundedSender;

use crate::control::keys::KeyRing;
use crate::control::observed::Observed;
use crate::control::streams::OpenStreams;
use crate::denylist::{Denylist, Fingerprint};
use crate::proxy::core::{Command, CoreHandle};
use crate::telemetry::AskToReport;
use crate::telemetry::streams::{Ask, Question};

/// A change of the table reaches the open streams: the store's thread calls this after the table
/// and before it acknowledges. The ring of keys does so for keys that are gone.
fn announcer(cores: &[CoreHandle]) -> Box<dyn Fn(Vec<Fingerprint>) + Send + Sync> {
    let cores = weak(cores);
    Box::new(move |marks| {
        let (marks, at): (Arc<[Fingerprint]>, _) = (marks.into(), Instant::now());
        for core in &cores {
            tell(core, Command::Changed(Arc::clone(&marks), at));
        }
    })
}

/// From here changes reach the streams of these cores, which can be asked about them.
pub fn of(denylist: &Denylist, keys: &KeyRing, cores: &[CoreHandle]) -> Arc<OpenStreams> {
    denylist.listen(announcer(cores));
    keys.listen(announcer(cores));
    let ask =
        |core| -> Ask { Box::new(move |question: Question| tell(&core, Command::Ask(question))) };
    Arc::new(OpenStreams::new(weak(cores).into_iter().map(ask).collect()))
}

/// What these cores have seen up to the moment when somebody asks.
pub fn observed(cores: &[CoreHandle]) -> Arc<Observed> {
    let ask = |core| -> AskToReport {
        Box::new(move |remembered| tell(&core, Command::Report(remembered)))
    };
    Arc::new(Observed::new(weak(cores).into_iter().map(ask).collect()))
}

/// Whoever holds these does not keep a core alive: it ends when its handle is dropped.
fn weak(cores: &[CoreHandle]) -> Vec<WeakUnboundedSender<Command>> {
    cores.iter().map(|core| core.commands.downgrade()).collect()
}

/// `false`: the core has ended, and so have its streams.
fn tell(core: &WeakUnboundedSender<Command>, command: Command) -> bool {
    core.upgrade().is_some_and(|core| core.send(command).is_ok())
}
