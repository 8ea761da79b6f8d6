//! The control plane: records, store, admin API, people. It runs on its own named thread and
//! runtime; what it decides reaches the data plane as published state only.

pub mod admin;
pub mod config;
pub mod keys;
pub mod metrics;
pub mod outbound;
pub mod people;
pub mod registrations;
pub mod sessions;
pub mod store;
pub mod tasks;
pub mod traces;
