//! A request on one connection of HTTP/1.1, and what came of it.

use std::cell::RefCell;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use http::Response;

use super::within;
use crate::proxy::answer::{Fault, UpstreamFault};
use crate::proxy::answer_body::AnswerBody;
use crate::proxy::core::Core;
use crate::proxy::outgoing::Outgoing;
use crate::proxy::upstream_h1::{Answer, NoAnswer, Wire};

/// What came of a request on one connection of HTTP/1.1.
pub(super) struct Unanswered {
    pub fault: Fault,
    /// Where it is whole: nothing of it was sent, or it has no body.
    pub request: Option<Box<Outgoing>>,
    pub sent: bool,
}

/// Asks on one connection. The request comes back, without a body.
pub(super) async fn ask(
    core: &Rc<Core>,
    wire: Wire,
    mut outgoing: Box<Outgoing>,
    timeout: Duration,
) -> Result<(Response<AnswerBody>, Box<Outgoing>), Unanswered> {
    let moved = outgoing.request.body().moved();
    let bodiless = moved.is_none();
    let call = Rc::new(RefCell::new(wire.ask(core, &mut outgoing)));
    let answer = pin!(std::future::poll_fn(|context| call.borrow_mut().poll_answer(context)));
    match within(answer, moved, timeout).await {
        Ok(Ok(head)) => Ok((Answer::new(call, head).map(AnswerBody::Http1), outgoing)),
        Ok(Err(NoAnswer::Unsent(why))) => {
            if let Some(call) = Rc::into_inner(call) {
                *outgoing.request.body_mut() = call.into_inner().into_body();
            }
            let fault = Fault::because(UpstreamFault::Broken, why);
            Err(Unanswered { fault, request: Some(outgoing), sent: false })
        }
        Ok(Err(NoAnswer::Broken(why))) => {
            let request = bodiless.then_some(outgoing);
            let fault = Fault::because(UpstreamFault::Broken, why);
            Err(Unanswered { fault, request, sent: true })
        }
        Err(fault) => Err(Unanswered { fault, request: None, sent: true }),
    }
}
