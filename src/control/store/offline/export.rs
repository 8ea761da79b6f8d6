//! A store as NDJSON: a line that says which store it is, then a line for each record and each
//! tombstone, in the order of their ids. Nothing is left out: times are RFC 3339 to the
//! millisecond (or, beyond its years, a number of milliseconds), an issuer is its exact `iss`.

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
    mut write: impl FnMut(&Value) -> std::io::Result<()>,
) -> Result<Exported, OfflineError> {
    let path = super::file_of(directory);
    let database = super::open_layered(&path)?;
    let damaged = |why| OfflineError::Damaged { path: path.clone(), why };
    let opened = super::describe(&database, &path)?.map_err(damaged)?;
    let mut written = Exported::default();
    let mut failed = None;
    let mut put = |line: &Value| -> bool {
        match write(line) {
            Ok(()) => true,
            Err(error) => {
                failed = Some(error);
                false
            }
        }
    };
    let epoch = URL_SAFE_NO_PAD.encode(opened.epoch.0);
    let going = put(&json!({"type": "store", "format": schema::FORMAT, "epoch": epoch}));
    let read =
        super::guarded(|| if going { rows(&database, &mut put, &mut written) } else { Ok(()) });
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
            Ok((sequence, denial)) if put(&denial_line(sequence, &denial)) => written.records += 1,
            Ok(_) => return Ok(()),
            Err(_) => written.unreadable.push(id),
        }
    }
    for entry in transaction.open_table(schema::LIFTS)?.iter()? {
        let (id, row) = entry?;
        let id = DenialId(*id.value());
        match codec::decode_lift(id, row.value()) {
            Ok((sequence, lift)) if put(&lift_line(sequence, &lift)) => written.tombstones += 1,
            Ok(_) => return Ok(()),
            Err(_) => written.unreadable.push(id),
        }
    }
    Ok(())
}

fn denial_line(sequence: u64, denial: &Denial) -> Value {
    let mut line = Map::new();
    let mut put = |name: &str, value: Value| {
        line.insert(name.to_owned(), value);
    };
    put("type", "denial".into());
    put("id", denial.id.to_string().into());
    put("sequence", sequence.into());
    put("issuer", denial.issuer.as_str().into());
    match &denial.selector {
        Selector::Token(TokenId::Jti(id)) => put("jti", id.as_str().into()),
        Selector::Token(TokenId::Digest(digest)) => put("token", digest_text(digest)),
        Selector::Session(id) => put("session", id.as_str().into()),
        Selector::Subject(id) => put("subject", id.as_str().into()),
        Selector::Client(id) => put("client", id.as_str().into()),
        Selector::Key(thumbprint) => put("key", thumbprint.to_string().into()),
        Selector::Claim { name, value } => put("claim", json!({"name": name, "value": value})),
        Selector::Issuer => put("everyone", true.into()),
    }
    match denial.condition {
        Condition::Always => put("always", true.into()),
        Condition::IssuedBefore(before) => put("issued_before", time(before)),
        Condition::VersionBelow(version) => put("version_below", version.into()),
    }
    match &denial.except {
        Some(Except::Session(id)) => put("except", json!({"session": id})),
        Some(Except::Token(TokenId::Jti(id))) => put("except", json!({"jti": id})),
        Some(Except::Token(TokenId::Digest(digest))) => {
            put("except", json!({"token": digest_text(digest)}));
        }
        None => {}
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
    Value::Object(line)
}

fn lift_line(sequence: u64, lift: &Lift) -> Value {
    let mut line = json!({
        "type": "lift",
        "denial": lift.denial.to_string(),
        "sequence": sequence,
        "lifted_at": time(lift.at),
        "lifted_by": actor(&lift.by),
    });
    if let (Some(members), Some(reason)) = (line.as_object_mut(), &lift.reason) {
        members.insert("reason".to_owned(), reason.as_str().into());
    }
    line
}

fn actor(actor: &Actor) -> Value {
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

fn time(at: UnixMs) -> Value {
    let text = at.rfc3339();
    if UnixMs::parse_rfc3339(&text) == Some(at) { text.into() } else { at.0.into() }
}
