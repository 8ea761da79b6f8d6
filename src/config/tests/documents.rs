//! The example file and the reference say what the reader does: every key, every code, the
//! defaults.

use std::collections::BTreeSet;

use super::super::load::parse_with_keys;
use super::*;

const REFERENCE: &str = include_str!("../../../docs/configuration.md");
const EXAMPLE: &str = include_str!("../../../gateway.toml");

/// A text that opens every table, so that every key is asked for.
const EVERYTHING: &str = r#"
[server]
limits = {}
tls = { certificates = [{ chain = "DIRECTORY/chain.pem", key = "DIRECTORY/key.pem" }] }
[[listener]]
listen = "127.0.0.1:8081"
[store]
[log]
[session]
[assertion]
issuer = "https://gateway.example"
client = [{ name = "a", audience = "a", may_call = ["b"], secret_env = "JWT_SECRET" }]
[admin]
token = [{ name = "a", role = "admin", env = "JWT_SECRET" }]
[[issuer]]
name = "main"
issuer = "a"
audiences = ["a"]
claims = {}
keys = { secrets = { a = { env = "JWT_SECRET" } } }
[[upstream]]
name = "app"
servers = [{ url = "http://127.0.0.1:3000" }]
[[route]]
path = "/"
headers = {}
cors = { origins = ["https://a.example"] }
rewrite = { add_prefix = "/x" }
request_headers = {}
response_headers = {}
require = { claims = [{ claim = "a", equals = 1 }] }
capture = { token = "/a", remove = ["/b"] }
upstream = "app"
[[route]]
path = "/a"
access = "public"
answer = {}
[[route]]
path = "/r"
access = "public"
redirect = { to = "/a" }
"#;

/// The keys that the reader knows, `table.key`, by whether this version supports them.
fn known(supported: bool) -> BTreeSet<String> {
    let environment = |name: &str| (name == "JWT_SECRET").then(|| SECRET.to_owned());
    let place = tempfile::tempdir().unwrap();
    let own = rcgen::generate_simple_self_signed(["a.example".to_owned()]).unwrap();
    std::fs::write(place.path().join("chain.pem"), own.cert.pem()).unwrap();
    std::fs::write(place.path().join("key.pem"), own.signing_key.serialize_pem()).unwrap();
    let text = EVERYTHING.replace("DIRECTORY", place.path().to_str().unwrap());
    let (loaded, keys) = parse_with_keys(&text, Path::new("gateway.toml"), &environment);
    assert!(loaded.is_ok(), "{loaded:?}");
    let dotted = |table: &str, key: &str| match table {
        "" => key.to_owned(),
        table => format!("{table}.{key}"),
    };
    keys.iter()
        .filter(|(_, is_supported)| **is_supported == supported)
        .map(|((table, key), _)| dotted(table, key))
        .collect()
}

/// First cells of the table rows below a heading.
fn rows(heading: &str) -> BTreeSet<String> {
    let section = REFERENCE
        .split("\n## ")
        .find(|section| section.lines().next().unwrap().trim_matches(['[', ']']) == heading)
        .unwrap_or_else(|| panic!("no section {heading}"));
    section
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
        .map(|(cell, _)| cell.to_owned())
        .collect()
}

#[test]
fn the_reference_lists_exactly_the_keys_that_the_reader_knows() {
    let mut documented = rows("The file");
    let tables = [
        "server",
        "server.tls",
        "server.tls.certificates",
        "server.limits",
        "listener",
        "admin",
        "admin.token",
        "store",
        "log",
        "session",
        "assertion",
        "assertion.client",
        "metrics",
        "tracing",
        "issuer",
        "issuer.claims",
        "issuer.keys",
        "issuer.keys.secrets.KID",
        "issuer.renewal",
        "issuer.renewal.endpoint",
        "upstream",
        "upstream.servers",
        "upstream.retry",
        "upstream.ejection",
        "upstream.queue",
        "upstream.health",
        "upstream.tls",
        "route",
        "route.assertion",
        "route.cors",
        "route.rewrite",
        "route.request_headers",
        "route.response_headers",
        "route.answer",
        "route.redirect",
        "route.require",
        "route.capture",
        "route.streams",
        "route.require.claims",
    ];
    for table in tables {
        documented.extend(rows(table).into_iter().map(|key| format!("{table}.{key}")));
    }
    let known = known(true);
    let missing: Vec<_> = known.difference(&documented).collect();
    let invented: Vec<_> = documented.difference(&known).collect();
    assert!(
        missing.is_empty() && invented.is_empty(),
        "not there: {missing:?}; not known: {invented:?}"
    );
    assert_eq!(rows("Not in this version"), self::known(false));
}

