//! Times, ages and names as people read them. Times are UTC and say so.

use std::time::Duration;

use crate::clock::UnixMs;

/// `30s`, `15m`, `24h`, `7d`, `2w`, and sums such as `1h30m`: what the admin API reads.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let mut seconds = 0_u64;
    let mut digits = String::new();
    for c in text.chars() {
        if c.is_ascii_digit() {
            digits.push(c);
            continue;
        }
        let unit = match c {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86_400,
            'w' => 604_800,
            _ => return None,
        };
        seconds = seconds.checked_add(digits.parse::<u64>().ok()?.checked_mul(unit)?)?;
        digits.clear();
    }
    (digits.is_empty() && !text.is_empty()).then(|| Duration::from_secs(seconds))
}

/// As the API reads it: whole units, the largest that divides: `24h`, `90s`.
pub fn compact_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    for (unit, name) in [(86_400, "d"), (3600, "h"), (60, "m")] {
        if seconds > 0 && seconds.is_multiple_of(unit) {
            return format!("{}{name}", seconds / unit);
        }
    }
    format!("{seconds}s")
}

/// `8 ms`, `3 s`, `4 min`, `2 h 2 min`, `12 d`.
pub fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 => format!("{} ms", duration.as_millis()),
        1..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        7200..=172_799 if seconds % 3600 < 60 => format!("{} h", seconds / 3600),
        7200..=172_799 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// A `window` of the admin API (`24h`) as people read it: `24 h`.
pub fn window(text: &str) -> String {
    parse_duration(text).map_or_else(|| text.to_owned(), span)
}

/// For a column: `3s`, `4m`, `2h`, `12d`.
pub fn short_span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..=59 => format!("{seconds}s"),
        60..=3599 => format!("{}m", seconds / 60),
        3600..=86_399 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// `in 3 h` or `3 h ago`.
pub fn relative(at: UnixMs, now: UnixMs) -> String {
    if at > now {
        format!("in {}", span(at.since(now)))
    } else if now.since(at) < Duration::from_secs(1) {
        "just now".to_owned()
    } else {
        format!("{} ago", span(now.since(at)))
    }
}

/// `11:14:02 UTC` today, else with the date.
pub fn clock(at: UnixMs, now: UnixMs) -> String {
    format!("{} UTC", bare_clock(at, now))
}

/// The same for a column whose heading says UTC.
pub fn bare_clock(at: UnixMs, now: UnixMs) -> String {
    let full = UnixMs::from_secs(at.secs()).rfc3339();
    let Some((date, time)) = full.trim_end_matches('Z').split_once('T') else {
        return full;
    };
    let today = UnixMs::from_secs(now.secs()).rfc3339();
    if today.starts_with(date) { time.to_owned() } else { format!("{date} {time}") }
}

/// `1,204`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1 token`, `4 tokens`.
pub fn plural(number: u64, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{} {noun}s", count(number)) }
}

/// Why the system refused, without the `(os error 111)` that says nothing to people.
pub fn cause(text: &str) -> String {
    let plain = text.split(" (os error").next().unwrap_or(text);
    let mut letters = plain.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

/// Quoted for a shell where it has to be.
pub fn shell(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@=+,%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// What a terminal would obey rather than show (control characters, bidirectional overrides) as
/// escapes: names come from tokens, which strangers write.
pub fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let overrides = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if overrides || (c.is_control() && c != '\n') {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

/// Control characters, and those that turn the direction of what follows.
pub fn drives_terminals(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// [`printable`] for one line.
pub fn printable_line(text: &str) -> String {
    printable(text).replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_nonsense_is_not() {
        assert_eq!(parse_duration("24h"), Some(Duration::from_secs(86_400)));
        assert_eq!(parse_duration("1h30m"), Some(Duration::from_secs(5400)));
        for wrong in ["", "h", "24", "1x", "-1h", "99999999999999999999d", "1.5h"] {
            assert_eq!(parse_duration(wrong), None, "{wrong}");
        }
        assert_eq!(compact_duration(Duration::from_secs(86_400)), "1d");
        assert_eq!(compact_duration(Duration::from_secs(5400)), "90m");
        assert_eq!(compact_duration(Duration::from_secs(61)), "61s");
    }

    #[test]
    fn spans_read_as_words() {
        let spans = [(3, "3 s"), (240, "4 min"), (7320, "2 h 2 min"), (7200, "2 h")];
        for (seconds, text) in spans {
            assert_eq!(span(Duration::from_secs(seconds)), text);
        }
        assert_eq!(span(Duration::from_millis(8)), "8 ms");
    }

    #[test]
    fn a_clock_shows_the_date_only_when_it_is_another_day() {
        let now = UnixMs::parse_rfc3339("2026-11-21T11:20:00Z").unwrap();
        let at = UnixMs::parse_rfc3339("2026-11-21T11:14:02.500Z").unwrap();
        assert_eq!(clock(at, now), "11:14:02 UTC");
        let before = UnixMs::parse_rfc3339("2026-11-20T11:14:02Z").unwrap();
        assert_eq!(clock(before, now), "2026-11-20 11:14:02 UTC");
    }

    #[test]
    fn a_name_cannot_drive_the_terminal_or_the_shell() {
        assert_eq!(printable_line("a\u{1b}[2Jb\n"), "a\\u{1b}[2Jb\\n");
        assert_eq!(printable("a\u{202e}b"), "a\\u{202e}b");
        assert_eq!(printable("Zoë"), "Zoë");
        assert_eq!(shell("alice"), "alice");
        assert_eq!(shell("a; rm -rf '"), r"'a; rm -rf '\'''");
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(count(1_204_000), "1,204,000");
        assert_eq!(plural(1, "token"), "1 token");
        assert_eq!(plural(4, "token"), "4 tokens");
    }
}
