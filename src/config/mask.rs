//! Which bytes of a configuration text are secret and must not be printed: the value of every key
//! whose name holds `secret`, `token`, `password` or `key`, misspelt ones too, and the user part
//! of a URL. Works on the text, not on the parsed document, because a line with a syntax error is
//! printed as well; when in doubt it masks.

use std::ops::Range;

use super::keys::SHOWN as KEYS_SHOWN;
use super::suggest::distance;

/// Words that make a key secret.
const WORDS: [&str; 5] = ["secret", "token", "password", "passwd", "key"];
/// Keys that hold such a word and no secret. `keys` itself is decided by what it holds.
const HARMLESS: [&str; 3] = ["token_bytes_max", "keys_max_stale", "token_url"];
/// What may be shown of an `[[admin.token]]` table.
const ADMIN_TOKEN_SHOWN: [&str; 3] = ["name", "role", "issuers"];

/// See the module. The ranges are sorted and cover whole literals.
pub fn secret_ranges(text: &str) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    Scan::new(text, 0, Shown::ByName).run(&mut ranges);
    // Once more, line by line: an unclosed quote or bracket above must not hide a secret below.
    let mut start = 0;
    let mut section = Shown::ByName;
    for line in text.split_inclusive('\n') {
        section = Scan::new(line, start, section).run(&mut ranges);
        start += line.len();
    }
    user_parts(text, &mut ranges);
    merge(ranges)
}

/// `user:password@` of a URL.
fn user_parts(text: &str, ranges: &mut Vec<Range<usize>>) {
    for (at, _) in text.match_indices("://") {
        let start = at + 3;
        let rest = text.get(start..).unwrap_or("");
        // A password may hold a slash, so everything up to the last `@` counts.
        let stop = rest.find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ','));
        let stop = stop.unwrap_or(rest.len());
        if let Some(sign) = rest.get(..stop).unwrap_or("").rfind('@') {
            ranges.push(start..start + sign);
        }
    }
}

fn merge(mut ranges: Vec<Range<usize>>) -> Vec<Range<usize>> {
    ranges.retain(|range| !range.is_empty());
    ranges.sort_by_key(|range| range.start);
    let mut merged: Vec<Range<usize>> = Vec::new();
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range.start < last.end => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    merged
}

/// How the values of a table are treated.
#[derive(Clone, Copy)]
enum Shown {
    /// By the name of each key.
    ByName,
    None,
    /// These keys only.
    Only(&'static [&'static str]),
}

#[derive(Clone, Copy)]
struct Open {
    is_table: bool,
    shown: Shown,
}

/// A forgiving reader of TOML: it never fails, and comes back into step at the next line.
struct Scan<'t> {
    text: &'t str,
    base: usize,
    at: usize,
    stack: Vec<Open>,
    section: Shown,
    /// The key being read, segments joined by dots; `None` while a value is read.
    key: Option<String>,
    /// What the value after the key may show.
    value: Shown,
    direct: bool,
}

impl<'t> Scan<'t> {
    fn new(text: &'t str, base: usize, section: Shown) -> Self {
        Self {
            text,
            base,
            at: 0,
            stack: Vec::new(),
            section,
            key: Some(String::new()),
            value: Shown::ByName,
            direct: false,
        }
    }

