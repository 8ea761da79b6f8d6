//! What happened: access log, counters, and observations for the control plane. Nothing here is
//! waited for by a request.

mod observe;

pub use observe::{Observation, Observer, Refusal, Sighting};
