//! Finding, stopping and signalling the processes of one container, from outside its PID namespace.

use super::wire::Process;
use firedrill_core::scenario;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::fs;
use std::io;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval, timeout};

/// Time between two looks while processes are being stopped or let go, which both take effect within microseconds.
const ROUND: Duration = Duration::from_millis(2);
/// How long a stop or a thaw may take. A process deep in a disk write stops only after it.
const LIMIT: Duration = Duration::from_secs(5);
/// Quiet looks in a row that end a freeze. The second one finds a child that was forked during the first.
const QUIET_ROUNDS: u32 = 2;

/// Whether a process belongs to the container that is meant.
pub(super) type Belongs<'a> = &'a (dyn Fn(u32) -> bool + Sync);

/// Whether a process is in a cgroup of this container.
///
/// The id is a part of the path under every cgroup version and driver: `cri-containerd-ID.scope`, `kubepods/.../ID`.
pub(super) fn in_container(pid: u32, container_id: &str) -> bool {
    fs::read_to_string(format!("/proc/{pid}/cgroup")).is_ok_and(|text| names_container(&text, container_id))
}

fn names_container(cgroup: &str, container_id: &str) -> bool {
    // Short ids would match by accident; runtimes write 64 hexadecimal digits.
    let named = |part: &str| part.trim_end_matches(".scope").rsplit(['-', ':']).next() == Some(container_id);
    container_id.len() >= 32 && cgroup.lines().any(|line| line.split('/').any(named))
}

/// Every process that belongs, except those that have ended and wait to be reaped, in order of start.
///
/// # Errors
/// Where `/proc` itself cannot be read. A process that ends meanwhile is left out.
pub(super) fn members(belongs: Belongs<'_>) -> io::Result<Vec<Process>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        if belongs(pid)
            && let Some(process) = look(pid)
            && !matches!(process.state, 'Z' | 'X')
        {
            found.push(process);
        }
    }
    found.sort_by_key(|process| (process.start_ticks, process.pid));
    Ok(found)
}

/// The process that the runtime started: the oldest whose parent is not one of the container's.
///
/// Its number inside is 1 unless the pod shares its PID namespace; then only this rule finds it.
pub(super) fn first(processes: &[Process]) -> Option<&Process> {
    processes.iter().find(|process| processes.iter().all(|other| other.pid != process.parent))
}

/// One process as `/proc` shows it now, with its threads; `None` where it is gone.
fn look(pid: u32) -> Option<Process> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (command, state, parent, start_ticks) = parse_stat(&stat)?;
    let mut process = Process { pid, start_ticks, parent, state, command, threads: 0, threads_stopped: 0, switches: 0 };
    for task in fs::read_dir(format!("/proc/{pid}/task")).ok()? {
        let path = task.ok()?.path();
        // A thread that ends meanwhile is no thread any more.
        let Ok(stat) = fs::read_to_string(path.join("stat")) else { continue };
        let Some((_, state, _, _)) = parse_stat(&stat) else { continue };
        process.threads += 1;
        process.threads_stopped += u32::from(matches!(state, 'T' | 't'));
        process.switches += fs::read_to_string(path.join("status")).map_or(0, |status| switches(&status));
    }
    Some(process)
}

/// Name, state, parent and start time of `/proc/PID/stat`. The name may hold spaces and parentheses.
fn parse_stat(stat: &str) -> Option<(String, char, u32, u64)> {
    let (head, tail) = stat.rsplit_once(')')?;
    let (_, command) = head.split_once('(')?;
    let mut fields = tail.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    let parent = fields.next()?.parse().ok()?;
    // Field 22 of the file; the state is field 3 and the parent field 4.
    let start_ticks = fields.nth(17)?.parse().ok()?;
    Some((command.to_owned(), state, parent, start_ticks))
}

/// Voluntary and other context switches of `/proc/PID/task/TID/status`.
fn switches(status: &str) -> u64 {
    let counted = status.lines().filter_map(|line| line.split_once("ctxt_switches:"));
    counted.filter_map(|(_, count)| count.trim().parse::<u64>().ok()).sum()
}

