//! The arguments, valid. What clap cannot say (an amount of time, `NAME=VALUE`, a token where none
//! may stand) is checked here, before anything is done.

mod compile;
mod global;
#[cfg(test)]
mod tests;

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use clap::error::{ContextKind, ContextValue};

use crate::config::Flags;
use crate::keys::Algorithm;

use super::exit::Exit;
use super::failure::Failure;
use super::input::{self, TokenFrom};
use super::keys::Keys;
use super::list::List;
use super::raw::{Raw, RawCommand};
use super::registrations::Registrations;
use super::sessions::Sessions;
use super::store::Store;
use super::streams::Streams;
use super::target::Target;
use super::transfer::Place;
use super::watching::Events;
use super::words;

pub use global::Global;

/// What to do and how to say it.
#[derive(Debug)]
pub struct Arguments {
    pub global: Global,
    pub command: Command,
}

#[derive(Debug)]
pub enum Command {
    Demo(Demo),
    Init(TokenFrom),
    Check(Check),
    Run(Run),
    Revoke(Revoke),
    Block(Block),
    Undo(Undo),
    Denials(Denials),
    Exchange(Exchange),
    Registrations(Registrations),
    Audit(List),
    Events(Events),
    Explain(Explain),
    Streams(Streams),
    Sessions(Sessions),
    Status,
    Keys(Keys),
    Reload,
    Store(Store),
    Token(TokenCommand),
    Health,
}

#[derive(Debug)]
pub struct Demo {
    /// `None`: `portcullis-demo` here; with `once`, one of its own that is removed.
    pub directory: Option<PathBuf>,
    pub once: bool,
}

#[derive(Debug)]
pub struct Check {
    pub asked: Option<AskedRequest>,
}

/// A request as far as it chooses a route.
#[derive(Debug)]
pub struct AskedRequest {
    pub url: String,
    pub method: http::Method,
    pub headers: http::HeaderMap,
}

#[derive(Debug)]
pub struct Run {
    /// Instead of the config file.
    pub flags: Option<Flags>,
    /// The process that runs goes when this one is ready.
    pub replace: bool,
}

#[derive(Debug)]
pub enum TokenCommand {
    Decode(TokenFrom),
    Mint(Mint),
    Key(KeyCommand),
}

#[derive(Debug)]
pub struct Mint {
    pub source: SigningSource,
    pub algorithm: Option<Algorithm>,
    pub kid: Option<String>,
    pub like: Option<TokenFrom>,
    pub issuer: Option<String>,
    pub user: Option<String>,
    pub session: Option<String>,
    pub audiences: Vec<String>,
    pub claims: Vec<(String, String)>,
    pub lifetime: Duration,
    /// Print it as a header line.
    pub header: bool,
}

/// What signs.
#[derive(Debug)]
pub enum SigningSource {
    Pem(PathBuf),
    SecretFile(PathBuf),
    SecretEnv(String),
}

#[derive(Debug)]
pub struct KeyCommand {
    pub out: PathBuf,
    pub algorithm: Algorithm,
}

#[derive(Debug)]
pub struct Notes {
    pub reason: Option<String>,
    pub reference: Option<String>,
    pub dry_run: bool,
    pub yes: bool,
}

/// The one session or token that a revocation spares.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Spared {
    Session(String),
    Jti(String),
}

#[derive(Debug)]
pub struct Revoke {
    pub target: Target,
    pub issuer: Option<String>,
    pub except: Option<Spared>,
    pub notes: Notes,
}

#[derive(Debug)]
pub struct Block {
    pub target: Target,
    pub issuer: Option<String>,
    pub lasts: Option<Duration>,
    pub notes: Notes,
}

#[derive(Debug)]
pub struct Undo {
    pub which: Which,
    pub reason: Option<String>,
    pub yes: bool,
}

#[derive(PartialEq, Eq, Debug)]
pub enum Which {
    Ids(Vec<String>),
    /// The newest; of `unblock` the newest that keeps somebody out.
    Last {
        blocks_only: bool,
    },
    /// All that stands of somebody; of `unblock` only what keeps out.
    Of {
        target: Target,
        issuer: Option<String>,
        blocks_only: bool,
        dry_run: bool,
    },
}

#[derive(Debug)]
pub enum Denials {
    One(String),
    List(List),
}

/// Many records at once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Exchange {
    Batch { from: Place, stop_on_error: bool },
    Export(Place),
    Import(Place),
}

#[derive(Debug)]
pub struct Explain {
    pub what: Explained,
    pub url: Option<String>,
    pub method: Option<String>,
}

#[derive(Debug)]
pub enum Explained {
    Token(TokenFrom),
    Request(String),
}

