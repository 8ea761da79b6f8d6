//! One JSON object, taken apart member by member: every fault is collected, so that a caller sees
//! all of them at once.

use serde_json::{Map, Value};

use crate::verify::IDENTIFIER_BYTES_MAX;

use super::json::escaped;
use super::near::nearest;
use super::problem::Fault;

/// See the module.
pub(super) struct Members {
    /// Pointer of the object itself.
    at: String,
    left: Map<String, Value>,
    pub faults: Vec<Fault>,
}

impl Members {
    /// The members of `value`, which is at `at`.
    pub fn of(value: Value, at: &str) -> Self {
        match value {
            Value::Object(left) => Self { at: at.to_owned(), left, faults: Vec::new() },
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_) => {
                let fault = Fault::new(at, "wrong_type", "Expected an object: {…}.");
                Self { at: at.to_owned(), left: Map::new(), faults: vec![fault] }
            }
        }
    }

    pub fn pointer(&self, name: &str) -> String {
        format!("{}/{}", self.at, escaped(name))
    }

    pub fn fault(&mut self, name: &str, code: &'static str, detail: impl Into<String>) {
        self.faults.push(Fault::new(self.pointer(name), code, detail));
    }

    pub fn has(&self, name: &str) -> bool {
        self.left.contains_key(name)
    }

    /// Takes a member out. `null` is refused: whether it stands for "absent" or for a variable
    /// that was not filled cannot be known.
    pub fn take(&mut self, name: &str) -> Option<Value> {
        match self.left.remove(name)? {
            Value::Null => {
                self.fault(name, "wrong_type", "null is no value here: leave the member out.");
                None
            }
            value @ (Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_)
            | Value::Object(_)) => Some(value),
        }
    }

    pub fn take_bool(&mut self, name: &str) -> Option<bool> {
        let value = self.take(name)?;
        if value.as_bool().is_none() {
            self.fault(name, "wrong_type", "Expected true or false.");
        }
        value.as_bool()
    }

    /// A member that says something only when it is `true`.
    pub fn take_true(&mut self, name: &str) -> Option<()> {
        let value = self.take(name)?;
        if value != Value::Bool(true) {
            self.fault(name, "wrong_type", "Expected true, or leave the member out.");
            return None;
        }
        Some(())
    }

    /// Text for people: no control characters, at most `chars_max` characters.
    pub fn take_prose(&mut self, name: &str, chars_max: usize) -> Option<String> {
        let Value::String(text) = self.take(name)? else {
            self.fault(name, "wrong_type", "Expected text.");
            return None;
        };
        let length = text.chars().count();
        if length > chars_max {
            let detail = format!("It has {length} characters; at most {chars_max} are kept.");
            self.fault(name, "too_long", detail);
            return None;
        }
        if text.chars().any(char::is_control) {
            self.fault(name, "control_character", "Control characters are refused.");
            return None;
        }
        Some(text)
    }

    /// Text, or an integer in its decimal form, as claims are compared.
    pub fn take_identifier(&mut self, name: &str) -> Option<String> {
        let value = self.take(name)?;
        match identifier(&value) {
            Ok(text) => Some(text),
            Err((code, detail)) => {
                self.fault(name, code, detail);
                None
            }
        }
    }

    /// All faults, those of members that nobody took among them.
    pub fn finish(mut self, known: &[&str]) -> Vec<Fault> {
        let names: Vec<String> = self.left.keys().take(8).cloned().collect();
        for name in names {
            let shown: String = name.chars().take(64).collect();
            let pointer = format!("{}/{}", self.at, escaped(&shown));
            self.faults.push(Fault::unknown_member(pointer, &shown, nearest(&shown, known)));
        }
        self.faults
    }
}

/// An identifier as it is compared: byte for byte, integers as their decimal form.
pub(super) fn identifier(value: &Value) -> Result<String, (&'static str, String)> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) if number.is_i64() || number.is_u64() => number.to_string(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            return Err(("wrong_type", "Expected text or an integer.".to_owned()));
        }
    };
    check_identifier(&text)?;
    Ok(text)
}

pub(super) fn check_identifier(text: &str) -> Result<(), (&'static str, String)> {
    if text.is_empty() {
        return Err(("empty", "An empty identifier matches nothing.".to_owned()));
    }
    if text.len() > IDENTIFIER_BYTES_MAX {
        let detail =
            format!("It has {} bytes; at most {IDENTIFIER_BYTES_MAX} are taken.", text.len());
        return Err(("too_long", detail));
    }
    if text.chars().any(char::is_control) {
        return Err(("control_character", "Control characters are refused.".to_owned()));
    }
    Ok(())
}
