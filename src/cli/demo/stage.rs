//! What the demo stands on: a directory with issuer, tokens and config, the sample backend, and
//! a gateway that can be stopped and started again. Kept between runs, so that what was revoked
//! still is.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::app::{Gateway, Options, Source};
use crate::cli::failure::Failure;
use crate::cli::files;
use crate::clock::UnixMs;
use crate::config;
use crate::telemetry::access::Format;
use crate::token::Compact;

use super::backend::Backend;
use super::issuer::{AUDIENCE, DemoIssuer, ISS};

/// Tokens that end sooner than this are made anew at the start.
const LEFT_MIN_S: i64 = 600;
/// Ports tried in turn before any free one is taken.
const PORTS_TRIED: u16 = 20;

/// File stem, user and device of each token.
const TOKENS: [(&str, &str, &str); 3] =
    [("alice", "alice", "laptop"), ("alice-phone", "alice", "phone"), ("bob", "bob", "laptop")];

/// See the module.
pub struct Stage {
    directory: PathBuf,
    /// As commands name it.
    shown: PathBuf,
    backend: Backend,
    pub gateway_port: u16,
    pub admin_port: u16,
    /// The directory was there before.
    pub kept: bool,
    /// Its tokens had ended, or were about to.
    pub renewed: bool,
}

impl Stage {
    /// `wanted` ports are taken where they are free; `shown` is how commands to paste name the
    /// directory.
    pub fn set(directory: &Path, shown: &Path, wanted: (u16, u16)) -> Result<Self, Failure> {
        let failed = |what: &Path| {
            let what = what.display().to_string();
            move |cause: io::Error| Failure::Write { what, cause }
        };
        let key = directory.join("issuer.pem");
        refuse_what_is_not_ours(directory, &key)?;
        files::private_directory(directory).map_err(failed(directory))?;
        let kept = key.exists();
        let issuer = issuer(&key)?;
        let renewed = tokens(directory, &issuer)?;
        let jwks = issuer.key().jwks().unwrap_or_default().to_string();
        let path = directory.join("issuer.jwks.json");
        files::replace_private(&path, jwks.as_bytes()).map_err(failed(&path))?;
        let backend = Backend::start(Arc::new(issuer)).map_err(|cause| Failure::Write {
            what: "the sample backend's socket".into(),
            cause,
        })?;
        let stage = Self {
            directory: directory.to_owned(),
            shown: shown.to_owned(),
            backend,
            gateway_port: free_port(wanted.0)?,
            admin_port: free_port(wanted.1)?,
            kept,
            renewed: renewed && kept,
        };
        let path = directory.join("gateway.toml");
        files::replace_private(&path, stage.config().as_bytes()).map_err(failed(&path))?;
        Ok(stage)
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    pub fn shown(&self) -> &Path {
        &self.shown
    }

    /// Where the gateway is called.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.gateway_port)
    }

    /// Starts the gateway on the stage's ports.
    pub fn start(&self, log: Box<dyn io::Write + Send>) -> Result<Gateway, Failure> {
        let path = self.directory.join("gateway.toml");
        let source: Source = Box::new(move || config::load(&path));
        let loaded = source().map_err(|found| Failure::Config(Box::new(found)))?;
        let options = Options {
            log_format: Format::Text,
            log_sink: log,
            admin_token: None,
            source,
            replace: false,
        };
        Gateway::start(loaded, options).map_err(|fault| Failure::Start(Box::new(fault)))
    }

    fn config(&self) -> String {
        let (gateway, admin, backend) =
            (self.gateway_port, self.admin_port, self.backend.address());
        format!(
            r#"# Written by `portcullis demo` at each start. Your own begins with `portcullis init`.

[server]
listen = "127.0.0.1:{gateway}"
drain_timeout = "1s"

[admin]
listen = ["127.0.0.1:{admin}", "unix:data/admin.sock"]

[[issuer]]
name = "demo"
issuer = "{ISS}"
audiences = ["{AUDIENCE}"]
algorithms = ["ES256"]
max_lifetime = "1h"
display = "email"
keys = {{ jwks_file = "issuer.jwks.json" }}

[[upstream]]
name = "sample"
servers = ["http://{backend}"]

[[route]]
path = "/api/"
credentials = ["bearer", "cookie:session"]
identity = {{ "X-Auth-Subject" = "sub", "X-Auth-Email" = "email" }}
upstream = "sample"

[[route]]
path = "/ws"
credentials = ["bearer", "cookie:session"]
identity = {{ "X-Auth-Subject" = "sub" }}
upstream = "sample"

[[route]]
path = "/"
access = "public"
upstream = "sample"
"#
        )
    }
}

