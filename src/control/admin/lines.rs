//! A request body of lines (NDJSON), read in groups as they arrive: whatever the body's length,
//! one group is in memory.

use std::time::Duration;

use bytes::{Buf as _, Bytes};
use http::{HeaderMap, header};
use http_body::Body;
use http_body_util::BodyExt as _;

use super::problem::Refused;

/// As much as a body of one denial may have.
pub(super) const LINE_BYTES_MAX: usize = 64 * 1024;
/// A group is written in one transaction; these bound what one call holds in memory.
const GROUP_LINES_MAX: usize = 4096;
const GROUP_BYTES_MAX: usize = 1024 * 1024;
/// How long the next bytes may take.
const IDLE_MAX: Duration = Duration::from_secs(30);

/// A line that is not blank, and its number counted from 1.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Line {
    pub number: u64,
    /// `None`: it is too long.
    pub text: Option<Vec<u8>>,
}

/// See the module.
pub(super) struct Lines<B> {
    body: B,
    /// What came and was not cut yet.
    arrived: Bytes,
    /// The beginning of a line that has no end yet.
    begun: Vec<u8>,
    too_long: bool,
    number: u64,
    ended: bool,
    /// Told after the lines that came before it.
    fault: Option<Refused>,
}

impl<B> Lines<B>
where
    B: Body + Unpin,
{
    pub fn new(body: B) -> Self {
        Self {
            body,
            arrived: Bytes::new(),
            begun: Vec::new(),
            too_long: false,
            number: 0,
            ended: false,
            fault: None,
        }
    }

    /// The lines that are there, at least one; none: the body is at its end. A body that breaks
    /// off in a line gives the lines before it, then the fault.
    pub async fn group(&mut self) -> Result<Vec<Line>, Refused> {
        let mut group = Vec::new();
        let mut bytes = 0;
        loop {
            while group.len() < GROUP_LINES_MAX && bytes < GROUP_BYTES_MAX {
                let Some(line) = self.cut() else { break };
                bytes += line.text.as_ref().map_or(0, Vec::len);
                group.push(line);
            }
            if group.len() >= GROUP_LINES_MAX || bytes >= GROUP_BYTES_MAX {
                return Ok(group);
            }
            if self.ended {
                return match self.fault.take() {
                    Some(fault) if group.is_empty() => Err(fault),
                    Some(fault) => {
                        self.fault = Some(fault);
                        Ok(group)
                    }
                    None => Ok(group),
                };
            }
            let frame = tokio::select! {
                biased;
                frame = self.body.frame() => frame,
                // Whoever waits for an answer before he sends the next line gets it.
                () = std::future::ready(()), if !group.is_empty() => return Ok(group),
                () = tokio::time::sleep(IDLE_MAX) => return Err(Refused::BodyTimeout),
            };
            match frame {
                Some(Ok(frame)) => {
                    if let Ok(mut data) = frame.into_data() {
                        self.arrived = data.copy_to_bytes(data.remaining());
                    }
                }
                Some(Err(_)) => {
                    self.ended = true;
                    self.fault = Some(Refused::BodyBroken);
                }
                None => {
                    self.ended = true;
                    // The last line needs no line feed.
                    group.extend(self.finish());
                }
            }
        }
    }

    /// Reads and forgets what is left, at most so much: an answer that ends early would be lost
    /// if the connection were closed under a client that still sends.
    pub async fn drain(&mut self, bytes_max: usize) {
        let mut left = bytes_max;
        while !self.ended {
            let frame = tokio::time::timeout(IDLE_MAX, self.body.frame()).await;
            let Ok(Some(Ok(frame))) = frame else { return };
            let length = frame.data_ref().map_or(0, bytes::Buf::remaining);
            let Some(rest) = left.checked_sub(length) else { return };
            left = rest;
        }
    }

    fn cut(&mut self) -> Option<Line> {
        loop {
            let Some(end) = self.arrived.iter().position(|byte| *byte == b'\n') else {
                let rest = std::mem::take(&mut self.arrived);
                self.keep(&rest);
                return None;
            };
            let part = self.arrived.split_to(end);
            self.arrived.advance(1);
            self.keep(&part);
            if let Some(line) = self.finish() {
                return Some(line);
            }
        }
    }

    fn keep(&mut self, part: &[u8]) {
        if self.too_long || self.begun.len() + part.len() > LINE_BYTES_MAX {
            self.too_long = true;
            self.begun = Vec::new();
        } else {
            self.begun.extend_from_slice(part);
        }
    }

    /// Ends a line; blank ones count but are not given.
    fn finish(&mut self) -> Option<Line> {
        self.number += 1;
        let number = self.number;
        let text = std::mem::take(&mut self.begun);
        if std::mem::take(&mut self.too_long) {
            return Some(Line { number, text: None });
        }
        (!text.trim_ascii().is_empty()).then_some(Line { number, text: Some(text) })
    }
}

