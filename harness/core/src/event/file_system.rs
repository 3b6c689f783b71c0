//! What was found in the file system of a volume.

use serde::{Deserialize, Serialize};

/// What a look into a volume found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileSystem {
    /// A copy of it, taken while it stood still, is without a fault.
    Whole,
    /// It is damaged.
    Damaged {
        /// What spoke against it.
        said: String,
    },
    /// There is no such volume any more.
    Gone,
    /// It cannot be told.
    Unknown {
        /// Why.
        why: String,
    },
}

impl std::fmt::Display for FileSystem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            FileSystem::Whole => f.write_str("whole"),
            FileSystem::Damaged { said } => write!(f, "damaged: {said}"),
            FileSystem::Gone => f.write_str("gone"),
            FileSystem::Unknown { why } => write!(f, "not checked: {why}"),
        }
    }
}
