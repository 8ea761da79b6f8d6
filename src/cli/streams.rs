//! `streams`: what is open, and cutting one. A cut stream may be opened again with the same token:
//! the command says so.

use std::fmt::Write as _;

use clap::{Args, Subcommand};
use serde::Deserialize;

use super::arguments::Global;
use super::client::Client;
use super::console::{Console, Look, json_text};
use super::exit::Exit;
use super::failure::Failure;
use super::help;
use super::list::List;
use super::query::path_segment;
use super::raw::RawMost;
use super::several;
use super::shapes::{Time, Warning};
use super::table::table;
use super::words;

/// Which streams, or which one to cut.
#[derive(Args, Debug, Default)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Streams {
    #[command(subcommand)]
    act: Option<Act>,
    #[arg(long, alias = "subject", value_name = "ID", help_heading = "Which")]
    user: Option<String>,
    #[arg(long, value_name = "ID", help_heading = "Which")]
    session: Option<String>,
    #[arg(long, value_name = "NAME", help_heading = "Which")]
    issuer: Option<String>,
    /// By the route's name in the config
    #[arg(long, value_name = "NAME", help_heading = "Which")]
    route: Option<String>,
    /// websocket, sse, grpc, tunnel, response or request
    #[arg(long, value_name = "KIND", help_heading = "Which")]
    kind: Option<String>,
    #[command(flatten)]
    most: RawMost,
}

