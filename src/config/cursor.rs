//! Walks the parsed document and collects every mistake on the way. A [`Table`] remembers which
//! keys it was asked for: those are the keys that exist, all others are unknown. A value that
//! cannot be used is reported where it stands and read as absent, so one mistake gives one
//! diagnostic and the walk goes on.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::de::{DeTable, DeValue};

use super::diagnostic::{Code, Diagnostic};
use super::environment::{Environment, VariableFault, expand};
use super::source::Source;
use super::{suggest, value};

pub type Span = Range<usize>;

/// What one reading shares: the text, the environment, the diagnostics.
pub struct Reader<'s> {
    pub source: &'s Source,
    pub environment: &'s Environment<'s>,
    base: PathBuf,
    found: RefCell<Vec<Diagnostic>>,
    /// Keys that exist, by table; `false`: known, not supported by this version.
    asked: RefCell<BTreeMap<(String, String), bool>>,
}

impl<'s> Reader<'s> {
    pub fn new(source: &'s Source, environment: &'s Environment<'s>) -> Self {
        Self {
            source,
            environment,
            base: source.path.parent().unwrap_or(Path::new("")).to_owned(),
            found: RefCell::default(),
            asked: RefCell::default(),
        }
    }

    pub fn report(&self, span: &Span, mut diagnostic: Diagnostic) {
        diagnostic.place = Some(self.source.place(span));
        self.found.borrow_mut().push(diagnostic);
    }

    /// Reports what concerns the file as a whole.
    pub fn report_whole(&self, diagnostic: Diagnostic) {
        self.found.borrow_mut().push(diagnostic);
    }

    /// A path as the process sees it: relative ones start at the file's directory.
    pub fn resolve(&self, path: &str) -> PathBuf {
        self.base.join(path)
    }

    pub fn into_found(self) -> (Vec<Diagnostic>, BTreeMap<(String, String), bool>) {
        (self.found.into_inner(), self.asked.into_inner())
    }
}

/// A string with where it stands. Messages quote `raw`, which never holds what the environment
/// said.
#[derive(Clone)]
pub struct Text {
    pub value: String,
    pub raw: String,
    pub from_environment: bool,
    pub span: Span,
}

/// A table of the document, or an absent one, which reads as empty.
pub struct Table<'r> {
    pub reader: &'r Reader<'r>,
    /// For messages: `[server]`, `[[issuer]]`, `keys`.
    pub title: String,
    /// For the list of keys that exist: `server`, `issuer.keys`.
    kind: String,
    pub span: Span,
    entries: Option<&'r DeTable<'r>>,
    known: RefCell<BTreeSet<&'static str>>,
    lists: RefCell<BTreeSet<&'static str>>,
    missing: RefCell<Vec<&'static str>>,
}

/// A value with its key.
pub struct Item<'r> {
    pub reader: &'r Reader<'r>,
    pub key: String,
    pub key_span: Span,
    pub span: Span,
    value: &'r DeValue<'r>,
}

impl<'r> Table<'r> {
    pub fn new(
        reader: &'r Reader<'r>,
        title: &str,
        kind: &str,
        span: Span,
        entries: Option<&'r DeTable<'r>>,
    ) -> Self {
        Self {
            reader,
            title: title.to_owned(),
            kind: kind.to_owned(),
            span,
            entries,
            known: RefCell::default(),
            lists: RefCell::default(),
            missing: RefCell::default(),
        }
    }

    pub fn get(&self, key: &'static str) -> Option<Item<'r>> {
        self.known.borrow_mut().insert(key);
        self.reader.asked.borrow_mut().insert((self.kind.clone(), key.to_owned()), true);
        self.find(key)
    }

    fn find(&self, key: &str) -> Option<Item<'r>> {
        let (key, value) = self.entries?.get_key_value(key)?;
        Some(Item {
            reader: self.reader,
            key: key.get_ref().to_string(),
            key_span: key.span(),
            span: value.span(),
            value: value.get_ref(),
        })
    }

