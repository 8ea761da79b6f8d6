//! All records out, and records of elsewhere in. An import merges: it never takes a record away,
//! and what is known already stays as it is, so that the same file may come any number of times.

use std::sync::Arc;

use http::StatusCode;
use http::request::Parts;
use http_body::Body;
use serde::Serialize;

use crate::clock::UnixMs;
use crate::config::Role;
use crate::control::store::{Applied, Change, Deed};
use crate::denylist::DenialId;

use super::Api;
use super::answer::Answer;
use super::caller::Caller;
use super::create::{STORE_TIMEOUT, store_refused};
use super::exchange_format::{Counts, Entry, Header, VERSION};
use super::json;
use super::lines::{LINE_BYTES_MAX, Line, Lines, must_be_ndjson};
use super::list::sees;
use super::noted;
use super::problem::Refused;
use super::serve::Underway;
use super::stream::{Outbox, Piece, pair};

const WAITING_BYTES_MAX: usize = 256 * 1024;
/// Changes read at once.
const PAGE: usize = 500;
/// Faults that an import's answer lists; all are counted.
const FAULTS_SHOWN: usize = 20;
/// What a client may still send after a refusal without losing the answer.
const DRAIN_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Answers at once; the records follow.
pub(super) fn export(api: &Arc<Api>, caller: Caller, parts: &Parts) -> Result<Answer, Refused> {
    caller.must_be(Role::Viewer, "export denials")?;
    let place = api.place()?;
    let underway = parts.extensions.get::<Underway>().cloned();
    let (outbox, outlet) = pair(WAITING_BYTES_MAX);
    let api = Arc::clone(api);
    tokio::spawn(async move {
        write_all(&api, &caller, outbox).await;
        drop((place, underway));
    });
    Ok(Answer::lines(outlet))
}

/// Up to where the log is now: what is written meanwhile could go on for ever.
async fn write_all(api: &Api, caller: &Caller, outbox: Outbox) {
    let end = api.store.sequence();
    let exported_at = UnixMs::now().rfc3339();
    outbox.push(Piece::json(&Header { portcullis_export: VERSION, exported_at, sequence: end }));
    let mut counts = Counts::default();
    let mut after = 0;
    loop {
        if outbox.room().await.is_err() {
            return;
        }
        let page = match api.store.changes_after(after, PAGE) {
            Ok(page) => page,
            Err(fault) => {
                // Without its last line the export is known to be cut off.
                tracing::error!(target: "portcullis::admin", %fault, "an export failed");
                return;
            }
        };
        let last = page.last().map(|(sequence, _)| *sequence);
        let more = page.len() == PAGE && last.is_some_and(|last| last < end);
        for (sequence, change) in page.into_iter().take_while(|(sequence, _)| *sequence <= end) {
            after = sequence;
            if !may_see(api, caller, &change) {
                continue;
            }
            match &change {
                Change::Denied(_) => counts.denials += 1,
                Change::Lifted(_) => counts.lifts += 1,
            }
            outbox.push(Piece::json(&Entry::of(&change)));
        }
        if !more {
            break;
        }
        tokio::task::yield_now().await;
    }
    outbox.push(Piece::json(&Entry::End(counts)));
    outbox.done();
}

/// A tombstone of a denial that is not here says nothing of its issuer: only who may see all of
/// them may see it.
fn may_see(api: &Api, caller: &Caller, change: &Change) -> bool {
    match change {
        Change::Denied(denial) => sees(caller, &api.verifier(), &denial.issuer),
        Change::Lifted(lift) => caller.issuers.is_none() || may_see_id(api, caller, lift.denial),
    }
}

fn may_see_id(api: &Api, caller: &Caller, id: DenialId) -> bool {
    match api.store.find(id) {
        Ok(Some(record)) => sees(caller, &api.verifier(), &record.denial.issuer),
        Ok(None) | Err(_) => false,
    }
}

/// What an import did.
#[derive(Default, Serialize)]
struct Imported {
    /// The file's last line was there, and says what came.
    complete: bool,
    denials: Outcomes,
    lifts: Outcomes,
    failed: u64,
    errors: Vec<LineFault>,
}

#[derive(Default, Serialize)]
struct Outcomes {
    new: u64,
    known: u64,
    /// No token can match them any more.
    expired: u64,
    /// Another denial has the id; it stands.
    conflict: u64,
}

#[derive(Serialize)]
struct LineFault {
    line: u64,
    code: &'static str,
    detail: String,
}

