//! The steps of the demo, once: what the screen offers to paste is what `--once` does, and what it
//! must come to.

use std::path::Path;

use crate::cli::words::shell;

use super::Called;
use super::stage::Stage;

/// One thing to see, and how.
pub struct Step {
    pub title: &'static str,
    pub acts: Vec<Act>,
}

/// A command and how it must end.
pub enum Act {
    Curl(Curl, u16),
    Cli(Cli, u8),
    /// A WebSocket with the token of this header file, which stays open. On the screen a browser's.
    Connect(&'static str),
    /// The gateway ends it, with this close code.
    Cut(u16),
    /// Ctrl+C, and the demo again.
    Restart,
}

/// A call of the gateway.
#[derive(Clone, Default)]
pub struct Curl {
    pub method: &'static str,
    pub path: &'static str,
    /// Show the status line and the headers.
    pub head: bool,
    /// File of the demo's directory with a header line.
    pub header_file: Option<&'static str>,
    /// Cookie jar: take what is set into it, or send what is in it.
    pub jar: Option<Jar>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Jar {
    Fill,
    Send,
}

/// A call of this program.
#[derive(Clone)]
pub struct Cli {
    pub words: Vec<String>,
    pub stdin: Option<&'static str>,
}

impl Curl {
    fn shown(&self, stage: &Stage) -> String {
        let file = |name: &str| shell(&stage.shown().join(name).display().to_string());
        let mut text = String::from("curl");
        if self.head {
            text.push_str(" -i");
        }
        if self.method != "GET" {
            text.push_str(&format!(" -X {}", self.method));
        }
        if let Some(name) = self.header_file {
            text.push_str(&format!(" -H @{}", file(name)));
        }
        match self.jar {
            Some(Jar::Fill) => text.push_str(&format!(" -c {}", file("jar"))),
            Some(Jar::Send) => text.push_str(&format!(" -b {}", file("jar"))),
            None => {}
        }
        format!("{text} {}", stage.url(self.path))
    }
}

impl Cli {
    /// `again` is how this program is called for this demo.
    fn shown(&self, again: &str, directory: &Path) -> String {
        let words: Vec<String> = self.words.iter().map(|word| quoted(word)).collect();
        let mut text = format!("{again} {}", words.join(" "));
        if let Some(name) = self.stdin {
            text.push_str(&format!(" < {}", shell(&directory.join(name).display().to_string())));
        }
        text
    }
}

/// Prose in double quotes, as people write it.
fn quoted(word: &str) -> String {
    let prose = word.chars().all(|c| c.is_ascii_alphanumeric() || c == ' ');
    if prose && word.contains(' ') { format!("\"{word}\"") } else { shell(word) }
}

impl Act {
    pub(super) fn shown(&self, stage: &Stage, called: &Called) -> String {
        match self {
            Self::Curl(curl, _) => curl.shown(stage),
            Self::Cli(cli, _) => cli.shown(&called.again, stage.shown()),
            Self::Connect(user) => {
                format!("# in a browser: {}  log in as {user}, watch it tick", stage.url("/"))
            }
            Self::Cut(code) => format!("# the WebSocket is closed with code {code}"),
            Self::Restart => called.demo.clone(),
        }
    }
}

fn whoami(header_file: &'static str, status: u16) -> Act {
    let head = status != 200;
    let curl = Curl { header_file: Some(header_file), head, ..get("/api/whoami") };
    Act::Curl(curl, status)
}

fn with_jar(status: u16) -> Act {
    let curl = Curl { jar: Some(Jar::Send), head: status != 200, ..get("/api/whoami") };
    Act::Curl(curl, status)
}

fn get(path: &'static str) -> Curl {
    Curl { method: "GET", path, ..Curl::default() }
}

fn cli(words: &[&str], exit: u8) -> Act {
    Act::Cli(
        Cli { words: words.iter().map(|word| (*word).to_owned()).collect(), stdin: None },
        exit,
    )
}

/// All of them, in order.
pub fn steps(stage: &Stage) -> Vec<Step> {
    let laptop = stage.shown().join("alice.jwt").display().to_string();
    let login = Curl { method: "POST", path: "/login/alice", jar: Some(Jar::Fill), ..get("") };
    let explain = Cli { words: vec!["explain".to_owned()], stdin: Some("alice.jwt") };
    vec![
        Step {
            title: "alice gets in, by a header or by a cookie",
            acts: vec![whoami("alice", 200), whoami("alice.cookie", 200)],
        },
        Step {
            title: "end one token: her laptop is out, her phone is not",
            acts: vec![
                cli(&["revoke", "--token-file", &laptop, "--reason", "lost laptop"], 0),
                whoami("alice", 401),
                whoami("alice-phone", 200),
            ],
        },
        Step {
            title: "end every token she has; bob's still passes",
            acts: vec![
                cli(&["revoke", "--user", "alice", "--reason", "password changed"], 0),
                whoami("alice-phone", 401),
                whoami("bob", 200),
            ],
        },
        Step { title: "why?", acts: vec![Act::Cli(explain, 1)] },
        Step {
            title: "a live WebSocket is cut while you watch",
            acts: vec![
                Act::Connect("bob"),
                cli(&["revoke", "--user", "bob", "--reason", "contract ended"], 0),
                Act::Cut(1008),
                whoami("bob", 401),
                cli(&["undo", "--last"], 0),
                whoami("bob", 200),
            ],
        },
        Step {
            title: "she logs in again and is in; blocked, she is out whatever she does",
            acts: vec![
                Act::Curl(login, 204),
                with_jar(200),
                cli(&["block", "--user", "alice", "--reason", "card fraud"], 0),
                with_jar(401),
            ],
        },
        Step { title: "take it back", acts: vec![cli(&["undo", "--last"], 0), with_jar(200)] },
        Step {
            title: "Ctrl+C here, start again: what was revoked still is",
            acts: vec![Act::Restart, whoami("alice", 401), whoami("bob", 200)],
        },
    ]
}
