//! Strict JSON: no duplicate members at any depth, bounded depth, numbers that stay exact.
//!
//! Two parsers that disagree on which of two members counts are a way past a check (RFC 8725
//! section 2.4, RFC 7519 section 4), so a second member of the same name is refused, however it is
//! escaped. A number that a double cannot hold is refused by the parser; an integer beyond 64 bits
//! becomes a float and is then no identifier.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Objects and arrays inside each other.
pub const DEPTH_MAX: usize = 32;

/// Why a text is not one strict JSON object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum JsonFault {
    /// Not JSON (RFC 8259), not UTF-8, or a number that cannot be held.
    Syntax,
    /// JSON, but no object.
    NotObject,
    /// The same member twice (RFC 7515 section 4, RFC 7519 section 4).
    DuplicateMember,
    /// Deeper than [`DEPTH_MAX`].
    TooDeep,
}

/// One object and nothing after it.
pub fn object(bytes: &[u8]) -> Result<Map<String, Value>, JsonFault> {
    match value(bytes)? {
        Value::Object(members) => Ok(members),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Err(JsonFault::NotObject)
        }
    }
}

/// One value and nothing after it.
pub fn value(bytes: &[u8]) -> Result<Value, JsonFault> {
    let fault = Cell::new(JsonFault::Syntax);
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let strict = Strict { fault: &fault, depth: 0 };
    let value = strict.deserialize(&mut deserializer).map_err(|_| fault.get())?;
    deserializer.end().map_err(|_| JsonFault::Syntax)?;
    Ok(value)
}

/// Builds a value and remembers which of our own rules it broke.
#[derive(Clone, Copy)]
struct Strict<'f> {
    fault: &'f Cell<JsonFault>,
    depth: usize,
}

impl Strict<'_> {
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        if self.depth == DEPTH_MAX {
            self.fault.set(JsonFault::TooDeep);
            return Err(E::custom("too deep"));
        }
        Ok(Self { fault: self.fault, depth: self.depth + 1 })
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("not finite"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut array = Vec::new();
        while let Some(element) = elements.next_element_seed(inner)? {
            array.push(element);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut map = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let value = members.next_value_seed(inner)?;
            if map.insert(name, value).is_some() {
                self.fault.set(JsonFault::DuplicateMember);
                return Err(A::Error::custom("duplicate member"));
            }
        }
        Ok(Value::Object(map))
    }
}

impl fmt::Display for JsonFault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax => out.write_str("is not JSON"),
            Self::NotObject => out.write_str("is not a JSON object"),
            Self::DuplicateMember => out.write_str("has a JSON member twice"),
            Self::TooDeep => write!(out, "is JSON deeper than {DEPTH_MAX} levels"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_read_and_keeps_its_integers_exact() {
        let object =
            object(br#" {"a":9007199254740993,"b":-1,"c":1.5,"d":[{"a":null}],"e":"\u00e9"} "#)
                .unwrap();
        assert_eq!(object["a"], 9_007_199_254_740_993_u64);
        assert_eq!(object["b"], -1);
        assert_eq!(object["c"], 1.5);
        assert_eq!(object["e"], "é");
    }

    // C5
    #[test]
    fn a_member_twice_is_refused_at_any_depth_and_in_any_spelling() {
        assert!(object(br#"{"a":1,"A":2,"b":{"a":1}}"#).is_ok());
        for text in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"b":{"a":1,"a":2}}"#,
            r#"{"b":[[{"a":1,"c":0,"a":2}]]}"#,
            r#"{"":1,"":2}"#,
        ] {
            assert_eq!(object(text.as_bytes()), Err(JsonFault::DuplicateMember), "{text}");
        }
    }

    // C1
    #[test]
    fn numbers_that_nothing_can_hold_are_refused() {
        assert!(object(br#"{"exp":1e300}"#).is_ok());
        for text in [r#"{"exp":1e400}"#, r#"{"exp":NaN}"#, r#"{"exp":01}"#, r#"{"exp":+1}"#] {
            assert_eq!(object(text.as_bytes()), Err(JsonFault::Syntax), "{text}");
        }
    }

    #[test]
    fn what_is_not_one_object_is_refused() {
        for text in [r#"[1]"#, "1", "null", r#""a""#, "true"] {
            assert_eq!(object(text.as_bytes()), Err(JsonFault::NotObject), "{text}");
        }
        for text in
            ["", "{", "{}{}", "{} x", "{\"a\":1,}", "{'a':1}", "{\"a\":\"\\ud800\"}", "\u{feff}{}"]
        {
            assert_eq!(object(text.as_bytes()), Err(JsonFault::Syntax), "{text}");
        }
        assert_eq!(object(b"{\"a\":\"\xff\"}"), Err(JsonFault::Syntax));
    }

    #[test]
    fn depth_is_bounded_and_a_deep_bomb_costs_no_stack() {
        let nest =
            |levels: usize| format!("{{\"a\":{}1{}}}", "[".repeat(levels), "]".repeat(levels));
        assert!(object(nest(DEPTH_MAX - 1).as_bytes()).is_ok());
        assert_eq!(object(nest(DEPTH_MAX).as_bytes()), Err(JsonFault::TooDeep));
        assert!(object("[".repeat(1_000_000).as_bytes()).is_err());
    }
}
