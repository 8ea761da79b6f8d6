//! The last event of an event stream: `event: portcullis`, where the route says so. It is said only
//! between two events, since half an event of the backend may not become a whole one.

use std::cell::Cell;

use bytes::Bytes;

use super::Cause;

/// Follows an event stream to know whether it stands between events.
pub struct Farewell {
    /// The last two line ends that were sent, with nothing between.
    blank: Cell<bool>,
    line_end: Cell<bool>,
    /// The last byte was CR, to which an LF belongs.
    cr: Cell<bool>,
    said: Cell<u8>,
}

/// What the body is to do next.
pub enum Parting {
    Say(Bytes),
    /// What was said is on its way; once more.
    Wait,
    Go,
}

impl Default for Farewell {
    fn default() -> Self {
        Self {
            blank: Cell::new(true),
            line_end: Cell::new(true),
            cr: Cell::new(false),
            said: Cell::new(0),
        }
    }
}

impl Farewell {
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
        match self.said.get() {
            0 if self.blank.get() => {
                self.said.set(1);
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
            1 => {
                self.said.set(2);
                Parting::Wait
            }
            _ => Parting::Go,
        }
    }

    /// The event was said: the connection ends without a reset, which could overtake it.
    pub fn was_said(&self) -> bool {
        self.said.get() > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stands_between(parts: &[&str]) -> bool {
        let farewell = Farewell::default();
        parts.iter().for_each(|part| farewell.pass(part.as_bytes()));
        farewell.blank.get()
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
        let farewell = Farewell::default();
        farewell.pass(b"data: {\"half\":");
        assert!(matches!(farewell.part(Cause::Expired, true), Parting::Go));
        assert!(!farewell.was_said());
    }
}
