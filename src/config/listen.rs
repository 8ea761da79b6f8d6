//! Addresses: where the gateway listens, and blocks of peers.

use std::net::SocketAddr;
use std::path::PathBuf;

#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub enum Listen {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl Listen {
    /// The system gives a port of an address to one socket, and that of all addresses of a family
    /// (`0.0.0.0`, `[::]`) only where no address of it is taken.
    pub fn overlaps(&self, other: &Self) -> bool {
        let (Self::Tcp(one), Self::Tcp(two)) = (self, other) else { return self == other };
        let same_ip = one.ip() == two.ip()
            || one.is_ipv4() == two.is_ipv4()
                && (one.ip().is_unspecified() || two.ip().is_unspecified());
        one.port() != 0 && one.port() == two.port() && same_ip
    }

    /// As it is written in the file.
    pub fn shown(&self) -> String {
        match self {
            Self::Tcp(address) => address.to_string(),
            Self::Unix(path) => format!("unix:{}", path.display()),
        }
    }

    /// As people type it: `http://127.0.0.1:8080`, `unix:/run/p.sock`.
    pub fn url(&self) -> String {
        self.url_of("http")
    }

    /// The same where something else than plain HTTP is spoken: `https://127.0.0.1:8443`.
    pub fn url_of(&self, scheme: &str) -> String {
        match self {
            Self::Tcp(address) => format!("{scheme}://{address}"),
            Self::Unix(_) => self.shown(),
        }
    }
}

/// Proxies in front, whose word on their clients is taken. Nobody by default.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TrustedProxies {
    pub networks: Vec<IpNet>,
    /// Whoever may connect to a unix socket of ours.
    pub unix: bool,
}

impl TrustedProxies {
    pub fn list(&self, address: std::net::IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(address))
    }

    pub fn is_empty(&self) -> bool {
        self.networks.is_empty() && !self.unix
    }

    /// As they are written in the file.
    pub fn shown(&self) -> Vec<String> {
        let networks = self.networks.iter().map(|net| format!("{}/{}", net.address, net.prefix));
        networks.chain(self.unix.then(|| "unix".to_owned())).collect()
    }
}

/// An address block: `10.0.0.0/8`, `::1`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IpNet {
    pub address: std::net::IpAddr,
    pub prefix: u8,
}

impl IpNet {
    pub fn contains(&self, address: std::net::IpAddr) -> bool {
        use std::net::IpAddr::{V4, V6};
        let (ours, theirs, width) = match (self.address, address) {
            (V4(ours), V4(theirs)) => {
                (u128::from(ours.to_bits()), u128::from(theirs.to_bits()), 32)
            }
            (V6(ours), V6(theirs)) => (ours.to_bits(), theirs.to_bits(), 128),
            (V4(_), V6(_)) | (V6(_), V4(_)) => return false,
        };
        let host_bits = width - u32::from(self.prefix).min(width);
        let differ = ours ^ theirs;
        differ.checked_shr(host_bits).unwrap_or(0) == 0
    }
}
