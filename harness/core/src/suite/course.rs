//! Before each run of a suite: whether it takes place, and on what.

use super::model::Entry;
use super::result::Because;
use crate::exit::ExitCode;
use crate::time::human;
use std::time::Duration;

/// How a suite stands between two runs.
#[derive(Clone, Debug)]
pub struct Course {
    budget: Option<Duration>,
    /// Whether the cluster was brought up by this suite, so that it may be replaced.
    own_cluster: bool,
    ground: Ground,
}

/// What the cluster is like.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Ground {
    AsAtFirst,
    /// A run could not clean up.
    Dirty {
        by: String,
    },
    /// A run changed it for good.
    Changed {
        by: String,
    },
    /// There is none.
    Missing {
        message: String,
        exit_code: ExitCode,
    },
}

/// What is next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// The run takes place.
    Run,
    /// It does once the suite's own cluster was replaced.
    RunOnFreshCluster,
    /// It does not. Every run is asked for on its own: a shorter one may still fit into the budget.
    Pass(Because),
}

impl Course {
    /// Before the first run.
    pub fn new(budget: Option<Duration>, own_cluster: bool) -> Self {
        Self { budget, own_cluster, ground: Ground::AsAtFirst }
    }

    /// Whether a run of this drill takes place now, `elapsed` after the suite's start.
    pub fn next(&self, entry: &Entry, elapsed: Duration, interrupted: bool) -> Next {
        let fresh = match &self.ground {
            // Before the interrupt: one that broke off the making of a cluster has left a half-made one.
            Ground::Missing { message, exit_code } => {
                return Next::Pass(Because::NoCluster { message: message.clone(), exit_code: *exit_code });
            }
            _ if interrupted => return Next::Pass(Because::Interrupted),
            Ground::Dirty { by } if !self.own_cluster => return Next::Pass(Because::LeftDirty { by: by.clone() }),
            Ground::Changed { by } if !self.own_cluster => return Next::Pass(Because::Changed { by: by.clone() }),
            Ground::Dirty { .. } | Ground::Changed { .. } => true,
            Ground::AsAtFirst => false,
        };
        match self.budget {
            Some(budget) if elapsed.saturating_add(entry.expected) > budget => {
                let (budget, expected, elapsed) = (human(budget), human(entry.expected), human(elapsed));
                Next::Pass(Because::Budget { budget, expected, elapsed })
            }
            _ if fresh => Next::RunOnFreshCluster,
            _ => Next::Run,
        }
    }

    /// A run of this drill ended with that exit code.
    pub fn ran(&mut self, entry: &Entry, exit_code: ExitCode) {
        let by = entry.to_string();
        if exit_code == ExitCode::Dirty {
            self.ground = Ground::Dirty { by };
        } else if entry.irreversible && self.ground == Ground::AsAtFirst {
            self.ground = Ground::Changed { by };
        }
    }

    /// The cluster was replaced.
    pub fn refreshed(&mut self) {
        self.ground = Ground::AsAtFirst;
    }

    /// There is no cluster to run on, and `exit_code` says what that attempt ended with.
    pub fn lost(&mut self, message: &str, exit_code: ExitCode) {
        self.ground = Ground::Missing { message: message.to_owned(), exit_code };
    }
}

#[cfg(test)]
mod tests {
    use super::super::model::tests::entry;
    use super::*;

    const NOW: Duration = Duration::ZERO;

    #[test]
    fn a_clean_cluster_is_used_again() {
        let mut course = Course::new(None, false);
        for exit_code in [ExitCode::Pass, ExitCode::Failed, ExitCode::Unknown, ExitCode::Environment] {
            course.ran(&entry("a", 1, 1), exit_code);
            assert_eq!(course.next(&entry("b", 1, 1), NOW, false), Next::Run);
        }
    }

    #[test]
    fn a_dirty_cluster_ends_the_suite_unless_it_is_its_own() {
        for (own, next) in
            [(false, Next::Pass(Because::LeftDirty { by: "drill/a".to_owned() })), (true, Next::RunOnFreshCluster)]
        {
            let mut course = Course::new(None, own);
            course.ran(&entry("a", 1, 1), ExitCode::Dirty);
            assert_eq!(course.next(&entry("b", 1, 1), NOW, false), next);
        }
    }

    #[test]
    fn a_changed_cluster_is_replaced_and_a_dirty_one_is_not_forgotten() {
        let irreversible = Entry { irreversible: true, ..entry("a", 1, 1) };
        let mut own = Course::new(None, true);
        own.ran(&irreversible, ExitCode::Pass);
        assert_eq!(own.next(&entry("b", 1, 1), NOW, false), Next::RunOnFreshCluster);
        own.refreshed();
        assert_eq!(own.next(&entry("b", 1, 1), NOW, false), Next::Run);
        let mut other = Course::new(None, false);
        other.ran(&irreversible, ExitCode::Pass);
        let changed = Next::Pass(Because::Changed { by: "drill/a".to_owned() });
        assert_eq!(other.next(&entry("b", 1, 1), NOW, false), changed);
        other.ran(&irreversible, ExitCode::Dirty);
        assert!(matches!(other.next(&entry("b", 1, 1), NOW, false), Next::Pass(Because::LeftDirty { .. })));
    }

    #[test]
    fn what_is_not_expected_to_fit_is_passed_over_and_a_shorter_one_still_runs() {
        let course = Course::new(Some(Duration::from_secs(600)), false);
        let elapsed = Duration::from_secs(300);
        assert_eq!(course.next(&entry("a", 5, 1), elapsed, false), Next::Run);
        assert!(matches!(course.next(&entry("a", 6, 1), elapsed, false), Next::Pass(Because::Budget { .. })));
        assert_eq!(course.next(&entry("b", 1, 1), elapsed, false), Next::Run);
    }

    #[test]
    fn after_an_interrupt_or_without_a_cluster_nothing_runs() {
        let mut course = Course::new(None, true);
        assert_eq!(course.next(&entry("a", 1, 1), NOW, true), Next::Pass(Because::Interrupted));
        course.lost("kind: no space left", ExitCode::Environment);
        let lost = Because::NoCluster { message: "kind: no space left".to_owned(), exit_code: ExitCode::Environment };
        for interrupted in [false, true] {
            assert_eq!(course.next(&entry("a", 1, 1), NOW, interrupted), Next::Pass(lost.clone()));
        }
    }
}
