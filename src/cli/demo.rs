//! `demo`: everything on one machine with nothing to set up, so that the first thing a person sees
//! is a token that passes, is revoked, and fails.

mod backend;
mod client;
mod issuer;
mod once;
mod screen;
mod stage;
mod steps;
mod websocket;

use std::path::Path;

use tracing::Level;

use crate::app::Signals;
use crate::telemetry::access::Format;

use super::arguments::{Demo, Global};
use super::client::Client;
use super::console::Console;
use super::events;
use super::exit::Exit;
use super::failure::Failure;
use super::shapes::Status;
use super::words;

use stage::Stage;

/// Where it lives unless said.
const DIRECTORY: &str = "portcullis-demo";

pub fn run(demo: &Demo, global: &Global, console: &Console) -> Result<Exit, Failure> {
    if demo.once {
        return once::run(demo.directory.as_deref(), global, console);
    }
    let directory = demo.directory.as_deref().unwrap_or(Path::new(DIRECTORY));
    let events = events::start(Format::Text, Level::INFO)?;
    let stage = Stage::set(directory, directory, screen::PORTS)?;
    let signals = |cause| Failure::Read { what: "signals".to_owned(), cause };
    let stop = Signals::listen().map_err(signals)?;
    let gateway = stage.start(Box::new(std::io::stdout()))?;
    let in_force = in_force(&stage, global);
    let screen = screen::screen(&stage, &Called::new(&stage, global), in_force, console.look.paint);
    events.settle();
    console.say_always(&screen)?;
    gateway.run_until_stopped(stop).map_err(signals)?;
    let word = words::shell(&directory.display().to_string());
    console.say(&format!(
        "\nStopped. Start again and what was revoked still is; rm -r {word} forgets it.\n"
    ))?;
    Ok(Exit::Done)
}

/// How this program is called: lines to paste.
struct Called {
    /// For this demo's gateway: `portcullis -c portcullis-demo`.
    again: String,
    /// To start this demo: `portcullis demo`.
    demo: String,
}

impl Called {
    fn new(stage: &Stage, global: &Global) -> Self {
        let program = words::shell(&global.program);
        let directory = words::shell(&stage.shown().display().to_string());
        let demo = if stage.shown() == Path::new(DIRECTORY) {
            format!("{program} demo")
        } else {
            format!("{program} demo --dir {directory}")
        };
        Self { again: format!("{program} -c {directory}"), demo }
    }
}

/// What the gateway itself says is in force, for the hint at a second start.
fn in_force(stage: &Stage, global: &Global) -> Option<u64> {
    let mut global = global.clone();
    global.config = stage.directory().join("gateway.toml");
    global.admin = None;
    let answer = Client::new(&global).and_then(|client| client.read("/v1/status")).ok()?;
    let status: Status = answer.shown("the gateway").ok()?;
    status.denials.map(|denials| denials.in_force)
}
