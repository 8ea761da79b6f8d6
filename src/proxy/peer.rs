//! Who is at the other end of a connection.

use std::net::IpAddr;

use http::HeaderValue;

/// Who is at the other end, or whom a PROXY protocol header names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Peer {
    Address(IpAddr),
    /// Over a unix socket, whose file says who may connect.
    Unix,
    /// A header says that it has no address: nobody whose word counts.
    Unknown,
}

impl Peer {
    pub fn address(self) -> Option<IpAddr> {
        match self {
            Self::Address(address) => Some(address),
            Self::Unix | Self::Unknown => None,
        }
    }

    /// As the backend is told.
    pub fn text(self) -> HeaderValue {
        let text = self.address().map_or_else(|| "unknown".to_owned(), |peer| peer.to_string());
        HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
    }
}
