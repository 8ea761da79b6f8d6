//! `Idempotency-Key`: a create that is sent again with the same key gets the answer of the first.
//!
//! Kept in memory for a day, bounded, forgotten at a restart: even then a repeated create is
//! answered with the record that stands. A key belongs to the credential that sent it. Only what
//! was done is remembered; a refused call may be mended and sent with the same key.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use parking_lot::Mutex;
use serde_json::Value;

use crate::clock::UnixMs;
use crate::config::Role;

use super::Api;
use super::answer::Answer;
use super::caller::Caller;
use super::create::create;
use super::plan::Verb;
use super::problem::Refused;

const HEADER: &str = "idempotency-key";
const KEY_BYTES_MAX: usize = 255;
const KEPT: Duration = Duration::from_secs(24 * 3600);
const ANSWERS_MAX: usize = 10_000;
const ANSWER_BYTES_MAX: usize = 32 * 1024 * 1024;

type Digest = [u8; 32];

/// The answers that may be asked for again.
#[derive(Default)]
pub(super) struct Remembered(Mutex<State>);

#[derive(Default)]
struct State {
    by_key: HashMap<Digest, Slot>,
    /// Answers by age.
    order: VecDeque<(UnixMs, Digest)>,
    bytes: usize,
}

struct Slot {
    body: Digest,
    /// `None`: under way.
    done: Option<Done>,
}

#[derive(Clone)]
struct Done {
    status: StatusCode,
    location: Option<String>,
    text: Bytes,
}

/// [`create`], once for each key.
pub(super) async fn create_once(
    api: &Api,
    caller: &Caller,
    verb: Verb,
    headers: &HeaderMap,
    body: Value,
    now: UnixMs,
) -> Result<Answer, Refused> {
    let Some(key) = key_of(headers)? else { return create(api, caller, verb, body, now).await };
    let key = digest(&[caller.name.as_bytes(), key.as_bytes()]);
    // Members of an object are in order here: the same body written otherwise is the same.
    let said = digest(&[format!("{verb:?}").as_bytes(), body.to_string().as_bytes()]);
    let running = match api.remembered.begin(key, said, now)? {
        Begun::Again(done) => {
            may_still(caller, &done)?;
            return Ok(Answer::of_json(done.status, done.location, done.text));
        }
        Begun::First(running) => running,
    };
    let answer = create(api, caller, verb, body, now).await?;
    // A dry run made nothing that could be made twice.
    if let (Some(location), Some(text)) = (&answer.location, answer.text()) {
        let location = Some(location.clone());
        running.done(Done { status: answer.status, location, text: text.clone() }, now);
    }
    Ok(answer)
}

/// What a credential may was perhaps taken from it since the first call: then it does not get that
/// call's answer either.
fn may_still(caller: &Caller, done: &Done) -> Result<(), Refused> {
    #[derive(serde::Deserialize)]
    struct Said {
        issuer: String,
        #[serde(default)]
        everyone: bool,
    }
    caller.must_be(Role::Revoker, "deny tokens")?;
    let Ok(Said { issuer, everyone }) = serde_json::from_slice(&done.text) else { return Ok(()) };
    if !caller.may_act_on(&issuer) {
        return Err(Refused::IssuerNotAllowed { issuer });
    }
    if everyone {
        caller.must_be(Role::Admin, "deny everyone")?;
    }
    Ok(())
}

/// One visible-ASCII value; the quotes of a structured field are part of its form, not of the key.
fn key_of(headers: &HeaderMap) -> Result<Option<&str>, Refused> {
    let mut values = headers.get_all(HEADER).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let text = value.to_str().map_err(|_| Refused::InvalidIdempotencyKey)?;
    let bare = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text);
    let sound = (1..=KEY_BYTES_MAX).contains(&bare.len())
        && bare.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"');
    if sound && values.next().is_none() {
        return Ok(Some(bare));
    }
    Err(Refused::InvalidIdempotencyKey)
}

fn digest(parts: &[&[u8]]) -> Digest {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        context.update(part);
    }
    let mut digest = [0; 32];
    digest.iter_mut().zip(context.finish().as_ref()).for_each(|(to, from)| *to = *from);
    digest
}