/// A directory that is somebody else's is not written into.
fn refuse_what_is_not_ours(directory: &Path, key: &Path) -> Result<(), Failure> {
    let is_empty = match fs::read_dir(directory) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => true,
        Err(cause) => return Err(Failure::Read { what: directory.display().to_string(), cause }),
    };
    if is_empty || key.exists() {
        return Ok(());
    }
    Err(Failure::Refused(format!(
        "{} holds something else than a demo: name another with --dir",
        directory.display()
    )))
}

fn issuer(key: &Path) -> Result<DemoIssuer, Failure> {
    let signing = |error: crate::keys::MintError| {
        Failure::Refused(format!("the demo's issuer has no key: {error}"))
    };
    match fs::read_to_string(key) {
        Ok(pem) => DemoIssuer::from_pem(&pem).map_err(signing),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let issuer = DemoIssuer::generate().map_err(signing)?;
            let pem = issuer.key().to_pem();
            let pem = pem.as_ref().map(crate::secret::Secret::expose).unwrap_or_default();
            files::create_private(key, pem)
                .map_err(|cause| Failure::Write { what: key.display().to_string(), cause })?;
            Ok(issuer)
        }
        Err(cause) => Err(Failure::Read { what: key.display().to_string(), cause }),
    }
}

/// Writes the tokens unless those there still hold; `true`: they were made now.
fn tokens(directory: &Path, issuer: &DemoIssuer) -> Result<bool, Failure> {
    let end = UnixMs::now().secs() + LEFT_MIN_S;
    let holds = |stem: &str| {
        fs::read_to_string(directory.join(format!("{stem}.jwt"))).is_ok_and(|token| {
            let parsed = Compact::parse(token.trim()).ok();
            let exp = parsed.and_then(|token| token.claims.0.get("exp")?.as_i64());
            exp.is_some_and(|exp| exp > end)
        })
    };
    if TOKENS.iter().all(|(stem, _, _)| holds(stem)) {
        return Ok(false);
    }
    for (stem, user, device) in TOKENS {
        let token = issuer
            .token(user, device)
            .map_err(|error| Failure::Refused(format!("cannot sign: {error}")))?;
        let forms = [
            (format!("{stem}.jwt"), format!("{token}\n")),
            (stem.to_owned(), format!("Authorization: Bearer {token}\n")),
            (format!("{stem}.cookie"), format!("Cookie: session={token}\n")),
        ];
        for (name, content) in forms {
            let path = directory.join(name);
            files::replace_private(&path, content.as_bytes())
                .map_err(|cause| Failure::Write { what: path.display().to_string(), cause })?;
        }
    }
    Ok(true)
}

/// The wanted port or one of the next, else any that is free; 0 asks for any.
fn free_port(wanted: u16) -> Result<u16, Failure> {
    let candidates = (0..PORTS_TRIED).filter_map(|step| wanted.checked_add(step));
    let candidates = candidates.filter(|port| *port != 0).take_while(|_| wanted != 0);
    for port in candidates.chain([0]) {
        if let Ok(listener) = std::net::TcpListener::bind(("127.0.0.1", port))
            && let Ok(address) = listener.local_addr()
        {
            return Ok(address.port());
        }
    }
    Err(Failure::Refused("no port of 127.0.0.1 is free".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_port_gives_way_to_the_next_free_one() {
        let busy = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = busy.local_addr().unwrap().port();
        let other = free_port(port).unwrap();
        assert_ne!(other, port);
        assert_ne!(free_port(0).unwrap(), 0);
    }

    #[test]
    fn a_directory_of_somebody_else_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("notes.txt"), "mine").unwrap();
        let refused = Stage::set(directory.path(), directory.path(), (0, 0)).err().unwrap();
        assert!(refused.to_string().contains("something else than a demo"), "{refused}");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn tokens_and_key_stay_as_long_as_they_hold() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("demo");
        let read = |name: &str| fs::read_to_string(directory.join(name)).unwrap();
        let first = Stage::set(&directory, &directory, (0, 0)).unwrap();
        assert!(!first.kept && !first.renewed);
        let (key, token) = (read("issuer.pem"), read("alice.jwt"));
        assert!(config::load(&directory.join("gateway.toml")).is_ok());
        drop(first);
        let again = Stage::set(&directory, &directory, (0, 0)).unwrap();
        assert!(again.kept && !again.renewed);
        assert_eq!((read("issuer.pem"), read("alice.jwt")), (key.clone(), token));
        fs::write(directory.join("alice.jwt"), "gone").unwrap();
        drop(again);
        let renewed = Stage::set(&directory, &directory, (0, 0)).unwrap();
        assert!(renewed.renewed);
        assert_eq!(read("issuer.pem"), key);
    }
}
