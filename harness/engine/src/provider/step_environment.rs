//! What a provider adds to the environment of a runbook's commands.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio_util::sync::DropGuard;

/// Requests that are kept until they are taken. A command of a runbook makes a handful.
const REQUESTS_MAX: usize = 1000;

/// What a provider adds to the environment of a runbook's commands. What serves them ends when this is dropped.
#[derive(Default)]
pub struct StepEnvironment {
    /// Variables, which replace those of the same names.
    pub variables: Vec<(OsString, OsString)>,
    /// Values among them that no file of a run may hold, each with what it is.
    pub secrets: Vec<(&'static str, String)>,
    /// The changes that the commands have asked of the provider.
    pub requests: ChangeLog,
    pub(super) _guard: Option<DropGuard>,
}

impl StepEnvironment {
    /// Variables and their secrets, with nothing that serves them.
    pub fn new(variables: Vec<(OsString, OsString)>, secrets: Vec<(&'static str, String)>) -> Self {
        Self { variables, secrets, ..Self::default() }
    }
}

impl fmt::Debug for StepEnvironment {
    /// Without values, some of which are secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.variables.iter().map(|(name, _)| name).collect();
        f.debug_struct("StepEnvironment").field("variables", &names).finish_non_exhaustive()
    }
}

/// A change that a runbook's command asked of the provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeRequest {
    /// `DELETE`
    pub method: String,
    /// `/servers/42`
    pub path: String,
    /// How it ended.
    pub end: ChangeEnd,
}

/// How a change ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangeEnd {
    /// It was passed on, and the provider answered with this HTTP status.
    Answered(u16),
    /// It was passed on, and the provider did not answer: it may have been carried out.
    Unanswered(String),
    /// It was not passed on.
    Refused(String),
}

impl fmt::Display for ChangeRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { method, path, end } = self;
        write!(f, "{method} {path}: ")?;
        match end {
            ChangeEnd::Answered(status) => write!(f, "passed on, HTTP {status}"),
            ChangeEnd::Unanswered(why) => write!(f, "passed on, no answer: {why}"),
            ChangeEnd::Refused(why) => write!(f, "refused by firedrill: {why}"),
        }
    }
}

/// The changes that commands asked for, in order. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct ChangeLog(Arc<Mutex<Entries>>);

#[derive(Debug, Default)]
struct Entries {
    last_id: u64,
    entries: VecDeque<(u64, ChangeRequest)>,
}

impl ChangeLog {
    /// Those since the last call.
    pub fn take(&self) -> Vec<ChangeRequest> {
        self.lock().entries.drain(..).map(|(_, request)| request).collect()
    }

    /// Whether no more can be kept: then none may be passed on.
    pub(super) fn is_full(&self) -> bool {
        self.lock().entries.len() >= REQUESTS_MAX
    }

    /// Adds a change that is about to be passed on. Returns its number for [`ChangeLog::end`].
    pub(super) fn begin(&self, method: &str, path: &str) -> u64 {
        self.add(method, path, ChangeEnd::Unanswered("the command ended first".to_owned()))
    }

    /// Sets how a change ended. One that was taken already stays as it was taken.
    pub(super) fn end(&self, id: u64, end: ChangeEnd) {
        if let Some((_, request)) = self.lock().entries.iter_mut().find(|(of, _)| *of == id) {
            request.end = end;
        }
    }

    /// Adds a change that was refused. The oldest refusal goes where there are too many.
    pub(super) fn refuse(&self, method: &str, path: &str, why: &str) {
        let mut log = self.lock();
        let is_refusal = |(_, request): &(u64, ChangeRequest)| matches!(request.end, ChangeEnd::Refused(_));
        if log.entries.len() >= REQUESTS_MAX {
            let Some(oldest) = log.entries.iter().position(is_refusal) else { return };
            log.entries.remove(oldest);
        }
        drop(log);
        self.add(method, path, ChangeEnd::Refused(why.to_owned()));
    }

    fn add(&self, method: &str, path: &str, end: ChangeEnd) -> u64 {
        let mut log = self.lock();
        log.last_id += 1;
        let id = log.last_id;
        log.entries.push_back((id, ChangeRequest { method: method.to_owned(), path: path.to_owned(), end }));
        id
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_one_line() {
        let log = ChangeLog::default();
        let ids: Vec<_> = (0..3).map(|_| log.begin("DELETE", "/servers/1")).collect();
        log.end(ids[0], ChangeEnd::Answered(200));
        log.end(ids[1], ChangeEnd::Unanswered("timeout".to_owned()));
        log.refuse("POST", "/servers", "no");
        let lines: Vec<_> = log.take().iter().map(ToString::to_string).collect();
        let expected = [
            "DELETE /servers/1: passed on, HTTP 200",
            "DELETE /servers/1: passed on, no answer: timeout",
            "DELETE /servers/1: passed on, no answer: the command ended first",
            "POST /servers: refused by firedrill: no",
        ];
        assert_eq!(lines, expected);
        log.end(ids[2], ChangeEnd::Answered(200));
        assert!(log.take().is_empty(), "it was taken before it ended");
    }

    #[test]
    fn what_was_passed_on_is_never_dropped_for_what_was_refused() {
        let log = ChangeLog::default();
        log.begin("DELETE", "/servers/1");
        for _ in 0..REQUESTS_MAX + 5 {
            log.refuse("DELETE", "/servers/2", "no");
        }
        assert!(log.is_full());
        let all = log.take();
        assert_eq!((all.len(), all[0].path.as_str()), (REQUESTS_MAX, "/servers/1"));
        assert!(!log.is_full());
    }
}
