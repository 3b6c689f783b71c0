//! Every way to end that is no verdict, and its exit code.

use firedrill_core::exit::ExitCode;
use thiserror::Error;

/// Why a command ended without a result of its own.
#[derive(Debug, Error)]
pub(crate) enum CliError {
    /// What the user gave cannot be used. Nothing was touched.
    #[error("{message}")]
    Input {
        /// What and why; may be many lines.
        message: String,
        /// What to do.
        hint: Option<String>,
    },
    /// The environment is not as it must be.
    #[error("{message}")]
    Environment {
        /// What and why.
        message: String,
        /// What to do.
        hint: Option<String>,
    },
    /// Something is left behind.
    #[error("{message}")]
    Dirty {
        /// What.
        message: String,
        /// The command that would finish it.
        hint: Option<String>,
    },
}

impl CliError {
    /// Bad input.
    pub(crate) fn input(message: impl ToString) -> Self {
        Self::Input { message: message.to_string(), hint: None }
    }

    /// A failing environment.
    pub(crate) fn environment(message: impl ToString) -> Self {
        Self::Environment { message: message.to_string(), hint: None }
    }

    /// Something left behind.
    pub(crate) fn dirty(message: impl ToString) -> Self {
        Self::Dirty { message: message.to_string(), hint: None }
    }

    /// Several as one, a line each with its hint; `None` of none. It is bad input where one of them is.
    pub(crate) fn together(mut errors: Vec<Self>) -> Option<Self> {
        if errors.len() < 2 {
            return errors.pop();
        }
        let line = |error: &Self| match error.hint() {
            Some(hint) => format!("{error}\n  {hint}"),
            None => error.to_string(),
        };
        let message = errors.iter().map(line).collect::<Vec<_>>().join("\n");
        Some(match errors.iter().any(|error| matches!(error, Self::Input { .. })) {
            true => Self::input(message),
            false => Self::environment(message),
        })
    }

    /// The same with what to do about it.
    #[must_use]
    pub(crate) fn with_hint(mut self, text: impl ToString) -> Self {
        match &mut self {
            Self::Input { hint, .. } | Self::Environment { hint, .. } | Self::Dirty { hint, .. } => {
                *hint = Some(text.to_string());
            }
        }
        self
    }

    /// What to do about it.
    pub(crate) fn hint(&self) -> Option<&str> {
        match self {
            Self::Input { hint, .. } | Self::Environment { hint, .. } | Self::Dirty { hint, .. } => hint.as_deref(),
        }
    }

    /// The process's exit code.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Input { .. } => ExitCode::Input,
            Self::Environment { .. } => ExitCode::Environment,
            Self::Dirty { .. } => ExitCode::Dirty,
        }
    }
}
