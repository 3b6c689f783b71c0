//! What a person watching a run sees between two events.

use crate::plan::Phase;
use crate::time::At;
use std::time::Duration;

/// The state of a run at one moment, a few times a second. Not journalled: it follows from events and samples.
#[derive(Clone, Debug, PartialEq)]
pub struct Live {
    /// Now.
    pub at: At,
    /// The phase under way.
    pub phase: Phase,
    /// Since when.
    pub since: At,
    /// Its limit.
    pub deadline: Duration,
    /// What is being waited for or done, in a few words.
    pub doing: String,
    /// Each probe, its series taken together.
    pub probes: Vec<LiveProbe>,
}

/// One probe, its series taken together.
#[derive(Clone, Debug, PartialEq)]
pub struct LiveProbe {
    /// Its name.
    pub name: String,
    /// Since when it is down, where it is.
    pub down_since: Option<At>,
    /// The share of attempts that succeeded in each of the latest seconds, oldest first, at most 60; `None` where there
    /// was no attempt.
    pub recent: Vec<Option<f32>>,
}
