//! One value of the document with its key: to strings, numbers, durations, sizes. A value of the
//! wrong kind is reported where it stands and read as absent.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use toml::de::DeValue;

use super::cursor::{Reader, Span, Table, show};
use super::diagnostic::{Code, Diagnostic};
use super::environment::{VariableFault, expand};
use super::value;

/// A string with where it stands. Messages quote `raw`, which never holds what the environment
/// said.
#[derive(Clone)]
pub struct Text {
    pub value: String,
    pub raw: String,
    pub from_environment: bool,
    pub span: Span,
}

/// A value with its key.
pub struct Item<'r> {
    pub reader: &'r Reader<'r>,
    pub key: String,
    pub key_span: Span,
    pub span: Span,
    pub value: &'r DeValue<'r>,
    /// One of a list: messages say so.
    pub in_list: bool,
}

impl<'r> Item<'r> {
    /// The same item once more.
    pub fn again(&self) -> Self {
        Self {
            reader: self.reader,
            key: self.key.clone(),
            key_span: self.key_span.clone(),
            span: self.span.clone(),
            value: self.value,
            in_list: self.in_list,
        }
    }

    pub fn wrong_type(&self, expected: &str) {
        let found = self.value.type_str();
        let message =
            format!("`{}` is {expected}, not {} {found}", show(&self.key), article(found));
        self.reader.report(&self.span, Diagnostic::error(Code::WrongType, message));
    }

    pub fn is_table(&self) -> bool {
        self.value.is_table()
    }

    pub fn is_string(&self) -> bool {
        self.value.is_str()
    }

    pub fn string(&self) -> Option<Text> {
        let DeValue::String(raw) = self.value else {
            self.wrong_type("a string");
            return None;
        };
        let fault = match expand(raw, self.reader.environment) {
            Ok((value, from_environment)) => {
                let (raw, span) = (raw.to_string(), self.span.clone());
                return Some(Text { value, raw, from_environment, span });
            }
            Err(fault) => fault,
        };
        let diagnostic = match fault {
            VariableFault::Unset { name } => Diagnostic::error(
                Code::UnsetVariable,
                format!("the environment variable {name} is not set"),
            )
            .help(format!("set it, or give a default: \"${{{name}:-…}}\"")),
            VariableFault::Form => Diagnostic::error(
                Code::BadVariable,
                format!("`{}` holds a broken ${{…}}", show(&self.key)),
            )
            .help("\"${NAME}\" or \"${NAME:-default}\"; for a literal ${ write $${"),
        };
        self.reader.report(&self.span, diagnostic);
        None
    }

    /// The string of an item that was read before: reports nothing again.
    pub fn quiet_string(&self) -> Option<Text> {
        let raw = self.value.as_str()?;
        let (value, from_environment) = expand(raw, self.reader.environment).ok()?;
        Some(Text { value, raw: raw.to_owned(), from_environment, span: self.span.clone() })
    }

    pub fn strings(&self, one_is_enough: bool) -> Option<Vec<Text>> {
        match self.value {
            DeValue::Array(array) => {
                let items = array.iter().map(|entry| Item {
                    span: entry.span(),
                    value: entry.get_ref(),
                    in_list: true,
                    ..self.again()
                });
                let texts: Vec<Text> = items.filter_map(|item| item.string()).collect();
                // Entries that cannot be read were reported; a list of none but those is not
                // an empty list.
                (array.is_empty() || !texts.is_empty()).then_some(texts)
            }
            DeValue::String(_) if one_is_enough => Some(vec![self.string()?]),
            DeValue::String(text) => {
                let message = format!("`{}` is a list", self.key);
                self.reader.report(
                    &self.span,
                    Diagnostic::error(Code::WrongType, message).help(format!(
                        "{} = [\"{}\"]",
                        self.key,
                        show(text)
                    )),
                );
                None
            }
            DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Table(_) => {
                let one = if one_is_enough { "a string or " } else { "" };
                self.wrong_type(&format!("{one}a list of strings"));
                None
            }
        }
    }

