//! Where the admin API is: `--admin` or PORTCULLIS_ADMIN, else what the config says, else the
//! defaults. A broken config must not keep an operator from revoking: of such a one the three
//! values needed are read here, leniently, and a wrong guess shows as "not reachable". Of one that
//! was named and is not there nothing is guessed that could be another gateway's.

use std::path::{Path, PathBuf};

use crate::config::{self, Listen};

use super::arguments::Global;
use super::failure::Failure;
use super::http::Address;

/// The addresses in the order of trying, and where the first credential is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Admin {
    pub addresses: Vec<Address>,
    pub first_token: PathBuf,
    /// The file that named them, for the message when none answers; `None`: by `--admin`.
    pub config: Option<PathBuf>,
}

impl Admin {
    pub fn find(global: &Global) -> Result<Self, Failure> {
        let found = match crate::config::load(&global.config) {
            Ok(loaded) => Self::from_valid(&loaded.config.admin),
            Err(_) => {
                let text = std::fs::read_to_string(&global.config).unwrap_or_default();
                let directory = global.config.parent().unwrap_or(Path::new(""));
                let found = Self::from_broken(&text, directory);
                let is_absent = matches!(global.config.try_exists(), Ok(false));
                match global.is_config_named && is_absent {
                    true => found.beside_it_only(),
                    false => found,
                }
            }
        };
        match &global.admin {
            None => Ok(Self { config: Some(global.config.clone()), ..found }),
            Some(given) => {
                let address = parse(given)
                    .map_err(|why| Failure::usage(format!("--admin: `{given}` {why}.")))?;
                Ok(Self { addresses: vec![address], ..found })
            }
        }
    }

    fn from_valid(admin: &config::Admin) -> Self {
        let addresses = admin.listen.iter().map(|listen| match listen {
            Listen::Unix(path) => Address::Unix(path.clone()),
            Listen::Tcp(at) => Address::Tcp(reachable(&at.to_string())),
        });
        let first_token = admin.first_token.clone();
        Self { addresses: addresses.collect(), first_token, config: None }.sockets_first()
    }

    /// What has the name of a config's directory in it: the port is every gateway's.
    fn beside_it_only(mut self) -> Self {
        self.addresses.retain(|address| matches!(address, Address::Unix(_)));
        self
    }

    /// A unix socket needs no credential.
    fn sockets_first(mut self) -> Self {
        self.addresses.sort_by_key(|address| matches!(address, Address::Tcp(_)));
        self
    }

    fn from_broken(text: &str, directory: &Path) -> Self {
        let table = text.parse::<toml::Table>().unwrap_or_default();
        let member = |section: &str, name: &str| table.get(section).and_then(|s| s.get(name));
        let path = member("store", "path").and_then(toml::Value::as_str).unwrap_or("data");
        let store = directory.join(path);
        let listen: Vec<&str> = match member("admin", "listen") {
            Some(toml::Value::String(one)) => vec![one],
            Some(toml::Value::Array(several)) => {
                several.iter().filter_map(toml::Value::as_str).collect()
            }
            Some(_) | None => Vec::new(),
        };
        let mut addresses: Vec<Address> = listen
            .into_iter()
            .filter_map(|text| match text.strip_prefix("unix:") {
                Some(path) => Some(Address::Unix(directory.join(path))),
                None => parse(&reachable(text)).ok(),
            })
            .collect();
        if addresses.is_empty() {
            addresses = vec![
                Address::Unix(store.join("admin.sock")),
                Address::Tcp("127.0.0.1:9900".into()),
            ];
        }
        Self { addresses, first_token: store.join("admin.token"), config: None }.sockets_first()
    }
}

/// A listener on every address is called on loopback.
fn reachable(listen: &str) -> String {
    let any = ["0.0.0.0:", "[::]:", "*:"].iter().find_map(|any| listen.strip_prefix(any));
    match any {
        Some(port) => format!("127.0.0.1:{port}"),
        None => listen.to_owned(),
    }
}

