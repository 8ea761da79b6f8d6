//! Why a token would pass or fail, check by check: all of them, not only the first failure.

/// One line of an explanation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Check {
    /// Stable word: `form`, `issuer`, `key`, `signature`, `type`, `audience`, `times`, `claims` …
    pub name: &'static str,
    pub outcome: Outcome,
    /// For people.
    pub detail: String,
}

/// How a check ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    Ok,
    Fail,
    /// Could not be asked because an earlier check failed.
    Skipped,
}
