//! `servers` of an upstream: each a string, or a table with a weight.

use toml::de::DeValue;

use super::cursor::Table;
use super::diagnostic::{Code, Diagnostic};
use super::item::{Item, Text};
use super::upstream::{ServerAddress, UpstreamServer};
use super::{server, value};

const FORM: &str = "\"http://127.0.0.1:3000\", \"https://app:3000\" or \"unix:/run/app.sock\"";

pub fn servers(table: &Table<'_>) -> Option<Vec<UpstreamServer>> {
    let item = table.required("servers")?;
    let DeValue::Array(array) = item.value else {
        // Says what a list is written like.
        item.strings(false);
        return None;
    };
    if array.is_empty() {
        let message = "an upstream needs at least one server";
        table.reader.report(&item.span, Diagnostic::error(Code::Empty, message));
    }
    let mut servers: Vec<UpstreamServer> = Vec::new();
    for entry in array.iter() {
        let entry =
            Item { span: entry.span(), value: entry.get_ref(), in_list: true, ..item.again() };
        let Some(server) = one(table, &entry) else { continue };
        if servers.iter().any(|other| other.address == server.address) {
            let message = "this server is listed twice";
            table.reader.report(
                &entry.span,
                Diagnostic::error(Code::Duplicate, message)
                    .help("a larger share is a weight: { url = \"http://a:3000\", weight = 2 }"),
            );
            continue;
        }
        servers.push(server);
    }
    if let (false, true) = (servers.is_empty(), servers.iter().all(|server| server.backup)) {
        let message = "all servers are backups: there is nothing that they stand in for";
        table.reader.report(&item.span, Diagnostic::error(Code::OnlyBackups, message));
    }
    Some(servers)
}

fn one(table: &Table<'_>, entry: &Item<'_>) -> Option<UpstreamServer> {
    if !entry.is_table() {
        let text = entry.string()?;
        let address = server_address(table, &text)?;
        return Some(UpstreamServer { address, weight: 1, backup: false });
    }
    let server = entry.table("`servers`", "upstream.servers")?;
    let url = server.required("url").and_then(|item| item.string());
    let weight = server.integer("weight", 1, 1..=1000);
    let backup = server.boolean("backup", false);
    server.finish();
    let address = server_address(table, &url?)?;
    Some(UpstreamServer { address, weight: u32::try_from(weight).unwrap_or(1), backup })
}

fn server_address(table: &Table<'_>, text: &Text) -> Option<ServerAddress> {
    let unsupported = ["h2://", "h2c://", "grpc://", "grpcs://", "h3://"];
    let diagnostic = if let Some(scheme) =
        unsupported.iter().find(|scheme| text.value.starts_with(**scheme))
    {
        let message = format!("{scheme} to an upstream is not supported by this version");
        Diagnostic::error(Code::Unsupported, message)
            .help("http://host:port, https://host:port or unix:path")
    } else {
        let address = match text.value.strip_prefix("unix:") {
            Some(path) => server::unix_path(table.reader, path).map(ServerAddress::Unix),
            None => http_server(&text.value).map_err(str::to_owned),
        };
        match address {
            Ok(address) => return Some(address),
            // The address itself may hold a password: the line is printed masked, this is not.
            Err(expected) => Diagnostic::error(Code::BadUrl, "this is not the address of a server")
                .help(expected),
        }
    };
    table.reader.report(&text.span, diagnostic);
    None
}

/// `http://host:port`, with nothing after it.
fn http_server(text: &str) -> Result<ServerAddress, &'static str> {
    let (tls, rest) = match text.strip_prefix("https://") {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix("http://").ok_or(FORM)?),
    };
    let default = if tls { "443" } else { "80" };
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    if authority.contains('@') {
        return Err("no user and password: an upstream is named by host and port");
    }
    if !path.is_empty() || authority.contains(['?', '#']) {
        return Err("host and port only: the path of a request is sent on as it came");
    }
    let (host, port) = match authority.strip_prefix('[') {
        Some(bracketed) => {
            let (host, port) = bracketed.split_once(']').ok_or(FORM)?;
            host.parse::<std::net::Ipv6Addr>().map_err(|_| FORM)?;
            (host, port.strip_prefix(':').or(port.is_empty().then_some(default)).ok_or(FORM)?)
        }
        None => {
            let (host, port) = authority.split_once(':').unwrap_or((authority, default));
            if !value::is_host_name(host) {
                return Err(FORM);
            }
            (host, port)
        }
    };
    let port = port.parse().ok().filter(|port| *port != 0).ok_or("a port from 1 to 65535")?;
    Ok(ServerAddress::Tcp { host: host.to_ascii_lowercase(), port, tls })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_host_and_port() {
        let tcp = |host: &str, port, tls| Ok(ServerAddress::Tcp { host: host.into(), port, tls });
        assert_eq!(http_server("http://127.0.0.1:3000"), tcp("127.0.0.1", 3000, false));
        assert_eq!(http_server("http://App/"), tcp("app", 80, false));
        assert_eq!(http_server("https://App/"), tcp("app", 443, true));
        assert_eq!(http_server("http://[::1]:3000"), tcp("::1", 3000, false));
        for bad in [
            "127.0.0.1:3000",
            "http://",
            "http://a:0",
            "http://a:b",
            "http://a/b",
            "http://u:p@a",
            "http://a b",
            "http://[::1",
            "http://[::1]x",
            "ftp://a",
        ] {
            assert!(http_server(bad).is_err(), "{bad}");
        }
    }
}
