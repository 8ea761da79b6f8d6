//! `check`: reads the config as `run` would, starts nothing.

use serde_json::{Value, json};

use crate::config::{self, Config, ORDER};
use crate::proxy::ask;

use super::arguments::{Check, Global};
use super::console::{Console, json_text};
use super::exit::Exit;
use super::failure::Failure;

pub fn run(check: &Check, global: &Global, console: &Console) -> Result<Exit, Failure> {
    let loaded = match config::load(&global.config) {
        Ok(loaded) => loaded,
        Err(found) if console.json => {
            console.say_always(&json_text(&found.to_json()))?;
            return Ok(Exit::Config);
        }
        Err(found) => return Err(Failure::Config(Box::new(found))),
    };
    let asked = check.url.as_deref().map(|url| answer(&loaded.config, url));
    if console.json {
        let mut document = config::report_json(&loaded);
        if let (Some(members), Some(asked)) = (document.as_object_mut(), &asked) {
            members.insert("url".to_owned(), asked.document());
        }
        console.say_always(&json_text(&document))?;
    } else {
        console.say(&config::report(&loaded))?;
        if let Some(asked) = &asked {
            console.say_always(&format!("\n{}\n", asked.text()))?;
        }
    }
    Ok(if asked.is_none_or(|asked| asked.found.is_ok()) { Exit::Done } else { Exit::Refused })
}

/// Which route a URL gets.
struct Asked {
    url: String,
    found: Result<Found, Refused>,
}

struct Found {
    number: usize,
    host: String,
    path: String,
    upstream: String,
}

struct Refused {
    status: u16,
    code: &'static str,
    reason: String,
}

/// The data plane's own matcher, on the table it would have.
fn answer(config: &Config, url: &str) -> Asked {
    let (denylist, _writer) =
        crate::denylist::Denylist::new(crate::denylist::Fingerprinter::random());
    let keys = crate::app::unfetched(config, &denylist);
    let published = crate::app::publish(config, &denylist, &keys);
    let found = match ask::route(&published.routes, url) {
        Ok((number, route)) => Ok(Found {
            number,
            host: route.host.shown(),
            path: route.path.shown(),
            upstream: route.upstream.name.clone(),
        }),
        Err(rejection) => Err(Refused {
            status: rejection.status().as_u16(),
            code: rejection.code(),
            reason: rejection.reason(),
        }),
    };
    Asked { url: url.to_owned(), found }
}

impl Asked {
    fn text(&self) -> String {
        match &self.found {
            Ok(Found { number, host, path, upstream }) => format!(
                "{}\n  → route {number}, {host} {path}, upstream {upstream}  ({})",
                self.url, ORDER
            ),
            Err(Refused { status, code, reason }) => {
                format!("{}\n  → no route: {status} {code}, {reason}", self.url)
            }
        }
    }

    fn document(&self) -> Value {
        match &self.found {
            Ok(Found { number, host, path, upstream }) => json!({
                "url": self.url, "route": number, "host": host, "path": path, "upstream": upstream,
            }),
            Err(Refused { status, code, reason }) => json!({
                "url": self.url, "route": null, "status": status, "code": code, "detail": reason,
            }),
        }
    }
}
