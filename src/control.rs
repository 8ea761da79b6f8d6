//! The control plane: records, store, admin API, people, the upstreams' names. It runs on its own named thread and
//! runtime; what it decides reaches the data plane as published state only.

pub mod admin;
pub mod config;
pub mod health;
pub mod keys;
pub mod lifetimes;
pub mod metrics;
pub mod observed;
pub mod outbound;
pub mod people;
pub mod registrations;
pub mod resolve;
pub mod sessions;
pub mod store;
pub mod streams;
pub mod tasks;
pub mod traces;
pub mod upstream_certificates;
pub mod upstreams;
