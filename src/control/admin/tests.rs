//! The API over real sockets, with a real store.
