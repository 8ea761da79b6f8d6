//! How a client's connection to a listener begins, before there is a request: a PROXY protocol
//! header, TLS, or a plain listener that only sends people to the encrypted one. `[server]` has one
//! for all its addresses.

use super::cursor::{Table, show};
use super::diagnostic::{Code, Diagnostic};
use super::item::Text;
use super::tls::{self, Tls};
use super::{IpNet, value};

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Entrance {
    /// `server`, `redirect`, or that of its `[[listener]]`, which without one is `listener-1` by its
    /// place in the file: what metrics call it.
    pub name: String,
    pub tls: Option<Tls>,
    /// HTTP/2 is spoken too: by ALPN, and on plain listeners with prior knowledge.
    pub http2: bool,
    /// Peers that begin with a PROXY protocol header and must; empty: the header is not spoken.
    pub proxy_protocol: Vec<IpNet>,
    /// Every request is answered with its `https://` address.
    pub redirect: bool,
}

impl Entrance {
    /// What a URL to it begins with.
    pub fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }
}

/// Reads the keys of an entrance out of a listener's table, whose place among the keys is `kind`.
pub fn entrance(table: &Table<'_>, kind: &str) -> Entrance {
    Entrance {
        name: String::new(),
        tls: tls::tls(table, &format!("{kind}.tls")),
        http2: table.boolean("http2", true),
        proxy_protocol: proxy_protocol(table),
        redirect: false,
    }
}

fn proxy_protocol(table: &Table<'_>) -> Vec<IpNet> {
    let texts = table.strings("proxy_protocol").unwrap_or_default();
    let everyone = "every peer may say whose connection it passes on: anyone can claim any address";
    texts.iter().filter_map(|text| network(table, text, everyone)).collect()
}

/// A block of peers in front; what a block of all means is said as a warning.
pub fn network(table: &Table<'_>, text: &Text, everyone: &str) -> Option<IpNet> {
    match value::network(&text.value) {
        Ok(network) => {
            if network.prefix == 0 {
                let diagnostic = Diagnostic::warning(Code::TrustsEveryone, everyone)
                    .help("list the proxies in front of the gateway");
                table.reader.report(&text.span, diagnostic);
            }
            Some(network)
        }
        Err(expected) => {
            let message = format!("\"{}\" is not a network", show(&text.raw));
            let diagnostic = Diagnostic::error(Code::BadNetwork, message).help(expected);
            table.reader.report(&text.span, diagnostic);
            None
        }
    }
}