#[test]
fn the_reference_lists_every_code_and_no_other() {
    let documented: Vec<&str> =
        REFERENCE.lines().filter_map(|line| line.strip_prefix("| C")?.split(' ').next()).collect();
    let codes: Vec<String> =
        Code::ALL.iter().map(|code| code.to_string()[1..].to_owned()).collect();
    assert_eq!(documented, codes);
}

#[test]
fn the_examples_of_the_reference_load() {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md"));
    let mut count = 0;
    for block in REFERENCE.split("```toml\n").skip(1) {
        let text = block.split("```").next().unwrap();
        if !text.contains("[[route]]") {
            continue;
        }
        count += 1;
        let loaded = parse(text, path, &|_| None);
        assert!(loaded.is_ok(), "{}", loaded.err().unwrap());
    }
    assert_eq!(count, 2);
}

fn example(text: &str) -> Result<Loaded, Diagnostics> {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/gateway.toml"));
    // Nothing of the environment: it must start on any machine.
    parse(text, path, &|_| None)
}

#[test]
fn the_example_file_starts_as_it_is() {
    let loaded = example(EXAMPLE).unwrap_or_else(|found| panic!("{found}"));
    assert_eq!(loaded.notes.items, []);
    assert_eq!(loaded.config.server.listen, [Listen::Tcp(([127, 0, 0, 1], 8080).into())]);
    let server = ServerAddress::Tcp { host: "127.0.0.1".to_owned(), port: 3000, tls: false };
    let servers = &loaded.config.upstreams[0].servers;
    assert_eq!(servers.iter().map(|server| &server.address).collect::<Vec<_>>(), [&server]);
}

#[test]
fn the_commented_options_of_the_example_file_are_the_defaults() {
    let is_option = |line: &str| line.starts_with(|c: char| c.is_ascii_lowercase());
    let mut count = 0;
    let mut uncommented = String::new();
    for line in EXAMPLE.lines() {
        let option = line.strip_prefix('#').filter(|rest| is_option(rest));
        count += usize::from(option.is_some());
        // The name of a route is not a default but an example.
        uncommented += option.filter(|rest| !rest.starts_with("name")).unwrap_or(line);
        uncommented.push('\n');
    }
    assert!(count > 30, "{count}");
    let all = example(&uncommented).unwrap_or_else(|found| panic!("{found}"));
    let bare: String = EXAMPLE
        .lines()
        .filter(|line| !line.starts_with('#'))
        .fold(String::new(), |text, line| text + line + "\n");
    let bare = example(&bare).unwrap();
    let shown = |config: &Config| {
        let route = Route { line: 0, ..config.routes[0].clone() };
        format!(
            "{:#?}\n{:#?}\n{:#?}\n{:#?}\n{:#?}\n{:#?}\n{route:#?}",
            config.server,
            config.admin,
            config.store,
            config.log,
            config.issuers[0].policy,
            config.upstreams,
        )
    };
    assert_eq!(shown(&all.config), shown(&bare.config));
}

#[test]
fn the_example_file_mentions_every_key() {
    for key in known(true) {
        let name = key.rsplit('.').next().unwrap();
        let mut words = EXAMPLE.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        // The one source that costs a warning is not advertised.
        assert!(key == "issuer.keys.secret" || words.any(|word| word == name), "{key}");
    }
}
