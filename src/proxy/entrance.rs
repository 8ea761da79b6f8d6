//! How a connection begins: what its listener asks for is done before there is a request, on the
//! core that will serve it. A plain listener asks for nothing and pays for nothing here.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use crate::config::{self, Config, IpNet};
use crate::telemetry::counters::Closed;

use super::connection::Peer;
use super::core::Core;
use super::io::{ClientStream, Rewound, Stream};
use super::kept::Tickets;
use super::place::Place;
use super::proxy_protocol::{self, Source};
use super::tls::{H2, Tls};

/// See the module.
pub struct Entrance {
    pub tls: Option<Tls>,
    pub http2: bool,
    /// Peers that begin with a PROXY protocol header; empty: nobody does.
    proxy_protocol: Vec<IpNet>,
    /// Every request is answered with its `https://` address, at this port.
    pub redirect: Option<u16>,
    /// Connections through it, and through what it was before a reload.
    pub open: Arc<AtomicUsize>,
}

/// A connection that has begun.
pub struct Begun {
    pub stream: ClientStream,
    pub activity: Arc<super::io::Activity>,
    pub peer: Peer,
    pub secure: Option<Secure>,
}

/// What is spoken on a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protocol {
    Http1,
    Http2,
    /// The client's first bytes will say.
    Either,
    /// HTTP/1.1, and every answer leads to the encrypted listener at this port.
    Redirect(u16),
}

/// What the handshake agreed on.
pub struct Secure {
    pub http2: bool,
    /// The client's certificate in DER, where it was asked for one and showed it.
    pub client: Option<Vec<u8>>,
}

/// Whatever the client did instead of beginning. It learns it from TLS's alerts, if at all.
pub struct NotBegun;

impl Entrance {
    /// All of a configuration, in its order. Who redirects sends people to the first port with TLS.
    pub fn compile(
        config: &Config,
        connections: &BTreeMap<String, Arc<AtomicUsize>>,
        tickets: &mut Tickets,
    ) -> Vec<Arc<Self>> {
        let before = tickets.again();
        let is_secure = |entrance: usize| {
            config.entrances.get(entrance).is_some_and(|entrance| entrance.tls.is_some())
        };
        let mut secure = config.listeners.iter().filter(|listener| is_secure(listener.entrance));
        let port = secure.find_map(|listener| match listener.listen {
            config::Listen::Tcp(address) => Some(address.port()),
            config::Listen::Unix(_) => None,
        });
        let port = config.server.redirect_port.or(port).unwrap_or(443);
        let entrances = config.entrances.iter().map(|entrance| Self {
            tls: entrance
                .tls
                .as_ref()
                .and_then(|tls| Tls::new(tls, entrance.http2, (&before, tickets))),
            http2: entrance.http2,
            proxy_protocol: entrance.proxy_protocol.clone(),
            redirect: entrance.redirect.then_some(port),
            open: connections.get(&entrance.name).map(Arc::clone).unwrap_or_default(),
        });
        entrances.map(Arc::new).collect()
    }

    /// Whether a connection needs [`Self::begin`].
    pub fn is_plain(&self) -> bool {
        self.tls.is_none() && self.proxy_protocol.is_empty()
    }

    /// What a connection speaks after this handshake, or without any.
    pub fn protocol(&self, secure: Option<&Secure>) -> Protocol {
        match (self.redirect, secure) {
            (Some(port), _) => Protocol::Redirect(port),
            (None, Some(secure)) if secure.http2 => Protocol::Http2,
            (None, Some(_)) => Protocol::Http1,
            (None, None) if self.http2 => Protocol::Either,
            (None, None) => Protocol::Http1,
        }
    }

    /// Clients may show a certificate.
    pub fn asks_client(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.asks_client)
    }

    /// What comes before the first request.
    pub async fn begin(
        &self,
        core: &Rc<Core>,
        stream: Stream,
        peer: Peer,
        place: &Place,
    ) -> Result<Begun, NotBegun> {
        let (stream, peer) = match self.proxy_protocol.is_empty() {
            true => (Rewound::new(stream), peer),
            false => self.passed_on(core, stream, peer).await?,
        };
        // Before the handshake, which costs.
        if !core.seat(place, peer) {
            return Err(NotBegun);
        }
        let Some(tls) = &self.tls else {
            let (stream, activity) = ClientStream::plain(stream);
            return Ok(Begun { stream, activity, peer, secure: None });
        };
        let Ok(stream) = tls.accept(stream, &core.handshakes).await else {
            core.counters.closed(Closed::Handshake);
            return Err(NotBegun);
        };
        let session = stream.get_ref().1;
        let client = session.peer_certificates().and_then(|chain| chain.first());
        let secure = Secure {
            http2: session.alpn_protocol() == Some(H2),
            client: client.map(|certificate| certificate.to_vec()),
        };
        let (stream, activity) = ClientStream::tls(stream);
        Ok(Begun { stream, activity, peer, secure: Some(secure) })
    }

    /// Whose connection a proxy in front passes on. A peer without an address is on a unix socket,
    /// whose file says who may connect.
    async fn passed_on(
        &self,
        core: &Rc<Core>,
        mut stream: Stream,
        peer: Peer,
    ) -> Result<(Rewound, Peer), NotBegun> {
        let listed = |peer| self.proxy_protocol.iter().any(|network| network.contains(peer));
        if !peer.address().is_none_or(listed) {
            core.counters.closed(Closed::ProxyProtocol);
            core.refuse_beginning("its peer is not listed in `proxy_protocol`", peer);
            return Err(NotBegun);
        }
        let patience = core.published().limits.header_timeout;
        let read = tokio::time::timeout(patience, proxy_protocol::read(&mut stream)).await;
        let Ok(Ok((source, ahead))) = read else {
            core.counters.closed(Closed::ProxyProtocol);
            core.refuse_beginning("it has no PROXY protocol header", peer);
            return Err(NotBegun);
        };
        let mut stream = Rewound::new(stream);
        stream.unread(ahead);
        let peer = match source {
            Source::Address(address) => Peer::Address(address),
            Source::Nameless => Peer::Unknown,
            Source::Peer => peer,
        };
        Ok((stream, peer))
    }
}
