//! `[log]`: events, and the line of each request.

use std::path::PathBuf;

use super::cursor::Table;

#[derive(Clone, Debug)]
pub struct Log {
    pub access: AccessLog,
    /// Where the lines of requests go; `None`: to standard output.
    pub access_file: Option<PathBuf>,
    pub access_format: AccessFormat,
    /// Of so many forwarded requests one has its line. Refused ones all have.
    pub sample: u32,
    /// Lines a second of one client that is refused for one reason, on each core; 0: all.
    pub repeats_max: u32,
    /// People are named: the subject in the access log, who was denied and why in events.
    pub subject: bool,
    /// Events: `error`, `warn`, `info`, `debug`.
    pub level: tracing::Level,
    pub format: LogFormat,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AccessLog {
    Off,
    On,
    /// Refused requests only.
    Refused,
}

/// How the lines of requests are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AccessFormat {
    /// As events are; in a file, JSON.
    AsEvents,
    Text,
    Json,
    Combined,
}

/// Text on a terminal, JSON elsewhere, unless said.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogFormat {
    Auto,
    Text,
    Json,
}

pub fn log(table: &Table<'_>) -> Log {
    let small =
        |key, default, range| u32::try_from(table.integer(key, default, range)).unwrap_or(0);
    let log = Log {
        access: table.choice(
            "access",
            AccessLog::On,
            &[("on", AccessLog::On), ("off", AccessLog::Off), ("refused", AccessLog::Refused)],
        ),
        access_file: table.get("access_file").and_then(|item| item.file_name()),
        access_format: table.choice(
            "access_format",
            AccessFormat::AsEvents,
            &[
                ("auto", AccessFormat::AsEvents),
                ("text", AccessFormat::Text),
                ("json", AccessFormat::Json),
                ("combined", AccessFormat::Combined),
            ],
        ),
        sample: small("sample", 1, 1..=1_000_000),
        repeats_max: small("repeats_max", 100, 0..=1_000_000),
        subject: table.boolean("subject", true),
        level: table.choice(
            "level",
            tracing::Level::INFO,
            &[
                ("error", tracing::Level::ERROR),
                ("warn", tracing::Level::WARN),
                ("info", tracing::Level::INFO),
                ("debug", tracing::Level::DEBUG),
            ],
        ),
        format: table.choice(
            "format",
            LogFormat::Auto,
            &[("auto", LogFormat::Auto), ("text", LogFormat::Text), ("json", LogFormat::Json)],
        ),
    };
    table.finish();
    log
}
