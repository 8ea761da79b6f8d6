//! `store`: the file of a gateway that does not run. Check it, build it anew, write it out. A
//! running gateway is asked through its admin API instead; its file is locked.

use std::io::{BufWriter, Write as _};
use std::path::PathBuf;

use serde_json::json;

use crate::clock::UnixMs;
use crate::config;
use crate::control::store::offline::{self, Checked, OfflineError, Repaired};

use super::arguments::Global;
use super::console::{Console, json_text};
use super::exit::Exit;
use super::failure::Failure;
use super::raw::RawStore;
use super::words;

/// What to do with which store.
#[derive(Debug)]
pub struct Store {
    act: Act,
    /// `None`: the config says.
    directory: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Act {
    Check,
    Repair,
    Compact,
    Export,
    ExportAudit,
}

impl Store {
    pub(super) fn of(raw: RawStore) -> Self {
        let (act, place) = match raw {
            RawStore::Check(place) => (Act::Check, place),
            RawStore::Repair(place) => (Act::Repair, place),
            RawStore::Compact(place) => (Act::Compact, place),
            RawStore::Export { audit: false, place } => (Act::Export, place),
            RawStore::Export { audit: true, place } => (Act::ExportAudit, place),
        };
        Self { act, directory: place.store }
    }
}

pub fn run(store: &Store, global: &Global, console: &Console) -> Result<Exit, Failure> {
    let directory = match &store.directory {
        Some(directory) => directory.clone(),
        None => configured(global)?,
    };
    let refused = |error: OfflineError| Failure::Refused(error.to_string());
    match store.act {
        Act::Check => {
            let checked = offline::check(&directory).map_err(refused)?;
            say_checked(&checked, console)
        }
        Act::Repair => {
            let repaired = offline::repair(&directory, UnixMs::now()).map_err(refused)?;
            say_repaired(&repaired, console)
        }
        Act::Compact => {
            let done = offline::compact(&directory, UnixMs::now()).map_err(refused)?;
            if console.json {
                console.say_always(&json_text(&json!({
                    "records": done.records,
                    "bytes_before": done.bytes_before,
                    "bytes_after": done.bytes_after,
                })))?;
            } else {
                console.say(&format!(
                    "The store has {}: {} bytes now, {} before.\n",
                    many(done.records, "record"),
                    words::count(done.bytes_after),
                    words::count(done.bytes_before)
                ))?;
            }
            Ok(Exit::Done)
        }
        Act::ExportAudit => {
            let mut out = BufWriter::with_capacity(1 << 16, std::io::stdout().lock());
            let acts =
                offline::export_acts(&directory, |line| out.write_all(json_text(line).as_bytes()))
                    .map_err(refused)?;
            out.flush().map_err(|cause| Failure::Write { what: "stdout".to_owned(), cause })?;
            console.remark(&format!("{} written\n", many(acts.readable, "act")));
            let lost = acts.unreadable > 0 || acts.broken;
            if lost {
                console.remark("Some of the audit cannot be read and is left out.\n");
            }
            Ok(if lost { Exit::InPart } else { Exit::Done })
        }
        Act::Export => {
            let mut out = BufWriter::with_capacity(1 << 16, std::io::stdout().lock());
            let exported = offline::export(&directory, UnixMs::now(), |line| {
                out.write_all(json_text(line).as_bytes())
            })
            .map_err(refused)?;
            out.flush().map_err(|cause| Failure::Write { what: "stdout".to_owned(), cause })?;
            for id in &exported.unreadable {
                console.remark(&format!("{id} cannot be read and is left out\n"));
            }
            console.remark(&format!(
                "{} and {} written\n",
                many(exported.records, "record"),
                many(exported.tombstones, "tombstone")
            ));
            Ok(if exported.unreadable.is_empty() { Exit::Done } else { Exit::InPart })
        }
    }
}

/// Where the config says that the store is.
fn configured(global: &Global) -> Result<PathBuf, Failure> {
    let loaded = config::load(&global.config).map_err(|found| Failure::Config(Box::new(found)))?;
    Ok(loaded.config.store.path)
}

fn many(count: u64, what: &str) -> String {
    format!("{} {what}{}", words::count(count), if count == 1 { "" } else { "s" })
}

fn say_checked(checked: &Checked, console: &Console) -> Result<Exit, Failure> {
    if console.json {
        let document = json!({
            "whole": checked.is_whole(),
            "bytes": checked.bytes,
            "records": checked.records,
            "in_force": checked.in_force,
            "tombstones": checked.tombstones,
            "sessions": checked.sessions,
            "acts": checked.acts,
            "faults": checked.faults,
            "faults_beyond": checked.faults_beyond,
        });
        console.say_always(&json_text(&document))?;
    } else {
        let mut text = String::new();
        for fault in &checked.faults {
            text.push_str(&format!("  {}\n", words::printable_line(fault)));
        }
        if checked.faults_beyond > 0 {
            text.push_str(&format!("  and {} more\n", words::count(checked.faults_beyond)));
        }
        let counts = format!(
            "{}, {} in force, {}, {}",
            many(checked.records, "record"),
            words::count(checked.in_force),
            many(checked.tombstones, "tombstone"),
            many(checked.sessions, "browser session")
        );
        let text = if checked.is_whole() {
            format!("The store is whole: {counts}.\n")
        } else {
            format!(
                "The store is damaged:\n{text}Readable: {counts}.\n`portcullis store repair` \
                 builds it anew from what can be read and keeps this file beside it.\n"
            )
        };
        console.say(&text)?;
    }
    Ok(if checked.is_whole() { Exit::Done } else { Exit::Refused })
}

fn say_repaired(repaired: &Repaired, console: &Console) -> Result<Exit, Failure> {
    let complete = !repaired.broken && repaired.unreadable.is_empty();
    let unreadable: Vec<String> = repaired.unreadable.iter().map(ToString::to_string).collect();
    if console.json {
        let document = json!({
            "complete": complete,
            "records": repaired.records,
            "in_force": repaired.in_force,
            "tombstones": repaired.tombstones,
            "sessions": repaired.sessions,
            "acts": repaired.acts.readable,
            "acts_unreadable": repaired.acts.unreadable,
            "salvaged": repaired.salvaged,
            "unreadable": unreadable,
            "bytes_before": repaired.bytes_before,
            "bytes_after": repaired.bytes_after,
            "kept": repaired.kept.display().to_string(),
        });
        console.say_always(&json_text(&document))?;
    } else {
        let mut text = format!(
            "The store was built anew: {}, {} in force, {}, {}.\nThe old file is {}.\n",
            many(repaired.records, "record"),
            words::count(repaired.in_force),
            many(repaired.tombstones, "tombstone"),
            many(repaired.sessions, "browser session"),
            repaired.kept.display()
        );
        if repaired.salvaged > 0 {
            text.push_str(&format!(
                "{} found outside the old structure: look through `portcullis denials`, what was \
                 undone may be in force again.\n",
                many(repaired.salvaged, "row")
            ));
        }
        for id in &unreadable {
            text.push_str(&format!("  {id} cannot be read and is not in the new file\n"));
        }
        if repaired.acts.unreadable > 0 || repaired.acts.broken {
            text.push_str(&format!(
                "Of the audit {} could be read; the rest is not in the new file.\n",
                many(repaired.acts.readable, "act")
            ));
        }
        if repaired.broken {
            text.push_str("Its structure was broken: more may be missing than is named here.\n");
        }
        console.say(&text)?;
    }
    Ok(if complete { Exit::Done } else { Exit::InPart })
}
