//! Many denials in one call: a line in, a line out, and a last line with the sum.
//!
//! Lines are planned as they arrive and written in groups, many to one fsync; while one group is
//! being written the next is read. What is in memory does not grow with the number of lines. One
//! line's fault is that line's own.

use std::sync::Arc;

use http::request::Parts;
use http_body::Body;
use serde::Serialize;
use tokio::sync::mpsc;

use crate::clock::UnixMs;
use crate::config::Role;
use crate::control::store::{Accepted, Deed, NewDenial};
use crate::denylist::DenialId;

use super::Api;
use super::answer::Answer;
use super::caller::Caller;
use super::create::{STORE_TIMEOUT, Would, denial, planned, reach, store_refused};
use super::filter::take_time;
use super::json;
use super::lines::{LINE_BYTES_MAX, Line, Lines, must_be_ndjson};
use super::noted;
use super::plan::{Plan, Verb, World};
use super::problem::{Fault, Refused};
use super::query::Query;
use super::serve::Underway;
use super::stream::{Outbox, Piece, pair};

/// Answers that wait for a client which sends everything before it reads: over a million.
const WAITING_BYTES_MAX: usize = 48 * 1024 * 1024;
/// After a stop, what a client may still send without losing the answer.
const DRAIN_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Lines planned before others get their turn on this thread.
const TURN: usize = 64;

/// Lines that were planned.
#[derive(Default)]
struct Group {
    lines: Vec<(u64, Result<Planned, Refused>)>,
    /// One for each [`Planned::Denial`], in the same order.
    denials: Vec<NewDenial>,
}

/// What a line came to before the store was asked.
enum Planned {
    Denial,
    /// And when it was planned.
    DryRun(Box<Plan>, UnixMs),
}

/// One line's refusal.
#[derive(Serialize)]
struct LineRefused<'a> {
    line: u64,
    status: u16,
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pointer: Option<&'a str>,
    detail: String,
    /// All of them, where there are several.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [Fault],
}

#[derive(Serialize)]
struct LineDryRun {
    line: u64,
    status: u16,
    dry_run: bool,
    /// Open streams are not asked about, line by line.
    would: Would,
}

/// The last line.
#[derive(Default, Serialize)]
struct Sum {
    done: bool,
    lines: u64,
    created: u64,
    already: u64,
    failed: u64,
    #[serde(skip_serializing_if = "is_zero")]
    dry_runs: u64,
    /// The line whose fault ended the call, where the caller wanted that.
    #[serde(skip_serializing_if = "Option::is_none")]
    stopped_at: Option<u64>,
    durable: bool,
    sequence: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Answers at once; the lines follow.
pub(super) fn batch<B>(
    api: &Arc<Api>,
    caller: Caller,
    parts: &Parts,
    body: B,
) -> Result<Answer, Refused>
where
    B: Body<Data: Send, Error: Send> + Send + Unpin + 'static,
{
    caller.must_be(Role::Revoker, "deny tokens")?;
    must_be_ndjson(&parts.headers)?;
    let asked = read_query(parts.uri.query().unwrap_or_default(), UnixMs::now())?;
    let place = api.place()?;
    let underway = parts.extensions.get::<Underway>().cloned();
    let (outbox, outlet) = pair(WAITING_BYTES_MAX);
    let work = Work { api: Arc::clone(api), caller, asked };
    tokio::spawn(async move {
        work.run(Lines::new(body), outbox).await;
        drop((place, underway));
    });
    Ok(Answer::lines(outlet))
}

/// What the query asks for.
struct Asked {
    stop_on_error: bool,
    /// What `"now"` means in the lines: the same time again makes the same records again.
    as_of: Option<UnixMs>,
}

fn read_query(text: &str, now: UnixMs) -> Result<Asked, Refused> {
    let mut query = Query::parse(text);
    let stop = match query.take("stop_on_error").as_deref() {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => {
            query.fault("stop_on_error", "wrong_type", "Expected true or false.");
            false
        }
    };
    let as_of = take_time(&mut query, "as_of", now);
    if as_of.is_some_and(|as_of| as_of > now) {
        query.fault("as_of", "in_the_future", "Expected when the file was first sent.");
    }
    let faults = query.finish(&["stop_on_error", "as_of"]);
    let asked = Asked { stop_on_error: stop, as_of };
    if faults.is_empty() { Ok(asked) } else { Err(Refused::InvalidQuery(faults)) }
}

struct Work {
    api: Arc<Api>,
    caller: Caller,
    asked: Asked,
}

impl Work {
    async fn run<B>(self, mut lines: Lines<B>, outbox: Outbox)
    where
        B: Body + Unpin,
    {
        let (sender, receiver) = mpsc::channel(1);
        let (read, written) =
            tokio::join!(self.plan_all(&mut lines, sender), self.write_all(receiver, &outbox));
        let Some(mut sum) = written else { return };
        tracing::info!(
            target: "portcullis::admin",
            by = self.caller.name,
            lines = sum.lines,
            created = sum.created,
            already = sum.already,
            failed = sum.failed,
            "denied in a batch"
        );
        sum.sequence = self.api.store.sequence();
        let counts = [
            ("lines", sum.lines),
            ("created", sum.created),
            ("already", sum.already),
            ("failed", sum.failed),
        ];
        noted::note(&self.api, noted::act(&self.caller, Deed::Batch, None, &counts)).await;
        if let Err(fault) = read {
            // Without its last line the answer says that the rest did not arrive.
            tracing::info!(target: "portcullis::admin", code = fault.code(), "a batch broke off");
            return;
        }
        sum.done = true;
        sum.durable = true;
        outbox.push(Piece::json(&sum));
        outbox.done();
        lines.drain(DRAIN_BYTES_MAX).await;
    }

