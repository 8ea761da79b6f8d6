//! The options that every command has, and how this program is called again with them.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::cli::raw::RawGlobal;
use crate::cli::words;

#[derive(Clone, Debug)]
pub struct Global {
    pub config: PathBuf,
    /// Somebody named the config: it is not the default one.
    pub is_config_named: bool,
    pub admin: Option<String>,
    pub json: bool,
    pub quiet: bool,
    pub color: clap::ColorChoice,
    /// The program as it was called.
    pub program: String,
    /// The options that found this gateway, as they were given.
    finders: Vec<String>,
}

impl Global {
    pub(super) fn compile(raw: RawGlobal, program: &OsStr) -> Self {
        let mut finders = Vec::new();
        // What the environment said it says to the next call too.
        let said =
            |name: &str, value: &OsStr| std::env::var_os(name).is_some_and(|had| had == value);
        let is_config_named = raw.config != Path::new("gateway.toml");
        if is_config_named && !said("PORTCULLIS_CONFIG", raw.config.as_os_str()) {
            finders.extend(["-c".to_owned(), raw.config.display().to_string()]);
        }
        if let Some(admin) = raw.admin.as_ref().filter(|a| !said("PORTCULLIS_ADMIN", a.as_ref())) {
            finders.extend(["--admin".to_owned(), admin.clone()]);
        }
        let config = if raw.config.is_dir() { raw.config.join("gateway.toml") } else { raw.config };
        Self {
            config,
            is_config_named,
            admin: raw.admin,
            json: raw.json,
            quiet: raw.quiet,
            color: raw.color,
            program: shown_program(program),
            finders,
        }
    }

    /// How to call this program again for the same gateway: the start of a line to paste.
    pub fn again(&self) -> String {
        let words = std::iter::once(&self.program).chain(&self.finders);
        words.map(|word| words::shell(word)).collect::<Vec<_>>().join(" ")
    }
}

/// As it was called; below the working directory without that directory, so that a line to paste
/// stays short.
fn shown_program(program: &OsStr) -> String {
    let path = Path::new(program);
    let here = std::env::current_dir().ok();
    let relative = here.as_deref().and_then(|here| path.strip_prefix(here).ok());
    match relative {
        Some(below) if below.components().count() == 1 => format!("./{}", below.display()),
        Some(below) => below.display().to_string(),
        None => path.display().to_string(),
    }
}
