//! The API over real sockets, with a real store in a temporary directory.

mod batching;
mod bed;
mod creating;
mod door;
mod exchanging;
mod explaining;
mod listing;
mod looking;
mod roles;
