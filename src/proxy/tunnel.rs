//! Switched connections (WebSocket, RFC 6455, and what else a route lets pass): after the upstream's
//! 101 the bytes are relayed both ways until either side ends, or the token that opened it no longer
//! counts.

mod frames;
mod half;
mod http2;
mod relay;

use std::rc::Rc;

use bytes::Bytes;
use http::header::{CONNECTION, HeaderValue, SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use http::{Response, StatusCode};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;

use crate::sockets::dial::ServerStream;

use super::answer::{Rejection, UpstreamFault};
use super::answer_body::AnswerBody;
use super::body::Body;
use super::exchange::{self, Exchange};
use super::h2::Guard;
use super::headers;
use super::io::ClientStream;
use super::streams::Cause;
use super::upgrade::Upgrade;
use crate::telemetry::streams::StreamKind;
pub use frames::Frames;
use http2::ClientSide;
pub use relay::Closing;
use relay::{Ahead, Relay};

/// What forwarding came to.
pub enum Answer {
    Response(Response<Body>),
    Switch(Response<Body>, Tunnel),
}

/// What a request that was sent on asks to switch to.
pub struct Switch {
    pub to: Upgrade,
    pub client: OnUpgrade,
    /// The subprotocol that is answered where the server chooses none.
    pub chosen: Option<HeaderValue>,
}

/// Two connections that are about to be one.
pub struct Tunnel {
    to: Upgrade,
    client: OnUpgrade,
    server: ServerStream,
    /// What came from the server behind its answer.
    ahead: Bytes,
}

impl Tunnel {
    /// Accepts the upstream's 101 if it switches to what was asked for.
    pub fn open(
        response: Response<AnswerBody>,
        switch: Switch,
        exchange: &Exchange,
    ) -> Result<Answer, Rejection> {
        let Switch { to, client, chosen } = switch;
        let (mut parts, body) = response.into_parts();
        let switched = body.into_switched().filter(|_| to.is_answered_by(&parts.headers));
        let (server, ahead) = switched.ok_or(UpstreamFault::UnexpectedSwitch)?;
        let headers = &mut parts.headers;
        headers::clean_response(headers, false);
        let mut answer = Response::new(Body::empty());
        if exchange.is_over_http2() {
            http2::accept(headers, exchange)?;
        } else {
            headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
            headers.insert(UPGRADE, to.value());
            *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        }
        if let (Some(chosen), true) = (chosen, to.is_websocket()) {
            headers.entry(SEC_WEBSOCKET_PROTOCOL).or_insert(chosen);
        }
        exchange::stamp(headers, exchange.request_id());
        *answer.headers_mut() = std::mem::take(headers);
        Ok(Answer::Switch(answer, Self { to, client, server, ahead }))
    }

    /// Relays until either side ends or the stream is cut; the exchange's log line is written then.
    pub fn start(self, mut exchange: Box<Exchange>) {
        let framed = self.to.is_websocket();
        let kind = if framed { StreamKind::WebSocket } else { StreamKind::Tunnel };
        let stream = exchange.switched(kind);
        tokio::task::spawn_local(async move {
            let Ok(client) = self.client.await else { return exchange.broken() };
            let carrier = exchange.guard().and_then(|guard| guard.switched());
            let mut relay = join(client, (self.server, self.ahead), carrier, framed);
            let ended = relay.run(stream.as_deref()).await;
            exchange.relayed(relay.bytes());
            match ended {
                // Of what was left waiting on one side nothing may look whole.
                Ok(None) => relay.break_off(),
                // In a box: what only a cut needs is no part of a tunnel that idles.
                Ok(Some(cause)) => Box::pin(cut(relay, exchange, cause)).await,
                Err(_) => {
                    relay.break_off();
                    exchange.broken();
                }
            }
        });
    }
}

/// Ends both sides. The exchange ends when they were told; the sockets stay until that was taken.
async fn cut(relay: Joined, mut exchange: Box<Exchange>, cause: Cause) {
    exchange.cut(cause);
    let lingering = relay.cut(exchange.closing(cause), || exchange.told()).await;
    exchange.relayed(lingering.bytes());
    let place = exchange.place();
    drop(exchange);
    lingering.end().await;
    drop(place);
}

type Joined = Relay<ClientSide, ServerStream>;

/// The client's raw connection out of hyper's wrapping, and what was read beyond the handshake. A
/// client's half of HTTP/2 stays wrapped: it is one stream of its connection.
fn join(
    client: Upgraded,
    (server, behind): (ServerStream, Bytes),
    carrier: Option<Rc<Guard>>,
    framed: bool,
) -> Joined {
    let (client, ahead) = match client.downcast::<TokioIo<ClientStream>>() {
        Ok(raw) => (ClientSide::Connection(raw.io.into_inner()), raw.read_buf),
        Err(stream) => (ClientSide::Http2(TokioIo::new(stream), carrier), Bytes::new()),
    };
    let ahead = Ahead { from_client: &ahead, from_server: &behind };
    Relay::new(client, server, ahead, framed)
}
