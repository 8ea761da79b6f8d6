//! `streams` of a route: what becomes of a stream whose token stops to count, and how its client is
//! told.

use std::time::Duration;

use super::cursor::{Table, show};
use super::diagnostic::{Code, Diagnostic};
use super::item::Item;
use super::value;

/// See the module.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StreamRules {
    /// A stream whose token is denied goes on for so long; zero: it is cut at once.
    pub revoked_grace: Duration,
    pub on_expired: OnExpired,
    /// Of the close frame, where a token stops to count.
    pub close_code: u16,
    pub close_reason: Option<String>,
    /// An event stream ends with an event that says so.
    pub last_event: bool,
    /// So long before its token ends an event stream says so.
    pub reauth_margin: Option<Duration>,
    pub idle_timeout: Option<Duration>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OnExpired {
    End { grace: Duration },
    Keep,
}

/// RFC 6455 section 7.4.1: the policy was violated.
const POLICY_VIOLATED: u16 = 1008;
const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);
const GRACE_MAX: Duration = Duration::from_secs(300);
const MARGIN_MAX: Duration = Duration::from_secs(3_600);

impl Default for StreamRules {
    fn default() -> Self {
        Self {
            revoked_grace: Duration::ZERO,
            on_expired: OnExpired::End { grace: Duration::ZERO },
            close_code: POLICY_VIOLATED,
            close_reason: None,
            last_event: false,
            reauth_margin: None,
            idle_timeout: None,
        }
    }
}

pub fn streams(table: &Table<'_>) -> StreamRules {
    let default = StreamRules::default();
    let on_revoked = table.get("on_revoked").and_then(|item| end(&item, GRACE_MAX, false));
    let on_expired = table.get("on_expired").and_then(|item| end(&item, DAY, true));
    let rules = StreamRules {
        revoked_grace: match on_revoked {
            Some(OnExpired::End { grace }) => grace,
            Some(OnExpired::Keep) | None => Duration::ZERO,
        },
        on_expired: on_expired.unwrap_or(default.on_expired),
        close_code: table
            .get("close_code")
            .and_then(|item| close_code(&item))
            .unwrap_or(default.close_code),
        close_reason: table.get("close_reason").and_then(|item| close_reason(&item)),
        last_event: table.boolean("last_event", default.last_event),
        reauth_margin: table
            .get("reauth_margin")
            .and_then(|item| item.duration(&(SECOND..=MARGIN_MAX))),
        idle_timeout: table
            .get("idle_timeout")
            .and_then(|item| item.duration(&(SECOND..=30 * DAY))),
    };
    if let (Some(item), OnExpired::Keep) = (table.get("reauth_margin"), rules.on_expired) {
        let message = "`reauth_margin` where no stream ends with its token";
        let diagnostic = Diagnostic::error(Code::NoEffect, message).help("on_expired = \"cut\"");
        item.reader.report(&item.key_span, diagnostic);
    }
    table.finish();
    rules
}

/// `cut`, `grace:5s`, and where it may be, `keep`.
fn end(item: &Item<'_>, grace_max: Duration, may_keep: bool) -> Option<OnExpired> {
    let text = item.string()?;
    if text.value == "cut" {
        return Some(OnExpired::End { grace: Duration::ZERO });
    }
    if text.value == "keep" && may_keep {
        return Some(OnExpired::Keep);
    }
    let grace = text.value.strip_prefix("grace:").and_then(value::duration);
    if let Some(grace) = grace.filter(|grace| *grace <= grace_max) {
        return Some(OnExpired::End { grace });
    }
    let message = format!("\"{}\" does not say what becomes of a stream", show(&text.raw));
    let keep = if may_keep { ", or \"keep\"" } else { "" };
    let most = grace_max.as_secs();
    let help = format!("\"cut\", or \"grace:5s\" with at most {most}s{keep}");
    let diagnostic = Diagnostic::error(Code::BadStreamEnd, message).help(help);
    item.reader.report(&item.span, diagnostic);
    None
}

/// RFC 6455 section 7.4.2: what an endpoint may say. 1000 would look like an end that was meant.
fn close_code(item: &Item<'_>) -> Option<u16> {
    let code = item.integer(&(1..=u64::MAX))?;
    let known = matches!(code, 1001 | 1008 | 3000..=4999);
    if let Some(code) = u16::try_from(code).ok().filter(|_| known) {
        return Some(code);
    }
    let message = format!("{code} is no close code for a token that stops to count");
    let diagnostic = Diagnostic::error(Code::BadCloseCode, message)
        .help("1008, 1001, or one of your own from 3000 to 4999, such as 4401");
    item.reader.report(&item.span, diagnostic);
    None
}

/// RFC 6455 section 5.5.1: a close frame has room for 123 bytes.
fn close_reason(item: &Item<'_>) -> Option<String> {
    let text = item.string()?;
    if text.value.len() <= 123 && !text.value.chars().any(char::is_control) {
        return Some(text.value);
    }
    let message = "a close reason has at most 123 bytes and no control characters";
    item.reader.report(&item.span, Diagnostic::error(Code::BadCloseCode, message));
    None
}
