//! TCP keep-alive for tunnels: a peer that vanished without a word (a phone out of reach, a host
//! that lost its power) is found out within two minutes, where nobody may ever send again.

use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

/// Silence before the first probe; below the idle limits of most address translators.
const IDLE: Duration = Duration::from_secs(60);
const INTERVAL: Duration = Duration::from_secs(15);
const PROBES: u32 = 4;

/// Where it cannot be set, the tunnel works without.
pub fn keep_alive(socket: &TcpStream) {
    let keepalive =
        TcpKeepalive::new().with_time(IDLE).with_interval(INTERVAL).with_retries(PROBES);
    SockRef::from(socket).set_tcp_keepalive(&keepalive).ok();
}
