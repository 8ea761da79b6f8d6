//! `[[upstream]]`: the servers behind the gateway.

use std::time::Duration;

use super::cursor::Table;
use super::diagnostic::{Code, Diagnostic};
use super::item::Text;
use super::server::{self, name};
use super::{ServerAddress, Upstream, UpstreamHost, value};

pub fn upstream(table: &Table<'_>) -> Option<Upstream> {
    let second = Duration::from_secs(1);
    let hour = 3600 * second;
    table.unsupported("health", "a server that does not answer gives 502");
    table.unsupported("tls", "reach the server over http:// or a unix socket");
    table.unsupported("retries", "a failed request is answered with 502");
    table.unsupported("balance", "servers are taken in turn");
    let name = name(table.required("name"));
    let servers = servers(table);
    let upstream = Upstream {
        name: name.unwrap_or_default(),
        servers: servers.unwrap_or_default(),
        connect_timeout: table.duration("connect_timeout", 5 * second, second / 100..=hour),
        response_timeout: table.duration("response_timeout", 60 * second, second / 100..=24 * hour),
        idle_timeout: table.duration("idle_timeout", 60 * second, Duration::ZERO..=hour),
        host: table.choice(
            "host",
            UpstreamHost::Preserve,
            &[("preserve", UpstreamHost::Preserve), ("server", UpstreamHost::Server)],
        ),
    };
    table.finish();
    (!upstream.name.is_empty()).then_some(upstream)
}

fn servers(table: &Table<'_>) -> Option<Vec<ServerAddress>> {
    let texts = table.strings("servers");
    let Some(texts) = texts else {
        if !table.has("servers") {
            table.require_also("servers");
        }
        return None;
    };
    if let (true, Some(item)) = (texts.is_empty(), table.get("servers")) {
        let message = "an upstream needs at least one server";
        table.reader.report(&item.span, Diagnostic::error(Code::Empty, message));
    }
    Some(texts.iter().filter_map(|text| server_address(table, text)).collect())
}

fn server_address(table: &Table<'_>, text: &Text) -> Option<ServerAddress> {
    let unsupported = ["https://", "h2://", "h2c://", "grpc://", "grpcs://", "h3://"];
    let diagnostic = if let Some(scheme) =
        unsupported.iter().find(|scheme| text.value.starts_with(**scheme))
    {
        let message = format!("{scheme} to an upstream is not supported by this version");
        Diagnostic::error(Code::Unsupported, message).help("http://host:port or unix:path")
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
    let form = "\"http://127.0.0.1:3000\", \"http://app:3000\" or \"unix:/run/app.sock\"";
    let rest = text.strip_prefix("http://").ok_or(form)?;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    if authority.contains('@') {
        return Err("no user and password: an upstream is named by host and port");
    }
    if !path.is_empty() || authority.contains(['?', '#']) {
        return Err("host and port only: the path of a request is sent on as it came");
    }
    let (host, port) = match authority.strip_prefix('[') {
        Some(bracketed) => {
            let (host, port) = bracketed.split_once(']').ok_or(form)?;
            host.parse::<std::net::Ipv6Addr>().map_err(|_| form)?;
            (host, port.strip_prefix(':').or(port.is_empty().then_some("80")).ok_or(form)?)
        }
        None => {
            let (host, port) = authority.split_once(':').unwrap_or((authority, "80"));
            if !value::is_host_name(host) {
                return Err(form);
            }
            (host, port)
        }
    };
    let port = port.parse().ok().filter(|port| *port != 0).ok_or("a port from 1 to 65535")?;
    Ok(ServerAddress::Http { host: host.to_ascii_lowercase(), port })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_host_and_port() {
        let http = |host: &str, port| Ok(ServerAddress::Http { host: host.to_owned(), port });
        assert_eq!(http_server("http://127.0.0.1:3000"), http("127.0.0.1", 3000));
        assert_eq!(http_server("http://App/"), http("app", 80));
        assert_eq!(http_server("http://[::1]:3000"), http("::1", 3000));
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
