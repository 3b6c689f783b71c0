//! Which process holds a Lease, in terms by which another process of the same machine can tell whether it is alive.

use crate::env;
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};
use std::fmt;

/// A process. A process id comes again; with the time of the process's start, the machine's boot and the namespace that the
/// id is of, it does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ProcessId {
    host: String,
    boot: String,
    namespace: String,
    pid: u32,
    start: String,
}

impl ProcessId {
    pub(super) fn of_this_process() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default();
        let namespace = std::fs::read_link("/proc/self/ns/pid").map(|link| link.to_string_lossy().into_owned());
        let namespace = namespace.unwrap_or_default();
        let pid = std::process::id();
        Self {
            host: env::host_name().replace(' ', "-"),
            boot: read("/proc/sys/kernel/random/boot_id"),
            namespace: namespace.trim_start_matches("pid:[").trim_end_matches(']').to_owned(),
            pid,
            start: start_of(pid).unwrap_or_default(),
        }
    }

    pub(super) fn text(&self) -> String {
        let Self { host, boot, namespace, pid, start } = self;
        format!("host={host} boot={boot} ns={namespace} pid={pid} start={start}")
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut fields = text.split(' ').filter_map(|field| field.split_once('='));
        let mut field = |name: &str| fields.next().filter(|(key, _)| *key == name).map(|(_, value)| value.to_owned());
        Some(Self {
            host: field("host")?,
            boot: field("boot")?,
            namespace: field("ns")?,
            pid: field("pid")?.parse().ok()?,
            start: field("start")?,
        })
    }

    /// Whether `other` can tell if this process is alive: same machine, same boot, same view of process ids.
    pub(super) fn is_visible_from(&self, other: &Self) -> bool {
        let known = !self.boot.is_empty() && !self.namespace.is_empty() && !self.start.is_empty();
        known && self.boot == other.boot && self.namespace == other.namespace
    }
}

impl fmt::Display for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} on {}", self.pid, self.host)
    }
}

/// Whether a process that is visible from here is alive; `None` where that is hidden: `/proc` may be mounted so that it does
/// not show other users' processes (`hidepid` in proc(5)).
pub(super) fn is_alive(process: &ProcessId) -> Option<bool> {
    match std::fs::read_to_string(format!("/proc/{}/stat", process.pid)) {
        Ok(stat) => Some(start_in(&stat).is_some_and(|start| start == process.start)),
        Err(_) => is_without_process(process.pid).then_some(false),
    }
}

/// Whether no process has that id, by the kernel's word: it says so of hidden ones, too.
fn is_without_process(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    pid.is_none_or(|pid| test_kill_process(pid) == Err(Errno::SRCH))
}

/// When a process started, in the kernel's ticks since boot; `None` where it is gone, or dead and not yet collected.
fn start_of(pid: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    start_in(&stat)
}

/// Field 22 of `/proc/PID/stat`; the name in field 2 may hold spaces and brackets.
fn start_in(stat: &str) -> Option<String> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let state = fields.next()?;
    let start = fields.nth(18)?;
    (!matches!(state, "Z" | "X")).then(|| start.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_alive_and_its_earlier_namesake_is_not() {
        let own = ProcessId::of_this_process();
        assert!(is_alive(&own) == Some(true) && own.is_visible_from(&own), "{own:?}");
        assert_eq!(ProcessId::parse(&own.text()), Some(own.clone()));
        assert_eq!(is_alive(&ProcessId { start: "1".into(), ..own }), Some(false));
    }

    #[test]
    fn a_process_that_proc_does_not_show_is_gone_only_by_the_kernels_word() {
        assert!(!is_without_process(std::process::id()));
        assert!(!is_without_process(1), "that a signal is not allowed says that it is there");
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id();
        child.wait().unwrap();
        assert!(is_without_process(pid));
    }

    #[test]
    fn stat_is_read_past_any_name() {
        let rest = "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20";
        assert_eq!(start_in(&format!("9 (a) b (c) S {rest}")), Some("4711".to_owned()));
        assert_eq!(start_in(&format!("9 (a) Z {rest}")), None);
        assert_eq!(start_in(""), None);
    }
}
