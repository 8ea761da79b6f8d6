//! What the gateway must know of browsers: the origins of our own pages.

use super::cursor::{Table, show};
use super::diagnostic::{Code, Diagnostic};

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

fn origin(text: &str) -> Option<String> {
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