/// Sends a signal to exactly this process: never to another one that got its number.
///
/// # Errors
/// `ESRCH` where the process is gone; otherwise what the kernel says.
pub(super) fn send(process: &Process, signal: Signal) -> io::Result<()> {
    let gone = || io::Error::from(rustix::io::Errno::SRCH);
    let pid = i32::try_from(process.pid).ok().and_then(Pid::from_raw).ok_or_else(gone)?;
    let handle = pidfd_open(pid, PidfdFlags::empty())?;
    // The handle is fixed on whatever has the number now; from here on nothing else can slip under it.
    if look(process.pid).is_none_or(|now| now.start_ticks != process.start_ticks) {
        return Err(gone());
    }
    Ok(pidfd_send_signal(&handle, signal)?)
}

/// Stops every process that belongs, again and again until none runs: a child may be forked meanwhile.
///
/// # Errors
/// Where nothing belongs, a signal is refused, or something still runs after 5 s.
pub(super) async fn freeze(belongs: Belongs<'_>) -> io::Result<Vec<Process>> {
    let mut quiet = 0;
    until_done(
        "still ran",
        |processes| {
            if processes.is_empty() {
                return Err(io::Error::new(io::ErrorKind::NotFound, "no process of the container is there"));
            }
            let running: Vec<_> = processes.iter().filter(|process| !process.is_stopped()).collect();
            quiet = if running.is_empty() { quiet + 1 } else { 0 };
            for process in running {
                send_if_there(process, Signal::STOP)?;
            }
            Ok(quiet >= QUIET_ROUNDS)
        },
        belongs,
    )
    .await
}

/// Lets every process that belongs go on. Nothing there, or nothing stopped, is fine: a container that was replaced
/// has nothing to let go.
///
/// # Errors
/// Where a signal is refused, or something is still stopped after 5 s.
pub(super) async fn thaw(belongs: Belongs<'_>) -> io::Result<Vec<Process>> {
    until_done(
        "were still stopped",
        |processes| {
            if processes.iter().all(|process| process.state != 'T' && process.threads_stopped == 0) {
                return Ok(true);
            }
            for process in processes {
                send_if_there(process, Signal::CONT)?;
            }
            Ok(false)
        },
        belongs,
    )
    .await
}

/// Acts on what belongs, round by round, until `act` says that it is done; what belonged then.
async fn until_done(
    otherwise: &str,
    mut act: impl FnMut(&[Process]) -> io::Result<bool>,
    belongs: Belongs<'_>,
) -> io::Result<Vec<Process>> {
    let mut tick = interval(ROUND);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let rounds = async {
        loop {
            tick.tick().await;
            let processes = members(belongs)?;
            if act(&processes)? {
                return Ok(processes);
            }
        }
    };
    let late = |_| {
        let text = format!("processes of the container {otherwise} after {} s", LIMIT.as_secs());
        Err(io::Error::new(io::ErrorKind::TimedOut, text))
    };
    timeout(LIMIT, rounds).await.unwrap_or_else(late)
}

fn send_if_there(process: &Process, signal: Signal) -> io::Result<()> {
    match send(process, signal) {
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) => Ok(()),
        result => result,
    }
}

