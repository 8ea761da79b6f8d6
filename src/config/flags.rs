//! The smallest configuration from the command line: flags become the text of a `gateway.toml`,
//! which is then read like any other, so flags can say nothing that a file could not.

use std::fmt::Write as _;

/// What `run` takes instead of a file.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    pub listen: Vec<String>,
    pub admin_listen: Vec<String>,
    pub store: Option<String>,
    /// Servers of the one upstream.
    pub upstream: Vec<String>,
    pub issuer: Option<String>,
    pub audiences: Vec<String>,
    pub jwks_url: Option<String>,
    pub jwks_file: Option<String>,
    pub pem_file: Option<String>,
    pub secret_env: Option<String>,
    pub secret_file: Option<String>,
    /// A cookie that may carry the token, besides the bearer header.
    pub cookie: Option<String>,
}

/// The text of the equivalent file.
pub fn from_flags(flags: &Flags) -> String {
    let mut out = String::new();
    let mut table = |name: &str, lines: &[(&str, Option<String>)]| {
        let _ = writeln!(out, "{name}");
        for (key, value) in lines {
            if let Some(value) = value {
                let _ = writeln!(out, "{key} = {value}");
            }
        }
        out.push('\n');
    };
    table("[server]", &[("listen", list(&flags.listen))]);
    table("[admin]", &[("listen", list(&flags.admin_listen))]);
    table("[store]", &[("path", text(flags.store.as_deref()))]);
    let keys = [
        ("jwks_url", &flags.jwks_url),
        ("jwks_file", &flags.jwks_file),
        ("pem_file", &flags.pem_file),
        ("secret_env", &flags.secret_env),
        ("secret_file", &flags.secret_file),
    ];
    let keys: Vec<String> = keys
        .into_iter()
        .filter_map(|(key, value)| Some(format!("{key} = {}", quote(value.as_deref()?))))
        .collect();
    let issuer = [
        ("name", Some(quote("main"))),
        ("issuer", text(flags.issuer.as_deref())),
        ("audiences", list(&flags.audiences)),
        ("keys", Some(format!("{{ {} }}", keys.join(", ")))),
    ];
    table("[[issuer]]", &issuer);
    let upstream = [("name", Some(quote("app"))), ("servers", list(&flags.upstream))];
    table("[[upstream]]", &upstream);
    let cookie = flags.cookie.as_ref().map(|name| format!("cookie:{name}"));
    let carriers = cookie.map(|cookie| vec!["bearer".to_owned(), cookie]);
    let route = [
        ("path", Some(quote("/"))),
        ("credentials", carriers.as_deref().and_then(list)),
        ("upstream", Some(quote("app"))),
    ];
    table("[[route]]", &route);
    out
}

fn text(value: Option<&str>) -> Option<String> {
    value.map(quote)
}

fn list(values: &[String]) -> Option<String> {
    let quoted: Vec<String> = values.iter().map(|value| quote(value)).collect();
    (!quoted.is_empty()).then(|| format!("[{}]", quoted.join(", ")))
}

/// A TOML basic string that reads as exactly `value`: the shell has filled in its variables
/// already, so a `${` stands for itself.
pub fn quote(value: &str) -> String {
    let mut out = String::from("\"");
    for symbol in value.replace("${", "$${").chars() {
        match symbol {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            symbol if symbol.is_control() => {
                let _ = write!(out, "\\u{:04X}", u32::from(symbol));
            }
            symbol => out.push(symbol),
        }
    }
    out.push('"');
    out
}
