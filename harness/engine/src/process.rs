//! Programs of others (`docker`, `kind`, `helm`, `kubectl`), each run under a limit and without the user's kubeconfig.

use crate::env;
use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use thiserror::Error;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};

/// Lines that a message of failure shows.
const TAIL_LINES: usize = 12;
/// Bytes of each output that are read; a program that writes more stands still until its limit.
const OUTPUT_MAX_BYTES: u64 = 16 << 20;

/// Where lines about progress go.
pub type Progress<'a> = &'a mut (dyn FnMut(String) + Send);

/// How a program did not do what it was run for.
#[derive(Debug, Error)]
pub enum ProcessError {
    /// It is not there, or may not be run.
    #[error("{program} cannot be run: {reason}")]
    NotStarted {
        /// The program.
        program: String,
        /// Why.
        reason: String,
        /// Whether there is no such program on the `PATH`.
        is_missing: bool,
    },
    /// It ended with another code than 0.
    #[error("`{command}` failed ({status}){}", indented(tail))]
    Failed {
        /// The command.
        command: String,
        /// How it ended.
        status: String,
        /// Its last lines.
        tail: String,
    },
    /// Its limit passed and it was ended.
    #[error("`{command}` was ended after {} s{}", limit.as_secs(), indented(tail))]
    Deadline {
        /// The command.
        command: String,
        /// The limit.
        limit: Duration,
        /// Its last lines.
        tail: String,
    },
}

/// One command.
pub struct Tool {
    program: String,
    command: Command,
    shown: String,
    limit: Duration,
    input: Vec<u8>,
}

impl Tool {
    /// A program that is found in `PATH`. It gets no kubeconfig unless [`Tool::kubeconfig`] names one.
    pub fn new(program: &str, limit: Duration) -> Self {
        let mut command = Command::new(program);
        command.env("KUBECONFIG", "/dev/null").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.kill_on_drop(true).process_group(0);
        for name in env::SECRETS {
            command.env_remove(name);
        }
        Self { program: program.to_owned(), command, shown: program.to_owned(), limit, input: Vec::new() }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.shown.push(' ');
        self.shown.push_str(&arg.as_ref().to_string_lossy());
        self.command.arg(arg);
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args(self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        args.into_iter().fold(self, Tool::arg)
    }

    /// The one kubeconfig it may use.
    #[must_use]
    pub fn kubeconfig(mut self, file: &Path) -> Self {
        self.command.env("KUBECONFIG", file);
        self
    }

    /// Replaces its whole environment.
    #[must_use]
    pub fn env(mut self, variables: Vec<(OsString, OsString)>) -> Self {
        self.command.env_clear().envs(variables);
        self
    }

    /// What it reads from its standard input.
    #[must_use]
    pub fn input(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = input.into();
        self.command.stdin(Stdio::piped());
        self
    }

    /// Runs it to its end; its standard output.
    ///
    /// # Errors
    /// Where it cannot be started, fails, or is not done within its limit.
    pub async fn run(self) -> Result<String, ProcessError> {
        self.run_watched(&mut |_| ()).await
    }

    /// Runs it to its end and hands on each line of its standard error; its standard output.
    ///
    /// # Errors
    /// Where it cannot be started, fails, or is not done within its limit.
    pub async fn run_watched(mut self, line: &mut (dyn FnMut(&str) + Send)) -> Result<String, ProcessError> {
        let mut child = self.command.spawn().map_err(|error| ProcessError::NotStarted {
            program: self.program.clone(),
            reason: error.to_string(),
            is_missing: error.kind() == std::io::ErrorKind::NotFound,
        })?;
        let group = Group::of(&child);
        let mut tail = Tail::default();
        let outcome = tokio::time::timeout(self.limit, self.attend(&mut child, line, &mut tail)).await;
        let Ok(ended) = outcome else {
            drop(group);
            return Err(ProcessError::Deadline { command: self.shown, limit: self.limit, tail: tail.text() });
        };
        if ended.is_ok() {
            group.leave();
        }
        let (status, stdout) = ended.map_err(|error| ProcessError::NotStarted {
            program: self.program.clone(),
            reason: format!("its output cannot be read: {error}"),
            is_missing: false,
        })?;
        if status.success() {
            return Ok(stdout);
        }
        stdout.lines().for_each(|text| tail.keep(text));
        Err(ProcessError::Failed { command: self.shown, status: status.to_string(), tail: tail.text() })
    }

    async fn attend(
        &self,
        child: &mut Child,
        line: &mut (dyn FnMut(&str) + Send),
        tail: &mut Tail,
    ) -> std::io::Result<(ExitStatus, String)> {
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let feed = async {
            if let Some(mut stdin) = stdin {
                // A program that ends without reading everything says why by its exit code.
                let _ = stdin.write_all(&self.input).await;
            }
            Ok(())
        };
        let mut seen = |text: &str| {
            tail.keep(text);
            line(text);
        };
        let (_, stdout, ()) = tokio::try_join!(feed, read_all(stdout), read_lines(stderr, &mut seen))?;
        Ok((child.wait().await?, stdout))
    }
}

/// The program with all that it started. Dropped before its end, all of it is killed.
pub(crate) struct Group(Option<u32>);

impl Group {
    /// That of a program that was started as the leader of a group of its own.
    pub(crate) fn of(child: &Child) -> Self {
        Self(child.id())
    }

