//! `[log]`: events, and the line of each request.

use super::cursor::Table;
use super::{AccessFormat, AccessLog, Log, LogFormat};

pub fn log(table: &Table<'_>) -> Log {
    let small =
        |key, default, range| u32::try_from(table.integer(key, default, range)).unwrap_or(0);
    let log = Log {
        access: table.choice(
            "access",
            AccessLog::On,
            &[("on", AccessLog::On), ("off", AccessLog::Off), ("refused", AccessLog::Refused)],
        ),
        access_file: table.string("access_file").map(|text| table.reader.resolve(&text.value)),
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
