//! Passive ejection: a server whose requests fail several times in a row gets none for a while, each
//! time longer. Never more than a share of the servers, and never the last that is left: what is
//! wrong with all of them is not cured by sending nothing.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::endpoint::{Endpoint, Moment};
use super::group::Group;

impl Group {
    /// The server did what was asked, whatever it answered below 502.
    pub fn succeeded(&self, endpoint: &Endpoint) {
        // A load only, on the path that all requests take.
        if endpoint.failures.load(Ordering::Relaxed) != 0 {
            endpoint.failures.store(0, Ordering::Relaxed);
        }
    }

    /// No connection, no answer, or an answer that says that the server does not work.
    pub fn failed(&self, endpoint: &Endpoint, now: Moment) {
        let policy = &self.config.ejection;
        let failures = endpoint.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if policy.failures == 0 || failures < policy.failures || endpoint.is_ejected(now) {
            return;
        }
        // Two cores that eject at once could eject too many; the one that comes second leaves it to
        // the next failure.
        let Some(_deciding) = self.deciding.try_lock() else { return };
        if endpoint.is_ejected(now) || !self.may_eject(endpoint, now) {
            return;
        }
        let before = endpoint.ejected_until();
        let quiet = now.since(before) > policy.time_max;
        let count = if quiet { 0 } else { endpoint.ejections.load(Ordering::Relaxed) };
        endpoint.ejections.store(count.saturating_add(1), Ordering::Relaxed);
        let until = now.plus(ejection_time(policy.time, policy.time_max, count));
        // The first failure after its return ejects it again.
        endpoint.failures.store(policy.failures - 1, Ordering::Relaxed);
        endpoint.warm_up(until);
        endpoint.ejected_until.store(until.0, Ordering::Relaxed);
    }

    fn may_eject(&self, endpoint: &Endpoint, now: Moment) -> bool {
        let set = self.set();
        let others = set.all().iter().filter(|other| other.key() != endpoint.key());
        let ejected = others.clone().filter(|other| other.is_ejected(now)).count();
        let left = others.filter(|other| other.is_usable(now)).count();
        let share = set.all().len() * self.config.ejection.percent_max as usize / 100;
        left > 0 && ejected < share.max(1)
    }
}

fn ejection_time(base: Duration, max: Duration, ejections: u32) -> Duration {
    base.saturating_mul(1_u32.checked_shl(ejections.min(16)).unwrap_or(1)).min(max)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::Registry;
    use super::super::group::tests::upstream;
    use super::*;

    fn group(servers: usize, lines: &str) -> Arc<Group> {
        let servers: Vec<String> =
            (0..servers).map(|n| format!("\"http://127.0.0.1:{}\"", 9000 + n)).collect();
        Registry::default().group(upstream(&servers.join(", "), lines))
    }

    fn fail(group: &Group, index: usize, times: u32, now: Moment) {
        for _ in 0..times {
            group.failed(&group.set().all()[index], now);
        }
    }

    #[test]
    fn failures_in_a_row_eject_and_each_time_longer() {
        let group = group(2, "ejection = { failures = 3, time = \"10s\", time_max = \"25s\" }");
        let set = group.set();
        let server = &set.all()[0];
        fail(&group, 0, 2, Moment(0));
        group.succeeded(server);
        fail(&group, 0, 2, Moment(0));
        assert!(!server.is_ejected(Moment(0)), "not in a row");
        fail(&group, 0, 1, Moment(0));
        assert!(server.is_ejected(Moment(9_999)) && !server.is_ejected(Moment(10_000)));
        fail(&group, 0, 1, Moment(10_001));
        assert_eq!(server.ejected_until(), Moment(30_001), "one failure is enough now");
        fail(&group, 0, 1, Moment(30_002));
        assert_eq!(server.ejected_until(), Moment(55_002), "not over the longest");
        fail(&group, 0, 1, Moment(200_000));
        assert_eq!(server.ejected_until(), Moment(210_000), "forgotten after a while");
    }

    #[test]
    fn a_share_at_the_most_is_ejected_and_never_the_last() {
        let ten = group(10, "ejection = { failures = 1, percent_max = 30 }");
        for index in 0..10 {
            fail(&ten, index, 3, Moment(0));
        }
        assert_eq!(ten.set().usable(Moment(1)), 7);
        let two = group(2, "ejection = { failures = 1, percent_max = 100 }");
        fail(&two, 0, 1, Moment(0));
        fail(&two, 1, 9, Moment(0));
        assert_eq!(two.set().usable(Moment(1)), 1);
        let one = group(1, "ejection = { failures = 1, percent_max = 100 }");
        fail(&one, 0, 9, Moment(0));
        assert_eq!(one.set().usable(Moment(1)), 1);
    }

    #[test]
    fn a_server_that_checks_call_down_does_not_count_as_left() {
        let group = group(2, "ejection = { failures = 1, percent_max = 100 }");
        group.set().all()[1].set_health(super::super::Health::Down, None);
        fail(&group, 0, 9, Moment(0));
        assert!(!group.set().all()[0].is_ejected(Moment(1)));
    }
}
