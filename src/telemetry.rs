//! What happened: access log, counters, and observations for the control plane. Nothing here is
//! waited for by a request.

pub mod access;
pub mod counters;
mod observe;
pub mod streams;
pub mod trace;

pub use observe::{AskToReport, CoreObserver, Observation, Observer, Refusal, Report, Sighting};
