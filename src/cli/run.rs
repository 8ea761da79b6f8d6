//! `run`: the gateway, until it is told to stop.

use std::io::{IsTerminal as _, Write};
use std::path::Path;

use zeroize::Zeroizing;

use crate::app::{Drained, Gateway, Options, Signals, Source};
use crate::config::{self, AccessFormat, Config, LogFormat, Severity};
use crate::control::admin::FirstCredentialSource;
use crate::telemetry::access::{Format, LogFile};

use super::arguments::{Global, Run};
use super::console::{Console, json_text, write_stderr};
use super::events;
use super::exit::Exit;
use super::failure::Failure;

pub fn run(run: &Run, global: &Global, console: &Console) -> Result<Exit, Failure> {
    let source = source(run, global);
    let loaded = source().map_err(|found| Failure::Config(Box::new(found)))?;
    let (config, notes) = (&loaded.config, &loaded.notes);
    let format = match config.log.format {
        LogFormat::Auto if std::io::stdout().is_terminal() => Format::Text,
        LogFormat::Text => Format::Text,
        LogFormat::Auto | LogFormat::Json => Format::Json,
    };
    let events = events::start(format, config.log.level)?;
    for item in notes.items.iter().filter(|item| item.severity == Severity::Warning) {
        let help = item.help.as_deref().unwrap_or_default();
        tracing::warn!(code = %item.code, help, "{}", item.message);
    }
    // Each pod has a disk of its own, and so a denylist of its own.
    if std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() {
        tracing::warn!("under Kubernetes: what one pod revokes the others do not know; run one");
    }
    let told = Told::of(config);
    let options = Options {
        log_format: match config.log.access_format {
            AccessFormat::Text => Format::Text,
            AccessFormat::Json => Format::Json,
            AccessFormat::Combined => Format::Combined,
            AccessFormat::AsEvents if config.log.access_file.is_some() => Format::Json,
            AccessFormat::AsEvents => format,
        },
        log_sink: access_log(config)?,
        admin_token: std::env::var("PORTCULLIS_ADMIN_TOKEN").ok().map(Zeroizing::new),
        source,
        replace: run.replace,
    };
    let signals = |cause| Failure::Read { what: "signals".to_owned(), cause };
    let stop = Signals::listen().map_err(signals)?;
    let gateway =
        Gateway::start(loaded, options).map_err(|fault| Failure::Start(Box::new(fault)))?;
    match format {
        Format::Text | Format::Combined => {
            events.settle();
            write_stderr(&told.screen(&gateway, &global.again(), console))
        }
        Format::Json => told.event(&gateway, console)?,
    }
    match gateway.run_until_stopped(stop) {
        Ok(Drained::Clean) => Ok(Exit::Done),
        // The deadline is the operator's choice: cutting what is left is doing as told.
        Ok(Drained::Cut { connections }) => {
            tracing::warn!(connections, "the drain's deadline passed; the rest was cut");
            Ok(Exit::Done)
        }
        Err(cause) => Err(signals(cause)),
    }
}

/// Where the lines of requests go.
fn access_log(config: &Config) -> Result<Box<dyn Write + Send>, Failure> {
    let Some(path) = &config.log.access_file else { return Ok(Box::new(std::io::stdout())) };
    match LogFile::open(path) {
        Ok(file) => Ok(Box::new(file)),
        Err(cause) => {
            let what = format!("the access log {}", path.display());
            Err(Failure::Write { what, cause })
        }
    }
}

/// The file, or what the flags say in its place.
fn source(run: &Run, global: &Global) -> Source {
    let Some(flags) = &run.flags else {
        let path = global.config.clone();
        return Box::new(move || config::load(&path));
    };
    let text = config::from_flags(flags);
    let environment = |name: &str| std::env::var(name).ok();
    Box::new(move || config::parse(&text, Path::new("flags"), &environment))
}

/// What the start screen says of the config, which the gateway takes.
struct Told {
    store: String,
    connections_max: usize,
    issuers: Vec<String>,
    upstreams: Vec<String>,
}

impl Told {
    fn of(config: &Config) -> Self {
        let issuers = config.issuers.iter().map(|issuer| {
            let iss = issuer.policy.iss.as_deref().unwrap_or("(no iss)");
            format!("{}  {iss}  {}", issuer.policy.name, issuer.keys_source)
        });
        let upstreams = config.upstreams.iter().map(|upstream| {
            let servers: Vec<String> =
                upstream.servers.iter().map(|server| server.address.shown()).collect();
            format!("{}  {}", upstream.name, servers.join(" "))
        });
        Self {
            store: config.store.path.display().to_string(),
            connections_max: config.server.limits.connections_max,
            issuers: issuers.collect(),
            upstreams: upstreams.collect(),
        }
    }

    fn screen(&self, gateway: &Gateway, again: &str, console: &Console) -> String {
        let mut text = format!(
            "{} {} is up: Ctrl+C drains and stops it.\n\n",
            console.look.paint.bold("Portcullis"),
            env!("CARGO_PKG_VERSION")
        );
        let mut line = |name: &str, value: &str| {
            text.push_str(&format!("  {name:<9} {}\n", super::words::printable_line(value)));
        };
        line("gateway", &gateway.listen_urls().join("  and  "));
        line("admin", &gateway.admin_urls().join("  and  "));
        if !gateway.metrics_urls().is_empty() {
            line("metrics", &gateway.metrics_urls().join("  and  "));
        }
        line("store", &format!("{}: one gateway only", self.store));
        self.issuers.iter().for_each(|issuer| line("issuer", issuer));
        self.upstreams.iter().for_each(|upstream| line("upstream", upstream));
        match gateway.first_credential() {
            Some(FirstCredentialSource::Created(path)) => {
                line("token", &format!("of the admin API: {}, made now", path.display()));
            }
            Some(FirstCredentialSource::Found(path)) => {
                line("token", &format!("of the admin API: {}", path.display()));
            }
            Some(FirstCredentialSource::Environment) | None => {}
        }
        line("try", &format!("{again} status"));
        text.push('\n');
        text
    }

    /// One line on stdout, before any access line, for whoever started us and chose port 0.
    fn event(&self, gateway: &Gateway, console: &Console) -> Result<(), Failure> {
        let ready = serde_json::json!({
            "event": "ready",
            "listen": gateway.listen_urls(),
            "admin": gateway.admin_urls(),
            "metrics": gateway.metrics_urls(),
            "version": env!("CARGO_PKG_VERSION"),
        });
        console.say_always(&json_text(&ready))?;
        tracing::info!(
            listen = gateway.listen_urls().join(" "),
            admin = gateway.admin_urls().join(" "),
            store = self.store,
            connections_max = self.connections_max,
            version = env!("CARGO_PKG_VERSION"),
            "started"
        );
        Ok(())
    }
}
