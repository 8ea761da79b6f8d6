//! The reader as a whole: what loads, how mistakes are shown, and that no secret is ever shown.

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
fn three_mistakes_come_out_in_one_run() {
    let place = Place::new();
    let text = r#"[server]
listen = "127.0.0.1:8080"

[[issuer]]
name = "main"
issuer = "https://id.example.com/"
audience = "https://api.example.com"
keys = { pem_file = "keys/main.pem" }

[[upstream]]
name = "app"
servers = ["http://127.0.0.1:3000"]

[[route]]
path = "/"
access = "required"
upstream = "ap"
"#;
    let found = place.bad(text);
    let directory = place.directory.path().display();
    let expected = format!(
        r#"error[C012]: unknown key `audience` in [[issuer]]
  --> {directory}/gateway.toml:7:1
  |
7 | audience = "https://api.example.com"
  | ^^^^^^^^ did you mean `audiences`?
  = help: it is a list: audiences = ["https://api.example.com"]

error[C040]: the key file cannot be read
  --> {directory}/gateway.toml:8:21
  |
8 | keys = {{ pem_file = "keys/main.pem" }}
  |                     ^^^^^^^^^^^^^^^
  = {directory}/keys/main.pem: no such file
  = help: relative paths start at the config file's directory

error[C031]: no upstream is named "ap"
  --> {directory}/gateway.toml:17:12
   |
17 | upstream = "ap"
   |            ^^^^ did you mean "app" (line 11)?

3 errors in {directory}/gateway.toml. Nothing was changed; a running gateway keeps the config it has.
"#
    );
    assert_eq!(found.render(false), expected);
}
