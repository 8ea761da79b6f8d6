//! What we say ourselves on an event stream, where its route says so, as `event: portcullis`: that its
//! token ends soon, so that the client can hand in a new one, and why it ends. It is said only between
//! two events, since half an event of the backend may not become a whole one.

use std::cell::Cell;

use bytes::Bytes;

use super::Cause;
use crate::clock::UnixMs;

/// Follows an event stream to know whether it stands between events.
pub struct Events {
    /// Its end is said.
    last: bool,
    /// The end of the token that was announced last.
    pub(super) announced: Cell<Option<UnixMs>>,
    /// Seconds until then, where that is still to be said.
    ends_in: Cell<Option<u64>>,
    /// The last two line ends that were sent, with nothing between.
    blank: Cell<bool>,
    line_end: Cell<bool>,
    /// The last byte was CR, to which an LF belongs.
    cr: Cell<bool>,
    said: Cell<bool>,
}

/// What the body is to do next.
pub enum Parting {
    Say(Bytes),
    /// In good form, since it was said why: whoever sees a stream break off may forget what came last.
    End,
    BreakOff,
}

impl Events {
    /// `last`: its end is said.
    pub fn new(last: bool) -> Self {
        Self {
            last,
            announced: Cell::new(None),
            ends_in: Cell::new(None),
            blank: Cell::new(true),
            line_end: Cell::new(true),
            cr: Cell::new(false),
            said: Cell::new(false),
        }
    }

    /// From here it is to be said that the token ends then.
    pub fn announce(&self, end: UnixMs, now: UnixMs) {
        self.announced.set(Some(end));
        self.ends_in.set(Some(end.since(now).as_secs()));
    }

    /// What is to be said now, between two events and once.
    pub fn announcement(&self) -> Option<Bytes> {
        if self.ends_in.get().is_none() || !self.blank.get() {
            return None;
        }
        let seconds = self.ends_in.take()?;
        let data = format!("{{\"code\":\"token_expiring\",\"expires_in\":{seconds}}}");
        Some(Bytes::from(format!("event: portcullis\ndata: {data}\n\n")))
    }

    /// These bytes are sent. Lines end with CR LF, LF or CR (HTML, server-sent events 9.2.5).
    pub fn pass(&self, bytes: &[u8]) {
        // Only the end decides; four bytes hold two line ends of the longest kind.
        let tail = bytes.get(bytes.len().saturating_sub(5)..).unwrap_or(bytes);
        for &byte in tail {
            match byte {
                b'\n' if self.cr.replace(false) => {}
                b'\n' | b'\r' => {
                    self.blank.set(self.line_end.replace(true));
                    self.cr.set(byte == b'\r');
                }
                _ => {
                    self.line_end.set(false);
                    self.blank.set(false);
                    self.cr.set(false);
                }
            }
        }
    }

    pub fn part(&self, cause: Cause, reveal: bool) -> Parting {
        if !self.last || !self.blank.get() {
            return Parting::BreakOff;
        }
        if self.said.replace(true) {
            return Parting::End;
        }
        let code = match cause {
            Cause::Draining => "draining",
            Cause::Operator | Cause::Idle => "stream_ended",
            Cause::Denied(_) | Cause::Expired | Cause::KeyRemoved | Cause::RouteChanged
                if !reveal =>
            {
                "token_invalid"
            }
            Cause::Denied(_) | Cause::RouteChanged => "token_revoked",
            Cause::KeyRemoved => "token_invalid",
            Cause::Expired => "token_expired",
        };
        let text = format!("event: portcullis\ndata: {{\"code\":\"{code}\"}}\n\n");
        Parting::Say(Bytes::from(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stands_between(parts: &[&str]) -> bool {
        let events = Events::new(true);
        parts.iter().for_each(|part| events.pass(part.as_bytes()));
        events.blank.get()
    }

    #[test]
    fn only_a_blank_line_ends_an_event() {
        for whole in [
            &["data: 1\n\n"][..],
            &["data: 1\r\n\r\n"],
            &["data: 1\r\r"],
            &["data: 1\n", "\n"],
            &["data: 1\r", "\n", "\r", "\n"],
            &["data: a long line before the end\n\n", "\n"],
            &[],
        ] {
            assert!(stands_between(whole), "{whole:?}");
        }
        for half in [
            &["data: 1"][..],
            &["data: 1\n"],
            &["data: 1\r\n"],
            &["data: 1\r", "\n"],
            &["data: 1\n\n", "d"],
            &["data: 1\n\ndata: 2\n"],
        ] {
            assert!(!stands_between(half), "{half:?}");
        }
    }

    #[test]
    fn nothing_is_said_in_the_middle_of_an_event() {
        let events = Events::new(true);
        events.pass(b"data: {\"half\":");
        events.announce(UnixMs::from_secs(60), UnixMs::from_secs(0));
        assert_eq!(events.announcement(), None);
        assert!(matches!(events.part(Cause::Expired, true), Parting::BreakOff));
    }

    #[test]
    fn the_end_of_a_token_is_announced_once_and_its_last_event_is_said_where_it_may_be() {
        let events = Events::new(false);
        assert_eq!(events.announcement(), None);
        events.announce(UnixMs(59_900), UnixMs(0));
        let text = "event: portcullis\ndata: {\"code\":\"token_expiring\",\"expires_in\":59}\n\n";
        assert_eq!(events.announcement().unwrap(), text);
        assert_eq!(events.announcement(), None);
        assert!(matches!(events.part(Cause::Expired, true), Parting::BreakOff));
        let events = Events::new(true);
        assert!(matches!(events.part(Cause::Expired, true), Parting::Say(_)));
        assert!(matches!(events.part(Cause::Expired, true), Parting::End));
    }
}
