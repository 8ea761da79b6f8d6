//! The words of our own answers. Each is a client's `code`, the log's `reason` and a metric's label, and
//! keeps its meaning: [`docs/answers.md`](../../../docs/answers.md) tells it.

/// Every code that an answer of ours, or a cut, may have. Metrics begin each at zero.
pub const CODES: &[&str] = &[
    "bad_request",
    "body_timeout",
    "body_too_large",
    "claim_unmet",
    "client_unknown",
    "cross_site",
    "draining",
    "exchange_refused",
    "login_unusable",
    "method_not_allowed",
    "no_route",
    "not_done",
    "not_ready",
    "not_renewed",
    "not_trusted",
    "origin_not_allowed",
    "overloaded",
    "route_changed",
    "scope_missing",
    "session_ended",
    "stream_ended",
    "token_expired",
    "token_invalid",
    "token_missing",
    "token_not_registered",
    "token_not_yet_valid",
    "token_revoked",
    "too_old_login",
    "too_many_failures",
    "upstream_broken",
    "upstream_down",
    "upstream_timeout",
    "upstream_tls",
    "upstream_unreachable",
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_page_of_answers_tells_each_code_and_no_other() {
        let page = include_str!("../../../docs/answers.md");
        let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
        let told: BTreeSet<&str> = rows.filter_map(|row| row.split('`').next()).collect();
        assert_eq!(told, CODES.iter().copied().collect());
    }
}
