//! How a client's connection to a listener begins, before there is a request: a PROXY protocol
//! header, TLS, or a plain listener that only sends people to the encrypted one. `[server]` has one
//! for all its addresses.

use super::IpNet;
use super::cursor::Table;
use super::tls::{self, Tls};

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Entrance {
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
    table.unsupported("proxy_protocol", "let the proxy in front send X-Forwarded-For");
    Entrance {
        tls: tls::tls(table, &format!("{kind}.tls")),
        http2: table.boolean("http2", true),
        proxy_protocol: Vec::new(),
        redirect: false,
    }
}
