//! The exchange whose request was not read to its end: what that means for its connection.

use crate::proxy::answer::Rejection;

use super::Exchange;

impl Exchange {
    /// The connection can carry no further request, and the answer has to say so. `length`: of the
    /// request's body; `expects`: its client may be waiting to be asked for it; the answer is ours,
    /// for `refused`, or an answer like any other.
    pub async fn must_close(
        &self,
        (length, expects): (u64, bool),
        refused: Option<&Rejection>,
    ) -> bool {
        if self.connection.is_multiplexed() {
            return false;
        }
        // Without it: answered before it was looked at.
        let Some(received) = &self.uploaded else { return true };
        let unasked = expects && received.bytes() == 0;
        match refused {
            // A server may answer while it still takes the body.
            None if !received.has_rest() => false,
            // They pay for their next connection, and nothing more is read of them.
            Some(
                Rejection::Overloaded
                | Rejection::TooManyFailures { .. }
                | Rejection::BodyTooSlow
                | Rejection::Cut(_),
            ) => received.bytes() < length,
            None | Some(_) if unasked => true,
            None | Some(_) => !received.is_whole(length).await,
        }
    }
}
