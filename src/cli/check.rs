//! `check`: reads the config as `run` would, starts nothing.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::config::{self, Config, HostPattern, PathPattern, Target};
use crate::proxy::{Kept, ask};

use super::arguments::{AskedRequest, Check, Global};
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
    let asked = check.asked.as_ref().map(|asked| answer(&loaded.config, asked));
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

/// Which route a request gets.
struct Asked {
    url: String,
    method: String,
    found: Result<Found, Refused>,
}

struct Found {
    number: usize,
    name: String,
    host: HostPattern,
    path: PathPattern,
    conditions: String,
    to: String,
    upstream: Option<String>,
    passed_over: Vec<usize>,
}

struct Refused {
    status: u16,
    code: &'static str,
    reason: String,
}

/// The data plane's own matcher, on the table it would have.
fn answer(config: &Config, asked: &AskedRequest) -> Asked {
    let (denylist, _writer) =
        crate::denylist::Denylist::new(crate::denylist::Fingerprinter::random());
    let keys = crate::app::unfetched(config, &denylist);
    let published = crate::app::publish(config, &denylist, &keys, &mut Kept::default());
    let selected = ask::route(&published.routes, &asked.url, &asked.method, &asked.headers);
    let found = match selected {
        Ok(ask::Selected { number, route, passed_over }) => {
            let target = config.routes.iter().find(|other| *other.name == *route.name);
            let target = target.map(|other| &other.target);
            Ok(Found {
                number,
                name: route.name.to_string(),
                host: route.host.clone(),
                path: route.path.clone(),
                conditions: route.conditions.shown(),
                to: target.map(Target::shown).unwrap_or_default(),
                upstream: target.and_then(Target::upstream).map(str::to_owned),
                passed_over,
            })
        }
        Err(rejection) => Err(Refused {
            status: rejection.status().as_u16(),
            code: rejection.code(),
            reason: rejection.reason(),
        }),
    };
    Asked { url: asked.url.clone(), method: asked.method.to_string(), found }
}

impl Found {
    /// What decided, in the words of the order of matching.
    fn why(&self) -> String {
        let host = match &self.host {
            HostPattern::Exact(_) => "exact host",
            HostPattern::Suffix(_) => "longest wildcard",
            HostPattern::Any => "any host",
        };
        let path = match &self.path {
            PathPattern::Exact(_) => "exact path",
            PathPattern::Prefix(_) => "longest path",
        };
        let mut why = format!("{host}, {path}");
        if !self.conditions.is_empty() {
            let _ = write!(why, ", {}", self.conditions);
        }
        let numbers: Vec<String> = self.passed_over.iter().map(usize::to_string).collect();
        let routes = if numbers.len() == 1 { "route" } else { "routes" };
        if !numbers.is_empty() {
            let numbers = numbers.join(" and ");
            let _ = write!(why, "; the conditions of {routes} {numbers} do not hold");
        }
        why
    }
}

impl Asked {
    fn text(&self) -> String {
        let Self { url, method, .. } = self;
        let request = if method == "GET" { url.clone() } else { format!("{method} {url}") };
        match &self.found {
            Ok(found) => {
                let Found { number, host, path, to, .. } = found;
                let kind = if found.upstream.is_some() { "upstream " } else { "" };
                let (host, path) = (host.shown(), path.shown());
                format!(
                    "{}\n  → route {number}, {host} {path}, {kind}{to}  ({})",
                    request,
                    found.why()
                )
            }
            Err(Refused { status, code, reason }) => {
                format!("{}\n  → no route: {status} {code}, {reason}", request)
            }
        }
    }

    fn document(&self) -> Value {
        match &self.found {
            Ok(found) => json!({
                "url": self.url, "method": self.method, "route": found.number, "name": found.name,
                "host": found.host.shown(), "path": found.path.shown(),
                "upstream": found.upstream, "why": found.why(),
                "passed_over": found.passed_over,
            }),
            Err(Refused { status, code, reason }) => json!({
                "url": self.url, "method": self.method, "route": null, "status": status, "code": code,
                "detail": reason,
            }),
        }
    }
}