/// The arguments ended the process: help, a version, or a mistake.
#[derive(Debug)]
pub enum Ended {
    Clap(clap::Error),
    Refused(Failure),
}

impl Ended {
    /// Prints it and gives the exit code.
    pub fn report(&self) -> Exit {
        match self {
            Self::Clap(error) => {
                // A closed pipe is the reader's choice.
                let _ = error.print();
                if error.use_stderr() { Exit::Usage } else { Exit::Done }
            }
            Self::Refused(failure) => super::failure::report_plain(failure),
        }
    }
}

/// Commands that list when they are given nothing else.
const LISTS: [&str; 4] = ["denials", "streams", "sessions", "registrations"];

/// Commands that show the one whose id they are given.
const SHOWN: [&str; 2] = ["denials", "registrations"];

impl Arguments {
    pub fn of_process() -> Result<Self, Ended> {
        Self::parse(std::env::args_os().collect())
    }

    /// `words` begin with the program's name.
    pub fn parse(mut words: Vec<OsString>) -> Result<Self, Ended> {
        // Before clap, whose own message would repeat the token.
        if words.iter().skip(1).any(|word| input::looks_like_a_token(&word.to_string_lossy())) {
            return Err(Ended::Refused(Failure::TokenAsArgument));
        }
        // `streams list` is `streams`, `denials show ID` is `denials ID`: neither has a word of its
        // own, and people try one.
        let is_of = |what: &OsStr, names: &[&str]| names.iter().any(|name| what == *name);
        let is_needless = |pair: &[OsString]| match pair {
            [what, word] => {
                word == "list" && is_of(what, &LISTS)
                    || is_of(word, &["show", "get"]) && is_of(what, &SHOWN)
            }
            _ => false,
        };
        if let Some(at) = words.windows(2).position(is_needless) {
            words.remove(at + 1);
        }
        let program = words.first().cloned().unwrap_or_else(|| OsString::from("portcullis"));
        let raw = Raw::try_parse_from(words).map_err(|error| match misplaced_config(&error) {
            Some(failure) => Ended::Refused(failure),
            None => Ended::Clap(error),
        })?;
        Self::compile(raw, &program).map_err(Ended::Refused)
    }

    fn compile(raw: Raw, program: &OsStr) -> Result<Self, Failure> {
        let command = match raw.command {
            RawCommand::Demo { dir, once } => Command::Demo(Demo { directory: dir, once }),
            RawCommand::Init { file } => Command::Init(TokenFrom::of(file)),
            RawCommand::Check { url, method, headers } => {
                Command::Check(compile::check(url, method, &headers)?)
            }
            RawCommand::Run(raw) => {
                Command::Run(Run { replace: raw.replace, flags: compile::flags(raw) })
            }
            RawCommand::Revoke(raw) => Command::Revoke(compile::revoke(raw)?),
            RawCommand::Block(raw) => Command::Block(compile::block(raw)?),
            RawCommand::Undo(raw) => Command::Undo(compile::undo(raw, false)?),
            RawCommand::Unblock(raw) => Command::Undo(compile::undo(raw, true)?),
            RawCommand::Denials(raw) => match raw.exchange {
                Some(raw) => Command::Exchange(raw.into()),
                None => Command::Denials(compile::denials(*raw)?),
            },
            RawCommand::Registrations(raw) => Command::Registrations(Registrations::compile(*raw)?),
            RawCommand::Audit(raw) => Command::Audit(compile::audit(raw)?),
            RawCommand::Events { after, changes, once } => {
                Command::Events(Events { after, changes_only: changes, once })
            }
            RawCommand::Explain(raw) => Command::Explain(compile::explain(raw)),
            RawCommand::Streams(streams) => Command::Streams(*streams),
            RawCommand::Sessions(sessions) => Command::Sessions(sessions),
            RawCommand::Status => Command::Status,
            RawCommand::Keys(keys) => Command::Keys(keys),
            RawCommand::Reload => Command::Reload,
            RawCommand::Store(raw) => Command::Store(Store::of(raw)),
            RawCommand::Token(raw) => Command::Token(compile::token(raw)?),
            RawCommand::Health => Command::Health,
        };
        Ok(Self { global: Global::compile(raw.global, program), command })
    }
}

/// A config file that stands alone: other programs take it like that.
fn misplaced_config(error: &clap::Error) -> Option<Failure> {
    let unknown = error.get(ContextKind::InvalidArg);
    let unknown = unknown.or_else(|| error.get(ContextKind::InvalidSubcommand));
    let Some(ContextValue::String(word)) = unknown else { return None };
    word.ends_with(".toml").then(|| {
        let config = words::shell(word);
        Failure::usage(format!("The config is named by -c, as in: portcullis -c {config} check"))
    })
}