    pub fn boolean(&self) -> Option<bool> {
        let DeValue::Boolean(value) = self.value else {
            self.wrong_type("true or false");
            return None;
        };
        Some(*value)
    }

    pub fn integer(&self, range: &RangeInclusive<u64>) -> Option<u64> {
        let DeValue::Integer(integer) = self.value else {
            self.wrong_type("a whole number");
            return None;
        };
        let number = u64::from_str_radix(integer.as_str(), integer.radix()).ok();
        let number = number.filter(|number| range.contains(number));
        if number.is_none() {
            self.out_of_range(&range.start().to_string(), &range.end().to_string());
        }
        number
    }

    pub fn duration(&self, range: &RangeInclusive<Duration>) -> Option<Duration> {
        let expected = "a number and a unit: \"250ms\", \"30s\", \"5m\", \"12h\", \"30d\"";
        if self.value.is_integer() {
            let message = format!("`{}` is a duration and needs a unit", self.key);
            let diagnostic = Diagnostic::error(Code::BadDuration, message).help(expected);
            self.reader.report(&self.span, diagnostic);
            return None;
        }
        let text = self.string()?;
        let Some(duration) = value::duration(&text.value) else {
            let message = format!("`{}` is not a duration", self.key);
            let diagnostic = Diagnostic::error(Code::BadDuration, message).help(expected);
            self.reader.report(&self.span, diagnostic);
            return None;
        };
        if !range.contains(&duration) {
            let show = value::show_duration;
            self.out_of_range(&show(*range.start()), &show(*range.end()));
            return None;
        }
        Some(duration)
    }

    pub fn size(&self, range: &RangeInclusive<u64>) -> Option<u64> {
        let expected = "a number and a unit: \"512B\", \"64KiB\", \"1MiB\", \"2GiB\"";
        let size = match self.value.is_integer() {
            true => None,
            false => value::size(&self.string()?.value),
        };
        let Some(size) = size else {
            let message = format!("`{}` is not a size", self.key);
            let diagnostic = Diagnostic::error(Code::BadSize, message).help(expected);
            self.reader.report(&self.span, diagnostic);
            return None;
        };
        if !range.contains(&size) {
            let show = value::show_size;
            self.out_of_range(&show(*range.start()), &show(*range.end()));
            return None;
        }
        Some(size)
    }

    /// A list of whole numbers; one that is none, or out of range, is reported and left out.
    pub fn integers(&self, range: &RangeInclusive<u64>) -> Vec<u64> {
        let DeValue::Array(array) = self.value else {
            self.wrong_type("a list of whole numbers");
            return Vec::new();
        };
        let items = array.iter().map(|entry| Item {
            span: entry.span(),
            value: entry.get_ref(),
            in_list: true,
            ..self.again()
        });
        items.filter_map(|item| item.integer(range)).collect()
    }

    /// The path of something that is made where it is not there yet.
    pub fn file_name(&self) -> Option<PathBuf> {
        let text = self.string()?;
        if text.value.is_empty() {
            let message = format!("`{}` is empty", self.key);
            let help = "a path; a relative one starts at the directory of this file";
            self.reader.report(&self.span, Diagnostic::error(Code::Empty, message).help(help));
            return None;
        }
        Some(self.reader.resolve(&text.value))
    }

    fn out_of_range(&self, least: &str, most: &str) {
        let message = format!("`{}` must be from {least} to {most}", self.key);
        self.reader.report(&self.span, Diagnostic::error(Code::OutOfRange, message));
    }

    pub fn table(&self, title: &str, kind: &str) -> Option<Table<'r>> {
        let DeValue::Table(entries) = self.value else {
            self.wrong_type("a table");
            return None;
        };
        Some(Table::new(self.reader, title, kind, self.span.clone(), Some(entries)))
    }
}

fn article(noun: &str) -> &'static str {
    if noun.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" }
}
