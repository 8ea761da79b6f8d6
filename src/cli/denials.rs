//! `denials`: what is in force, as a table for people, tab-separated RFC 3339 for pipes, one JSON
//! object a line for programs.

use std::fmt::Write as _;

use super::arguments::{Denials, Global};
use super::client::Client;
use super::console::{Console, Look, json_text};
use super::exit::Exit;
use super::failure::Failure;
use super::list::Listed;
use super::query::path_segment;
use super::shapes::{Denial, Time};
use super::table::table;
use super::words;

pub fn run(denials: &Denials, global: &Global, console: &Console) -> Result<Exit, Failure> {
    let client = Client::new(global)?;
    match denials {
        Denials::One(id) => one(&client, id, global, console),
        Denials::List(list) => match list.read("/v1/denials", &client, console)? {
            Some(Listed { items, in_force }) => {
                console.say_always(&render_list(&items, in_force, &console.look))
            }
            None => Ok(()),
        },
    }?;
    Ok(Exit::Done)
}

fn one(client: &Client, id: &str, global: &Global, console: &Console) -> Result<(), Failure> {
    let answer = client.read(&format!("/v1/denials/{}", path_segment(id)))?;
    if console.json {
        return console.say_always(&json_text(&answer.raw));
    }
    let denial = answer.shown::<Denial>("the gateway")?;
    console.say_always(&render_one(&denial, &global.again(), &console.look))
}

/// The condition for a column: `blocked`, `tokens before 11:14:02`.
pub(super) fn effect(denial: &Denial, look: &Look) -> String {
    match (denial.issued_before, denial.version_below) {
        (Some(before), _) => format!("tokens before {}", column_time(before, look)),
        (None, Some(version)) => format!("version below {version}"),
        (None, None) if denial.selector.is_one_token() => "ended".to_owned(),
        (None, None) => "blocked".to_owned(),
    }
}

fn column_time(at: Time, look: &Look) -> String {
    if look.terminal { words::bare_clock(at.0, look.now) } else { at.0.rfc3339() }
}

fn age(at: Option<Time>, look: &Look) -> String {
    match at {
        Some(at) if look.terminal => words::short_span(look.now.since(at.0)),
        Some(at) => at.0.rfc3339(),
        None => "-".to_owned(),
    }
}

fn ends(denial: &Denial, look: &Look) -> String {
    if let Some(at) = denial.undone_at {
        let when = age(Some(at), look);
        let word = if denial.state.as_deref() == Some("ended") { "ended" } else { "undone" };
        return if look.terminal { format!("{word} {when} ago") } else { format!("{word} {when}") };
    }
    match denial.ends_at {
        Some(at) if look.terminal && at.0 <= look.now => "due".to_owned(),
        Some(at) if look.terminal => format!("in {}", words::short_span(at.0.since(look.now))),
        Some(at) => at.0.rfc3339(),
        None => "never".to_owned(),
    }
}

fn last_hit(denial: &Denial, look: &Look) -> String {
    match denial.last_hit_at {
        Some(at) if look.terminal => format!("{} ago", words::short_span(look.now.since(at.0))),
        Some(at) => at.0.rfc3339(),
        None => "-".to_owned(),
    }
}

const HEADINGS: [&str; 8] = ["ID", "WHAT", "EFFECT", "REASON", "BY", "AGE", "ENDS", "LAST HIT"];

fn row(denial: &Denial, look: &Look) -> [String; 8] {
    let text = |text: Option<&str>| match text {
        Some(text) if !text.is_empty() => text.to_owned(),
        Some(_) | None => "-".to_owned(),
    };
    [
        text(denial.id.as_deref()),
        denial.selector.words(denial.issuer.as_deref()),
        effect(denial, look),
        text(denial.reason.as_deref()),
        text(denial.created_by.as_ref().map(|by| by.name.as_str())),
        age(denial.created_at, look),
        ends(denial, look),
        last_hit(denial, look),
    ]
}

fn render_list(denials: &[Denial], in_force: Option<u64>, look: &Look) -> String {
    let rows: Vec<[String; 8]> = denials.iter().map(|denial| row(denial, look)).collect();
    if !look.terminal {
        let mut text = String::new();
        for row in &rows {
            let _ = writeln!(text, "{}", row.join("\t"));
        }
        return text;
    }
    if rows.is_empty() {
        return match in_force {
            Some(0) | None => "Nothing is in force.\n".to_owned(),
            Some(number) => format!("None of {} in force is like that.\n", words::count(number)),
        };
    }
    let mut text = table(HEADINGS, &rows, look);
    let of = in_force.map(|number| format!(" of {} in force", words::count(number)));
    let _ = writeln!(
        text,
        "\n{}{}, newest first, times in UTC. --user --session --key --claim --reason --by --since --all --json",
        words::count(rows.len() as u64),
        of.unwrap_or_default()
    );
    text
}