    /// All entries of a table whose keys are names that the user chose.
    pub fn entries(&self) -> Vec<Item<'r>> {
        let names = self.entries.into_iter().flat_map(|entries| entries.keys());
        let mut items: Vec<Item<'r>> = names.filter_map(|name| self.find(name.get_ref())).collect();
        items.sort_by_key(|item| item.key_span.start);
        items
    }

    pub fn has(&self, key: &str) -> bool {
        self.entries.is_some_and(|entries| entries.contains_key(key))
    }

    /// A key of a later version: refused with what works instead.
    pub fn unsupported(&self, key: &'static str, instead: &str) {
        self.reader.asked.borrow_mut().insert((self.kind.clone(), key.to_owned()), false);
        if let Some(item) = self.find(key) {
            self.known.borrow_mut().insert(key);
            let message = format!("`{key}` is not supported by this version");
            self.reader.report(
                &item.key_span,
                Diagnostic::error(Code::Unsupported, message).help(instead),
            );
        }
    }

    /// Reads a key that must be there. The message waits for [`Self::finish`], because a
    /// misspelt key explains its absence.
    pub fn required(&self, key: &'static str) -> Option<Item<'r>> {
        let item = self.get(key);
        if item.is_none() {
            self.missing.borrow_mut().push(key);
        }
        item
    }

    pub fn require_also(&self, key: &'static str) {
        self.missing.borrow_mut().push(key);
    }

    pub fn string(&self, key: &'static str) -> Option<Text> {
        self.get(key)?.string()
    }

    /// A list of strings; a single string is a mistake that the help line puts right.
    pub fn strings(&self, key: &'static str) -> Option<Vec<Text>> {
        self.lists.borrow_mut().insert(key);
        self.get(key)?.strings(false)
    }

    pub fn string_or_strings(&self, key: &'static str) -> Option<Vec<Text>> {
        self.get(key)?.strings(true)
    }

    pub fn duration(
        &self,
        key: &'static str,
        default: Duration,
        range: RangeInclusive<Duration>,
    ) -> Duration {
        self.get(key).and_then(|item| item.duration(&range)).unwrap_or(default)
    }

    pub fn size(&self, key: &'static str, default: u64, range: RangeInclusive<u64>) -> u64 {
        self.get(key).and_then(|item| item.size(&range)).unwrap_or(default)
    }

    pub fn integer(&self, key: &'static str, default: u64, range: RangeInclusive<u64>) -> u64 {
        self.get(key).and_then(|item| item.integer(&range)).unwrap_or(default)
    }

    pub fn boolean(&self, key: &'static str, default: bool) -> bool {
        self.get(key).and_then(|item| item.boolean()).unwrap_or(default)
    }

    pub fn choice<T: Copy>(&self, key: &'static str, default: T, choices: &[(&str, T)]) -> T {
        self.string(key)
            .and_then(|text| choose(self.reader, &text, key, choices))
            .unwrap_or(default)
    }

    /// A table below this one; absent reads as empty.
    pub fn table(&self, key: &'static str, kind: &str) -> Table<'r> {
        let title = if self.title.is_empty() { format!("[{key}]") } else { format!("`{key}`") };
        match self.get(key) {
            Some(item) => item
                .table(&title, kind)
                .unwrap_or_else(|| Table::new(self.reader, &title, kind, item.key_span, None)),
            None => Table::new(self.reader, &title, kind, self.span.clone(), None),
        }
    }

    /// The key is there, and it is no list of tables.
    pub fn is_no_list(&self, key: &str) -> bool {
        self.find(key).is_some_and(|item| !item.value.is_array())
    }

    /// `[[name]]`: each with the span of its header.
    pub fn tables(&self, key: &'static str, kind: &str) -> Vec<Table<'r>> {
        let Some(item) = self.get(key) else { return Vec::new() };
        let title = format!("[[{kind}]]");
        let DeValue::Array(array) = item.value else {
            item.wrong_type(&format!("a list of tables, each beginning with {title}"));
            return Vec::new();
        };
        let mut tables = Vec::new();
        for entry in array.iter() {
            let entry = Item { span: entry.span(), value: entry.get_ref(), ..item.again() };
            tables.extend(entry.table(&title, kind));
        }
        tables
    }

    /// Reports what nobody asked for, and what is missing.
    pub fn finish(&self) {
        let known = self.known.borrow();
        let mut explained = BTreeSet::new();
        for item in self.entries() {
            if known.contains(item.key.as_str()) {
                continue;
            }
            let nearest = suggest::nearest(&item.key, known.iter().copied())
                .filter(|nearest| !self.has(nearest));
            explained.extend(nearest);
            let message = match self.title.as_str() {
                "" => format!("unknown table or key `{}`", show(&item.key)),
                title => format!("unknown key `{}` in {title}", show(&item.key)),
            };
            let mut diagnostic = Diagnostic::error(Code::UnknownKey, message)
                .suggest(nearest.map(|nearest| format!("did you mean `{nearest}`?")));
            let is_list = nearest.is_some_and(|nearest| self.lists.borrow().contains(nearest));
            if let (true, Some(nearest), DeValue::String(text)) = (is_list, nearest, item.value) {
                diagnostic =
                    diagnostic.help(format!("it is a list: {nearest} = [\"{}\"]", show(text)));
            }
            self.reader.report(&item.key_span, diagnostic);
        }
        for key in self.missing.borrow().iter().filter(|key| !explained.contains(*key)) {
            let message = format!("{} needs `{key}`", self.title);
            self.reader.report(&self.span, Diagnostic::error(Code::MissingKey, message));
        }
    }
}

/// A word of the file inside a message: printable, and short.
pub fn show(text: &str) -> String {
    let mut shown: String = text.chars().take(80).flat_map(char::escape_debug).collect();
    if text.chars().nth(80).is_some() {
        shown.push('…');
    }
    shown
}

/// One of a few words.
pub fn choose<T: Copy>(
    reader: &Reader<'_>,
    text: &Text,
    key: &str,
    choices: &[(&str, T)],
) -> Option<T> {
    if let Some((_, chosen)) = choices.iter().find(|(word, _)| *word == text.value) {
        return Some(*chosen);
    }
    let words: Vec<String> = choices.iter().map(|(word, _)| format!("\"{word}\"")).collect();
    let nearest = suggest::nearest(&text.raw, choices.iter().map(|(word, _)| *word));
    let message = format!("`{key}` cannot be \"{}\"", show(&text.raw));
    reader.report(
        &text.span,
        Diagnostic::error(Code::BadChoice, message)
            .suggest(nearest.map(|nearest| format!("did you mean \"{nearest}\"?")))
            .help(format!("it is one of {}", words.join(", "))),
    );
    None
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
                self.wrong_type("a list of strings");
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
