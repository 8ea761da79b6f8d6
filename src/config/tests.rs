//! The reader as a whole: what loads, how mistakes are shown, and that no secret is ever shown.

mod assertion_cases;
mod cases;
mod documents;
mod initial;
mod route_cases;
mod screens;
mod secrets;
mod upstream_cases;

use std::path::{Path, PathBuf};

use super::*;

/// A directory with the key files that the examples name.
struct Place {
    directory: tempfile::TempDir,
}

const SECRET: &str = "a-shared-secret-of-at-least-64-bytes-that-must-never-be-printed-anywhere";
const JWKS: &str = include_str!("../../docs/example/issuer.jwks.json");

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let place = Self { directory };
        place.file("keys.json", JWKS.as_bytes());
        place.file("secret", format!("{SECRET}\n").as_bytes());
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn file(&self, name: &str, bytes: &[u8]) {
        use std::io::Write as _;
        use std::os::unix::fs::OpenOptionsExt as _;
        let mut options = std::fs::OpenOptions::new();
        let mut file = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(self.path(name))
            .unwrap();
        file.write_all(bytes).unwrap();
    }

    fn parse(&self, text: &str) -> Result<Loaded, Diagnostics> {
        let environment = |name: &str| match name {
            "JWT_SECRET" => Some(SECRET.to_owned()),
            "OTHER" => Some("another-secret-of-a-length".to_owned()),
            "SHORT" => Some("hunter2".to_owned()),
            "LISTEN" => Some("127.0.0.1:1234".to_owned()),
            _ => None,
        };
        parse(text, &self.path("gateway.toml"), &environment)
    }

    fn good(&self, text: &str) -> Loaded {
        self.parse(text).unwrap_or_else(|found| panic!("{found}"))
    }

    /// The diagnostics of a text that cannot be used.
    fn bad(&self, text: &str) -> Diagnostics {
        self.parse(text).err().unwrap_or_else(|| panic!("accepted:\n{text}"))
    }
}

const SMALLEST: &str = r#"
[server]
listen = "127.0.0.1:8080"

[[issuer]]
name = "main"
issuer = "https://id.example.com/"
audiences = ["https://api.example.com"]
keys = { jwks_file = "keys.json" }

[[upstream]]
name = "app"
servers = ["http://127.0.0.1:3000"]

[[route]]
path = "/"
upstream = "app"
"#;

const LISTEN: &str = "listen = \"127.0.0.1:8080\"";
const KEYS: &str = "keys = { jwks_file = \"keys.json\" }";
const SERVERS: &str = "servers = [\"http://127.0.0.1:3000\"]";
const AUDIENCES: &str = "audiences = [\"https://api.example.com\"]";
const PATH: &str = "path = \"/\"";
const TO: &str = "upstream = \"app\"";

#[test]
fn the_smallest_file_loads_with_safe_defaults() {
    let loaded = Place::new().good(SMALLEST);
    assert_eq!(loaded.notes.items, []);
    let config = loaded.config;
    let policy = &config.issuers[0].policy;
    assert_eq!(policy.iss.as_deref(), Some("https://id.example.com/"));
    assert_eq!(policy.id.as_str(), "https://id.example.com/");
    assert_eq!(policy.max_lifetime, Duration::from_secs(86_400));
    assert_eq!(policy.leeway, Duration::from_secs(30));
    assert_eq!(policy.missing, crate::verify::Missing::default());
    assert!(policy.algorithms.iter().all(|algorithm| !algorithm.is_symmetric()));
    assert_eq!(config.issuers[0].keys.keys().len(), 1);
    let route = &config.routes[0];
    assert_eq!((route.access, route.forward), (Access::Required, Forward::Strip));
    assert_eq!(route.credentials, [Carrier::Bearer]);
    assert_eq!(route.name, "* /");
    assert_eq!(route.line, 15);
    assert!(config.server.trusted_proxies.is_empty());
    assert!(config.admin.listen.iter().all(|listen| match listen {
        Listen::Tcp(address) => address.ip().is_loopback(),
        Listen::Unix(_) => true,
    }));
}

#[test]
fn a_file_without_upstreams_is_told_of_them_where_something_needs_one() {
    let (before, after) = SMALLEST.split_once("[[upstream]]").unwrap();
    let (_, route) = after.split_once("[[route]]").unwrap();
    let said = |routes: &str| {
        let found = Place::new().bad(&format!("{before}{routes}"));
        found.items.iter().map(|item| item.message.clone()).collect::<Vec<_>>()
    };
    assert_eq!(said(&format!("[[route]]{route}")), ["no upstream is named \"app\""]);
    assert_eq!(said(""), ["the config needs a [[upstream]]", "the config needs a [[route]]"]);
    Place::new().good(&format!("{before}[[route]]{}", route.replace(TO, "answer = {}")));
}

#[test]
fn a_config_file_that_cannot_be_read_is_one_diagnostic() {
    let place = Place::new();
    let codes = |path: &Path| -> Vec<Code> {
        load(path).unwrap_err().items.iter().map(|item| item.code).collect()
    };
    assert_eq!(codes(&place.path("none.toml")), [Code::Unreadable]);
    place.file("latin.toml", b"# caf\xe9\n");
    assert_eq!(codes(&place.path("latin.toml")), [Code::Unreadable]);
    place.file("good.toml", SMALLEST.as_bytes());
    assert!(load(&place.path("good.toml")).is_ok());
}