    /// It has ended: its number may soon be another's.
    pub(crate) fn leave(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let pid = self.0.and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid {
            // It may have ended on its own in this moment, which is as good.
            let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
        }
    }
}

async fn read_all(stream: Option<impl AsyncRead + Unpin>) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    if let Some(stream) = stream {
        stream.take(OUTPUT_MAX_BYTES).read_to_end(&mut bytes).await?;
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

async fn read_lines(
    stream: Option<impl AsyncRead + Unpin>,
    seen: &mut (dyn FnMut(&str) + Send),
) -> std::io::Result<()> {
    let Some(stream) = stream else { return Ok(()) };
    let mut reader = BufReader::new(stream.take(OUTPUT_MAX_BYTES));
    let mut bytes = Vec::new();
    while reader.read_until(b'\n', &mut bytes).await? > 0 {
        let text = String::from_utf8_lossy(&bytes);
        let text = text.trim_end();
        if !text.is_empty() {
            seen(text);
        }
        bytes.clear();
    }
    Ok(())
}

#[derive(Default)]
struct Tail(VecDeque<String>);

impl Tail {
    fn keep(&mut self, line: &str) {
        if self.0.len() == TAIL_LINES {
            self.0.pop_front();
        }
        self.0.push_back(line.to_owned());
    }

    fn text(&self) -> String {
        self.0.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
    }
}

fn indented(tail: &str) -> String {
    tail.lines().map(|line| format!("\n    {line}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(20);

    #[test]
    fn programs_do_not_see_the_tokens_of_providers() {
        let tool = Tool::new("docker", LIMIT);
        for name in env::SECRETS {
            let set = tool.command.as_std().get_envs().find(|(key, _)| *key == name);
            assert_eq!(set, Some((OsStr::new(name), None)), "{name} is handed on");
        }
    }

    #[tokio::test]
    async fn output_is_returned_and_errors_are_shown_line_by_line() {
        let mut lines = Vec::new();
        let tool = Tool::new("sh", LIMIT).args(["-c", "cat; echo one >&2; echo two >&2"]).input("in");
        let stdout = tool.run_watched(&mut |line| lines.push(line.to_owned())).await.unwrap();
        assert_eq!((stdout.as_str(), lines.as_slice()), ("in", ["one".to_owned(), "two".to_owned()].as_slice()));
    }

    #[tokio::test]
    async fn a_failure_shows_the_last_lines() {
        let error = Tool::new("sh", LIMIT).args(["-c", "seq 1 20 >&2; exit 3"]).run().await.unwrap_err().to_string();
        assert!(error.contains("exit status: 3"), "{error}");
        assert!(error.ends_with("\n    19\n    20") && !error.contains("    8\n"), "{error}");
    }

    #[tokio::test]
    async fn a_limit_ends_the_program_and_what_it_started() {
        let tool = Tool::new("sh", Duration::from_millis(300)).args(["-c", "echo begun >&2; sleep 60 & wait"]);
        let error = tool.run().await.unwrap_err();
        assert!(matches!(&error, ProcessError::Deadline { tail, .. } if tail == "begun"), "{error}");
    }

    #[tokio::test]
    async fn a_missing_program_is_named() {
        let error = Tool::new("firedrill-no-such-program", LIMIT).run().await.unwrap_err().to_string();
        assert!(error.starts_with("firedrill-no-such-program cannot be run"), "{error}");
    }

    #[tokio::test]
    async fn the_users_kubeconfig_is_hidden() {
        let stdout = Tool::new("sh", LIMIT).args(["-c", "echo $KUBECONFIG"]).run().await.unwrap();
        assert_eq!(stdout.trim(), "/dev/null");
    }
}
