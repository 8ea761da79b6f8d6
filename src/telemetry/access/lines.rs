//! Lines of the access log in their formats.

use std::borrow::Cow;
use std::io::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use serde::Serialize;

use crate::clock::UnixMs;

use super::Entry;
use super::repeats::LeftOut;

#[derive(Serialize)]
struct JsonLine<'a> {
    event: &'static str,
    time: String,
    request_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<IpAddr>,
    method: &'a str,
    host: &'a str,
    path: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<&'a str>,
    status: u16,
    verdict: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    issuer: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    duration_us: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream_us: Option<u64>,
    #[serde(skip_serializing_if = "is_zero")]
    bytes_in: u64,
    bytes_out: u64,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    broken: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

pub fn json(entry: &Entry<'_>, buffer: &mut Vec<u8>) {
    let line = JsonLine {
        event: "request",
        time: entry.at.rfc3339(),
        request_id: entry.request_id,
        client: entry.client,
        method: entry.method,
        host: entry.host,
        path: entry.path,
        route: entry.route,
        status: entry.status,
        verdict: entry.verdict.as_str(),
        reason: entry.code,
        detail: entry.reason,
        issuer: entry.issuer,
        subject: entry.subject,
        duration_us: micros(entry.duration),
        upstream_us: entry.upstream.map(micros),
        bytes_in: entry.bytes_in,
        bytes_out: entry.bytes_out,
        broken: entry.broken,
    };
    // Writing to memory does not fail, and every value is a string or a number.
    if serde_json::to_writer(&mut *buffer, &line).is_ok() {
        buffer.push(b'\n');
    }
}

/// `11:14:05  401  alice  GET /api/whoami   0.4 ms   token_revoked: denied by subject`
pub fn text(entry: &Entry<'_>, buffer: &mut Vec<u8>) {
    let clock = clock(entry.at);
    let who: String = entry.subject.unwrap_or("-").chars().filter(|c| !c.is_control()).collect();
    let took = entry.duration.as_secs_f64() * 1e3;
    // Refused paths stand here too, with whatever bytes they have.
    let path: String = entry.path.chars().filter(|c| !c.is_control()).collect();
    let mut line =
        format!("{clock}  {}  {who}  {} {path}   {took:.1} ms", entry.status, entry.method);
    if let Some(reason) = entry.reason {
        line.push_str("   ");
        line.push_str(entry.code);
        line.push_str(": ");
        line.extend(reason.chars().filter(|c| !c.is_control()));
    }
    line.push('\n');
    buffer.extend_from_slice(line.as_bytes());
}

/// `203.0.113.7 - alice [21/Nov/2026:11:14:05 +0000] "GET /api/whoami HTTP/1.1" 200 131 "-" "curl"`
///
/// As Apache and nginx write it, without the query of the path and of the referrer.
pub fn combined(entry: &Entry<'_>, buffer: &mut Vec<u8>) {
    let client = entry.client.map_or_else(|| "-".to_owned(), |client| client.to_string());
    let date = jiff::Timestamp::from_millisecond(entry.at.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    let date = date.strftime("%d/%b/%Y:%H:%M:%S +0000");
    let referer = entry.referer.map_or("-", |text| text.split(['?', '#']).next().unwrap_or("-"));
    // Writing to memory does not fail.
    let _ = writeln!(
        buffer,
        "{client} - {} [{date}] \"{} {} {:?}\" {} {} \"{}\" \"{}\"",
        field(entry.subject.unwrap_or("-")),
        entry.method,
        quoted(entry.path),
        entry.version,
        entry.status,
        entry.bytes_out,
        quoted(referer),
        quoted(entry.agent.unwrap_or("-")),
    );
}

/// Without what would end the quotes or the line, or steer a terminal.
fn quoted(text: &str) -> Cow<'_, str> {
    let is_bad = |c: char| c == '"' || c == '\\' || c.is_control();
    if text.contains(is_bad) { Cow::Owned(text.replace(is_bad, "?")) } else { Cow::Borrowed(text) }
}

/// One field between spaces.
fn field(text: &str) -> Cow<'_, str> {
    let is_bad = |c: char| c == '"' || c == '\\' || c.is_control() || c.is_whitespace();
    if text.contains(is_bad) { Cow::Owned(text.replace(is_bad, "_")) } else { Cow::Borrowed(text) }
}

#[derive(Serialize)]
struct JsonRepeats<'a> {
    event: &'static str,
    time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<IpAddr>,
    reason: &'a str,
    lines: u64,
}

pub fn json_repeats(left_out: &LeftOut, now: UnixMs, buffer: &mut Vec<u8>) {
    let line = JsonRepeats {
        event: "repeated",
        time: now.rfc3339(),
        client: left_out.client,
        reason: left_out.code,
        lines: left_out.lines,
    };
    if serde_json::to_writer(&mut *buffer, &line).is_ok() {
        buffer.push(b'\n');
    }
}

pub fn text_repeats(left_out: &LeftOut, now: UnixMs, buffer: &mut Vec<u8>) {
    let client = left_out.client.map_or_else(|| "-".to_owned(), |client| client.to_string());
    let LeftOut { lines, code, .. } = left_out;
    let _ = writeln!(buffer, "{}  {lines} more like this  {client}  {code}", clock(now));
}

/// Hours, minutes and seconds of the day, UTC.
fn clock(at: UnixMs) -> String {
    let seconds = at.secs().rem_euclid(86_400);
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_path_steers_the_terminal_that_a_line_is_read_on() {
        let path = "/a\u{9b}31mred\u{7f}/b";
        let entry = Entry { method: "GET", path, ..Entry::refused(UnixMs(0), "1", 400, "path") };
        for format in [text, combined] {
            let mut buffer = Vec::new();
            format(&entry, &mut buffer);
            let line = String::from_utf8(buffer).unwrap();
            assert!(!line.trim_end().chars().any(char::is_control), "{line:?}");
            assert!(line.contains("31mred") && line.contains("/b"), "{line:?}");
        }
    }
}