    /// Reads and plans until the end, or until nobody writes any more.
    async fn plan_all<B>(
        &self,
        lines: &mut Lines<B>,
        groups: mpsc::Sender<Group>,
    ) -> Result<(), Refused>
    where
        B: Body + Unpin,
    {
        loop {
            let mut left = lines.group().await?.into_iter();
            if left.len() == 0 {
                return Ok(());
            }
            let mut group = Group::default();
            let mut stop = false;
            while left.len() > 0 && !stop {
                stop = self.plan(left.by_ref().take(TURN), &mut group);
                tokio::task::yield_now().await;
            }
            if groups.send(group).await.is_err() || stop {
                return Ok(());
            }
        }
    }

    /// Plans some lines with one reading of the clock and the config; whether one of them ends the
    /// call.
    fn plan(&self, lines: impl Iterator<Item = Line>, group: &mut Group) -> bool {
        let verifier = self.api.verifier();
        let allowed = self.caller.issuers.as_deref();
        let now = UnixMs::now();
        let as_of = self.asked.as_of.unwrap_or(now);
        let world = World { verifier: &verifier, now, as_of, allowed };
        for Line { number, text } in lines {
            let plan = match text {
                Some(text) => json::parse(&text)
                    .and_then(|body| planned(&self.caller, Verb::Deny, body, &world)),
                None => Err(Refused::LineTooLarge { limit_bytes: LINE_BYTES_MAX }),
            };
            let failed = plan.is_err();
            let step = plan.map(|plan| {
                if plan.dry_run {
                    return Planned::DryRun(Box::new(plan), now);
                }
                group.denials.push(denial(&plan, &self.caller));
                Planned::Denial
            });
            group.lines.push((number, step));
            if failed && self.asked.stop_on_error {
                return true;
            }
        }
        false
    }

    /// Writes groups and says what became of each line; `None`: nobody reads that any more.
    async fn write_all(&self, mut groups: mpsc::Receiver<Group>, outbox: &Outbox) -> Option<Sum> {
        let mut sum = Sum::default();
        while let Some(group) = groups.recv().await {
            outbox.room().await.ok()?;
            let mut answers = self.write(group.denials).await.into_iter();
            if group.lines.iter().any(|(_, step)| matches!(step, Ok(Planned::DryRun(..)))) {
                self.api.observed.up_to_now().await;
            }
            for (line, step) in group.lines {
                sum.lines += 1;
                let outcome = match step {
                    Ok(Planned::DryRun(plan, at)) => {
                        sum.dry_runs += 1;
                        let would = Would::of(reach(&self.api, &plan, at), None);
                        Ok(Piece::json(&LineDryRun { line, status: 200, dry_run: true, would }))
                    }
                    // The store answers each.
                    Ok(Planned::Denial) => {
                        answers.next().unwrap_or(Err(Refused::StoreSlow)).map(|(id, already)| {
                            *(if already { &mut sum.already } else { &mut sum.created }) += 1;
                            Piece::Denied { line, id, already }
                        })
                    }
                    Err(refused) => Err(refused),
                };
                match outcome {
                    Ok(piece) => outbox.push(piece),
                    Err(refused) => {
                        sum.failed += 1;
                        outbox.push(refusal(line, &refused));
                        if self.asked.stop_on_error {
                            sum.stopped_at = Some(line);
                            return Some(sum);
                        }
                    }
                }
            }
        }
        Some(sum)
    }

    /// One transaction. What fails the whole of it fails each of its lines.
    async fn write(&self, denials: Vec<NewDenial>) -> Vec<Result<(DenialId, bool), Refused>> {
        let count = denials.len();
        if count == 0 {
            return Vec::new();
        }
        let whole =
            match tokio::time::timeout(STORE_TIMEOUT, self.api.store.deny_all(denials)).await {
                Ok(Ok(answers)) => {
                    let of_one = |accepted: Accepted| (accepted.record.denial.id, accepted.already);
                    return answers
                        .into_iter()
                        .map(|answer| {
                            answer.map(of_one).map_err(|fault| store_refused(&self.api, fault))
                        })
                        .collect();
                }
                Ok(Err(fault)) => store_refused(&self.api, fault),
                Err(_) => Refused::StoreSlow,
            };
        vec![Err(whole); count]
    }
}

/// The first fault in the line itself, and all of them where there are several.
fn refusal(line: u64, refused: &Refused) -> Piece {
    let faults = refused.faults();
    let status = refused.status().as_u16();
    Piece::json(&match faults {
        [] => LineRefused {
            line,
            status,
            code: refused.code(),
            pointer: None,
            detail: refused.detail(),
            errors: &[],
        },
        [first, rest @ ..] => LineRefused {
            line,
            status,
            code: first.code,
            pointer: Some(&first.pointer),
            detail: first.detail.clone(),
            errors: if rest.is_empty() { &[] } else { faults },
        },
    })
}
