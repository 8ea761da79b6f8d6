//! The config of a test, put together table by table, in a directory of its own.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;
use tempfile::TempDir;

use super::{Gateway, Issuer, Key, Upstream};

/// A config file being written. Every listener is on a loopback port of the system's choice.
pub struct Setup {
    dir: Arc<TempDir>,
    listen: String,
    server: String,
    admin: String,
    store: String,
    tables: String,
    upstreams: Vec<String>,
    routes: usize,
    environment: Vec<(String, String)>,
}

impl Setup {
    pub fn new() -> Self {
        Self {
            dir: Arc::new(TempDir::with_prefix("portcullis-test-").unwrap()),
            listen: "\"127.0.0.1:0\"".into(),
            server: String::new(),
            admin: String::new(),
            store: String::new(),
            tables: String::new(),
            upstreams: Vec::new(),
            routes: 0,
            environment: Vec::new(),
        }
    }

    /// The whole of most tests: one issuer, one upstream, one route that requires a token.
    pub fn simple(issuer: &Issuer, upstream: &Upstream) -> Self {
        Self::new().issuer(issuer, "").upstream("app", upstream, "")
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Other public listeners than one loopback port.
    pub fn listen(mut self, value: &str) -> Self {
        self.listen = value.into();
        self
    }

    /// Lines for `[server]`.
    pub fn server(mut self, lines: &str) -> Self {
        self.server.push_str(lines);
        self.server.push('\n');
        self
    }

    /// Lines for `[admin]`.
    pub fn admin(mut self, lines: &str) -> Self {
        self.admin.push_str(lines);
        self.admin.push('\n');
        self
    }

    /// Lines for `[store]`.
    pub fn store(mut self, lines: &str) -> Self {
        self.store.push_str(lines);
        self.store.push('\n');
        self
    }

    /// A file beside the config; its mode is 0600.
    pub fn file(self, name: &str, content: &str) -> Self {
        write_private(&self.dir.path().join(name), content);
        self
    }

    /// A variable of the process's environment.
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// A library of Debian's that stands between the process and the system, where it is installed.
    pub fn preload(self, library: &str) -> Option<Self> {
        let places = ["", "faketime/"].map(|place| format!("/usr/lib/x86_64-linux-gnu/{place}"));
        let places = places.into_iter().chain(["/usr/lib/aarch64-linux-gnu/".into()]);
        let mut found = places.map(|place| place + library).filter(|path| Path::new(path).exists());
        let missing = || {
            super::peers::not_tested(&format!("{library} is not installed; tests/run installs it"))
        };
        let found = found.next().or_else(missing)?;
        Some(self.environment("LD_PRELOAD", &found))
    }

    /// The limits of open files, soft and hard, that the process starts with.
    pub fn open_files(self, soft: u32, hard: u32) -> Self {
        self.environment(super::gateway::OPEN_FILES, &format!("{soft} {hard}"))
    }

    /// A listener for metrics.
    pub fn metrics(self) -> Self {
        self.tables("[metrics]\nlisten = \"127.0.0.1:0\"")
    }

    /// Whole tables, as they are.
    pub fn tables(mut self, text: &str) -> Self {
        self.tables.push_str(text);
        self.tables.push('\n');
        self
    }

    /// An issuer with its key in a file of the kind that suits it, and further lines.
    pub fn issuer(self, issuer: &Issuer, lines: &str) -> Self {
        let keys = match &issuer.key {
            Key::Secret(secret) => {
                let name = format!("{}.secret", issuer.name);
                std::fs::write(self.dir.path().join(&name), secret).unwrap();
                format!("{{ secret_file = \"{name}\" }}")
            }
            key @ (Key::Rsa(_) | Key::P256(_) | Key::P384(_) | Key::Ed25519(_)) => {
                let name = format!("{}.pem", issuer.name);
                std::fs::write(self.dir.path().join(&name), key.public_pem()).unwrap();
                format!("{{ pem_file = \"{name}\" }}")
            }
        };
        self.issuer_with_keys(issuer, &keys, lines)
    }

    /// An issuer whose key is in a JWKS file, under its `kid`.
    pub fn issuer_jwks(self, issuer: &Issuer, lines: &str) -> Self {
        let mut jwk = issuer.key.jwk();
        jwk["alg"] = issuer.algorithm.clone().into();
        if let Some(kid) = &issuer.kid {
            jwk["kid"] = kid.clone().into();
        }
        let name = format!("{}.jwks", issuer.name);
        let set = json!({"keys": [jwk]});
        self.file(&name, &set.to_string()).issuer_with_keys(
            issuer,
            &format!("{{ jwks_file = \"{name}\" }}"),
            lines,
        )
    }

    /// An issuer with the given `keys`.
    pub fn issuer_with_keys(self, issuer: &Issuer, keys: &str, lines: &str) -> Self {
        let text = format!(
            "[[issuer]]\nname = \"{}\"\nissuer = \"{}\"\naudiences = [\"{}\"]\nalgorithms = [\"{}\"]\nkeys = {keys}\n{lines}\n",
            issuer.name, issuer.iss, issuer.audience, issuer.algorithm,
        );
        self.tables(&text)
    }

    /// An upstream of one server, and further lines.
    pub fn upstream(self, name: &str, upstream: &Upstream, lines: &str) -> Self {
        self.upstream_at(name, &upstream.url(), lines)
    }

    /// An upstream of several servers, each as TOML has it, and further lines.
    pub fn upstream_of(mut self, name: &str, servers: &[String], lines: &str) -> Self {
        self.upstreams.push(name.into());
        let servers = servers.join(", ");
        self.tables(&format!("[[upstream]]\nname = \"{name}\"\nservers = [{servers}]\n{lines}\n"))
    }

    pub fn upstream_at(mut self, name: &str, url: &str, lines: &str) -> Self {
        self.upstreams.push(name.into());
        self.tables(&format!("[[upstream]]\nname = \"{name}\"\nservers = [\"{url}\"]\n{lines}\n"))
    }

    /// A route to the first upstream unless the lines name one. Without any route, `/` goes there.
    pub fn route(mut self, path: &str, lines: &str) -> Self {
        self.routes += 1;
        let mut text = format!("[[route]]\npath = \"{path}\"\n{lines}\n");
        if !lines.contains("upstream =") {
            let _ = writeln!(text, "upstream = \"{}\"", self.upstreams[0]);
        }
        self.tables(&text)
    }

    /// The config's text.
    pub fn text(&self) -> String {
        format!(
            "[server]\nlisten = {}\n{}\n[admin]\n{}{}\n[store]\npath = \"data\"\n{}\n{}",
            self.listen,
            self.server,
            if self.admin.contains("listen") { "" } else { "listen = [\"127.0.0.1:0\"]\n" },
            self.admin,
            self.store,
            self.tables,
        )
    }

    /// Writes the file and says where it is.
    pub fn write(mut self) -> (Arc<TempDir>, PathBuf) {
        if self.routes == 0 && !self.upstreams.is_empty() {
            self = self.route("/", "");
        }
        let path = self.dir.path().join("gateway.toml");
        std::fs::write(&path, self.text()).unwrap();
        (self.dir, path)
    }

    /// Starts a gateway with this text instead, in this directory and environment.
    #[track_caller]
    pub fn start_with(mut self, text: &str) -> Gateway {
        let environment = std::mem::take(&mut self.environment);
        let path = self.dir.path().join("gateway.toml");
        std::fs::write(&path, text).unwrap();
        Gateway::start(self.dir, path, environment)
    }

    /// Writes the file and starts a gateway with it; returns when it is ready.
    #[track_caller]
    pub fn start(mut self) -> Gateway {
        let environment = std::mem::take(&mut self.environment);
        let (dir, path) = self.write();
        Gateway::start(dir, path, environment)
    }
}

fn write_private(path: &Path, content: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}
