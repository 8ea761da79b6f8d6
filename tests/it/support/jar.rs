//! A browser's cookies, as far as tests need them: set, replaced, cleared by Max-Age=0.

use std::collections::BTreeMap;

use super::Answer;

/// Names and values, in the order of names.
#[derive(Clone, Default, Debug)]
pub struct Jar(pub BTreeMap<String, String>);

impl Jar {
    /// Takes what an answer sets.
    pub fn take(&mut self, answer: &Answer) {
        for line in answer.all("set-cookie") {
            let (pair, attributes) = line.split_once(';').unwrap_or((line, ""));
            let (name, value) = pair.split_once('=').expect("a cookie has a name");
            if attributes.contains("Max-Age=0;") || value.is_empty() {
                self.0.remove(name);
            } else {
                self.0.insert(name.to_owned(), value.to_owned());
            }
        }
    }

    /// The Cookie header.
    pub fn header(&self) -> String {
        let pairs: Vec<String> =
            self.0.iter().map(|(name, value)| format!("{name}={value}")).collect();
        pairs.join("; ")
    }
}
