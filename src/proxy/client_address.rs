//! Whose request it is: the peer of its connection, or whom trusted proxies name. Found once a
//! request, so that the log, the limits, the audit and the list of streams speak of the same client.
//!
//! What always holds: `X-Forwarded-For` is read from its end, where the proxy next to us writes, and
//! not beyond the first address that is no trusted proxy's. What a client wrote in front of that is
//! never looked at.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName};

use crate::config::TrustedProxies;

use super::connection::Peer;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// What a proxy writes of a client that came over a unix socket.
const UNIX: &[u8] = b"unix:";

/// See the module.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Client {
    address: Option<IpAddr>,
    known: Known,
}

/// How its address is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Known {
    /// It is the peer.
    Peer,
    /// A trusted proxy says so.
    Told,
    /// It is a trusted proxy's own: nobody says for whom it speaks.
    Proxy,
}

impl Client {
    /// Of a peer that is no trusted proxy.
    pub fn peer(peer: Peer) -> Self {
        Self { address: peer.address(), known: Known::Peer }
    }

    /// Of a request that a trusted proxy passes on.
    pub fn behind(proxy: Peer, headers: &HeaderMap, proxies: &TrustedProxies) -> Self {
        let mut nearest = proxy.address();
        // As bytes: what a client wrote in front must not hide what its proxy wrote behind it.
        let lines = headers.get_all(&X_FORWARDED_FOR).iter().rev();
        for text in lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b',')) {
            let text = text.trim_ascii();
            match address(text) {
                Some(address) if proxies.list(address) => nearest = Some(address),
                Some(address) => return Self { address: Some(address), known: Known::Told },
                None if text == UNIX && proxies.unix => {}
                // Nothing beyond what cannot be read is known.
                None => break,
            }
        }
        Self { address: nearest, known: Known::Proxy }
    }

    /// As it is told to people: the nearest that is known; `None`: over a unix socket.
    pub fn address(&self) -> Option<IpAddr> {
        self.address
    }

    /// Where something is counted against an address: never against a proxy, behind which is
    /// everybody.
    pub fn accountable(&self) -> Option<IpAddr> {
        self.address.filter(|_| self.known != Known::Proxy)
    }

    /// It is somebody that we do not know as a proxy.
    pub fn is_peer(&self) -> bool {
        self.known == Known::Peer
    }
}

/// IPv4 by address, IPv6 by /64: so much of it everybody has.
pub fn network(address: IpAddr) -> u128 {
    match address.to_canonical() {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits() >> 64 | 1 << 127,
    }
}

/// `192.0.2.1`, `2001:db8::1`, either with a port; an IPv6 address may be in brackets without one.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    let parsed = text.parse::<IpAddr>().ok();
    let socket = || text.parse::<std::net::SocketAddr>().ok().map(|socket| socket.ip());
    let inside = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(IpAddr::V6);
    parsed.or_else(socket).or_else(inside).map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::IpNet;
    use crate::proxy::connection::Connection;

    fn proxies() -> TrustedProxies {
        let networks = vec![IpNet { address: [10, 0, 0, 0].into(), prefix: 8 }];
        TrustedProxies { networks, unix: true }
    }

    fn client(peer: Peer, lines: &[&str]) -> (Option<String>, Option<String>) {
        let connection = Connection::new(peer, Default::default(), None);
        connection.trust(&proxies());
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(X_FORWARDED_FOR, line.parse().unwrap());
        }
        let client = match connection.is_trusted() {
            false => Client::peer(peer),
            true => Client::behind(peer, &headers, &proxies()),
        };
        let text = |address: Option<IpAddr>| address.map(|address| address.to_string());
        (text(client.address()), text(client.accountable()))
    }

    fn both(address: &str) -> (Option<String>, Option<String>) {
        (Some(address.to_owned()), Some(address.to_owned()))
    }

    fn proxy(address: &str) -> (Option<String>, Option<String>) {
        (Some(address.to_owned()), None)
    }

    #[test]
    fn the_first_from_the_end_that_is_no_proxy_is_the_client_and_what_it_wrote_is_not_read() {
        let peer = Peer::Address([10, 0, 0, 1].into());
        assert_eq!(client(peer, &["192.0.2.7"]), both("192.0.2.7"));
        assert_eq!(client(peer, &["6.6.6.6, 192.0.2.7, 10.1.1.1"]), both("192.0.2.7"));
        assert_eq!(client(peer, &["6.6.6.6", "192.0.2.7:4711", "10.1.1.1"]), both("192.0.2.7"));
        assert_eq!(client(peer, &["[2001:db8::7]:80 "]), both("2001:db8::7"));
        assert_eq!(client(peer, &["6.6.6.6, [2001:db8::7]"]), both("2001:db8::7"));
        assert_eq!(client(peer, &["6.6.6.6, [192.0.2.7]"]), proxy("10.0.0.1"));
        assert_eq!(client(peer, &["::ffff:192.0.2.7"]), both("192.0.2.7"));
        assert_eq!(client(peer, &["\u{e9}, 192.0.2.7"]), both("192.0.2.7"));
    }

    #[test]
    fn who_is_no_listed_proxy_speaks_for_itself_only() {
        let stranger = Peer::Address([192, 0, 2, 9].into());
        assert_eq!(client(stranger, &["192.0.2.7"]), both("192.0.2.9"));
        assert_eq!(client(Peer::Unknown, &["192.0.2.7"]), (None, None));
        assert_eq!(client(Peer::Unix, &["192.0.2.7"]), both("192.0.2.7"));
    }

    #[test]
    fn a_proxy_that_does_not_say_for_whom_it_speaks_is_told_of_and_held_to_nothing() {
        let peer = Peer::Address([10, 0, 0, 1].into());
        assert_eq!(client(peer, &[]), proxy("10.0.0.1"));
        assert_eq!(client(peer, &["192.0.2.7, unknown, 10.1.1.1"]), proxy("10.1.1.1"));
        assert_eq!(client(peer, &["10.2.2.2"]), proxy("10.2.2.2"));
        assert_eq!(client(Peer::Unix, &[]), (None, None));
        assert_eq!(client(Peer::Unix, &["192.0.2.7, unix:"]), both("192.0.2.7"));
    }
}