#[derive(Subcommand, Debug)]
enum Act {
    /// End one stream; its token stays good
    #[command(after_help = help::STREAMS_CUT)]
    Cut {
        #[arg(value_name = "STREAM", required = true)]
        ids: Vec<String>,
    },
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Stream {
    id: String,
    kind: String,
    subject: Option<String>,
    session: Option<String>,
    route: String,
    opened_at: Option<Time>,
    expires_at: Option<Time>,
    bytes_in: u64,
    bytes_out: u64,
    client: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Cut {
    id: String,
    cut_after_ms: Option<u64>,
    warnings: Vec<Warning>,
}

pub fn run(streams: &Streams, global: &Global, console: &Console) -> Result<Exit, Failure> {
    let client = Client::new(global)?;
    match &streams.act {
        None => list(&client, streams, console).map(|()| Exit::Done),
        Some(Act::Cut { ids }) => several::each(ids, global, |id| cut(&client, id, console)),
    }
}

fn list(client: &Client, streams: &Streams, console: &Console) -> Result<(), Failure> {
    let chosen = [
        ("user", &streams.user),
        ("session", &streams.session),
        ("issuer", &streams.issuer),
        ("route", &streams.route),
        ("kind", &streams.kind),
    ];
    let query = chosen.into_iter().filter_map(|(name, value)| Some((name, value.clone()?)));
    let list = List { query: query.collect(), most: streams.most.items() };
    let Some(listed) = list.read("/v1/streams", client, console)? else {
        return Ok(());
    };
    console.say_always(&render(&listed.items, listed.in_force, &console.look))
}

const HEADINGS: [&str; 9] =
    ["ID", "KIND", "USER", "SESSION", "ROUTE", "OPEN", "ENDS", "IN / OUT", "CLIENT"];

fn render(streams: &[Stream], open: Option<u64>, look: &Look) -> String {
    let rows: Vec<[String; 9]> = streams.iter().map(|stream| row(stream, look)).collect();
    if !look.terminal {
        return rows.iter().map(|row| format!("{}\n", row.join("\t"))).collect();
    }
    let open = open.map(|open| format!(" of {} open", words::count(open)));
    let open = open.unwrap_or_default();
    if rows.is_empty() {
        return format!("No such stream{open}.\n");
    }
    let mut text = table(HEADINGS, &rows, look);
    let _ = writeln!(
        text,
        "\n{}{open}. --user --session --route --kind --all --json; to end one: streams cut ID",
        words::count(rows.len() as u64),
    );
    text
}

fn row(stream: &Stream, look: &Look) -> [String; 9] {
    let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let age = match stream.opened_at {
        Some(at) if look.terminal => words::short_span(look.now.since(at.0)),
        Some(at) => at.0.rfc3339(),
        None => "-".to_owned(),
    };
    let ends = match stream.expires_at {
        Some(at) if look.terminal && at.0 <= look.now => "now".to_owned(),
        Some(at) if look.terminal => format!("in {}", words::short_span(at.0.since(look.now))),
        Some(at) => at.0.rfc3339(),
        None => "never".to_owned(),
    };
    let bytes = if look.terminal {
        format!("{} / {}", size(stream.bytes_in), size(stream.bytes_out))
    } else {
        format!("{}/{}", stream.bytes_in, stream.bytes_out)
    };
    [
        stream.id.clone(),
        stream.kind.clone(),
        text(&stream.subject),
        text(&stream.session),
        stream.route.clone(),
        age,
        ends,
        bytes,
        text(&stream.client),
    ]
}

/// `950`, `12K`, `1.2M`.
fn size(bytes: u64) -> String {
    const UNITS: [(u64, &str); 4] =
        [(1 << 40, "T"), (1 << 30, "G"), (1 << 20, "M"), (1 << 10, "K")];
    let Some((unit, name)) = UNITS.into_iter().find(|(unit, _)| bytes >= *unit) else {
        return bytes.to_string();
    };
    let tenths = bytes / (unit / 10).max(1);
    if tenths < 100 && unit > 1 << 10 {
        format!("{}.{}{name}", tenths / 10, tenths % 10)
    } else {
        format!("{}{name}", bytes / unit)
    }
}

fn cut(client: &Client, id: &str, console: &Console) -> Result<(), Failure> {
    let body = serde_json::json!({});
    let answer = client.post(&format!("/v1/streams/{}/cut", path_segment(id)), &body)?;
    if console.json {
        return console.say_always(&json_text(&answer.raw));
    }
    let cut = answer.shown::<Cut>("the gateway")?;
    let after = cut.cut_after_ms.map(|ms| format!(", after {ms} ms")).unwrap_or_default();
    for warning in &cut.warnings {
        console.remark(&format!("{} {}\n", console.look.paint.yellow("warning:"), warning.words()));
    }
    console.say(&format!("Cut {}{after}.\n", console.look.paint.bold(&cut.id)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::console::Paint;
    use crate::clock::UnixMs;

    #[test]
    fn a_list_says_who_what_since_when_and_how_much() {
        let now = UnixMs::parse_rfc3339("2026-11-21T03:12:40Z").unwrap();
        let look = Look { paint: Paint::PLAIN, terminal: true, now };
        let streams: Vec<Stream> = serde_json::from_value(json!([{
            "id": "st_0000009f2cab", "kind": "websocket", "subject": "bob", "session": "s-12",
            "route": "ws", "opened_at": "2026-11-21T01:12:40Z", "expires_at": "2026-11-21T03:50:40Z",
            "bytes_in": 1200, "bytes_out": 1_250_000, "client": "203.0.113.9" }]))
        .unwrap();
        assert_eq!(
            render(&streams, Some(9871), &look),
            "\
ID               KIND       USER  SESSION  ROUTE  OPEN  ENDS    IN / OUT   CLIENT
st_0000009f2cab  websocket  bob   s-12     ws     2h    in 38m  1K / 1.1M  203.0.113.9

1 of 9,871 open. --user --session --route --kind --all --json; to end one: streams cut ID
"
        );
        assert_eq!(render(&[], Some(3), &look), "No such stream of 3 open.\n");
    }

    #[test]
    fn sizes_are_short() {
        let sizes = [0, 950, 1024, 12 << 10, 1_250_000, 5 << 30];
        assert_eq!(sizes.map(size), ["0", "950", "1K", "12K", "1.1M", "5.0G"]);
    }
}
