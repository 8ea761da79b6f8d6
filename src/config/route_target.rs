//! Where a request of a route goes: to an upstream, to an answer that stands in the configuration,
//! or to another address. Everything that can be prepared is prepared here.

use bytes::Bytes;
use http::{HeaderValue, StatusCode};

use super::cursor::{Table, show};
use super::diagnostic::{Code, Diagnostic};
use super::item::{Item, Text};
use super::{HostPattern, PathPattern, header_name, value};

/// Exactly one of three.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Target {
    /// By name.
    Upstream(String),
    Answer(StaticAnswer),
    Redirect(Redirect),
}

/// An answer without an upstream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StaticAnswer {
    pub status: StatusCode,
    pub body: Bytes,
    /// `None`: there is no body.
    pub content_type: Option<HeaderValue>,
}

/// A redirect whose host is in the configuration, or is the host that the route names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Redirect {
    pub status: StatusCode,
    pub to: Vec<Piece>,
    /// As it was written.
    pub shown: String,
}

/// A part of a redirect's address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Piece {
    Text(String),
    /// The request's host, lower case, without port.
    Host,
    /// Its path, as it came.
    Path,
    /// Its path below that of the route: empty, or beginning with `/`.
    Rest,
    /// Its query with the `?`, or nothing.
    Query,
}

impl Target {
    /// The name of its upstream, where it has one.
    pub fn upstream(&self) -> Option<&str> {
        match self {
            Self::Upstream(name) => Some(name),
            Self::Answer(_) | Self::Redirect(_) => None,
        }
    }

    /// As `check` prints it.
    pub fn shown(&self) -> String {
        match self {
            Self::Upstream(name) => name.clone(),
            Self::Answer(answer) => format!("(answer {})", answer.status.as_u16()),
            Self::Redirect(redirect) => {
                format!("(redirect {} to {})", redirect.status.as_u16(), show(&redirect.shown))
            }
        }
    }
}

/// The target of a route, and where an upstream is named.
pub fn target(
    table: &Table<'_>,
    host: Option<&HostPattern>,
    path: Option<&PathPattern>,
) -> Option<(Target, Option<Text>)> {
    let all = [table.get("upstream"), table.get("answer"), table.get("redirect")];
    let mut given = all.into_iter().flatten();
    let Some(item) = given.next() else {
        table.require_also("upstream");
        return None;
    };
    if let Some(other) = given.next() {
        let message = "a route has exactly one of `upstream`, `answer` and `redirect`";
        table.reader.report(&other.key_span, Diagnostic::error(Code::Exclusive, message));
        return None;
    }
    match item.key.as_str() {
        "upstream" => {
            let name = item.string()?;
            Some((Target::Upstream(name.value.clone()), Some(name)))
        }
        "answer" => {
            let inner = item.table("`answer`", "route.answer")?;
            Some((Target::Answer(answer(&inner)?), None))
        }
        _ => {
            let inner = item.table("`redirect`", "route.redirect")?;
            Some((Target::Redirect(redirect(&inner, host, path)?), None))
        }
    }
}

fn answer(table: &Table<'_>) -> Option<StaticAnswer> {
    let number = table.integer("status", 200, 200..=599);
    let status = StatusCode::from_u16(u16::try_from(number).ok()?).ok()?;
    let body = table.string("body").map(|text| text.value).unwrap_or_default();
    let bodiless = matches!(number, 204 | 205 | 304);
    if let (true, false, Some(item)) = (bodiless, body.is_empty(), table.get("body")) {
        let message = format!("an answer {number} has no body");
        item.reader.report(&item.key_span, Diagnostic::error(Code::NoEffect, message));
    }
    let typed = table.get("content_type");
    let content_type = match &typed {
        Some(item) => {
            let text = item.string()?;
            let form = text.value.split_once('/').is_some_and(|(kind, _)| value::is_token(kind));
            let value = header_name::field_value(item, &text)?;
            if !form {
                let message = format!("\"{}\" is not a media type", show(&text.raw));
                let help = "such as \"text/plain; charset=utf-8\" or \"application/json\"";
                let diagnostic = Diagnostic::error(Code::BadHeaderRule, message).help(help);
                item.reader.report(&item.span, diagnostic);
                return None;
            }
            value
        }
        None => HeaderValue::from_static("text/plain; charset=utf-8"),
    };
    table.finish();
    let content_type = (!body.is_empty()).then_some(content_type);
    Some(StaticAnswer { status, body: Bytes::from(body), content_type })
}

fn redirect(
    table: &Table<'_>,
    host: Option<&HostPattern>,
    path: Option<&PathPattern>,
) -> Option<Redirect> {
    let number = table.integer("status", 307, 301..=308);
    if !matches!(number, 301 | 302 | 303 | 307 | 308)
        && let Some(item) = table.get("status")
    {
        let message = format!("{number} is not a redirect");
        let help = "301 or 308 for good, 302 or 307 for now, 303 to a page by GET";
        item.reader.report(&item.span, Diagnostic::error(Code::BadRedirect, message).help(help));
    }
    let item = table.required("to");
    table.finish();
    let item = item?;
    let text = item.string()?;
    let to = pieces(&text.value).and_then(|to| checked(to, host, path));
    match to {
        Ok(to) => {
            let status = StatusCode::from_u16(u16::try_from(number).ok()?).ok()?;
            Some(Redirect { status, to, shown: text.value })
        }
        Err(expected) => {
            let message = format!("\"{}\" cannot be redirected to", show(&text.raw));
            let diagnostic = Diagnostic::error(Code::BadRedirect, message).help(expected);
            report(&item, diagnostic);
            None
        }
    }
}

