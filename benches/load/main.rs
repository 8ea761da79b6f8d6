//! The load that the measurements of this directory need and no packaged tool makes: an echo
//! server for WebSockets and bodies, many idle connections, messages through a tunnel, and a crowd
//! of WebSockets whose users are denied one by one.
//!
//! A program of its own, in Rust, because a client in Python would be what is measured. The scripts
//! build and call it (`lab.load_program`); by hand: `cargo bench --bench load -- echo`. Arguments
//! are pairs of a name and a value; what was found is one JSON document on standard output.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a benchmark that cannot go on should stop"
)]

mod admin;
mod crowd;
mod crowd_socket;
mod denials;
mod echo;
mod figures;
mod frames;
mod handshakes;
mod hold;
mod messages;
mod requests;
mod tokens;
mod wire;

use std::collections::HashMap;
use std::str::FromStr;

/// Pairs of a name and a value.
pub struct Arguments(HashMap<String, String>);

impl Arguments {
    fn read(words: &[String]) -> Self {
        assert!(words.len().is_multiple_of(2), "pairs of a name and a value: {words:?}");
        Self(words.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect())
    }

    pub fn text(&self, name: &str) -> &str {
        self.0.get(name).unwrap_or_else(|| panic!("{name} is missing"))
    }

    pub fn maybe(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub fn number<T: FromStr>(&self, name: &str) -> T {
        self.text(name).parse().ok().unwrap_or_else(|| panic!("{name} is no number"))
    }
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let Some((mode, rest)) = words.split_first() else {
        println!(
            "echo | hold | handshakes | messages | denials | requests | crowd, and pairs of a name and a value"
        );
        return;
    };
    let arguments = Arguments::read(rest);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        match mode.as_str() {
            "echo" => echo::serve().await,
            "hold" => hold::hold(&arguments).await,
            "handshakes" => handshakes::shake(&arguments).await,
            "messages" => messages::exchange(&arguments).await,
            "denials" => denials::deny(&arguments).await,
            "requests" => requests::ask_on(&arguments).await,
            "crowd" => crowd::run(&arguments).await,
            other => panic!("no mode {other}"),
        }
    });
}