    /// Collects the ranges; the answer is the section at the end.
    fn run(mut self, ranges: &mut Vec<Range<usize>>) -> Shown {
        while let Some(symbol) = self.rest().chars().next() {
            let start = self.at;
            match symbol {
                '\n' => {
                    self.at += 1;
                    if self.stack.is_empty() {
                        self.key = Some(String::new());
                    }
                }
                '#' => {
                    self.at += self.line_length();
                    if self.slice(start).to_lowercase().split_whitespace().any(is_secret) {
                        self.mask(start, ranges);
                    }
                }
                '[' if self.at_line_start() => self.header(),
                '[' | '{' => {
                    self.at += 1;
                    self.open(symbol == '{');
                }
                ']' | '}' => {
                    self.at += 1;
                    self.stack.pop();
                    self.key = None;
                }
                ',' => {
                    self.at += 1;
                    if self.stack.last().is_some_and(|open| open.is_table) {
                        self.key = Some(String::new());
                    }
                }
                '=' | ':' if self.key.is_some() => {
                    self.at += 1;
                    self.assign();
                }
                symbol if symbol.is_whitespace() => self.at += symbol.len_utf8(),
                _ => self.word(ranges),
            }
        }
        self.section
    }

    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or("")
    }

    fn slice(&self, start: usize) -> &'t str {
        self.text.get(start..self.at).unwrap_or("")
    }

    fn line_length(&self) -> usize {
        self.rest().find('\n').unwrap_or(self.rest().len())
    }

    fn mask(&self, start: usize, ranges: &mut Vec<Range<usize>>) {
        ranges.push(self.base + start..self.base + self.at);
    }

    fn at_line_start(&self) -> bool {
        self.stack.is_empty() && self.key.as_deref() == Some("")
    }

    /// `[a.b]` or `[[a.b]]`: what its keys may show.
    fn header(&mut self) {
        let start = self.at;
        self.at += self.line_length();
        let line = self.slice(start);
        let name = line.split('#').next().unwrap_or("").trim_matches(['[', ']', ' ', '\t', '\r']);
        let last = name.rsplit('.').next().unwrap_or("").trim_matches(['"', '\'', ' ']);
        let section = match last {
            "token" => Shown::Only(&ADMIN_TOKEN_SHOWN),
            "keys" => Shown::Only(&KEYS_SHOWN),
            _ if name.split('.').any(|part| part != "keys" && is_secret(part)) => Shown::None,
            _ => Shown::ByName,
        };
        // Only a header that is whole, on a line of its own, may loosen what the last one said.
        let before = self.text.get(..start).and_then(|text| text.rsplit('\n').next());
        let own_line = before.is_some_and(|before| before.trim().is_empty());
        let closed = line.split('#').next().unwrap_or("").trim_end().ends_with(']');
        let whole = own_line && closed && !last.is_empty();
        if whole || !matches!(section, Shown::ByName) {
            self.section = section;
        }
    }

    /// After `=`: what the value may show.
    fn assign(&mut self) {
        let key = self.key.take().unwrap_or_default();
        let around = self.stack.last().map_or(self.section, |open| open.shown);
        let last = key.rsplit('.').next().unwrap_or("");
        // A value whose key is lost may be anything.
        let by_name =
            if key.is_empty() || key.split('.').any(|part| part != "keys" && is_secret(part)) {
                Shown::None
            } else if last == "keys" {
                Shown::Only(&KEYS_SHOWN)
            } else if key.split('.').any(|part| part == "keys") && !KEYS_SHOWN.contains(&last) {
                Shown::None
            } else {
                Shown::ByName
            };
        self.value = match around {
            Shown::ByName => by_name,
            Shown::None => Shown::None,
            Shown::Only(shown) if shown.contains(&last) => Shown::ByName,
            Shown::Only(_) => Shown::None,
        };
        // `keys = "…"` is a secret in the wrong place; `keys = { … }` is a table.
        self.direct = !matches!(self.value, Shown::ByName);
    }

    fn open(&mut self, is_table: bool) {
        // An element of a list shows what the list does, whatever the key before it was.
        let value = match self.stack.last() {
            Some(list) if !list.is_table => list.shown,
            Some(_) | None => self.value,
        };
        let shown = match (is_table, value) {
            (false, Shown::Only(_)) => Shown::None,
            (_, shown) => shown,
        };
        self.stack.push(Open { is_table, shown });
        if is_table {
            self.key = Some(String::new());
        } else {
            self.value = shown;
        }
    }

    /// A quoted or bare word: part of a key, or a value.
    fn word(&mut self, ranges: &mut Vec<Range<usize>>) {
        let start = self.at;
        let quoted = self.take_word();
        let word = self.slice(start);
        match &mut self.key {
            Some(key) => {
                if key.split('.').any(|part| part != "keys" && is_secret(part)) {
                    // `secret hunter2`: the equals sign was forgotten.
                    ranges.push(self.base + start..self.base + self.at);
                }
                key.push_str(word.trim_matches(['"', '\'']));
            }
            None if self.direct => {
                if !quoted {
                    // A value without quotes ends where the line does, at the latest.
                    self.at = start + self.text.get(start..).and_then(bare_end).unwrap_or(0);
                }
                self.mask(start, ranges);
            }
            None => {}
        }
    }

    /// Moves past one word; true when it was quoted.
    fn take_word(&mut self) -> bool {
        let rest = self.rest();
        for fence in ["\"\"\"", "'''"] {
            if let Some(body) = rest.strip_prefix(fence) {
                self.at += 3 + body.find(fence).map_or(body.len(), |end| end + 3);
                return true;
            }
        }
        let mut symbols = rest.char_indices();
        if let Some((_, quote @ ('"' | '\''))) = symbols.next() {
            let mut escaped = false;
            for (at, symbol) in symbols {
                match symbol {
                    '\n' => {
                        self.at += at;
                        return true;
                    }
                    '\\' if quote == '"' && !escaped => escaped = true,
                    symbol if symbol == quote && !escaped => {
                        self.at += at + 1;
                        return true;
                    }
                    _ => escaped = false,
                }
            }
            self.at += rest.len();
            return true;
        }
        let end = rest
            .find(|c: char| {
                c.is_whitespace() || matches!(c, '=' | ':' | ',' | '[' | ']' | '{' | '}' | '#')
            })
            .unwrap_or(rest.len());
        // Every call moves on, also at a symbol that belongs nowhere.
        self.at += end.max(rest.chars().next().map_or(1, char::len_utf8));
        false
    }
}

