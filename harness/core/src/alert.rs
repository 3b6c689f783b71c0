//! Alerts as the journal holds them: observations of the source [`SOURCE`], written and read here alone.

use crate::event::Observation;
use std::fmt;

/// The source of observations about alerts.
pub const SOURCE: &str = "alerts";
/// The object of observations about whether alerts can be seen at all.
const PROMETHEUS: &str = "Prometheus";

/// How an alert is.
#[derive(Clone, Debug, PartialEq, Eq)]
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen<'a> {
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
        state: AlertState,
    },
}

/// Whether Prometheus answers.
pub fn prometheus(answers: bool, said: impl Into<String>) -> Observation {
    Observation { source: SOURCE.to_owned(), object: PROMETHEUS.to_owned(), state: said.into(), healthy: Some(answers) }
}

/// An alert that has changed; `detail` is what Prometheus says of it: since when, and of what.
pub fn changed(name: &str, state: &AlertState, detail: &str) -> Observation {
    let healthy = match state {
        AlertState::Inactive => Some(true),
        AlertState::Firing => Some(false),
        AlertState::Pending | AlertState::Unknown { .. } => None,
    };
    let state = if detail.is_empty() { state.to_string() } else { format!("{state}, {detail}") };
    Observation { source: SOURCE.to_owned(), object: name.to_owned(), state, healthy }
}

/// What an observation says of alerts; `None` where it is of something else.
pub fn read(seen: &Observation) -> Option<Seen<'_>> {
    if seen.source != SOURCE {
        return None;
    }
    if seen.object == PROMETHEUS {
        return Some(Seen::Prometheus { answers: seen.healthy == Some(true), said: &seen.state });
    }
    let state = match seen.state.split([',', ':']).next() {
        Some("inactive") => AlertState::Inactive,
        Some("pending") => AlertState::Pending,
        Some("firing") => AlertState::Firing,
        _ => AlertState::Unknown { why: seen.state.trim_start_matches("unknown: ").to_owned() },
    };
    Some(Seen::Alert { name: &seen.object, state })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let unknown = AlertState::Unknown { why: "its rule fails: parse error, line 1".to_owned() };
        for state in [AlertState::Inactive, AlertState::Pending, AlertState::Firing, unknown] {
            for detail in ["", "since 2026-11-22T10:00:00Z: instance=nats-0"] {
                if detail.is_empty() || !matches!(state, AlertState::Unknown { .. }) {
                    let written = changed("NATSDown", &state, detail);
                    assert_eq!(read(&written), Some(Seen::Alert { name: "NATSDown", state: state.clone() }));
                }
            }
        }
        let silent = prometheus(false, "no answer");
        assert_eq!(read(&silent), Some(Seen::Prometheus { answers: false, said: "no answer" }));
        let other = Observation { source: "pods".to_owned(), ..silent };
        assert_eq!(read(&other), None);
    }
}
