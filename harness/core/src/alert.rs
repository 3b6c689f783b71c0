//! Alerts as the journal holds them: observations that are written and read here alone.

use crate::event::{Fact, Observation, Source};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The object of observations about whether alerts can be seen at all.
const PROMETHEUS: &str = "Prometheus";

/// How an alert is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertState {
    /// Its condition does not hold; also after it fired.
    Inactive,
    /// Its condition holds, but not for long enough yet.
    Pending,
    /// It fires.
    Firing,
    /// It cannot be told.
    Unknown {
        /// Why.
        why: String,
    },
}

impl fmt::Display for AlertState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AlertState::Inactive => f.write_str("inactive"),
            AlertState::Pending => f.write_str("pending"),
            AlertState::Firing => f.write_str("firing"),
            AlertState::Unknown { why } => write!(f, "unknown: {why}"),
        }
    }
}

/// What an observation says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlertObservation<'a> {
    /// Prometheus answers, or no longer does.
    Prometheus {
        /// Whether it does.
        answers: bool,
        /// What it said, or why it does not.
        said: &'a str,
    },
    /// An alert has changed.
    Alert {
        /// Its name.
        name: &'a str,
        /// What it is now.
        state: &'a AlertState,
    },
}

/// Whether Prometheus answers.
pub fn prometheus(answers: bool, said: impl Into<String>) -> Observation {
    Observation {
        source: Source::Alerts,
        object: PROMETHEUS.to_owned(),
        state: said.into(),
        healthy: Some(answers),
        fact: Some(Fact::Prometheus),
    }
}

/// An alert that has changed; `detail` is what Prometheus says of it: since when, and of what.
pub fn changed(name: &str, state: &AlertState, detail: &str) -> Observation {
    let healthy = match state {
        AlertState::Inactive => Some(true),
        AlertState::Firing => Some(false),
        AlertState::Pending | AlertState::Unknown { .. } => None,
    };
    Observation {
        source: Source::Alerts,
        object: name.to_owned(),
        state: if detail.is_empty() { state.to_string() } else { format!("{state}, {detail}") },
        healthy,
        fact: Some(Fact::Alert(state.clone())),
    }
}

/// What an observation says of alerts; `None` where it is of something else.
pub fn read(seen: &Observation) -> Option<AlertObservation<'_>> {
    match &seen.fact {
        Some(Fact::Prometheus) => {
            Some(AlertObservation::Prometheus { answers: seen.healthy == Some(true), said: &seen.state })
        }
        Some(Fact::Alert(state)) => Some(AlertObservation::Alert { name: &seen.object, state }),
        Some(Fact::Quorum | Fact::PrimaryMoves { .. }) | None => None,
    }
}

/// The fact of an observation of alerts in a journal that has none, by the texts that [`prometheus`] and [`changed`] write.
pub(crate) fn fact_of_text(object: &str, state: &str) -> Fact {
    if object == PROMETHEUS {
        return Fact::Prometheus;
    }
    Fact::Alert(match state.split([',', ':']).next() {
        Some("inactive") => AlertState::Inactive,
        Some("pending") => AlertState::Pending,
        Some("firing") => AlertState::Firing,
        _ => AlertState::Unknown { why: state.trim_start_matches("unknown: ").to_owned() },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_an_older_journals_text_says_the_same() {
        let unknown = AlertState::Unknown { why: "its rule fails: parse error, line 1".to_owned() };
        for state in [AlertState::Inactive, AlertState::Pending, AlertState::Firing, unknown] {
            for detail in ["", "since 2026-11-22T10:00:00Z: instance=nats-0"] {
                if detail.is_empty() || !matches!(state, AlertState::Unknown { .. }) {
                    let written = changed("NATSDown", &state, detail);
                    assert_eq!(read(&written), Some(AlertObservation::Alert { name: "NATSDown", state: &state }));
                    assert_eq!(Some(fact_of_text(&written.object, &written.state)), written.fact);
                }
            }
        }
        let silent = prometheus(false, "no answer");
        assert_eq!(read(&silent), Some(AlertObservation::Prometheus { answers: false, said: "no answer" }));
        assert_eq!(Some(fact_of_text(&silent.object, &silent.state)), silent.fact);
        assert_eq!(read(&Observation { fact: None, ..silent }), None);
    }
}
