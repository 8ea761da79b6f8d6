//! The servers behind the gateway as both planes see them. The control plane writes: the addresses
//! of a name, what a health check found. The data plane reads, and counts: requests in flight,
//! failures in a row. All of it is atomics and published snapshots; nobody waits for anybody.
//! Connections are not here: they stay on the core that opened them.

mod choice;
mod ejection;
mod endpoint;
mod group;
mod registry;
mod report;
mod ring;
mod set;

pub use choice::{Pick, Tried};
pub use endpoint::{Address, Endpoint, Health, Key, Moment};
pub use group::{Busy, Group, Repeat, Resolution};
pub use registry::Registry;
pub use report::{GroupReport, ServerReport, State};
pub use ring::hash as key_hash;
pub use set::EndpointSet;

use std::sync::Arc;

/// The groups that are in force; a reload publishes others.
pub type Source = Arc<dyn Fn() -> Vec<Arc<Group>> + Send + Sync>;
