//! Where output goes. A reader that closes the pipe ends the writing, not the act: what was done
//! is done, and the exit code says so.

use std::io::{ErrorKind, IsTerminal as _, Write as _};

use clap::ColorChoice;

use crate::clock::UnixMs;

use super::arguments::Global;
use super::failure::Failure;
use super::words;

/// How and where to speak.
#[derive(Debug)]
pub struct Console {
    pub json: bool,
    pub quiet: bool,
    pub look: Look,
}

/// How a text is rendered; no I/O, so that outputs can be tested.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    pub paint: Paint,
    /// For a person: relative times and a footer. Else RFC 3339.
    pub terminal: bool,
    pub now: UnixMs,
}

impl Console {
    pub fn new(global: &Global) -> Self {
        let terminal = std::io::stdout().is_terminal();
        let look = Look { paint: Paint::new(global.color, terminal), terminal, now: UnixMs::now() };
        Self { json: global.json, quiet: global.quiet, look }
    }

    /// The command's result, to stdout.
    pub fn say(&self, text: &str) -> Result<(), Failure> {
        if self.quiet { Ok(()) } else { write_stdout(text) }
    }

    /// What was asked for by the command's very name: said also when quiet.
    pub fn say_always(&self, text: &str) -> Result<(), Failure> {
        write_stdout(text)
    }

    /// A remark beside the result, to stderr.
    pub fn remark(&self, text: &str) {
        if !self.quiet {
            write_stderr(text);
        }
    }
}

fn write_stdout(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        Err(cause) => Err(Failure::Write { what: "stdout".to_owned(), cause }),
    }
}

/// A document for programs, one line. What a terminal would obey (see [`words::printable`]) is
/// escaped, which in JSON says the same.
pub fn json_text(document: &serde_json::Value) -> String {
    let mut text = String::new();
    for c in document.to_string().chars() {
        if words::drives_terminals(c) {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                text.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            text.push(c);
        }
    }
    text.push('\n');
    text
}

/// Stderr is the last place to complain; where it is gone there is no other.
pub fn write_stderr(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// ANSI colours, or none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Paint {
    on: bool,
}

impl Paint {
    pub const PLAIN: Self = Self { on: false };

    /// `NO_COLOR` (no-color.org): present and not empty means none, unless asked for by flag.
    pub fn new(choice: ColorChoice, terminal: bool) -> Self {
        let on = match choice {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => {
                terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            }
        };
        Self { on }
    }

    pub fn bold(self, text: &str) -> String {
        self.wrap("1", text)
    }

    pub fn dim(self, text: &str) -> String {
        self.wrap("2", text)
    }

    pub fn red(self, text: &str) -> String {
        self.wrap("1;31", text)
    }

    pub fn green(self, text: &str) -> String {
        self.wrap("32", text)
    }

    pub fn yellow(self, text: &str) -> String {
        self.wrap("33", text)
    }

    fn wrap(self, code: &str, text: &str) -> String {
        if self.on { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}