fn render_one(denial: &Denial, again: &str, look: &Look) -> String {
    let id = denial.id.as_deref().unwrap_or_default();
    let mut text = format!("{}\n", look.paint.bold(id));
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "  {name:<10} {value}");
    };
    let at = |at: Time| {
        format!("{} ({})", words::clock(at.0, look.now), words::relative(at.0, look.now))
    };
    line("what", &denial.selector.words(denial.issuer.as_deref()));
    line("effect", &effect(denial, look));
    if let Some(issuer) = &denial.issuer {
        line("issuer", issuer);
    }
    if let Some(except) = &denial.except {
        line("kept", &except.words(None));
    }
    if let Some(reason) = denial.reason.as_deref().filter(|reason| !reason.is_empty()) {
        line("reason", &format!("\"{reason}\""));
    }
    if let Some(reference) = &denial.reference {
        line("reference", reference);
    }
    if let Some(created) = denial.created_at {
        line("made", &at(created));
    }
    if let Some(by) = &denial.created_by {
        line("by", &by.words());
    }
    line("ends", &denial.ends_at.map_or("never, unless undone".to_owned(), at));
    line("last hit", &denial.last_hit_at.map_or("-".to_owned(), at));
    match denial.undone_at {
        Some(undone) => {
            line("undone", &at(undone));
            if let Some(by) = &denial.undone_by {
                line("undone by", &by.words());
            }
            if let Some(reason) = denial.undo_reason.as_deref() {
                line("because", &format!("\"{reason}\""));
            }
        }
        None => line("undo", &format!("{again} undo {id}")),
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::console::Paint;
    use crate::clock::UnixMs;

    fn look(terminal: bool) -> Look {
        let now = UnixMs::parse_rfc3339("2026-11-21T11:15:03Z").unwrap();
        Look { paint: Paint::PLAIN, terminal, now }
    }

    fn page() -> Vec<Denial> {
        serde_json::from_value(json!([
            { "id": "dn_4kq7t2m9xa000000", "subject": "alice", "issuer": "main",
              "issued_before": "2026-11-21T11:14:02Z", "reason": "lost laptop",
              "created_at": "2026-11-21T11:14:01.211Z", "created_by": { "name": "dana" },
              "ends_at": "2026-11-21T23:16:32Z", "last_hit_at": "2026-11-21T11:15:00Z" },
            { "id": "dn_4kq7r0e1bd000000", "session": "s-81f3", "always": true,
              "created_at": "2026-11-21T10:34:01Z", "created_by": { "name": "shop-app" } },
            { "id": "dn_4km1b8z6ts000000", "claim": { "name": "tenant", "value": "acme" },
              "version_below": 7, "reason": "roles changed", "created_at": "2026-11-09T10:00:00Z",
              "created_by": { "name": "iam" }, "undone_at": "2026-11-21T11:00:00Z" } ]))
        .unwrap()
    }

    #[test]
    fn a_terminal_gets_a_table_with_relative_times_and_a_footer() {
        assert_eq!(
            render_list(&page(), Some(1204), &look(true)),
            "\
ID                   WHAT            EFFECT                  REASON         BY        AGE  ENDS            LAST HIT
dn_4kq7t2m9xa000000  user alice      tokens before 11:14:02  lost laptop    dana      1m   in 12h          3s ago
dn_4kq7r0e1bd000000  session s-81f3  blocked                 -              shop-app  41m  never           -
dn_4km1b8z6ts000000  tenant=acme     version below 7         roles changed  iam       12d  undone 15m ago  -

3 of 1,204 in force, newest first, times in UTC. --user --session --key --claim --reason --by --since --all --json
"
        );
    }

    #[test]
    fn a_pipe_gets_tabs_and_absolute_times_and_no_footer() {
        let text = render_list(&page()[..1], Some(1204), &look(false));
        assert_eq!(
            text,
            "dn_4kq7t2m9xa000000\tuser alice\ttokens before 2026-11-21T11:14:02Z\tlost laptop\t\
             dana\t2026-11-21T11:14:01.211Z\t2026-11-21T23:16:32Z\t2026-11-21T11:15:00Z\n"
        );
    }

    #[test]
    fn an_empty_list_says_so_to_people_and_nothing_to_programs() {
        assert_eq!(render_list(&[], Some(0), &look(true)), "Nothing is in force.\n");
        assert_eq!(render_list(&[], Some(7), &look(true)), "None of 7 in force is like that.\n");
        assert_eq!(render_list(&[], Some(0), &look(false)), "");
    }

    #[test]
    fn one_denial_shows_its_history() {
        let text = render_one(&page()[0], "portcullis", &look(true));
        assert_eq!(
            text,
            "\
dn_4kq7t2m9xa000000
  what       user alice
  effect     tokens before 11:14:02
  issuer     main
  reason     \"lost laptop\"
  made       11:14:01 UTC (61 s ago)
  by         dana
  ends       23:16:32 UTC (in 12 h 1 min)
  last hit   11:15:00 UTC (3 s ago)
  undo       portcullis undo dn_4kq7t2m9xa000000
"
        );
        let undone = render_one(&page()[2], "portcullis", &look(true));
        assert!(undone.contains("undone     11:00:00 UTC (15 min ago)"), "{undone}");
        assert!(!undone.contains("portcullis undo"), "{undone}");
    }
}
