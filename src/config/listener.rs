//! `[[listener]]`, and `[server] listen` as the short way to say the same: each address with what
//! its socket is to be.

use super::cursor::{Table, show};
use super::diagnostic::{Code, Diagnostic};
use super::entrance::entrance;
use super::item::Text;
use super::server::{listen_address, name};
use super::{Entrance, Listen, Listener, Server, SocketRights};

/// The mode of a unix socket where nothing is said: its owner's alone.
const MODE: u32 = 0o600;

/// All listeners of a configuration.
pub struct Listeners {
    pub entrances: Vec<Entrance>,
    pub listeners: Vec<Listener>,
    /// Every table could be used.
    pub complete: bool,
}

/// Those of `[server]`, and one for each table.
pub fn listeners(server: &Server, tables: &[Table<'_>]) -> Listeners {
    let own = Entrance { name: "server".to_owned(), ..server.entrance.clone() };
    let redirecting =
        Entrance { name: "redirect".to_owned(), redirect: true, ..Entrance::default() };
    let mut entrances = vec![own, redirecting];
    let simple = |entrance| move |listen: &Listen| Listener::plain(listen.clone(), entrance);
    let mut listeners: Vec<Listener> = server.listen.iter().map(simple(0)).collect();
    listeners.extend(server.redirect_from.iter().map(simple(1)));
    let mut complete = true;
    let mut names: Vec<(String, usize)> = Vec::new();
    for table in tables {
        let (read, entrance) = listener(table, entrances.len());
        entrances.push(entrance);
        let line = table.reader.source.line(table.span.start);
        if let Some(name) = read.as_ref().and_then(|listener| listener.name.clone()) {
            if let Some((_, first)) = names.iter().find(|(other, _)| *other == name) {
                let message = format!(
                    "two listeners are named \"{}\" (the other on line {first})",
                    show(&name)
                );
                table.reader.report(&table.span, Diagnostic::error(Code::Duplicate, message));
            }
            names.push((name, line));
        }
        complete &= read.is_some();
        listeners.extend(read);
    }
    Listeners { entrances, listeners, complete }
}

impl Listener {
    /// An address without further wishes.
    pub fn plain(listen: Listen, entrance: usize) -> Self {
        let rights = SocketRights { mode: MODE, owner: None, group: None };
        Self { name: None, listen, entrance, ipv6_only: true, rights }
    }
}

/// One `[[listener]]`, whose entrance has this number; `None`: it cannot be used, and that was
/// reported.
fn listener(table: &Table<'_>, number: usize) -> (Option<Listener>, Entrance) {
    let name = name(table.get("name"));
    let text = table.required("listen").and_then(|item| item.string());
    let listen = text.and_then(|text| listen_address(table.reader, &text));
    let is_unix = matches!(listen, Some(Listen::Unix(_)));
    let is_ipv6 = matches!(listen, Some(Listen::Tcp(address)) if address.is_ipv6());
    let mode = table.string("mode");
    let rights = SocketRights {
        mode: mode.and_then(|text| octal(table, &text)).unwrap_or(MODE),
        owner: table.string("owner").and_then(|text| account(table, &text, "user")),
        group: table.string("group").and_then(|text| account(table, &text, "group")),
    };
    let ipv6_only = table.boolean("ipv6_only", true);
    if listen.is_some() {
        for (key, fits, whose) in [
            ("mode", is_unix, "a unix socket"),
            ("owner", is_unix, "a unix socket"),
            ("group", is_unix, "a unix socket"),
            ("ipv6_only", is_ipv6, "an IPv6 address"),
        ] {
            if let (false, Some(item)) = (fits, table.get(key)) {
                let message = format!("`{key}` is for {whose}");
                let diagnostic = Diagnostic::error(Code::NotOfThisListener, message);
                table.reader.report(&item.key_span, diagnostic);
            }
        }
    }
    let redirect = table.boolean("redirect", false);
    let shown = name.clone().unwrap_or_else(|| format!("listener-{}", number.saturating_sub(1)));
    let entrance = Entrance { name: shown, redirect, ..entrance(table, "server") };
    if let (true, true, Some(item)) = (redirect, entrance.tls.is_some(), table.get("redirect")) {
        let message = "a listener that redirects to https has no `tls` of its own";
        table.reader.report(&item.key_span, Diagnostic::error(Code::Exclusive, message));
    }
    table.finish();
    let listener =
        listen.map(|listen| Listener { name, listen, entrance: number, ipv6_only, rights });
    (listener, entrance)
}

/// `"0660"`: the nine bits and no more.
fn octal(table: &Table<'_>, text: &Text) -> Option<u32> {
    let mode = u32::from_str_radix(&text.value, 8).ok();
    let mode = mode.filter(|mode| *mode <= 0o777 && text.value.len() <= 4);
    if mode.is_none() {
        let message = format!("\"{}\" is not the mode of a file", show(&text.raw));
        let diagnostic = Diagnostic::error(Code::BadSocketRights, message);
        table.reader.report(&text.span, diagnostic.help("as chmod takes it: mode = \"0660\""));
    }
    mode
}

/// The id of a user or group, by number or by name.
fn account(table: &Table<'_>, text: &Text, what: &str) -> Option<u32> {
    let database = if what == "user" { "/etc/passwd" } else { "/etc/group" };
    let id = text.value.parse().ok().or_else(|| {
        let entries = std::fs::read_to_string(database).unwrap_or_default();
        id_of(&entries, &text.value)
    });
    if id.is_none() {
        let message = format!("there is no {what} \"{}\"", show(&text.raw));
        let diagnostic = Diagnostic::error(Code::BadSocketRights, message);
        let help = format!("a name of {database}, or a number");
        table.reader.report(&text.span, diagnostic.help(help));
    }
    id
}

/// `name:…:id:…`, a line each.
fn id_of(entries: &str, name: &str) -> Option<u32> {
    entries.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == name).then(|| fields.nth(1)?.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_the_id_of_its_line() {
        let entries = "root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33::/:/bin/false\nodd\n";
        assert_eq!(id_of(entries, "www-data"), Some(33));
        assert_eq!(id_of(entries, "root"), Some(0));
        assert_eq!(id_of(entries, "www"), None);
        assert_eq!(id_of(entries, ""), None);
    }
}
