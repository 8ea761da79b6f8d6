//! Instants and durations as callers write them.
//!
//! An instant is RFC 3339, a whole number of seconds, `"now"` or `"in 24h"`. A number that can
//! only be milliseconds is refused: taken as seconds it would be a ban until the year 58859.

use std::time::Duration;

use serde_json::Value;

use crate::clock::UnixMs;

use super::problem::Fault;

/// Above this a number of seconds is past the year 5138: it was meant as milliseconds.
const SECONDS_MAX: i64 = 100_000_000_000;

/// Ten years: longer than anything that ends by itself should last.
const DURATION_MAX: Duration = Duration::from_secs(10 * 366 * 86_400);

/// An instant as written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Moment {
    Now,
    In(Duration),
    At(UnixMs),
}

impl Moment {
    pub fn read(value: &Value, pointer: &str) -> Result<Self, Fault> {
        match value {
            Value::String(text) => Self::read_text(text, pointer),
            Value::Number(number) => match number.as_i64() {
                Some(seconds) => Self::of_seconds(seconds, pointer),
                None => Err(wrong(pointer)),
            },
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
                Err(wrong(pointer))
            }
        }
    }

    /// As [`Moment::read`]; digits alone count as a number (query parameters have no types).
    pub fn read_parameter(text: &str, pointer: &str) -> Result<Self, Fault> {
        match text.parse::<i64>() {
            Ok(seconds) => Self::of_seconds(seconds, pointer),
            Err(_) => Self::read_text(text, pointer),
        }
    }

    fn read_text(text: &str, pointer: &str) -> Result<Self, Fault> {
        if text == "now" {
            return Ok(Self::Now);
        }
        if let Some(span) = text.strip_prefix("in ") {
            return duration(span).map(Self::In).ok_or_else(|| wrong(pointer));
        }
        UnixMs::parse_rfc3339(text).map(Self::At).ok_or_else(|| wrong(pointer))
    }

    fn of_seconds(seconds: i64, pointer: &str) -> Result<Self, Fault> {
        if seconds > SECONDS_MAX {
            return Err(Fault::new(
                pointer,
                "looks_like_milliseconds",
                format!(
                    "{seconds} as seconds is {}. Did you mean {}?",
                    year(seconds),
                    seconds / 1000
                ),
            ));
        }
        if seconds < 0 {
            return Err(Fault::new(pointer, "out_of_range", "A time before 1970 is refused."));
        }
        Ok(Self::At(UnixMs::from_secs(seconds)))
    }
}

/// Roughly, for a sentence.
fn year(seconds: i64) -> String {
    format!("the year {}", 1970 + seconds / 31_556_952)
}

fn wrong(pointer: &str) -> Fault {
    Fault::new(
        pointer,
        "not_a_time",
        "Expected RFC 3339 (2026-11-21T11:14:02Z), whole seconds since 1970, or \"now\".",
    )
}

/// `30s`, `15m`, `24h`, `7d`, `2w` and sums like `1d12h`; at least a second, at most ten years.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let mut total: u64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit())?;
        let (number, tail) = rest.split_at_checked(digits)?;
        let mut letters = tail.chars();
        let seconds = match letters.next()? {
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            'd' => 86_400,
            'w' => 604_800,
            _ => return None,
        };
        let number: u64 = number.parse().ok()?;
        total = total.checked_add(number.checked_mul(seconds)?)?;
        rest = letters.as_str();
    }
    let span = Duration::from_secs(total);
    (total > 0 && span <= DURATION_MAX).then_some(span)
}

/// Reads a member that is a duration.
pub(super) fn read_duration(value: &Value, pointer: &str) -> Result<Duration, Fault> {
    value.as_str().and_then(duration).ok_or_else(|| {
        Fault::new(
            pointer,
            "not_a_duration",
            "Expected a duration such as \"30m\", \"24h\" or \"7d\", of at most ten years.",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(value: Value) -> Result<Moment, &'static str> {
        Moment::read(&value, "/issued_before").map_err(|fault| fault.code)
    }

    #[test]
    fn an_instant_is_read_in_each_of_its_forms() {
        let at = UnixMs::from_secs(1_795_259_641);
        assert_eq!(read(json!("now")), Ok(Moment::Now));
        assert_eq!(read(json!("in 24h")), Ok(Moment::In(Duration::from_secs(86_400))));
        assert_eq!(read(json!(1_795_259_641)), Ok(Moment::At(at)));
        assert_eq!(read(json!(at.rfc3339())), Ok(Moment::At(at)));
        assert_eq!(read(json!("2026-11-21T12:14:01+01:00")), Ok(Moment::At(at)));
    }

    #[test]
    fn milliseconds_are_refused_with_the_number_that_was_meant() {
        assert_eq!(read(json!(SECONDS_MAX)), Ok(Moment::At(UnixMs::from_secs(SECONDS_MAX))));
        let fault = Moment::read(&json!(1_795_259_641_000_i64), "/issued_before").unwrap_err();
        assert_eq!(fault.code, "looks_like_milliseconds");
        assert_eq!(
            fault.detail,
            "1795259641000 as seconds is the year 58859. Did you mean 1795259641?"
        );
        assert!(Moment::read_parameter("1795259641000", "since").is_err());
    }

    #[test]
    fn what_is_no_instant_is_refused() {
        for value in [
            json!("yesterday"),
            json!("1795259641"),
            json!(1.5),
            json!(-1),
            json!(u64::MAX),
            json!(null),
            json!(true),
            json!({}),
            json!("in "),
            json!("in 24"),
            json!(""),
        ] {
            assert!(read(value.clone()).is_err(), "{value}");
        }
    }

    #[test]
    fn a_duration_is_numbers_with_units() {
        assert_eq!(duration("90s"), Some(Duration::from_secs(90)));
        assert_eq!(duration("1d12h"), Some(Duration::from_secs(129_600)));
        for text in ["", "0s", "24", "h", "24x", "-1h", "1.5h", "99999999999999999999d", "4000d"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }
}
