//! `upgrades` of a route: protocols besides WebSocket to which a connection may switch.

use super::cursor::{Table, show};
use super::diagnostic::{Code, Diagnostic};
use super::value;

/// In lower case; a version is part of the name (RFC 9110 section 7.8).
pub fn upgrades(table: &Table<'_>) -> Vec<String> {
    let mut names = Vec::new();
    for text in table.strings("upgrades").unwrap_or_default() {
        let name = text.value.to_ascii_lowercase();
        let (protocol, version) = name.split_once('/').unwrap_or((&name, "0"));
        let fault = if !value::is_token(protocol) || !value::is_token(version) {
            Some("a protocol is a word, and may have a version: \"tcp\", \"SPDY/3.1\"")
        } else if protocol == "websocket" {
            Some("WebSockets pass on every route, with close frames of their own")
        } else if matches!(protocol, "h2c" | "h2" | "http" | "tls" | "connect-udp" | "connect-ip") {
            // Requests, or other people's connections, would go by the gateway unseen.
            Some("what goes through it would be requests that no token is asked for")
        } else {
            None
        };
        match fault {
            None => names.push(name),
            Some(help) => {
                let message = format!("\"{}\" cannot be let pass as an upgrade", show(&text.raw));
                let diagnostic = Diagnostic::error(Code::BadUpgrade, message).help(help);
                table.reader.report(&text.span, diagnostic);
            }
        }
    }
    names
}