#[test]
fn a_broken_line_hides_no_other_mistake_and_invents_none() {
    let text = SMALLEST
        .replacen("name = \"main\"", "name = main", 1)
        .replacen("servers", "server", 1)
        .replacen(PATH, "path = \"/%2e\"", 1);
    let found = Place::new().bad(&text);
    let seen: Vec<(Code, usize)> =
        found.items.iter().map(|item| (item.code, item.place.as_ref().unwrap().line)).collect();
    assert_eq!(seen, [(Code::Syntax, 6), (Code::UnknownKey, 13), (Code::BadPath, 16)], "{found}");
}

#[test]
fn an_unset_variable_is_named_with_its_line() {
    let text = SMALLEST.replacen(SERVERS, "servers = [\"${BACKEND}\"]", 1);
    let found = Place::new().bad(&text);
    assert_eq!(found.items.len(), 1, "{found}");
    assert_eq!(found.items[0].message, "the environment variable BACKEND is not set");
    assert_eq!(found.items[0].place.as_ref().unwrap().line, 13);
}

#[test]
fn routes_are_ordered_by_what_they_say_and_not_by_where_they_stand() {
    let routes = [
        ("*", "path = \"/\""),
        ("*", "path = \"/api/\""),
        ("*.example.com", "path = \"/\""),
        ("*.b.example.com", "path = \"/\""),
        ("a.example.com", "path = \"/\""),
        ("a.example.com", "path = \"/api\""),
        ("a.example.com", "path_exact = \"/\""),
        ("b.example.com", "path = \"/x\""),
    ];
    let expected = [
        "a.example.com /api",
        "a.example.com =/",
        "a.example.com /",
        "b.example.com /x",
        "*.b.example.com /",
        "*.example.com /",
        "* /api/",
        "* /",
    ];
    let place = Place::new();
    for turn in 0..routes.len() {
        let mut text = SMALLEST.split("[[route]]").next().unwrap().to_owned();
        for (host, path) in routes.iter().cycle().skip(turn).take(routes.len()) {
            text += &format!("[[route]]\nhost = \"{host}\"\n{path}\nupstream = \"app\"\n");
        }
        let routes = place.good(&text).config.routes;
        let names: Vec<&str> = ordered(&routes).iter().map(|route| route.name.as_str()).collect();
        assert_eq!(names, expected);
    }
}

#[test]
fn a_secret_file_loses_one_newline_and_an_admin_token_keeps_its_limits() {
    let text = format!(
        "{}\n[[admin.token]]\nname = \"shop\"\nrole = \"revoker\"\nfile = \"secret\"\nissuers = [\"main\"]\n",
        SMALLEST.replacen(KEYS, "keys = { secret_file = \"secret\", kid = \"a\" }", 1)
    );
    let config = Place::new().good(&text).config;
    let token = &config.admin.tokens[0];
    assert!(token.secret.matches(SECRET.as_bytes()));
    assert_eq!(
        (token.role, token.issuers.as_deref()),
        (Role::Revoker, Some(&["main".to_owned()][..]))
    );
    assert_eq!(config.issuers[0].keys.keys()[0].kid(), Some("a"));
    assert_eq!(config.issuers[0].policy.algorithms, [crate::keys::Algorithm::HS256]);
}

#[test]
fn an_issuer_without_iss_is_known_by_its_id() {
    let text = SMALLEST
        .replacen(
            "issuer = \"https://id.example.com/\"",
            "id = \"shop\"\nmissing = [\"iss\", \"aud\"]",
            1,
        )
        .replacen(AUDIENCES, "claims = { subject = \"/data/id\" }", 1);
    let loaded = Place::new().good(&text);
    let policy = &loaded.config.issuers[0].policy;
    assert_eq!((policy.id.as_str(), &policy.iss), ("shop", &None));
    assert_eq!(policy.claims.subject.to_string(), "/data/id");
    assert_eq!(loaded.notes.count(Severity::Warning), 2);
}

#[test]
fn flags_make_the_same_configuration_as_the_file() {
    let place = Place::new();
    let flags = Flags {
        listen: vec!["127.0.0.1:8080".into()],
        upstream: vec!["http://127.0.0.1:3000".into()],
        issuer: Some("https://id.example.com/".into()),
        audiences: vec!["https://api.example.com".into()],
        jwks_file: Some("keys.json".into()),
        ..Flags::default()
    };
    let (from_file, from_flags) = (place.good(SMALLEST), place.good(&super::from_flags(&flags)));
    assert_eq!(from_file.config.issuers[0].policy, from_flags.config.issuers[0].policy);
    assert_eq!(format!("{:?}", from_file.config.server), format!("{:?}", from_flags.config.server));
    assert_eq!(from_file.config.routes[0].path, from_flags.config.routes[0].path);
    // Nothing that a flag says can become another key.
    let hostile = "a\"\nname = \"b${HOME}\\";
    let flags = Flags { issuer: Some(hostile.into()), ..flags };
    let loaded = place.good(&super::from_flags(&flags));
    assert_eq!(loaded.config.issuers[0].policy.iss.as_deref(), Some(hostile));
}

#[test]
fn a_pod_is_warned_that_its_store_is_its_own() {
    let place = Place::new();
    let codes = |pod: bool| -> Vec<Code> {
        let environment =
            |name: &str| (pod && name == "KUBERNETES_SERVICE_HOST").then(|| "10.0.0.1".to_owned());
        let loaded = parse(SMALLEST, &place.path("gateway.toml"), &environment).unwrap();
        loaded.notes.items.iter().map(|item| item.code).collect()
    };
    assert_eq!(codes(true), [Code::OnePerPod]);
    assert_eq!(codes(false), []);
}