/// Where an unquoted value ends: at the line's end, or at what closes its table or array.
fn bare_end(text: &str) -> Option<usize> {
    let line = text.lines().next()?;
    let end = line.find(['}', ']']).filter(|at| *at > 0).unwrap_or(line.len());
    Some(line.get(..end)?.trim_end().len())
}

/// The name holds one of the words, or is one of them misspelt.
fn is_secret(name: &str) -> bool {
    let name = name.trim_matches(['"', '\'', ' ']).to_lowercase();
    if name == "keys" || HARMLESS.contains(&name.as_str()) {
        return false;
    }
    WORDS.iter().any(|word| name.contains(word))
        || ["secret", "secrets", "secret_env", "secret_file", "password", "token"]
            .iter()
            .any(|word| distance(&name, word) <= 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(text: &str) -> String {
        let mut out = String::new();
        let mut at = 0;
        for range in secret_ranges(text) {
            out.push_str(&text[at..range.start]);
            out.push('…');
            at = range.end;
        }
        out + &text[at..]
    }

    #[test]
    fn values_of_secret_keys_are_masked_and_others_are_not() {
        assert_eq!(masked("secret = \"hunter2\""), "secret = …");
        assert_eq!(masked("path = \"hunter2\""), "path = \"hunter2\"");
        let pair = "[{ chain = \"a\", key = \"b\" }, { chain = \"c\", key = \"d\" }]";
        let shown = "[{ chain = \"a\", key = … }, { chain = \"c\", key = … }]";
        assert_eq!(masked(&format!("pairs = {pair}")), format!("pairs = {shown}"));
        assert_eq!(masked("token_bytes_max = \"16KiB\""), "token_bytes_max = \"16KiB\"");
        assert_eq!(masked("secrt = 'hunter2' # x"), "secrt = … # x");
        assert_eq!(masked("api_key = 12345678"), "api_key = …");
        assert_eq!(masked("keys.secret = \"hunter2\""), "keys.secret = …");
    }

    #[test]
    fn a_keys_table_shows_its_files_and_nothing_else() {
        assert_eq!(
            masked("keys = { pem_file = \"keys/main.pem\" }"),
            "keys = { pem_file = \"keys/main.pem\" }"
        );
        assert_eq!(masked("keys = { value = \"hunter2\" }"), "keys = { value = … }");
        assert_eq!(masked("keys = \"hunter2\""), "keys = …");
        assert_eq!(masked("keys = [\"hunter2\", 'x']"), "keys = […, …]");
        assert_eq!(
            masked("keys = { secrets = { a = { env = \"X\" }, b = \"hunter2\" } }\nname = \"n\""),
            "keys = { secrets = { a = { env = … }, b = … } }\nname = \"n\""
        );
        assert_eq!(
            masked("[issuer.keys.secrets]\na = \"hunter2\"\n[[route]]\na = \"x\""),
            "[issuer.keys.secrets]\na = …\n[[route]]\na = \"x\""
        );
    }

    #[test]
    fn an_admin_token_shows_its_name_and_role() {
        assert_eq!(
            masked("[[admin.token]]\nname = \"shop\"\nvalue = \"hunter2\"\nrole = \"viewer\"\n"),
            "[[admin.token]]\nname = \"shop\"\nvalue = …\nrole = \"viewer\"\n"
        );
    }

    #[test]
    fn broken_lines_are_masked_too() {
        assert_eq!(masked("secret = \"hunter2"), "secret = …");
        assert_eq!(masked("secret = hunter2 and more"), "secret = …");
        assert_eq!(masked("secret: hunter2"), "secret: …");
        assert_eq!(masked("secret hunter2"), "secret …");
        assert_eq!(masked("a = \"\"\"\nb\nsecret = \"hunter2\""), "a = \"\"\"\nb\nsecret = …");
        assert_eq!(masked("a = [\nsecret = \"hunter2\""), "a = [\nsecret = …");
        assert_eq!(masked("secret = \"\"\"\nhunter2\n\"\"\"\nb = 1"), "secret = …\nb = 1");
        assert_eq!(masked("= \"hunter2\""), "= …");
        assert_eq!(
            masked("a = '''\n[[admin.token]]\nvalue = \"hunter2\""),
            "a = '''\n[[admin.token]]\nvalue = …"
        );
        assert_eq!(masked("x = 1 # secret = hunter2"), "x = 1 …");
    }

    #[test]
    fn the_user_part_of_a_url_is_masked() {
        assert_eq!(
            masked("servers = [\"http://dana:hunter2@10.0.0.1:80/\"]"),
            "servers = [\"http://…@10.0.0.1:80/\"]"
        );
        assert_eq!(masked("a = \"http://dana:a/b@c\""), "a = \"http://…@c\"");
        assert_eq!(masked("a = \"http://10.0.0.1/x\""), "a = \"http://10.0.0.1/x\"");
    }
}
