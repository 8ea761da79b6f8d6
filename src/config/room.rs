//! How many connections the process has file descriptors for. A client's connection may need one to
//! a server, so each counts twice; some are kept back for the store, logs, the admin API and checks.

use rustix::process::{Resource, getrlimit};

/// Kept back, or a quarter where that is less.
const RESERVE: u64 = 512;

/// Connections that so many descriptors are room for; `None`: the system sets no limit.
pub fn connections(descriptors: Option<u64>) -> usize {
    let Some(all) = descriptors else { return usize::MAX };
    let left = all - RESERVE.min(all / 4);
    usize::try_from(left / 2).unwrap_or(usize::MAX).max(1)
}

/// What a start raises the limit of this process to.
pub fn descriptors() -> Option<u64> {
    getrlimit(Resource::Nofile).maximum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_connection_has_a_second_descriptor_for_its_server_and_some_are_kept_back() {
        assert_eq!(connections(None), usize::MAX);
        assert_eq!(connections(Some(1_048_576)), 524_032);
        assert_eq!(connections(Some(4096)), 1792);
        assert_eq!(connections(Some(256)), 96);
        assert_eq!(connections(Some(0)), 1);
    }
}