/// `application/x-ndjson`, which like JSON no page of another site can send without asking first.
pub(super) fn must_be_ndjson(headers: &HeaderMap) -> Result<(), Refused> {
    let mut values = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(Ok(text)), None) = (values.next().map(|value| value.to_str()), values.next()) else {
        return Err(Refused::NotNdjson);
    };
    let essence = text.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/x-ndjson") {
        Ok(())
    } else {
        Err(Refused::NotNdjson)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body::Frame;

    struct Frames(std::vec::IntoIter<std::io::Result<Frame<Bytes>>>);

    impl Body for Frames {
        type Data = Bytes;
        type Error = std::io::Error;

        fn poll_frame(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<std::io::Result<Frame<Bytes>>>> {
            std::task::Poll::Ready(self.0.next())
        }
    }

    fn body(parts: &[&str]) -> Frames {
        let frames: Vec<std::io::Result<Frame<Bytes>>> = parts
            .iter()
            .map(|part| match *part {
                "BREAK" => Err(std::io::Error::other("gone")),
                text => Ok(Frame::data(Bytes::copy_from_slice(text.as_bytes()))),
            })
            .collect();
        Frames(frames.into_iter())
    }

    async fn read(parts: &[&str]) -> (Vec<(u64, Option<String>)>, Option<Refused>) {
        let mut lines = Lines::new(body(parts));
        let mut found = Vec::new();
        loop {
            match lines.group().await {
                Ok(group) if group.is_empty() => return (found, None),
                Ok(group) => found.extend(group.into_iter().map(|line| {
                    let text = line.text.map(|text| String::from_utf8(text).unwrap());
                    (line.number, text)
                })),
                Err(fault) => return (found, Some(fault)),
            }
        }
    }

    fn line(number: u64, text: &str) -> (u64, Option<String>) {
        (number, Some(text.to_owned()))
    }

    #[tokio::test]
    async fn lines_are_cut_wherever_the_frames_are() {
        let (lines, fault) = read(&["a\nb", "b\n", "\n  \nc", "", "\r\nd"]).await;
        assert_eq!(lines, [line(1, "a"), line(2, "bb"), line(5, "c\r"), line(6, "d")]);
        assert_eq!(fault, None);
        assert_eq!(read(&[]).await, (vec![], None));
    }

    #[tokio::test]
    async fn a_line_that_is_too_long_is_told_and_the_next_is_read() {
        let whole = "x".repeat(LINE_BYTES_MAX);
        let over = format!("{whole}x");
        let (lines, _) = read(&[&whole, "\n", &over, "\n", &whole, &whole, "\ny\n"]).await;
        assert_eq!(lines, [line(1, &whole), (2, None), (3, None), line(4, "y")]);
    }

    #[tokio::test]
    async fn a_body_that_breaks_gives_the_whole_lines_before_and_not_the_half_one() {
        let (lines, fault) = read(&["a\nb\nhalf", "BREAK"]).await;
        assert_eq!(lines, [line(1, "a"), line(2, "b")]);
        assert_eq!(fault, Some(Refused::BodyBroken));
    }

    #[tokio::test]
    async fn a_group_is_bounded_in_lines() {
        let many = "a\n".repeat(GROUP_LINES_MAX + 1);
        let mut lines = Lines::new(http_body_util::Full::<Bytes>::from(many));
        assert_eq!(lines.group().await.unwrap().len(), GROUP_LINES_MAX);
        assert_eq!(lines.group().await.unwrap().len(), 1);
        assert!(lines.group().await.unwrap().is_empty());
    }
}
