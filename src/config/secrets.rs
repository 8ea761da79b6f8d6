//! Secrets from files and from the environment. What may be a secret in the wrong place, a name or
//! a path, is not printed either.

use std::path::PathBuf;

use super::cursor::show;
use super::diagnostic::{Code, Diagnostic};
use super::files;
use super::item::Item;

/// A secret from a file; reports and notes.
pub fn secret_file(item: &Item<'_>) -> Option<Vec<u8>> {
    let path: PathBuf = item.reader.resolve_file(&item.string()?.value);
    match files::read_unnamed(&path) {
        Ok(content) => {
            if content.mode & 0o077 != 0 {
                let mode = content.mode;
                let message = format!("a secret file can be read by others (mode {mode:04o})");
                let diagnostic = Diagnostic::note(Code::OpenFile, message).help("chmod 600");
                item.reader.report(&item.span, diagnostic);
            }
            Some(files::trim_newline(content.bytes))
        }
        Err(why) => {
            let message = "the secret file cannot be read";
            item.reader.report(
                &item.span,
                Diagnostic::error(Code::FileUnreadable, message)
                    .detail(why)
                    .help("relative paths start at the config file's directory"),
            );
            None
        }
    }
}

/// A secret from the environment. The name is printed only when it looks like one: people put the
/// secret itself here.
pub fn secret_variable(item: &Item<'_>) -> Option<Vec<u8>> {
    let name = item.string()?.value;
    if !looks_like_a_variable(&name) {
        let message = format!("`{}` is the name of an environment variable", show(&item.key));
        let help = format!("capitals, digits and _: {} = \"JWT_SECRET\"", show(&item.key));
        item.reader.report(&item.span, Diagnostic::error(Code::BadVariable, message).help(help));
        return None;
    }
    let value = (item.reader.environment)(&name);
    if value.is_none() {
        let message = format!("the environment variable {name} is not set");
        item.reader.report(&item.span, Diagnostic::error(Code::UnsetVariable, message));
    }
    value.map(String::into_bytes)
}

pub fn looks_like_a_variable(name: &str) -> bool {
    name.len() <= 40
        && name.starts_with(|c: char| c.is_ascii_uppercase() || c == '_')
        && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
}
