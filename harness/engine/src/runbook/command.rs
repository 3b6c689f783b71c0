//! One command in a shell, with a clean environment, a limit, and an end that cannot outlive it.

use firedrill_core::event::StepEnd;
use rustix::process::{Pid, Signal, kill_process_group};
use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

/// How much of each stream is kept; the rest is read and thrown away, so that the command is not held up.
const KEPT_BYTES_MAX: usize = 64 * 1024;
/// How long a process group that was told to end may take before it is killed, and its pipes may stay open after.
const GRACE: Duration = Duration::from_secs(2);

/// Where and with what a command runs.
#[derive(Clone, Debug)]
pub struct Environment {
    /// The only variables that it sees.
    pub variables: Vec<(OsString, OsString)>,
    /// Its working directory.
    pub directory: PathBuf,
}

/// How a command ended, with its output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandEnd {
    /// How it ended, held against what was expected.
    pub end: StepEnd,
    /// The first 64 KiB of its standard output.
    pub stdout: String,
    /// The first 64 KiB of its standard error.
    pub stderr: String,
    /// The changes that it asked of the cluster's provider, a line each.
    pub changes: Vec<String>,
}

impl CommandEnd {
    /// That of a command that could not be started.
    pub fn not_started(reason: String) -> Self {
        Self::silent(StepEnd::NotStarted { reason })
    }

    /// That of a command without output.
    pub fn silent(end: StepEnd) -> Self {
        Self { end, stdout: String::new(), stderr: String::new(), changes: Vec::new() }
    }
}

/// Runs `command` in `bash -c`, pipes and all, in a process group of its own. The exit code is the last command's, as
/// in an operator's shell.
///
/// `exit` is the code that counts as done, or `None` where any does; `expect` must stand in the output, standard output
/// or error. The whole group is ended when `limit` passes or `stop` is cancelled.
pub async fn run_command(
    command: &str,
    environment: &Environment,
    exit: Option<i32>,
    expect: Option<&str>,
    limit: Duration,
    stop: &CancellationToken,
) -> CommandEnd {
    let spawned = Command::new("bash")
        .args(["-c", command])
        .env_clear()
        .envs(environment.variables.iter().map(|(key, value)| (key, value)))
        .current_dir(&environment.directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => {
            return CommandEnd::not_started(error.to_string());
        }
    };
    let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    let ending = EndOfGroup(group);
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let (out, err) = (tokio::spawn(keep(out)), tokio::spawn(keep(err)));

    let status = tokio::select! {
        status = child.wait() => Some(status),
        () = tokio::time::sleep(limit) => None,
        () = stop.cancelled() => None,
    };
    if status.is_none() {
        end_group(group, Signal::TERM);
        if tokio::time::timeout(GRACE, child.wait()).await.is_err() {
            end_group(group, Signal::KILL);
            let _ = tokio::time::timeout(GRACE, child.wait()).await;
        }
    }
    // A background child of the command may hold the pipes open: it ends with the step.
    drop(ending);
    let (stdout, stderr) = (collected(out).await, collected(err).await);

    let end = match status {
        None => StepEnd::DeadlinePassed,
        Some(Err(error)) => StepEnd::NotStarted { reason: error.to_string() },
        Some(Ok(status)) => {
            let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
            match (exit, expect) {
                (Some(wanted), _) if wanted != code => StepEnd::WrongExit { exit: code },
                (_, Some(text)) if !stdout.contains(text) && !stderr.contains(text) => {
                    StepEnd::WrongOutput { exit: code, expected: text.to_owned() }
                }
                _ => StepEnd::AsExpected { exit: code },
            }
        }
    };
    CommandEnd { end, stdout, stderr, changes: Vec::new() }
}

/// Ends a group in any case: the step may be given up where it waits.
struct EndOfGroup(Option<Pid>);

impl Drop for EndOfGroup {
    fn drop(&mut self) {
        end_group(self.0, Signal::KILL);
    }
}

fn end_group(group: Option<Pid>, signal: Signal) {
    if let Some(group) = group {
        let _ = kill_process_group(group, signal);
    }
}

async fn keep(stream: Option<impl AsyncRead + Unpin>) -> Vec<u8> {
    let mut kept = Vec::new();
    let Some(mut stream) = stream else { return kept };
    let mut buffer = [0; 8 * 1024];
    while let Ok(read) = stream.read(&mut buffer).await {
        if read == 0 {
            break;
        }
        kept.extend_from_slice(&buffer[..read.min(KEPT_BYTES_MAX - kept.len())]);
    }
    kept
}

