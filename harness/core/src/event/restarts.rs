//! How often containers were restarted.

use serde::{Deserialize, Serialize};

/// When something was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckTime {
    /// Before anything was broken.
    Before,
    /// After everything was undone.
    After,
}

/// Restarts of one container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerRestarts {
    /// Its pod, `namespace/name`.
    pub pod: String,
    /// Its name.
    pub container: String,
    /// How often it was restarted.
    pub restarts: u32,
    /// How long ago it was restarted last, in seconds, where its kubelet still remembers that: after the next crash it would start it
    /// with a delay that grows from 10 s to 300 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_back_off_s: Option<u64>,
}

impl std::fmt::Display for ContainerRestarts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let times = if self.restarts == 1 { "restart" } else { "restarts" };
        write!(f, "{} of {} ({} {times}", self.container, self.pod, self.restarts)?;
        match self.in_back_off_s {
            Some(ago) => write!(f, ", the last {ago} s before)"),
            None => f.write_str(")"),
        }
    }
}
