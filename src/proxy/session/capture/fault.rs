//! What can be wrong with the answer of a login.

/// Why nothing was captured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CaptureFault {
    /// Compressed although that was not asked for.
    Encoded,
    NotJson,
    TooLong,
    /// The backend broke off, or was too slow.
    Broken,
    /// There is no token where it should be.
    Absent,
    /// The token there does not pass; its code.
    Token(&'static str),
    /// The cookies could not be made: too long, or they cannot be sealed.
    Cookies,
    /// The system gives no random bytes.
    Random,
}

impl CaptureFault {
    pub fn reason(self) -> String {
        let text = match self {
            Self::Encoded => "the login's answer is compressed",
            Self::NotJson => "the login's answer is not one JSON object without doubled members",
            Self::TooLong => "the login's answer is longer than 64 KiB",
            Self::Broken => "the login's answer broke off or was too slow",
            Self::Absent => "the login's answer has no token where `capture` says",
            Self::Token(code) => return format!("the token of the login's answer: {code}"),
            Self::Cookies => "the tokens of the login's answer do not fit into cookies",
            Self::Random => "the system gives no random bytes to name the session with",
        };
        text.to_owned()
    }
}