fn report(item: &Item<'_>, diagnostic: Diagnostic) {
    item.reader.report(&item.span, diagnostic);
}

fn pieces(text: &str) -> Result<Vec<Piece>, &'static str> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        if !before.is_empty() {
            pieces.push(Piece::Text(before.to_owned()));
        }
        let length = after.find(|c: char| !c.is_ascii_lowercase()).unwrap_or(after.len());
        let (word, behind) = after.split_at_checked(length).unwrap_or((after, ""));
        pieces.push(match word {
            "host" => Piece::Host,
            "path" => Piece::Path,
            "rest" => Piece::Rest,
            "query" => Piece::Query,
            _ => return Err("the placeholders are $host, $path, $rest and $query"),
        });
        rest = behind;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest.to_owned()));
    }
    Ok(pieces)
}

/// Nothing of the request may choose where the client goes, but a host that the route names: no
/// open redirect can be written.
fn checked(
    to: Vec<Piece>,
    host: Option<&HostPattern>,
    path: Option<&PathPattern>,
) -> Result<Vec<Piece>, &'static str> {
    let plain = |piece: &Piece| match piece {
        Piece::Text(text) => {
            text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'\\' | b'"'))
        }
        Piece::Host | Piece::Path | Piece::Rest | Piece::Query => true,
    };
    if !to.iter().all(plain) {
        return Err("visible ASCII characters only, no backslash and no quote");
    }
    if matches!(path, Some(PathPattern::Exact(_))) && to.contains(&Piece::Rest) {
        return Err("nothing is below a `path_exact`: write the whole path");
    }
    let form = "\"https://host/…\" or a path that begins with one /";
    let after_authority = match to.first() {
        Some(Piece::Text(text)) => {
            let scheme = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
            match scheme {
                Some(rest) => authority(rest, &to, host)?,
                None => {
                    let second = text.as_bytes().get(1);
                    let alone = text.len() == 1;
                    let slash_next = alone && matches!(to.get(1), Some(Piece::Path | Piece::Rest));
                    if !text.starts_with('/') || second == Some(&b'/') || slash_next {
                        return Err(form);
                    }
                    1
                }
            }
        }
        Some(Piece::Path | Piece::Rest) => 1,
        Some(Piece::Host | Piece::Query) | None => return Err(form),
    };
    if to.iter().skip(after_authority).any(|piece| *piece == Piece::Host) {
        return Err("$host stands for a host: behind https:// only");
    }
    Ok(to)
}

/// Checks the host of an absolute address; the answer is how many pieces it reaches into.
fn authority(rest: &str, to: &[Piece], host: Option<&HostPattern>) -> Result<usize, &'static str> {
    let good = |text: &str| {
        text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b':' | b'_'))
    };
    let ends = |text: &str| text.contains(['/', '?', '#']);
    let name = |text: &str| text.split(['/', '?', '#']).next().unwrap_or("").to_owned();
    let fault = Err("a host without user and password behind https://");
    let literal = name(rest);
    if !good(&literal) {
        return fault;
    }
    if ends(rest) || !matches!(to.get(1), Some(Piece::Host)) {
        // The next piece, if the host ends here, begins with `/` or `?`, or is nothing.
        return if literal.is_empty() { fault } else { Ok(1) };
    }
    if !matches!(host, Some(HostPattern::Exact(_) | HostPattern::Suffix(_))) {
        return Err(
            "$host is whatever a client claims where the route names no `host`: write the \
                    host, or give the route one",
        );
    }
    match to.get(2) {
        Some(Piece::Text(text)) if !good(&name(text)) => fault,
        Some(Piece::Host) => fault,
        Some(Piece::Text(_) | Piece::Path | Piece::Rest | Piece::Query) | None => Ok(3),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(to: &str, host: &HostPattern) -> Result<Vec<Piece>, &'static str> {
        let path = PathPattern::Prefix("/".to_owned());
        pieces(to).and_then(|to| checked(to, Some(host), Some(&path)))
    }

    #[test]
    fn a_redirect_leads_where_the_configuration_says_and_nowhere_else() {
        let named = HostPattern::Suffix(".example.com".to_owned());
        for good in [
            "https://$host$path$query",
            "https://www.$host/x$rest",
            "https://$host:8443$path",
            "https://example.com",
            "https://example.com$path",
            "http://example.com/new$rest$query",
            "/new",
            "/new$rest",
            "/login?from=$path",
            "$path/",
        ] {
            assert!(check(good, &named).is_ok(), "{good}");
        }
        for bad in [
            "",
            "new",
            "//evil.example",
            "/$path",
            "/\\evil",
            "$host",
            "$query",
            "https://",
            "https://$path",
            "https://$rest",
            "https:///x",
            "https://user@example.com/",
            "https://$host@evil.example/",
            "https://$host$host",
            "/x$host",
            "https://example.com/$host",
            "javascript:alert(1)",
            "ftp://a/",
            "/a b",
            "/$unknown",
            "/$",
        ] {
            assert!(check(bad, &named).is_err(), "{bad}");
        }
        assert!(check("https://$host/", &HostPattern::Any).is_err());
        assert!(check("https://example.com$path", &HostPattern::Any).is_ok());
    }
}