async fn collected(stream: tokio::task::JoinHandle<Vec<u8>>) -> String {
    match tokio::time::timeout(GRACE, stream).await {
        Ok(Ok(bytes)) => String::from_utf8_lossy(&bytes).into_owned(),
        Ok(Err(_)) | Err(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    fn here() -> Environment {
        Environment {
            variables: vec![("PATH".into(), crate::env::raw("PATH").unwrap())],
            directory: std::env::temp_dir(),
        }
    }

    async fn run(command: &str, exit: Option<i32>, expect: Option<&str>, limit_ms: u64) -> CommandEnd {
        let stop = CancellationToken::new();
        run_command(command, &here(), exit, expect, Duration::from_millis(limit_ms), &stop).await
    }

    #[tokio::test]
    async fn a_pipe_ends_with_the_last_commands_code() {
        let end = run("echo 'a\nb' | grep b", Some(0), Some("b"), 5_000).await;
        assert_eq!((end.end, end.stdout.as_str()), (StepEnd::AsExpected { exit: 0 }, "b\n"));
        assert_eq!(run("false | true", Some(0), None, 5_000).await.end, StepEnd::AsExpected { exit: 0 });
        assert_eq!(run("true | grep x", Some(0), None, 5_000).await.end, StepEnd::WrongExit { exit: 1 });
        assert_eq!(run("exit 3", None, None, 5_000).await.end, StepEnd::AsExpected { exit: 3 });
    }

    #[tokio::test]
    async fn a_step_is_a_whole_script_and_leaves_nothing_to_the_next() {
        let end = run("cat <<'EOF' | tr a b\na $HOME it's\nEOF", Some(0), None, 5_000).await;
        assert_eq!((end.end, end.stdout.as_str()), (StepEnd::AsExpected { exit: 0 }, "b $HOME it's\n"));
        run("POD=x; export POD; cd /", Some(0), None, 5_000).await;
        let end = run("echo \"pod:$POD\"; pwd", Some(0), None, 5_000).await;
        let directory = std::fs::canonicalize(std::env::temp_dir()).unwrap();
        assert_eq!(end.stdout, format!("pod:\n{}\n", directory.display()));
    }

    #[tokio::test]
    async fn a_missing_expectation_is_said() {
        let end = run("echo open", Some(0), Some("shut"), 5_000).await.end;
        assert_eq!(end, StepEnd::WrongOutput { exit: 0, expected: "shut".to_owned() });
    }

    #[tokio::test]
    async fn the_environment_is_clean() {
        let end = run("env | cut -d= -f1 | sort | tr '\\n' ' '", Some(0), None, 5_000).await;
        assert_eq!(end.stdout, "PATH PWD SHLVL _ ");
    }

    #[tokio::test]
    async fn a_deadline_ends_the_whole_group() {
        let clock = Clock::start();
        let end = run("trap '' TERM; sleep 60 & echo $!; wait; sleep 60", Some(0), None, 200).await;
        assert_eq!(end.end, StepEnd::DeadlinePassed);
        let child: i32 = end.stdout.trim().parse().unwrap();
        assert!(clock.now().since(firedrill_core::time::At(0)) < Duration::from_secs(10));
        assert!(dies(child).await, "process {child} outlived its step");
    }

    /// A killed process closes its pipes before it is seen as dead: the kernel is given a second for the rest.
    async fn dies(process: i32) -> bool {
        let stat = format!("/proc/{process}/stat");
        let dead =
            || !matches!(std::fs::read_to_string(&stat), Ok(stat) if !stat.contains(") Z ") && !stat.contains(") X "));
        let clock = Clock::start();
        let deadline = clock.now().plus(Duration::from_secs(1));
        while !dead() && clock.now() < deadline {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        dead()
    }

    #[tokio::test]
    async fn a_step_that_is_given_up_ends_with_all_its_children() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pid");
        let command = format!("sleep 60 & echo $! > {}; sleep 60 | sleep 60", file.display());
        let running = run(&command, Some(0), None, 60_000);
        assert!(tokio::time::timeout(Duration::from_millis(500), running).await.is_err());
        let child: i32 = std::fs::read_to_string(&file).unwrap().trim().parse().unwrap();
        assert!(dies(child).await, "process {child} outlived its step");
    }

    #[tokio::test]
    async fn a_flood_of_output_is_cut_not_waited_for() {
        let end = run("head -c 1000000 /dev/zero | tr '\\0' x", Some(0), None, 10_000).await;
        assert_eq!((end.end, end.stdout.len()), (StepEnd::AsExpected { exit: 0 }, KEPT_BYTES_MAX));
    }
}
