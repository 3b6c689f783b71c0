//! The exit codes of the process.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What the process ends with. On the wire and for the shell it is a number; `docs/exit-codes.md` lists them all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
#[repr(u8)]
pub enum ExitCode {
    /// Everything that was asked holds.
    Pass = 0,
    /// An objective failed or acknowledged writes were lost; a runbook has findings; an outage was seen where none was wanted.
    Failed = 1,
    /// It is not known.
    Unknown = 2,
    /// Bad input. Nothing was changed.
    Input = 3,
    /// The environment is not as required. Nothing was broken, or all of it is undone.
    Environment = 4,
    /// Something was left dirty.
    Dirty = 5,
    /// Interrupted, and clean.
    Interrupted = 130,
}

impl ExitCode {
    /// Every code, in the order of their numbers.
    pub const ALL: [Self; 7] =
        [Self::Pass, Self::Failed, Self::Unknown, Self::Input, Self::Environment, Self::Dirty, Self::Interrupted];

    /// The code of several together. From worst to best: dirty, interrupted, failed, environment, input, unknown, pass. None at
    /// all are unknown, since nothing was shown.
    pub fn worst(codes: impl IntoIterator<Item = Self>) -> Self {
        codes.into_iter().max_by_key(|code| code.badness()).unwrap_or(Self::Unknown)
    }

    fn badness(self) -> u8 {
        match self {
            Self::Pass => 0,
            Self::Unknown => 1,
            Self::Input => 2,
            Self::Environment => 3,
            Self::Failed => 4,
            Self::Interrupted => 5,
            Self::Dirty => 6,
        }
    }
}

impl From<ExitCode> for u8 {
    fn from(code: ExitCode) -> Self {
        code as u8
    }
}

/// Why a number is not an exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not an exit code of firedrill")]
pub struct NotAnExitCode(u8);

impl TryFrom<u8> for ExitCode {
    type Error = NotAnExitCode;

    fn try_from(number: u8) -> Result<Self, NotAnExitCode> {
        Self::ALL.into_iter().find(|code| u8::from(*code) == number).ok_or(NotAnExitCode(number))
    }
}

/// The number.
impl fmt::Display for ExitCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        u8::from(*self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_a_number_on_the_wire() {
        for code in ExitCode::ALL {
            let number = code.to_string();
            assert_eq!(serde_json::to_string(&code).unwrap(), number);
            assert_eq!(serde_json::from_str::<ExitCode>(&number).unwrap(), code);
        }
        let error = serde_json::from_str::<ExitCode>("77").unwrap_err().to_string();
        assert!(error.starts_with("77 is not an exit code of firedrill"), "{error}");
    }

    #[test]
    fn the_worst_code_wins() {
        use ExitCode::*;
        let from_best = [Pass, Unknown, Input, Environment, Failed, Interrupted, Dirty];
        for (index, worse) in from_best.into_iter().enumerate() {
            for better in &from_best[..index] {
                assert_eq!([ExitCode::worst([worse, *better]), ExitCode::worst([*better, worse])], [worse; 2]);
            }
        }
        assert_eq!(ExitCode::worst([]), Unknown, "nothing was shown");
    }
}
