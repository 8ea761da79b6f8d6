//! Switched connections (WebSocket, RFC 6455): after the upstream's 101 the bytes are relayed both
//! ways until either side ends.

use http::header::{CONNECTION, HeaderValue, UPGRADE};
use http::{Response, StatusCode};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use super::answer::{Rejection, UpstreamFault};
use super::body::Body;
use super::exchange::{self, Exchange};
use super::headers;

/// Bytes of relay buffer for each direction.
const BUFFER_BYTES: usize = 8 * 1024;

/// What forwarding came to.
pub enum Answer {
    Response(Response<Body>),
    Switch(Response<Body>, Tunnel),
}

/// Two connections that are about to be one.
pub struct Tunnel {
    client: OnUpgrade,
    server: OnUpgrade,
}

impl Tunnel {
    /// Accepts the upstream's 101 if it switches to what was asked for.
    pub fn open(
        mut response: Response<Incoming>,
        client: OnUpgrade,
        exchange: &Exchange,
    ) -> Result<Answer, Rejection> {
        let to_websocket = response
            .headers()
            .get(UPGRADE)
            .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"));
        if !to_websocket {
            return Err(UpstreamFault::UnexpectedSwitch.into());
        }
        let server = hyper::upgrade::on(&mut response);
        let headers = response.headers_mut();
        headers::clean_response(headers, false);
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        exchange::stamp(headers, exchange.request_id());
        let mut answer = Response::new(Body::empty());
        *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        *answer.headers_mut() = std::mem::take(headers);
        Ok(Answer::Switch(answer, Self { client, server }))
    }

    /// Relays until either side ends; the exchange's log line is written then.
    pub fn start(self, mut exchange: Box<Exchange>) {
        exchange.switched();
        tokio::task::spawn_local(async move {
            let Ok((client, server)) = tokio::try_join!(self.client, self.server) else { return };
            let (mut client, mut server) = (TokioIo::new(client), TokioIo::new(server));
            let relayed = tokio::io::copy_bidirectional_with_sizes(
                &mut client,
                &mut server,
                BUFFER_BYTES,
                BUFFER_BYTES,
            );
            match relayed.await {
                Ok((inward, outward)) => exchange.relayed(inward, outward),
                Err(_) => exchange.broken(),
            }
        });
    }
}
