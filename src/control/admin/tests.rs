//! The API over real sockets, with a real store in a temporary directory.

mod auditing;
mod batching;
mod bed;
mod creating;
mod door;
mod exchanging;
mod explaining;
mod filling;
mod listing;
mod looking;
mod repeating;
mod roles;
mod telling;
mod undoing;
mod watching;
