//! A client that loops with a dead token: its first lines of each second are written, the rest is
//! counted and told in one line.

use std::collections::HashMap;
use std::net::IpAddr;

use super::Entry;

/// Clients and reasons kept apart within a second. Beyond, every line is written: a flood from so
/// many addresses is worth its lines.
const KEPT_MAX: usize = 4096;

/// See the module.
#[derive(Default)]
pub struct Repeats {
    /// Lines of this second.
    seen: HashMap<(Option<IpAddr>, &'static str), u64>,
    written_max: u64,
}

/// Lines that were not written.
pub struct LeftOut {
    pub client: Option<IpAddr>,
    pub code: &'static str,
    pub lines: u64,
}

impl Repeats {
    /// `max` 0: never.
    pub fn is_one_too_many(&mut self, entry: &Entry<'_>, max: u32) -> bool {
        if max == 0 {
            return false;
        }
        self.written_max = u64::from(max);
        let key = (entry.client, entry.code);
        if self.seen.len() >= KEPT_MAX && !self.seen.contains_key(&key) {
            return false;
        }
        let seen = self.seen.entry(key).or_default();
        *seen += 1;
        *seen > self.written_max
    }

    /// What was left out; a new second begins.
    pub fn take(&mut self) -> Vec<LeftOut> {
        let max = self.written_max;
        let beyond = self.seen.drain().filter(|(_, seen)| *seen > max);
        beyond.map(|((client, code), seen)| LeftOut { client, code, lines: seen - max }).collect()
    }
}
