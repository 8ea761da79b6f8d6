//! One fault of many: where it is in what was sent, a stable code, and a sentence.

use serde::Serialize;

/// One thing that is wrong in a request body, found by its JSON pointer (RFC 6901).
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Fault {
    pub pointer: String,
    pub code: &'static str,
    pub detail: String,
}

impl Fault {
    pub fn new(pointer: impl Into<String>, code: &'static str, detail: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), code, detail: detail.into() }
    }

    /// A member that is not known; `meant` is the one that it is like.
    pub fn unknown_member(pointer: impl Into<String>, name: &str, meant: Option<&str>) -> Self {
        match meant {
            Some(meant) => Self::new(pointer, "unknown_member", format!("Did you mean {meant}?")),
            None => {
                Self::new(pointer, "unknown_member", format!("No member is called {name:?} here."))
            }
        }
    }

    pub fn is_misspelling(&self) -> bool {
        self.code == "unknown_member" && self.detail.starts_with("Did you mean")
    }
}
