//! TCP keep-alive: a peer that vanished without a word (a phone out of reach, a host that lost its
//! power) is found out within two minutes, also where nobody may ever send again.

use std::os::fd::AsFd;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

/// Silence before the first probe; below the idle limits of most address translators.
const IDLE: Duration = Duration::from_secs(60);
const INTERVAL: Duration = Duration::from_secs(15);
const PROBES: u32 = 4;

/// Of a connection, or of a listening socket, whose connections begin with what it has: so a client
/// costs no further system call. Where it cannot be set, the socket works without.
pub fn keep_alive(socket: &impl AsFd) {
    let keepalive =
        TcpKeepalive::new().with_time(IDLE).with_interval(INTERVAL).with_retries(PROBES);
    SockRef::from(socket).set_tcp_keepalive(&keepalive).ok();
}
