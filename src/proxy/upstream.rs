//! Upstreams as a core uses them: the shared group of servers, and how a connection to one is made.

use std::sync::Arc;

use http::HeaderValue;

use crate::config::{ServerAddress, Upstream as UpstreamConfig, UpstreamHost};
use crate::sockets::dial::{Alpn, DialFault, ServerStream, dial};
use crate::upstreams::{Endpoint, Group, Registry};

use super::answer::{Fault, UpstreamFault};
use super::core::Core;
use super::upstream_h1::Wire;
use super::upstream_h2::{Http2, Opening};

/// A compiled upstream.
pub struct Upstream {
    pub name: String,
    pub group: Arc<Group>,
    /// What Host says, server by server, where the upstream wants its own name.
    host_headers: Vec<HeaderValue>,
}

impl Upstream {
    pub fn new(config: &UpstreamConfig, registry: &mut Registry) -> Self {
        let headers = config.servers.iter().map(|server| host_header(&server.address));
        Self {
            name: config.name.clone(),
            host_headers: headers.collect(),
            group: registry.group(config.clone()),
        }
    }

    pub fn config(&self) -> &UpstreamConfig {
        &self.group.config
    }

    /// The server's own name, where it is to be sent instead of the client's Host.
    pub fn own_host(&self, endpoint: &Endpoint) -> Option<&HeaderValue> {
        match self.config().host {
            UpstreamHost::Preserve => None,
            UpstreamHost::Server => self.host_headers.get(endpoint.server),
        }
    }
}

fn host_header(address: &ServerAddress) -> HeaderValue {
    let text = match address {
        ServerAddress::Tcp { host, port, tls } => {
            let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
            match (port, tls) {
                (80, false) | (443, true) => host,
                (port, _) => format!("{host}:{port}"),
            }
        }
        ServerAddress::Unix(_) => "localhost".to_owned(),
    };
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("localhost"))
}

/// Opens a connection for HTTP/1.1.
pub async fn connect(core: &Core, group: &Group, endpoint: &Endpoint) -> Result<Wire, Fault> {
    let opening = reach(core, group, endpoint, Alpn::Http1);
    let stream = tokio::time::timeout(group.config.connect_timeout, opening)
        .await
        .map_err(|_| too_late(group))??;
    Ok(Wire::new(stream, endpoint.key(), core.counters.connected(&group.config.name)))
}

/// Opens a connection for HTTP/2; `None`: by ALPN the server wants HTTP/1.1.
pub async fn connect_http2(
    core: &Core,
    group: &Group,
    endpoint: &Endpoint,
    opening: &Opening,
) -> Result<Option<Http2>, Fault> {
    let connecting = async {
        let stream = reach(core, group, endpoint, Alpn::Http2).await?;
        if !stream.speaks_http2() {
            opening.chose_http1();
            return Ok(None);
        }
        opening.begin(stream, core.counters.connected(&group.config.name)).await.map(Some)
    };
    let connected = tokio::time::timeout(group.config.connect_timeout, connecting)
        .await
        .unwrap_or_else(|_| Err(too_late(group)));
    if let Err(fault) = &connected {
        opening.failed(fault.clone());
    }
    connected
}

fn too_late(group: &Group) -> Fault {
    let timeout = group.config.connect_timeout;
    Fault::because(UpstreamFault::ConnectTimeout, format_args!("no connection within {timeout:?}"))
}

async fn reach(
    core: &Core,
    group: &Group,
    endpoint: &Endpoint,
    alpn: Alpn,
) -> Result<ServerStream, Fault> {
    let secure = group.secure(endpoint, alpn);
    let mut dialled = dial(&endpoint.address, secure.as_ref()).await;
    // What idles, to whichever server, gives way to who has a request.
    if matches!(&dialled, Err(DialFault::Connect(error)) if is_ours(error)) && core.pool.close_all()
    {
        dialled = dial(&endpoint.address, secure.as_ref()).await;
    }
    dialled.map_err(|fault| {
        let kind = match &fault {
            DialFault::Connect(error) if is_ours(error) => UpstreamFault::NoDescriptors,
            DialFault::Connect(_) => UpstreamFault::Unreachable,
            DialFault::Tls(_) => UpstreamFault::Handshake,
        };
        Fault::because(kind, fault)
    })
}

/// No file can be opened here, which says nothing of the server.
fn is_ours(error: &std::io::Error) -> bool {
    let errno = error.raw_os_error().map(rustix::io::Errno::from_raw_os_error);
    matches!(errno, Some(rustix::io::Errno::MFILE | rustix::io::Errno::NFILE))
}
