//! Request bodies as strict JSON: no duplicate members at any depth, and a fault says where.

use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::problem::Refused;

/// Reads one JSON text. serde_json bounds the depth (128).
pub(super) fn parse(body: &[u8]) -> Result<Value, Refused> {
    let place = Place::default();
    let mut text = serde_json::Deserializer::from_slice(body);
    let read = Strict(&place).deserialize(&mut text).and_then(|value| text.end().map(|()| value));
    read.map_err(|fault| match place.duplicate.take() {
        Some(pointer) => Refused::DuplicateMember { pointer },
        None => Refused::MalformedJson {
            line: fault.line(),
            column: fault.column(),
            what: without_place(&fault.to_string()),
        },
    })
}

/// serde_json's text without its "at line …", first letter upper case. Its syntax faults quote
/// nothing of the input.
fn without_place(text: &str) -> String {
    let what = text.split_once(" at line").map_or(text, |(what, _)| what);
    let mut letters = what.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// A JSON pointer's reference token (RFC 6901 section 3).
pub(super) fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// Where the reader is, and where it met a duplicate.
#[derive(Default)]
struct Place {
    path: RefCell<Vec<String>>,
    duplicate: RefCell<Option<String>>,
}

#[derive(Clone, Copy)]
struct Strict<'p>(&'p Place);

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        loop {
            self.0.path.borrow_mut().push(items.len().to_string());
            let Some(item) = from.next_element_seed(self)? else { break };
            self.0.path.borrow_mut().pop();
            items.push(item);
        }
        self.0.path.borrow_mut().pop();
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some(name) = from.next_key::<String>()? {
            self.0.path.borrow_mut().push(escaped(&name));
            if members.contains_key(&name) {
                let pointer = format!("/{}", self.0.path.borrow().join("/"));
                *self.0.duplicate.borrow_mut() = Some(pointer);
                return Err(A::Error::custom("duplicate member"));
            }
            let value = from.next_value_seed(self)?;
            self.0.path.borrow_mut().pop();
            members.insert(name, value);
        }
        Ok(Value::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_read_as_it_is() {
        let text = br#"{"a":[1,-2,2.5,"x",null,true,{"b":{}}],"A":0}"#;
        let plain: Value = serde_json::from_slice(text).unwrap();
        assert_eq!(parse(text).unwrap(), plain);
    }

    #[test]
    fn a_duplicate_member_is_named_by_its_pointer_at_any_depth() {
        let pointer = |text: &[u8]| match parse(text) {
            Err(Refused::DuplicateMember { pointer }) => pointer,
            other => panic!("{other:?}"),
        };
        assert_eq!(pointer(br#"{"user":"alice","user":"bob"}"#), "/user");
        assert_eq!(pointer(br#"{"a":[0,{"x/y":1,"x/y":1}]}"#), "/a/1/x~1y");
        assert!(parse(br#"{"a":{"user":1},"user":{"a":1}}"#).is_ok());
    }

    #[test]
    fn malformed_json_is_found_by_line_and_column() {
        let place = |text: &[u8]| match parse(text) {
            Err(Refused::MalformedJson { line, column, .. }) => (line, column),
            other => panic!("{other:?}"),
        };
        assert_eq!(place(b"{\n  \"user\": alice\n}").0, 2);
        assert_eq!(place(b"{} {}"), (1, 4));
        assert_eq!(place(b"").0, 1);
        place(b"{\"a\":1e400}");
        place(b"{\"a\":\"\xff\"}");
        place("[".repeat(1000).as_bytes());
    }
}
