//! Why a command did not do what it was asked, in words for people and with an exit code. No text
//! here holds a token or a secret.

use std::error::Error;
use std::fmt;

use serde_json::json;

use crate::app::StartError;
use crate::config::Diagnostics;

use super::arguments::Global;
use super::console::{Paint, write_stderr};
use super::exit::Exit;
use super::shapes::Problem;
use super::words;

/// See the module.
#[derive(Debug)]
pub enum Failure {
    Usage(String),
    TokenAsArgument,
    NoToken {
        from: String,
    },
    NotOneToken {
        from: String,
    },
    TooLong {
        what: String,
        bytes_max: u64,
    },
    Read {
        what: String,
        cause: std::io::Error,
    },
    Write {
        what: String,
        cause: std::io::Error,
    },
    /// No address of the admin API answered.
    Unreachable {
        tried: Vec<Attempt>,
        advice: String,
    },
    /// It answered with a problem document.
    Problem(Box<Problem>),
    /// It answered with something that is not ours.
    Answer {
        from: String,
        detail: String,
    },
    /// The person said no, or could not be asked.
    NotConfirmed(String),
    /// The config cannot be used.
    Config(Box<Diagnostics>),
    /// The gateway did not start.
    Start(Box<StartError>),
    /// Nothing to act on.
    Nothing(String),
    /// What was given cannot be used.
    Refused(String),
}

/// One address that was tried.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attempt {
    pub address: String,
    pub outcome: String,
}

impl Failure {
    /// What was to be said could not be written: nobody listens.
    pub(super) fn is_of_output(&self) -> bool {
        matches!(self, Self::Write { .. })
    }

    pub fn usage(text: impl Into<String>) -> Self {
        Self::Usage(text.into())
    }

