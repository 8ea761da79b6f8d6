//! The audit of a store that no process has open: copied by a repair, looked at by a check, written
//! out. Nothing passes or is refused by it, so what cannot be read of it is left out and counted,
//! and not looked for outside the structure.

use std::path::Path;

use redb::{Database, ReadableDatabase as _, ReadableTable as _};
use serde_json::{Map, Value, json};

use super::super::acts::{Act, Part};
use super::super::codec;
use super::super::rows::Fault;
use super::export::{actor, condition_value, one_value, selector_value, time};
use super::{OfflineError, ROWS};

/// What became of the acts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Acts {
    pub readable: u64,
    pub unreadable: u64,
    /// A tree was broken: more may be lost than is counted.
    pub broken: bool,
    pub(super) last: u64,
}

/// Gives every act that can be read to `take`: its part, sequence, row.
fn each(from: &Database, mut take: impl FnMut(Part, u64, &[u8])) -> Acts {
    let mut acts = Acts::default();
    for part in Part::ALL {
        let mut reached = 0;
        let mut seen = |sequence: u64, row: &[u8]| match codec::acts::decode(sequence, row) {
            Ok(_) => {
                acts.readable += 1;
                acts.last = acts.last.max(sequence);
                take(part, sequence, row);
            }
            Err(_) => acts.unreadable += 1,
        };
        let forward = super::guarded(|| {
            for entry in from.begin_read()?.open_table(part.table())?.iter()? {
                let (sequence, row) = entry?;
                reached = sequence.value();
                seen(sequence.value(), row.value());
            }
            Ok(())
        });
        if forward.is_err() {
            // From the other end, down to where that came.
            let _ = super::guarded(|| {
                for entry in from.begin_read()?.open_table(part.table())?.iter()?.rev() {
                    let (sequence, row) = entry?;
                    if sequence.value() <= reached {
                        break;
                    }
                    seen(sequence.value(), row.value());
                }
                Ok(())
            });
            acts.broken = true;
        }
    }
    acts
}

/// Looks at all of them.
pub(super) fn look(database: &Database) -> Acts {
    each(database, |_, _, _| {})
}

/// Copies what can be read.
pub(super) fn copy(from: &Database, to: &Database) -> Result<Acts, Fault> {
    let mut waiting: Vec<(Part, u64, Vec<u8>)> = Vec::new();
    let mut fault = None;
    let acts = each(from, |part, sequence, row| {
        waiting.push((part, sequence, row.to_vec()));
        if waiting.len() >= ROWS {
            fault = fault.take().or(write(to, &std::mem::take(&mut waiting)).err());
        }
    });
    fault = fault.or(write(to, &waiting).err());
    fault.map_or(Ok(acts), Err)
}

fn write(to: &Database, rows: &[(Part, u64, Vec<u8>)]) -> Result<(), Fault> {
    let transaction = to.begin_write()?;
    for part in Part::ALL {
        let mut acts = transaction.open_table(part.table())?;
        for (_, sequence, row) in rows.iter().filter(|(of, _, _)| *of == part) {
            acts.insert(sequence, row.as_slice())?;
        }
    }
    transaction.commit()?;
    Ok(())
}

/// Gives each act as a line to `write`, whose errors end it: the words of `GET /v1/audit`, but for
/// the issuer, which is its exact `iss`.
pub fn export_acts(
    directory: &Path,
    mut write: impl FnMut(&Value) -> std::io::Result<()>,
) -> Result<Acts, OfflineError> {
    let path = super::file_of(directory);
    let database = super::open_layered(&path)?;
    super::describe(&database, &path)?
        .map_err(|why| OfflineError::Damaged { path: path.clone(), why })?;
    let mut failed = None;
    let acts = each(&database, |_, sequence, row| {
        if failed.is_none()
            && let Ok((_, act)) = codec::acts::decode(sequence, row)
        {
            failed = write(&line(&act)).err();
        }
    });
    match failed {
        Some(error) => {
            Err(OfflineError::Failed { what: "write".to_owned(), why: error.to_string() })
        }
        None => Ok(acts),
    }
}

fn line(act: &Act) -> Value {
    let mut line = Map::new();
    let mut put = |name: &str, value: Value| {
        line.insert(name.to_owned(), value);
    };
    put("sequence", act.sequence.into());
    put("at", time(act.at));
    put("action", act.deed.as_str().into());
    put("by", actor(&act.by));
    if let Some(id) = act.denial {
        put("denial", id.to_string().into());
    }
    if let Some(reason) = &act.reason {
        put("reason", reason.as_str().into());
    }
    if !act.counts.is_empty() {
        put("counts", act.counts.iter().map(|(name, n)| (name.clone(), json!(n))).collect());
    }
    if let Some(what) = &act.what {
        put("issuer_id", what.issuer.as_str().into());
        put("selector", selector_value(&what.selector));
        put("condition", condition_value(what.condition));
        if let Some(except) = &what.except {
            put("except", one_value(except));
        }
        if let Some(reference) = &what.reference {
            put("reference", reference.as_str().into());
        }
        if let Some(ends_at) = what.ends_at {
            put("ends_at", time(ends_at));
        }
    }
    Value::Object(line)
}
