//! The limit of open files: systems start programs with few, for the sake of old ones, and let them
//! ask for more.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Asks for all that may be had. What is refused is told and lived with.
pub fn raise() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return;
    }
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        tracing::warn!(%error, "the limit of open files could not be raised");
    }
}
