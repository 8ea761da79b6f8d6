//! Upstreams: named groups of servers, and how a connection to one is made.

use std::cell::Cell;
use std::collections::HashMap;
use std::time::Duration;

use http::HeaderValue;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, UnixStream};

use crate::config::{ServerAddress, Upstream as UpstreamConfig, UpstreamHost};

use super::answer::UpstreamFault;
use super::body::RequestBody;
use super::io::Stream;

/// A compiled upstream.
pub struct Upstream {
    pub name: String,
    pub servers: Vec<Server>,
    pub connect_timeout: Duration,
    pub response_timeout: Duration,
    pub idle_timeout: Duration,
    pub host: UpstreamHost,
}

/// One server of an upstream.
pub struct Server {
    /// Place in each core's pool; the same for the same address across reloads.
    pub slot: usize,
    pub address: ServerAddress,
    /// What Host says where the upstream wants its own name.
    pub host_header: HeaderValue,
}

/// Gives every distinct server address a slot, for the life of the process.
#[derive(Default)]
pub struct Addresses(HashMap<String, usize>);

impl Addresses {
    fn slot(&mut self, address: &ServerAddress) -> usize {
        let next = self.0.len();
        *self.0.entry(format!("{address:?}")).or_insert(next)
    }
}

impl Upstream {
    pub fn new(config: &UpstreamConfig, addresses: &mut Addresses) -> Self {
        let server = |address: &ServerAddress| Server {
            slot: addresses.slot(address),
            address: address.clone(),
            host_header: host_header(address),
        };
        Self {
            name: config.name.clone(),
            servers: config.servers.iter().map(server).collect(),
            connect_timeout: config.connect_timeout,
            response_timeout: config.response_timeout,
            idle_timeout: config.idle_timeout,
            host: config.host,
        }
    }

    /// Servers in the order to try them for one request: round robin per core.
    pub fn order(&self) -> impl Iterator<Item = &Server> {
        thread_local! { static TURN: Cell<usize> = const { Cell::new(0) }; }
        let count = self.servers.len().max(1);
        let first = if count == 1 { 0 } else { TURN.replace(TURN.get().wrapping_add(1)) % count };
        self.servers.iter().cycle().skip(first).take(self.servers.len())
    }
}

fn host_header(address: &ServerAddress) -> HeaderValue {
    let text = match address {
        ServerAddress::Http { host, port: 80 } => host.clone(),
        ServerAddress::Http { host, port } if host.contains(':') => format!("[{host}]:{port}"),
        ServerAddress::Http { host, port } => format!("{host}:{port}"),
        ServerAddress::Unix(_) => "localhost".to_owned(),
    };
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("localhost"))
}

/// The sending half of an HTTP/1.1 connection to a server.
pub type Sender = hyper::client::conn::http1::SendRequest<RequestBody>;

/// Opens a connection; its driver runs on this core until either side closes.
pub async fn connect(server: &Server, timeout: Duration) -> Result<Sender, UpstreamFault> {
    let opening = async {
        match &server.address {
            ServerAddress::Http { host, port } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await?;
                stream.set_nodelay(true)?;
                Ok::<_, std::io::Error>(Stream::Tcp(stream))
            }
            ServerAddress::Unix(path) => Ok(Stream::Unix(UnixStream::connect(path).await?)),
        }
    };
    let stream = tokio::time::timeout(timeout, opening)
        .await
        .map_err(|_| UpstreamFault::ConnectTimeout)?
        .map_err(|_| UpstreamFault::Unreachable)?;
    let (sender, driver) = hyper::client::conn::http1::Builder::new()
        .max_headers(256)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|_| UpstreamFault::Broken)?;
    // Its errors reach the request that suffers them.
    tokio::task::spawn_local(async move { driver.with_upgrades().await.ok() });
    Ok(sender)
}
