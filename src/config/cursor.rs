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
use super::environment::Environment;
use super::item::{Item, Text};
use super::source::Source;
use super::suggest;

pub type Span = Range<usize>;

/// What one reading shares: the text, the environment, the diagnostics.
pub struct Reader<'s> {
    pub source: &'s Source,
    pub environment: &'s Environment<'s>,
    base: PathBuf,
    found: RefCell<Vec<Diagnostic>>,
    /// Files that the document names, for whoever watches them.
    named: RefCell<BTreeSet<PathBuf>>,
    /// Keys that exist, by table; `false`: known, not supported by this version.
    asked: RefCell<BTreeMap<(String, String), bool>>,
    /// Unknown keys without a suggestion.
    astray: RefCell<Vec<Astray>>,
}

/// A key that its own table does not know.
struct Astray {
    /// Which diagnostic tells of it.
    index: usize,
    /// The kind of the table where it stands.
    table: String,
    key: String,
    /// What it was given, where that is text.
    value: String,
}

impl<'s> Reader<'s> {
    pub fn new(source: &'s Source, environment: &'s Environment<'s>) -> Self {
        Self {
            source,
            environment,
            base: source.path.parent().unwrap_or(Path::new("")).to_owned(),
            found: RefCell::default(),
            named: RefCell::new(BTreeSet::from([source.path.clone()])),
            asked: RefCell::default(),
            astray: RefCell::default(),
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

    /// The path of a file that is read now: a change of it is a change of the configuration.
    pub fn resolve_file(&self, path: &str) -> PathBuf {
        let path = self.resolve(path);
        self.named.borrow_mut().insert(path.clone());
        path
    }

    pub fn named(&self) -> Vec<PathBuf> {
        self.named.borrow().iter().cloned().collect()
    }

    /// Everything found, and the keys that exist. Only now is it known where a key that was
    /// unknown in its own table would belong.
    pub fn into_found(self) -> (Vec<Diagnostic>, BTreeMap<(String, String), bool>) {
        let (mut found, asked) = (self.found.into_inner(), self.asked.into_inner());
        for astray in self.astray.into_inner() {
            if let Some(item) = found.get_mut(astray.index) {
                item.suggestion = astray.home(&asked);
            }
        }
        (found, asked)
    }
}

impl Astray {
    /// Where it would be known, or something like it: in a table below its own, or else in the only
    /// one that knows it at all.
    fn home(&self, asked: &BTreeMap<(String, String), bool>) -> Option<String> {
        let homes = |key: &str, within: &str| {
            let mut tables = asked.keys().filter(|(table, known)| {
                known == key && table.starts_with(within) && *table != self.table
            });
            tables.next().map(|(table, _)| table.as_str()).filter(|_| tables.next().is_none())
        };
        let within = format!("{}.", self.table);
        if let Some(home) = homes(&self.key, &within).or_else(|| homes(&self.key, "")) {
            return Some(belongs(&self.key, home));
        }
        let below = asked.keys().filter(|(table, _)| table.starts_with(&within));
        let below = below.map(|(_, known)| known.as_str());
        let nearest = suggest::nearest_key(&self.key, &self.value, below)?;
        let inner = homes(nearest, &within)?.strip_prefix(&within)?;
        Some(format!("did you mean `{inner}.{nearest}`?"))
    }
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
            in_list: false,
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
            let value = if let DeValue::String(text) = item.value { text } else { "" };
            let nearest = suggest::nearest_key(&item.key, value, known.iter().copied())
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
            if nearest.is_none() {
                self.reader.astray.borrow_mut().push(Astray {
                    index: self.reader.found.borrow().len(),
                    table: self.kind.clone(),
                    key: item.key.clone(),
                    value: value.to_string(),
                });
            }
            self.reader.report(&item.key_span, diagnostic);
        }
        for key in self.missing.borrow().iter().filter(|key| !explained.contains(*key)) {
            let message = format!("{} needs `{key}`", self.title);
            let mut diagnostic = Diagnostic::error(Code::MissingKey, message);
            diagnostic.help = example(key, &self.kind).map(str::to_owned);
            self.reader.report(&self.span, diagnostic);
        }
    }
}

/// What to write for a required key.
fn example(key: &str, table: &str) -> Option<&'static str> {
    Some(match key {
        "audiences" => {
            "the `aud` of its tokens: audiences = [\"https://api.example.com\"]; missing = [\"aud\"] \
             if they carry none"
        }
        "id" => "a lasting name: what is revoked is stored under it, since there is no `iss`",
        "issuer" => {
            "the exact `iss` of its tokens; if they carry none: missing = [\"iss\"] and an `id`"
        }
        "keys" => "where its keys are: keys = { jwks_file = \"keys.json\" }",
        "name" => "what it is called elsewhere: name = \"main\"",
        "path" if table == "upstream.health" => "what is asked for: { path = \"/healthz\" }",
        "path" => "path = \"/\" for everything below, or path_exact for one path",
        "role" => "\"viewer\", \"revoker\", \"operator\" or \"admin\"",
        "hash" => "what requests are placed by: hash = \"claim:sub\"",
        "servers" => "servers = [\"http://127.0.0.1:3000\"]",
        "upstream" => "the name of an [[upstream]]",
        "url" => "where it is: url = \"http://127.0.0.1:3000\"",
        _ => return None,
    })
}

/// Where a key would be known.
fn belongs(key: &str, table: &str) -> String {
    match table {
        "" => format!("it is a table of its own: [{key}]"),
        "issuer" | "upstream" | "route" | "admin.token" => format!("it belongs to [[{table}]]"),
        table => match table.rsplit_once('.') {
            Some((outer @ ("issuer" | "route" | "upstream"), inner)) => {
                format!("it belongs to `{inner}` of [[{outer}]]")
            }
            Some(_) | None => format!("it belongs to [{table}]"),
        },
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
