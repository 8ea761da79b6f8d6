//! The exit codes, one place for all commands. 64, 69 and 78 are those of BSD's `sysexits.h`.

use std::process::ExitCode;

/// How a command ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    Done,
    /// Refused, or failed at run time.
    Refused,
    /// Done in part: in force, yet not everywhere or not on disk. The text says what is missing.
    InPart,
    Usage,
    /// The gateway's admin API did not answer.
    Unreachable,
    Config,
}

impl Exit {
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Refused => 1,
            Self::InPart => 2,
            Self::Usage => 64,
            Self::Unreachable => 69,
            Self::Config => 78,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