enum Begun<'a> {
    First(Running<'a>),
    Again(Done),
}

/// A key whose call is under way; dropped before it was done, the key is free again.
struct Running<'a> {
    remembered: &'a Remembered,
    key: Digest,
}

impl Remembered {
    fn begin(&self, key: Digest, body: Digest, now: UnixMs) -> Result<Begun<'_>, Refused> {
        let mut state = self.0.lock();
        state.forget(|at, _, _| now.since(at) >= KEPT);
        match state.by_key.get(&key) {
            Some(slot) if slot.body != body => Err(Refused::IdempotencyKeyReused),
            Some(Slot { done: None, .. }) => Err(Refused::IdempotencyInProgress),
            Some(Slot { done: Some(done), .. }) => Ok(Begun::Again(done.clone())),
            None => {
                state.by_key.insert(key, Slot { body, done: None });
                Ok(Begun::First(Running { remembered: self, key }))
            }
        }
    }
}

impl State {
    /// From the oldest on, as long as `must` says so.
    fn forget(&mut self, must: impl Fn(UnixMs, usize, usize) -> bool) {
        while let Some((at, key)) = self.order.front().copied()
            && must(at, self.order.len(), self.bytes)
        {
            self.order.pop_front();
            let done = self.by_key.remove(&key).and_then(|slot| slot.done);
            self.bytes = self.bytes.saturating_sub(done.map_or(0, |done| done.text.len()));
        }
    }
}

impl Running<'_> {
    fn done(self, done: Done, now: UnixMs) {
        let mut state = self.remembered.0.lock();
        if let Some(slot) = state.by_key.get_mut(&self.key) {
            let bytes = done.text.len();
            slot.done = Some(done);
            state.bytes += bytes;
            state.order.push_back((now, self.key));
        }
        state.forget(|_, answers, bytes| answers > ANSWERS_MAX || bytes > ANSWER_BYTES_MAX);
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let mut state = self.remembered.0.lock();
        if state.by_key.get(&self.key).is_some_and(|slot| slot.done.is_none()) {
            state.by_key.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(length: usize) -> Done {
        let text = Bytes::from(vec![b'x'; length]);
        Done { status: StatusCode::CREATED, location: None, text }
    }

    fn finish(remembered: &Remembered, key: u8, length: usize, now: UnixMs) {
        match remembered.begin([key; 32], [0; 32], now) {
            Ok(Begun::First(running)) => running.done(done(length), now),
            _ => panic!("not the first"),
        }
    }

    fn is_known(remembered: &Remembered, key: u8, now: UnixMs) -> bool {
        matches!(remembered.begin([key; 32], [0; 32], now), Ok(Begun::Again(_)))
    }

    #[test]
    fn a_key_is_taken_while_it_runs_and_free_when_nothing_was_done() {
        let remembered = Remembered::default();
        let running = remembered.begin([1; 32], [0; 32], UnixMs(0)).unwrap();
        let again = |body| remembered.begin([1; 32], [body; 32], UnixMs(0)).err();
        assert_eq!(again(0), Some(Refused::IdempotencyInProgress));
        assert_eq!(again(1), Some(Refused::IdempotencyKeyReused));
        drop(running);
        assert_eq!(again(1), None);
        assert_eq!(again(0), None);
    }

    #[test]
    fn an_answer_is_kept_for_a_day_and_no_longer() {
        let remembered = Remembered::default();
        finish(&remembered, 1, 10, UnixMs(0));
        let day = UnixMs(0).plus(KEPT);
        assert!(is_known(&remembered, 1, day.minus(Duration::from_millis(1))));
        assert!(!is_known(&remembered, 1, day));
    }

    #[test]
    fn what_is_kept_is_bounded_and_the_oldest_goes_first() {
        let remembered = Remembered::default();
        for key in 0..4 {
            finish(&remembered, key, ANSWER_BYTES_MAX / 3, UnixMs(0));
        }
        assert!(!is_known(&remembered, 0, UnixMs(0)));
        assert!((1..4).all(|key| is_known(&remembered, key, UnixMs(0))));
    }
}