/// The kernel's number of a scenario's signal.
pub(super) fn number(signal: scenario::Signal) -> Signal {
    match signal {
        scenario::Signal::Kill => Signal::KILL,
        scenario::Signal::Term => Signal::TERM,
        scenario::Signal::Quit => Signal::QUIT,
        scenario::Signal::Int => Signal::INT,
        scenario::Signal::Hup => Signal::HUP,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Child, Command};

    /// Ends its children, however the test ends.
    struct Children(Vec<Child>);

    impl Drop for Children {
        fn drop(&mut self) {
            for child in &mut self.0 {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }

    fn sleepers(count: usize) -> (Children, Vec<u32>) {
        let children: Vec<_> = (0..count).map(|_| Command::new("sleep").arg("300").spawn().unwrap()).collect();
        let pids = children.iter().map(Child::id).collect();
        (Children(children), pids)
    }

    #[test]
    fn containers_are_found_under_every_cgroup_layout() {
        let id = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
        let v2 = format!("0::/../kubepods-burstable-podaa.slice/cri-containerd-{id}.scope\n");
        let v1 = format!("12:pids:/x\n3:memory:/docker/ff/kubelet/kubepods/burstable/podaa/{id}\n0::/\n");
        assert!(names_container(&v2, id) && names_container(&v1, id));
        assert!(!names_container(&v2, &id.replace('0', "1")));
        assert!(!names_container("0::/\n", "") && !names_container(&v2, &id[..8]), "a short id must match nothing");
    }

    #[test]
    fn stat_lines_with_odd_names_are_read() {
        let line = "42 (a) (b c) T 7 1 1 0 -1 4194560 1 0 0 0 5 6 0 0 20 0 3 0 98765 1000 1";
        assert_eq!(parse_stat(line), Some(("a) (b c".to_owned(), 'T', 7, 98_765)));
        assert_eq!(parse_stat("42 (cut"), None);
        assert_eq!(switches("voluntary_ctxt_switches:\t12\nnonvoluntary_ctxt_switches:\t30\n"), 42);
    }

    #[test]
    fn the_first_process_is_the_oldest_with_a_parent_outside() {
        let process = |pid, parent, start_ticks| Process { pid, parent, start_ticks, ..Process::default() };
        // 90 was started by an exec later on; 50 has a small number because numbers wrapped around.
        let all = [process(70, 3, 10), process(50, 70, 11), process(90, 3, 12)];
        assert_eq!(first(&all).map(|found| found.pid), Some(70));
        assert_eq!(first(&[]), None);
    }

    #[tokio::test]
    async fn a_freeze_stops_exactly_what_belongs_and_a_thaw_lets_it_go() {
        let (children, pids) = sleepers(3);
        let (chosen, other) = (&pids[..2], pids[2]);
        let belongs = |pid: u32| chosen.contains(&pid);
        let frozen = freeze(&belongs).await.unwrap();
        assert_eq!(frozen.len(), 2);
        assert!(frozen.iter().all(Process::is_stopped));
        assert!(!look(other).unwrap().is_stopped(), "a bystander was stopped");
        let thawed = thaw(&belongs).await.unwrap();
        assert_eq!(thawed.len(), 2);
        assert!(chosen.iter().all(|pid| !look(*pid).unwrap().is_stopped()));
        drop(children);
        assert!(members(&belongs).unwrap().is_empty());
        assert_eq!(freeze(&belongs).await.unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(thaw(&belongs).await.unwrap(), [], "nothing to let go is fine");
    }

    #[tokio::test]
    async fn a_freeze_catches_children_that_are_forked_meanwhile() {
        let script = "while true; do (sleep 0.01; true) & sleep 0.002; done";
        let shell = Command::new("sh").args(["-c", script]).spawn().unwrap();
        let root = shell.id();
        let _children = Children(vec![shell]);
        // Descendants by parent, which for orphans of the subshells would end: they count while their parent lives.
        let belongs = |pid: u32| {
            let parent =
                |pid: u32| parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?).map(|stat| stat.2);
            let mut line = std::iter::successors(Some(pid), |pid| parent(*pid));
            line.any(|pid| pid == root)
        };
        let frozen = freeze(&belongs).await.unwrap();
        assert!(frozen.iter().all(Process::is_stopped));
        let before: Vec<_> = frozen.iter().map(|process| (process.pid, process.switches)).collect();
        tokio::time::sleep(Duration::from_millis(60)).await;
        let now = members(&belongs).unwrap();
        let after: Vec<_> = now.iter().map(|process| (process.pid, process.switches)).collect();
        assert_eq!(before, after, "something ran or was forked while frozen");
        thaw(&belongs).await.unwrap();
    }

    #[test]
    fn a_signal_never_reaches_a_process_that_took_over_the_number() {
        let (_children, pids) = sleepers(1);
        let real = look(pids[0]).unwrap();
        let earlier = Process { start_ticks: real.start_ticks.wrapping_sub(1), ..real.clone() };
        assert_eq!(send(&earlier, Signal::KILL).unwrap_err().raw_os_error(), Some(3));
        assert!(look(pids[0]).is_some_and(|now| now.state != 'Z'));
        send(&real, Signal::KILL).unwrap();
    }
}
