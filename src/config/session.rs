//! `[session]` and what else the gateway must know of browsers: where it answers them itself, and the
//! origins of our own pages.

use super::cursor::{Table, show};
use super::diagnostic::{Code, Diagnostic};
use super::item::Item;
use super::secrets::{secret_file, secret_variable};
use super::{SameSite, Session, SessionCookies, Store, value};
use crate::secret::Secret;

pub fn session(table: &Table<'_>, store: &Store) -> Session {
    let session = Session {
        prefix: prefix(table),
        after_logout: after_logout(table),
        cookies: SessionCookies {
            name: cookie_name(table),
            domain: domain(table),
            secure: secure(table),
            same_site: same_site(table),
            seal: table.boolean("seal", false),
            keys: keys(table),
            key_file: store.path.join("session.key"),
        },
    };
    if let (Some(_), false, Some(item)) =
        (&session.cookies.domain, session.cookies.seal, table.get("domain"))
    {
        let message = "every host below the domain can read the token out of the session's cookie";
        let help = "`seal = true` hides it from them";
        let diagnostic = Diagnostic::warning(Code::LooseCookie, message).help(help);
        table.reader.report(&item.span, diagnostic);
    }
    table.finish();
    session
}

/// The name without prefix and suffixes, which are the gateway's.
fn cookie_name(table: &Table<'_>) -> String {
    let default = || "portcullis".to_owned();
    let Some(text) = table.string("cookie") else { return default() };
    let prefixed = text.value.get(..2) == Some("__");
    if value::is_token(&text.value) && text.value.len() <= 64 && !prefixed {
        return text.value;
    }
    let message = format!("\"{}\" cannot be the name of the session's cookie", show(&text.raw));
    let help = "a short word; __Host- or __Secure- is put before it: \"portcullis\"";
    table.reader.report(&text.span, Diagnostic::error(Code::BadCookie, message).help(help));
    default()
}

fn domain(table: &Table<'_>) -> Option<String> {
    let text = table.string("domain")?;
    let name = text.value.trim_start_matches('.').to_ascii_lowercase();
    let good = name.contains('.')
        && !name.ends_with('.')
        && name.parse::<std::net::IpAddr>().is_err()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte));
    if !good {
        let message = format!("\"{}\" is not a domain for a cookie", show(&text.raw));
        let help = "a name, no address: \"example.com\"; leave it out for a cookie of one host";
        table.reader.report(&text.span, Diagnostic::error(Code::BadCookie, message).help(help));
        return None;
    }
    let message = "every host below the domain gets the session's cookie, and can set one";
    let help = "leave `domain` out where one host is enough";
    table.reader.report(&text.span, Diagnostic::warning(Code::LooseCookie, message).help(help));
    Some(name)
}

fn secure(table: &Table<'_>) -> bool {
    let secure = table.boolean("secure", true);
    if let (false, Some(item)) = (secure, table.get("secure")) {
        let message = "the session's cookie goes over plain HTTP as well: anyone on the way has it";
        let help =
            "for tests on a machine of your own; browsers take Secure cookies from localhost";
        let diagnostic = Diagnostic::warning(Code::LooseCookie, message).help(help);
        table.reader.report(&item.span, diagnostic);
    }
    secure
}

fn same_site(table: &Table<'_>) -> SameSite {
    let words = [("lax", SameSite::Lax), ("strict", SameSite::Strict), ("none", SameSite::None)];
    let same_site = table.choice("same_site", SameSite::Lax, &words);
    let Some(item) = table.get("same_site").filter(|_| same_site == SameSite::None) else {
        return same_site;
    };
    let secure = table.get("secure").and_then(|item| item.boolean()).unwrap_or(true);
    let diagnostic = if secure {
        Diagnostic::warning(Code::LooseCookie, "the session's cookie comes along from every site")
            .help("\"lax\" is enough unless pages of other sites, listed in `external_origins`, use it")
    } else {
        Diagnostic::error(Code::BadCookie, "SameSite=None without Secure: browsers drop the cookie")
    };
    table.reader.report(&item.span, diagnostic);
    same_site
}

/// Secrets of files or of the environment, newest first.
fn keys(table: &Table<'_>) -> Vec<Secret> {
    let (files, variables) = (table.get("key_files"), table.get("key_env"));
    if let (Some(_), Some(item)) = (&files, &variables) {
        let message = "`key_files` and `key_env`: the keys come from one of them";
        table.reader.report(&item.key_span, Diagnostic::error(Code::Exclusive, message));
    }
    let mut keys = Vec::new();
    for (list, read) in [
        (files, secret_file as fn(&Item<'_>) -> Option<Vec<u8>>),
        (variables, secret_variable as fn(&Item<'_>) -> Option<Vec<u8>>),
    ] {
        let Some(list) = list else { continue };
        let Some(array) = list.value.as_array() else {
            list.wrong_type("a list of strings");
            continue;
        };
        for entry in array.iter() {
            let item =
                Item { span: entry.span(), value: entry.get_ref(), in_list: true, ..list.again() };
            let Some(bytes) = read(&item) else { continue };
            if bytes.len() < KEY_BYTES_MIN {
                let message = format!("a key of sessions has at least {KEY_BYTES_MIN} bytes");
                let diagnostic = Diagnostic::error(Code::ShortSecret, message);
                table.reader.report(&item.span, diagnostic.help("openssl rand -base64 48"));
                continue;
            }
            keys.push(Secret::new(bytes));
        }
    }
    keys
}

const KEY_BYTES_MIN: usize = 32;

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