    pub fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) | Self::TokenAsArgument => Exit::Usage,
            Self::Unreachable { .. } => Exit::Unreachable,
            Self::Config(_) => Exit::Config,
            Self::NoToken { .. }
            | Self::NotOneToken { .. }
            | Self::TooLong { .. }
            | Self::Read { .. }
            | Self::Write { .. }
            | Self::Start(_)
            | Self::Answer { .. }
            | Self::NotConfirmed(_)
            | Self::Nothing(_)
            | Self::Refused(_) => Exit::Refused,
            Self::Problem(problem) if problem.is_of_config() => Exit::Config,
            Self::Problem(_) => Exit::Refused,
        }
    }

    /// A stable word for programs.
    pub fn code(&self) -> &str {
        match self {
            Self::Usage(_) => "usage",
            Self::TokenAsArgument => "token_as_argument",
            Self::NoToken { .. } => "no_token",
            Self::NotOneToken { .. } => "not_one_token",
            Self::TooLong { .. } => "too_long",
            Self::Read { .. } => "cannot_read",
            Self::Write { .. } => "cannot_write",
            Self::Unreachable { .. } => "gateway_not_reachable",
            Self::Problem(problem) => problem.code.as_deref().unwrap_or("refused"),
            Self::Answer { .. } => "unexpected_answer",
            Self::NotConfirmed(_) => "not_confirmed",
            Self::Config(_) => "config",
            Self::Start(_) => "not_started",
            Self::Nothing(_) => "nothing_to_do",
            Self::Refused(_) => "refused",
        }
    }

    /// Lines below the first: what was tried, what is wrong where, what to do.
    fn details(&self) -> Vec<String> {
        match self {
            Self::TokenAsArgument => vec![
                "Give it on stdin: portcullis explain < token.jwt".to_owned(),
                "or as a file:     portcullis revoke --token-file token.jwt".to_owned(),
            ],
            Self::Unreachable { tried, advice } => tried
                .iter()
                .map(|attempt| format!("tried {}: {}", attempt.address, attempt.outcome))
                .chain(advice.lines().map(str::to_owned))
                .collect(),
            Self::Problem(problem) => problem.details(),
            Self::NoToken { from } if from == "stdin" => {
                vec!["Send its file there, `… < token.jwt`, or name the file.".to_owned()]
            }
            Self::Usage(_)
            | Self::NoToken { .. }
            | Self::NotOneToken { .. }
            | Self::TooLong { .. }
            | Self::Read { .. }
            | Self::Write { .. }
            | Self::Answer { .. }
            | Self::NotConfirmed(_)
            | Self::Config(_)
            | Self::Start(_)
            | Self::Nothing(_)
            | Self::Refused(_) => Vec::new(),
        }
    }

    /// The whole text for people.
    pub fn render(&self, paint: Paint) -> String {
        if let Self::Config(found) = self {
            return found.render(paint != Paint::PLAIN);
        }
        let mut text = format!("{} {self}", paint.red("error:"));
        let mut source = self.source();
        while let Some(cause) = source {
            text.push_str(&format!(": {}", words::cause(&cause.to_string())));
            source = cause.source();
        }
        for line in self.details() {
            text.push_str(&format!("\n  {line}"));
        }
        text.push('\n');
        text
    }

    fn document(&self) -> serde_json::Value {
        if let Self::Problem(problem) = self {
            return problem.document.clone();
        }
        if let Self::Config(found) = self {
            return found.to_json();
        }
        let mut document = json!({ "code": self.code(), "detail": self.to_string() });
        if let (Self::Unreachable { tried, .. }, Some(members)) = (self, document.as_object_mut()) {
            let tried: Vec<_> = tried
                .iter()
                .map(|attempt| json!({ "address": attempt.address, "outcome": attempt.outcome }))
                .collect();
            members.insert("tried".to_owned(), tried.into());
        }
        document
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(text)
            | Self::NotConfirmed(text)
            | Self::Nothing(text)
            | Self::Refused(text) => {
                out.write_str(&words::printable(text))
            }
            Self::Config(found) => write!(out, "{found}"),
            Self::Start(fault) => write!(out, "the gateway did not start: {fault}"),
            Self::TokenAsArgument => out.write_str(
                "a token as an argument is refused: other users of this machine can read command lines",
            ),
            Self::NoToken { from } => write!(out, "there is no token in {from}"),
            Self::NotOneToken { from } => {
                write!(out, "{from} does not hold one token: it has blanks or bytes that no token has")
            }
            Self::TooLong { what, bytes_max } => {
                write!(out, "{what} is longer than {} bytes", words::count(*bytes_max))
            }
            Self::Read { what, .. } => write!(out, "cannot read {what}"),
            Self::Write { what, .. } => write!(out, "cannot write {what}"),
            Self::Unreachable { .. } => out.write_str("the gateway's admin API is not reachable"),
            Self::Problem(problem) => out.write_str(&problem.headline()),
            Self::Answer { from, detail } => {
                write!(out, "{from} does not answer as a Portcullis admin API: {detail}")
            }
        }
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Read { cause, .. } | Self::Write { cause, .. } => Some(cause),
            Self::Usage(_)
            | Self::TokenAsArgument
            | Self::NoToken { .. }
            | Self::NotOneToken { .. }
            | Self::TooLong { .. }
            | Self::Unreachable { .. }
            | Self::Problem(_)
            | Self::Answer { .. }
            | Self::NotConfirmed(_)
            | Self::Config(_)
            | Self::Start(_)
            | Self::Nothing(_)
            | Self::Refused(_) => None,
        }
    }
}

/// Prints a failure to stderr and gives its exit code.
pub fn report(failure: &Failure, global: &Global) -> Exit {
    use std::io::IsTerminal as _;
    if global.json {
        write_stderr(&format!("{}\n", failure.document()));
    } else {
        let paint = Paint::new(global.color, std::io::stderr().is_terminal());
        write_stderr(&failure.render(paint));
    }
    failure.exit()
}

/// [`report`] before the global options are known.
pub(super) fn report_plain(failure: &Failure) -> Exit {
    write_stderr(&failure.render(Paint::PLAIN));
    failure.exit()
}
