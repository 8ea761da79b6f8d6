//! A store as NDJSON, in the words of the admin API's export: a line that says what it is, a line
//! for each record and each tombstone in the order of their ids, a line that says how many. Lossless:
//! times are RFC 3339 to the millisecond (or, beyond its years, a number of milliseconds), an
//! issuer is its exact `iss`.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use redb::{ReadableDatabase as _, ReadableTable as _};
use serde_json::{Map, Value, json};

use crate::clock::UnixMs;
use crate::denylist::{Actor, Condition, Denial, DenialId, Except, Lift, Selector, TokenId, Via};

use super::super::rows::Fault;
use super::super::{codec, schema};
use super::OfflineError;

/// Of the lines, not of the store.
const VERSION: u64 = 1;

/// What was written, and what could not be read.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Exported {
    pub records: u64,
    pub tombstones: u64,
    pub unreadable: Vec<DenialId>,
}

/// Gives each line to `write`, whose errors end it.
pub fn export(
    directory: &Path,
    now: UnixMs,
    mut write: impl FnMut(&Value) -> std::io::Result<()>,
) -> Result<Exported, OfflineError> {
    let path = super::file_of(directory);
    let database = super::open_layered(&path)?;
    let damaged = |why| OfflineError::Damaged { path: path.clone(), why };
    let opened = super::describe(&database, &path)?.map_err(damaged)?;
    let mut written = Exported::default();
    let mut failed = None;
    let mut put = |line: &Value| -> bool {
        // Nothing after a line that could not be written: least of all the last one.
        if failed.is_some() {
            return false;
        }
        match write(line) {
            Ok(()) => true,
            Err(error) => {
                failed = Some(error);
                false
            }
        }
    };
    let sequence = opened.progress.sequence;
    let going = put(&json!({
        "portcullis_export": VERSION, "exported_at": now.rfc3339(), "sequence": sequence,
    }));
    let read =
        super::guarded(|| if going { rows(&database, &mut put, &mut written) } else { Ok(()) });
    if read.is_ok() {
        // Without this line the file counts as cut off.
        put(&json!({"end": {"denials": written.records, "lifts": written.tombstones}}));
    }
    if let Some(error) = failed {
        return Err(OfflineError::Failed { what: "write".to_owned(), why: error.to_string() });
    }
    read.map_err(damaged)?;
    Ok(written)
}

fn rows(
    database: &redb::Database,
    put: &mut impl FnMut(&Value) -> bool,
    written: &mut Exported,
) -> Result<(), Fault> {
    let transaction = database.begin_read()?;
    for entry in transaction.open_table(schema::RECORDS)?.iter()? {
        let (id, row) = entry?;
        let id = DenialId(*id.value());
        match codec::decode_denial(id, row.value()) {
            Ok((_, denial)) if put(&denial_line(&denial)) => written.records += 1,
            Ok(_) => return Ok(()),
            Err(_) => written.unreadable.push(id),
        }
    }
    for entry in transaction.open_table(schema::LIFTS)?.iter()? {
        let (id, row) = entry?;
        let id = DenialId(*id.value());
        match codec::decode_lift(id, row.value()) {
            Ok((_, lift)) if put(&lift_line(&lift)) => written.tombstones += 1,
            Ok(_) => return Ok(()),
            Err(_) => written.unreadable.push(id),
        }
    }
    Ok(())
}

fn denial_line(denial: &Denial) -> Value {
    let mut line = Map::new();
    let mut put = |name: &str, value: Value| {
        line.insert(name.to_owned(), value);
    };
    put("id", denial.id.to_string().into());
    put("issuer_id", denial.issuer.as_str().into());
    put("selector", selector_value(&denial.selector));
    put("condition", condition_value(denial.condition));
    if let Some(except) = &denial.except {
        put("except", one_value(except));
    }
    put("created_at", time(denial.created_at));
    put("created_by", actor(&denial.created_by));
    put("reason", denial.reason.as_str().into());
    let members = [
        ("kept_until", denial.kept_until.map(time)),
        ("ends_at", denial.ends_at.map(time)),
        ("reference", denial.reference.as_deref().map(Value::from)),
    ];
    for (name, value) in members {
        if let Some(value) = value {
            put(name, value);
        }
    }
    json!({"denial": line})
}

pub(super) fn one_value(one: &Except) -> Value {
    match one {
        Except::Session(id) => json!({"session": id}),
        Except::Token(TokenId::Jti(id)) => json!({"jti": id}),
        Except::Token(TokenId::Digest(digest)) => json!({"token": digest_text(digest)}),
    }
}

pub(super) fn selector_value(selector: &Selector) -> Value {
    match selector {
        Selector::Token(token) => one_value(&Except::Token(token.clone())),
        Selector::Session(id) => json!({"session": id}),
        Selector::Subject(id) => json!({"subject": id}),
        Selector::Client(id) => json!({"client": id}),
        Selector::Key(thumbprint) => json!({"key": thumbprint.to_string()}),
        Selector::Claim { name, value } => json!({"claim": {"name": name, "value": value}}),
        Selector::Issuer => json!({"everyone": true}),
        Selector::Registration(registered) => json!({"registered": one_value(registered)}),
    }
}

pub(super) fn condition_value(condition: Condition) -> Value {
    match condition {
        Condition::Always => json!({"always": true}),
        Condition::IssuedBefore(before) => json!({"issued_before": time(before)}),
        Condition::VersionBelow(version) => json!({"version_below": version}),
    }
}

fn lift_line(lift: &Lift) -> Value {
    let mut line = json!({
        "id": lift.denial.to_string(),
        "at": time(lift.at),
        "by": actor(&lift.by),
    });
    if let (Some(members), Some(reason)) = (line.as_object_mut(), &lift.reason) {
        members.insert("reason".to_owned(), reason.as_str().into());
    }
    json!({"lift": line})
}

pub(super) fn actor(actor: &Actor) -> Value {
    let via = match actor.via {
        Via::Api => "api",
        Via::Cli => "cli",
        Via::Dashboard => "dashboard",
        Via::Import => "import",
        Via::Gateway => "gateway",
    };
    let mut value = json!({"name": actor.name, "role": actor.role, "via": via});
    if let (Some(members), Some(address)) = (value.as_object_mut(), &actor.address) {
        members.insert("address".to_owned(), address.as_str().into());
    }
    value
}

fn digest_text(digest: &[u8; 32]) -> Value {
    format!("sha256:{}", URL_SAFE_NO_PAD.encode(digest)).into()
}

pub(super) fn time(at: UnixMs) -> Value {
    let text = at.rfc3339();
    if UnixMs::parse_rfc3339(&text) == Some(at) { text.into() } else { at.0.into() }
}
