//! How a connection begins: what its listener asks for is done before there is a request, on the
//! core that will serve it. A plain listener asks for nothing and pays for nothing here.

use std::net::IpAddr;
use std::rc::Rc;

use crate::config::{self, Config};

use super::core::Core;
use super::io::{ClientStream, Rewound, Stream};
use super::tls::{H2, Tls};

/// See the module.
pub struct Entrance {
    pub tls: Option<Tls>,
    /// Every request is answered with its `https://` address, at this port.
    pub redirect: Option<u16>,
}

/// A connection that has begun.
pub struct Begun {
    pub stream: ClientStream,
    pub activity: std::sync::Arc<super::io::Activity>,
    pub peer: Option<IpAddr>,
    pub secure: Option<Secure>,
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
    fn new(config: &config::Entrance) -> Self {
        Self { tls: config.tls.as_ref().and_then(Tls::new), redirect: None }
    }

    /// Of `[server]`: that of its addresses, and that of those which only redirect.
    pub fn compile(config: &Config) -> Vec<Self> {
        let port = config.server.listen.iter().find_map(|listen| match listen {
            config::Listen::Tcp(address) => Some(address.port()),
            config::Listen::Unix(_) => None,
        });
        let port = config.server.redirect_port.or(port).unwrap_or(443);
        vec![Self::new(&config.server.entrance), Self { tls: None, redirect: Some(port) }]
    }

    /// Whether a connection needs [`Self::begin`].
    pub fn is_plain(&self) -> bool {
        self.tls.is_none()
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
        peer: Option<IpAddr>,
    ) -> Result<Begun, NotBegun> {
        let stream = Rewound::new(stream);
        let Some(tls) = &self.tls else {
            let (stream, activity) = ClientStream::plain(stream);
            return Ok(Begun { stream, activity, peer, secure: None });
        };
        let Ok(stream) = tls.accept(stream, &core.handshakes).await else {
            core.handshakes_failed.set(core.handshakes_failed.get() + 1);
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
}
