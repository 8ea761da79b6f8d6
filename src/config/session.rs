//! `[session]` and what else the gateway must know of browsers: where it answers them itself, and the
//! origins of our own pages.

use super::cursor::{Table, show};
use super::diagnostic::{Code, Diagnostic};
use super::{Session, value};

pub fn session(table: &Table<'_>) -> Session {
    let session = Session { prefix: prefix(table), after_logout: after_logout(table) };
    table.finish();
    session
}

/// An empty prefix turns it off.
fn prefix(table: &Table<'_>) -> Option<String> {
    let Some(text) = table.string("prefix") else { return Some("/.auth".to_owned()) };
    if text.value.is_empty() {
        return None;
    }
    let prefix = text.value.trim_end_matches('/');
    if value::path(prefix).is_ok() && prefix.len() > 1 {
        return Some(prefix.to_owned());
    }
    let message = format!("\"{}\" cannot be the beginning of paths", show(&text.raw));
    let help = "a path below which no page of the backend is: \"/.auth\"; \"\" for none";
    table.reader.report(&text.span, Diagnostic::error(Code::BadPath, message).help(help));
    None
}

fn after_logout(table: &Table<'_>) -> String {
    let Some(text) = table.string("after_logout") else { return "/".to_owned() };
    if value::path(&text.value).is_err() {
        let message = format!("\"{}\" is not a path", show(&text.raw));
        let help = "a path of the same host: \"/\"";
        table.reader.report(&text.span, Diagnostic::error(Code::BadPath, message).help(help));
    }
    text.value
}

/// `scheme://host[:port]` as browsers send it: lower case, no default port, no path.
pub fn origins(table: &Table<'_>, key: &'static str) -> Vec<String> {
    let mut origins = Vec::new();
    for text in table.strings(key).unwrap_or_default() {
        match origin(&text.value) {
            Some(origin) => origins.push(origin),
            None => {
                let message = format!("\"{}\" is not an origin", show(&text.raw));
                let help = "scheme, host and port, no path: \"https://app.example.com\"";
                let diagnostic = Diagnostic::error(Code::BadOrigin, message).help(help);
                table.reader.report(&text.span, diagnostic);
            }
        }
    }
    origins
}

pub fn origin(text: &str) -> Option<String> {
    let (scheme, rest) = text.split_once("://")?;
    let default = match scheme {
        "https" => ":443",
        "http" => ":80",
        _ => return None,
    };
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
    let authority: http::uri::Authority = rest.parse().ok()?;
    if !rest.bytes().all(good) || authority.host().is_empty() {
        return None;
    }
    let host = rest.strip_suffix(default).unwrap_or(rest).to_ascii_lowercase();
    Some(format!("{scheme}://{host}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_kept_as_browsers_send_it_and_nothing_else_is_one() {
        let kept = |text| origin(text).unwrap_or_default();
        assert_eq!(kept("https://App.example.com"), "https://app.example.com");
        assert_eq!(kept("https://app.example.com:443"), "https://app.example.com");
        assert_eq!(kept("http://localhost:8080"), "http://localhost:8080");
        for bad in [
            "app.example.com",
            "https://",
            "https://app.example.com/",
            "https://a@b",
            "https://*.example.com",
            "ftp://a",
            "null",
            "*",
        ] {
            assert_eq!(origin(bad), None, "{bad}");
        }
    }
}
