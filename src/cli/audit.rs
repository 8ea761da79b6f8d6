//! `audit`: who denied and took back what, newest first.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Deserialize;

use super::arguments::Global;
use super::client::Client;
use super::console::{Console, Look};
use super::exit::Exit;
use super::failure::Failure;
use super::list::List;
use super::shapes::{By, Selector, Time};
use super::table::table;
use super::words;

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Act {
    pub(super) at: Option<Time>,
    action: String,
    denial: String,
    counts: BTreeMap<String, u64>,
    by: Option<By>,
    reason: Option<String>,
    issuer: Option<String>,
    #[serde(flatten)]
    selector: Selector,
}

pub fn run(list: &List, global: &Global, console: &Console) -> Result<Exit, Failure> {
    let client = Client::new(global)?;
    if let Some(listed) = list.read::<Act>("/v1/audit", &client, console)? {
        console.say_always(&render(&listed.items, &console.look))?;
    }
    Ok(Exit::Done)
}

impl Act {
    /// `dana denied user alice "lost laptop"  dn_…`.
    pub(super) fn in_a_line(&self, at: &str) -> String {
        let by = self.by.as_ref().map_or("-".to_owned(), By::words);
        let mut text = format!("{at}  {by}  {}", self.action);
        let what = self.what();
        if !what.is_empty() {
            let _ = write!(text, " {what}");
        }
        if let Some(reason) = self.reason.as_deref().filter(|reason| !reason.is_empty()) {
            let _ = write!(text, " \"{}\"", words::printable_line(reason));
        }
        if !self.denial.is_empty() {
            let _ = write!(text, "  {}", self.denial);
        }
        text.push('\n');
        text
    }

    fn what(&self) -> String {
        if self.counts.is_empty() {
            return match &self.issuer {
                None => String::new(),
                Some(issuer) => self.selector.words(Some(issuer)),
            };
        }
        let count = |(name, n): (&String, &u64)| format!("{} {name}", words::count(*n));
        self.counts.iter().map(count).collect::<Vec<_>>().join(", ")
    }
}

fn render(acts: &[Act], look: &Look) -> String {
    let text = |text: Option<&str>| match text {
        Some(text) if !text.is_empty() => text.to_owned(),
        Some(_) | None => "-".to_owned(),
    };
    let rows: Vec<[String; 6]> = acts
        .iter()
        .map(|act| {
            let at = match act.at {
                Some(at) if look.terminal => words::clock(at.0, look.now),
                Some(at) => at.0.rfc3339(),
                None => "-".to_owned(),
            };
            [
                at,
                act.by.as_ref().map_or("-".to_owned(), By::words),
                act.action.clone(),
                text(Some(&act.what())),
                text(act.reason.as_deref()),
                text(Some(&act.denial)),
            ]
        })
        .collect();
    if look.terminal {
        return match rows.as_slice() {
            [] => "Nothing was done that is like that, or it is forgotten.\n".to_owned(),
            rows => table(["WHEN", "BY", "DID", "WHAT", "REASON", "DENIAL"], rows, look),
        };
    }
    let mut out = String::new();
    for row in &rows {
        let _ = writeln!(out, "{}", row.join("\t"));
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::console::Paint;
    use crate::clock::UnixMs;

    #[test]
    fn an_act_says_when_who_what_and_why() {
        let acts: Vec<Act> = serde_json::from_value(json!([
            {"at": "2026-11-21T11:20:11Z", "action": "undone", "denial": "dn_4kq7t2m9xa000000",
             "by": {"name": "dana", "via": "cli", "address": "10.0.0.9"}, "reason": "false alarm",
             "issuer": "main", "subject": "alice", "always": true}]))
        .unwrap();
        let now = UnixMs::parse_rfc3339("2026-11-21T11:30:00Z").unwrap();
        let look = |terminal| Look { paint: Paint::PLAIN, terminal, now };
        assert_eq!(
            render(&acts, &look(false)),
            "2026-11-21T11:20:11Z\tdana (cli, 10.0.0.9)\tundone\tuser alice\tfalse alarm\t\
             dn_4kq7t2m9xa000000\n"
        );
        let text = render(&acts, &look(true));
        assert!(text.starts_with("WHEN") && text.contains("dana (cli, 10.0.0.9)"), "{text}");
        let many: Vec<Act> = serde_json::from_value(json!([
            {"at": "2026-11-21T11:20:11Z", "action": "batch", "by": {"name": "dana", "via": "api"},
             "counts": {"lines": 1_000_000, "created": 999_999}},
            {"at": "2026-11-21T11:20:11Z", "action": "reloaded", "by": {"name": "file"}}]))
        .unwrap();
        let text = render(&many, &look(false));
        assert!(text.contains("\tbatch\t999,999 created, 1,000,000 lines\t-\t-\n"), "{text}");
        assert!(text.contains("\treloaded\t-\t-\t-\n"), "{text}");
        assert!(render(&[], &look(true)).starts_with("Nothing"));
    }
}