/// `http://127.0.0.1:9900`, `127.0.0.1:9900`, `unix:data/admin.sock`, `data/admin.sock`.
fn parse(text: &str) -> Result<Address, &'static str> {
    if let Some(path) = text.strip_prefix("unix://").or_else(|| text.strip_prefix("unix:")) {
        return Ok(Address::Unix(PathBuf::from(path)));
    }
    if text.starts_with("https://") {
        return Err(
            "is https: the admin API speaks plain HTTP on loopback or a unix socket; use a tunnel",
        );
    }
    if let Some(rest) = text.strip_prefix("http://") {
        let authority = rest.trim_end_matches('/');
        let Ok(authority) = authority.parse::<http::uri::Authority>() else {
            return Err("is not a URL of a host and a port, such as http://127.0.0.1:9900");
        };
        return Ok(Address::Tcp(match authority.port_u16() {
            Some(_) => authority.to_string(),
            None => format!("{authority}:80"),
        }));
    }
    if !text.contains("://") && (text.contains('/') || text.ends_with(".sock")) {
        return Ok(Address::Unix(PathBuf::from(text)));
    }
    match text.parse::<http::uri::Authority>() {
        Ok(authority) if authority.port_u16().is_some() => Ok(Address::Tcp(authority.to_string())),
        Ok(_) | Err(_) => Err("is neither http://HOST:PORT nor unix:PATH"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::arguments::Arguments;

    #[test]
    fn an_address_is_a_url_or_a_socket() {
        let tcp = Address::Tcp("127.0.0.1:9900".into());
        assert_eq!(parse("http://127.0.0.1:9900"), Ok(tcp.clone()));
        assert_eq!(parse("http://127.0.0.1:9900/"), Ok(tcp.clone()));
        assert_eq!(parse("127.0.0.1:9900"), Ok(tcp));
        assert_eq!(parse("unix:data/admin.sock"), Ok(Address::Unix("data/admin.sock".into())));
        assert!(parse("ftp://127.0.0.1:9900").is_err());
        assert_eq!(parse("/run/admin.sock"), Ok(Address::Unix("/run/admin.sock".into())));
        for wrong in ["https://gw:9900", "gateway", "http://", "http://a b"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_config_says_where_and_the_unix_socket_comes_first() {
        let text =
            "[store]\npath = \"state\"\n[admin]\nlisten = [\"0.0.0.0:9911\", \"unix:a.sock\"]";
        let admin = Admin::from_broken(text, Path::new("/srv/gw"));
        assert_eq!(
            admin.addresses,
            [Address::Unix("/srv/gw/a.sock".into()), Address::Tcp("127.0.0.1:9911".into())]
        );
        assert_eq!(admin.first_token, Path::new("/srv/gw/state/admin.token"));
    }

    #[test]
    fn a_broken_or_missing_config_leaves_the_defaults() {
        let admin = Admin::from_broken("[admin\nlisten", Path::new(""));
        assert_eq!(
            admin.addresses,
            [Address::Unix("data/admin.sock".into()), Address::Tcp("127.0.0.1:9900".into())]
        );
    }

    #[test]
    fn of_a_config_that_was_named_and_is_not_there_no_port_is_guessed() {
        let found = |line: &[&str]| {
            let words = ["portcullis"].iter().chain(line).chain(&["status"]);
            let arguments = Arguments::parse(words.map(Into::into).collect()).unwrap();
            Admin::find(&arguments.global).unwrap().addresses
        };
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join("staging.toml");
        let name = config.to_str().unwrap();
        let beside = Address::Unix(directory.path().join("data/admin.sock"));
        let port = Address::Tcp("127.0.0.1:9900".into());
        assert_eq!(found(&["-c", name]), std::slice::from_ref(&beside));
        let said = found(&["-c", name, "--admin", "127.0.0.1:9900"]);
        assert_eq!(said, std::slice::from_ref(&port), "who says where is not held up");
        std::fs::write(&config, "[[route").unwrap();
        assert_eq!(found(&["-c", name]), [beside, port], "a broken one keeps nobody from revoking");
    }
}
