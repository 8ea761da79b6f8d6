//! `capture` and `login_url` of a route: where a login's answer holds its tokens, and where people are
//! sent to log in.

use http::HeaderName;

use super::cursor::{Table, show};
use super::diagnostic::{Code, Diagnostic};
use super::item::Item;
use super::{Capture, TokenPlace, value};
use crate::token::ClaimPath;

pub fn capture(route: &Table<'_>) -> Option<Capture> {
    let is_there = route.has("capture");
    let table = route.table("capture", "route.capture");
    let token = if is_there { table.required("token") } else { table.get("token") };
    let token = token.and_then(|item| place(&item));
    let refresh = table.get("refresh").and_then(|item| place(&item));
    let remove = table.get("remove").map(|list| places(&list)).unwrap_or_default();
    if let (true, Some(item)) = (token.is_some() && token == refresh, table.get("refresh")) {
        let message = "`token` and `refresh` are the same place";
        table.reader.report(&item.span, Diagnostic::error(Code::Duplicate, message));
        return None;
    }
    let optional = table.boolean("optional", false);
    table.finish();
    Some(Capture { token: token?, refresh, remove, optional })
}

fn places(list: &Item<'_>) -> Vec<TokenPlace> {
    let Some(array) = list.value.as_array() else {
        list.wrong_type("a list of strings");
        return Vec::new();
    };
    let entries = array.iter().map(|entry| Item {
        span: entry.span(),
        value: entry.get_ref(),
        in_list: true,
        ..list.again()
    });
    entries.filter_map(|item| place(&item)).collect()
}

/// `/access_token`, a JSON pointer, `header:X-Token`, or `cookie:token`.
pub fn place(item: &Item<'_>) -> Option<TokenPlace> {
    let text = item.string()?;
    let place = match text.value.split_once(':') {
        _ if text.value.starts_with('/') => {
            ClaimPath::parse(&text.value).ok().map(TokenPlace::Member)
        }
        Some(("header", name)) => {
            HeaderName::from_bytes(name.trim().as_bytes()).ok().map(TokenPlace::Header)
        }
        Some(("cookie", name)) if value::is_token(name) => {
            Some(TokenPlace::Cookie(name.to_owned()))
        }
        Some(_) | None => None,
    };
    if place.is_none() {
        let message = format!("\"{}\" does not say where a token is", show(&text.raw));
        let help = "a JSON pointer (\"/access_token\"), a header (\"header:X-Token\") or a cookie \
                    (\"cookie:token\")";
        item.reader.report(&text.span, Diagnostic::error(Code::BadCapture, message).help(help));
    }
    place
}

/// A path of the same host, or an `https` page elsewhere.
pub fn login_url(table: &Table<'_>) -> Option<String> {
    let text = table.string("login_url")?;
    let visible = text.value.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    let (path, _) = text.value.split_once('?').unwrap_or((&text.value, ""));
    let elsewhere = ["https://", "http://"]
        .iter()
        .any(|scheme| text.value.strip_prefix(scheme).is_some_and(|rest| !rest.is_empty()));
    if visible && !text.value.contains('#') && (value::path(path).is_ok() || elsewhere) {
        return Some(text.value);
    }
    let message = format!("\"{}\" is not a page to log in at", show(&text.raw));
    let help = "a path (\"/login\") or a URL (\"https://id.example.com/login\")";
    table.reader.report(&text.span, Diagnostic::error(Code::BadLoginUrl, message).help(help));
    None
}