/// Takes the lines as they come, and answers when the last is on disk.
pub(super) async fn import<B>(
    api: &Api,
    caller: &Caller,
    parts: &Parts,
    body: B,
) -> Result<Answer, Refused>
where
    B: Body + Unpin,
{
    caller.must_be(Role::Admin, "import denials")?;
    must_be_ndjson(&parts.headers)?;
    let _place = api.place()?;
    let mut lines = Lines::new(body);
    let mut import =
        Import { api, caller, begun: false, seen: Counts::default(), done: Imported::default() };
    loop {
        let group = match lines.group().await {
            Ok(group) if group.is_empty() => break,
            Ok(group) => group,
            Err(refused) => {
                import.note().await;
                return Err(refused);
            }
        };
        if let Err(refused) = import.group(group).await {
            import.note().await;
            lines.drain(DRAIN_BYTES_MAX).await;
            return Err(refused);
        }
    }
    if !import.begun {
        return Err(Refused::NotAnExport);
    }
    import.note().await;
    let done = import.done;
    tracing::info!(
        target: "portcullis::admin",
        by = caller.name,
        denials = done.denials.new,
        lifts = done.lifts.new,
        failed = done.failed,
        "imported"
    );
    Answer::json(StatusCode::OK, &done)
}

struct Import<'a> {
    api: &'a Api,
    caller: &'a Caller,
    /// The header was read.
    begun: bool,
    seen: Counts,
    done: Imported,
}

impl Import<'_> {
    /// What was taken is in force, also where the file broke off after it.
    async fn note(&self) {
        let done = &self.done;
        let counts =
            [("denials", done.denials.new), ("lifts", done.lifts.new), ("failed", done.failed)];
        if counts.iter().any(|(_, count)| *count > 0) {
            noted::note(self.api, noted::act(self.caller, Deed::Imported, None, &counts)).await;
        }
    }

    async fn group(&mut self, group: Vec<Line>) -> Result<(), Refused> {
        let mut changes = Vec::with_capacity(group.len());
        for Line { number, text } in group {
            if !self.begun {
                self.begun = true;
                read_header(text.as_deref())?;
                continue;
            }
            match self.read(text) {
                Ok(change) => changes.extend(change),
                Err((code, detail)) => {
                    self.done.failed += 1;
                    if self.done.errors.len() < FAULTS_SHOWN {
                        self.done.errors.push(LineFault { line: number, code, detail });
                    }
                }
            }
        }
        if changes.is_empty() {
            return Ok(());
        }
        let of_denials: Vec<bool> =
            changes.iter().map(|change| matches!(change, Change::Denied(_))).collect();
        let applied = match tokio::time::timeout(STORE_TIMEOUT, self.api.store.apply(changes)).await
        {
            Ok(applied) => applied.map_err(|fault| store_refused(self.api, fault))?,
            Err(_) => return Err(Refused::StoreSlow),
        };
        for (is_denial, applied) in of_denials.into_iter().zip(applied) {
            let counts = if is_denial { &mut self.done.denials } else { &mut self.done.lifts };
            match applied {
                Applied::New => counts.new += 1,
                Applied::Known => counts.known += 1,
                Applied::Expired => counts.expired += 1,
                Applied::Conflict => counts.conflict += 1,
            }
        }
        Ok(())
    }

    /// `None`: the last line.
    fn read(&mut self, text: Option<Vec<u8>>) -> Result<Option<Change>, (&'static str, String)> {
        let of = |refused: Refused| (refused.code(), refused.detail());
        let invalid = |detail| ("invalid_record", detail);
        // What follows the end was not part of the export.
        self.done.complete = false;
        let text = text.ok_or_else(|| of(Refused::LineTooLarge { limit_bytes: LINE_BYTES_MAX }))?;
        let entry =
            json::parse(&text).map_err(of).and_then(|json| Entry::read(json).map_err(invalid))?;
        let now = UnixMs::now();
        let change = match entry {
            Entry::Denial(line) => {
                self.seen.denials += 1;
                Change::Denied(line.into_denial(now).map_err(invalid)?)
            }
            Entry::Lift(line) => {
                self.seen.lifts += 1;
                Change::Lifted(line.into_lift(now).map_err(invalid)?)
            }
            Entry::End(counts) => {
                self.done.complete =
                    (counts.denials, counts.lifts) == (self.seen.denials, self.seen.lifts);
                return Ok(None);
            }
        };
        if !may_see(self.api, self.caller, &change) {
            let detail = "The credential may not act on this record's issuer.".to_owned();
            return Err(("issuer_not_allowed", detail));
        }
        Ok(Some(change))
    }
}

fn read_header(text: Option<&[u8]>) -> Result<(), Refused> {
    let json = text.and_then(|text| json::parse(text).ok()).ok_or(Refused::NotAnExport)?;
    let version = json.get("portcullis_export").and_then(serde_json::Value::as_u64);
    match version {
        Some(VERSION) => {}
        Some(version) => return Err(Refused::UnknownExportVersion { version }),
        None => return Err(Refused::NotAnExport),
    }
    serde_json::from_value::<Header>(json).map(drop).map_err(|_| Refused::NotAnExport)
}
