//! The command line. Raw arguments are compiled into valid ones ([`Arguments`]), then acted on;
//! nothing after the compilation asks whether an argument makes sense. A command returns an
//! [`Exit`] or a [`Failure`]; only `main` ends the process. A token is read from stdin or a file,
//! never from the command line, which other users of the machine can read.

mod address;
mod arguments;
mod audit;
mod check;
mod client;
mod console;
mod demo;
mod denials;
mod deny;
mod events;
mod exchange;
mod exit;
mod explain;
mod export_target;
mod failure;
mod files;
mod health;
mod help;
mod http;
mod init;
mod input;
mod keys;
mod list;
mod progress;
mod query;
mod raw;
mod registrations;
mod reload;
mod run;
mod sessions;
mod several;
mod shapes;
mod status;
mod store;
mod streams;
mod table;
mod target;
mod token;
mod transfer;
mod undo;
mod watching;
mod words;

pub use arguments::{Arguments, Command, Ended, Global};
pub use exit::Exit;
pub use failure::{Failure, report};

use console::Console;

/// Does what the arguments say.
pub fn act(arguments: &Arguments) -> Result<Exit, Failure> {
    let console = Console::new(&arguments.global);
    let global = &arguments.global;
    match &arguments.command {
        Command::Demo(demo) => demo::run(demo, global, &console),
        Command::Init(from) => init::run(from, &console),
        Command::Check(check) => check::run(check, global, &console),
        Command::Run(run) => run::run(run, global, &console),
        Command::Revoke(revoke) => deny::revoke(revoke, global, &console),
        Command::Block(block) => deny::block(block, global, &console),
        Command::Undo(undo) => undo::run(undo, global, &console),
        Command::Denials(denials) => denials::run(denials, global, &console),
        Command::Exchange(exchange) => exchange::run(exchange, global, &console),
        Command::Registrations(asked) => registrations::run(asked, global, &console),
        Command::Audit(list) => audit::run(list, global, &console),
        Command::Events(events) => watching::run(events, global, &console),
        Command::Explain(explain) => explain::run(explain, global, &console),
        Command::Keys(keys) => keys::run(keys, global, &console),
        Command::Reload => reload::run(global, &console),
        Command::Status => status::run(global, &console),
        Command::Streams(streams) => streams::run(streams, global, &console),
        Command::Sessions(sessions) => sessions::run(sessions, global, &console),
        Command::Store(store) => store::run(store, global, &console),
        Command::Token(command) => token::run(command, &console),
        Command::Health => health::run(global, &console),
    }
}
