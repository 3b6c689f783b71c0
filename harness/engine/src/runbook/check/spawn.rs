//! Runs what was judged: exactly that program with exactly those arguments, without a shell.

use super::judge::AllowedCall;
use crate::process::Group;
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Stdio;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

/// How much of each stream is kept; the rest is read and thrown away.
const OUTPUT_MAX_BYTES: usize = 16 << 20;
/// Memory that a filter may use: a short program of jq's can ask for all there is.
const FILTER_MAX_BYTES: u64 = 2 << 30;

/// How a program ended.
#[derive(Clone, Debug, Default)]
pub(super) struct ProgramOutput {
    pub(super) code: i32,
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
    /// Whether it wrote more than is kept.
    pub(super) is_cut: bool,
}

/// Runs a program to its end. Dropped before, all that it started is killed.
pub(super) async fn spawn(
    judged: &AllowedCall,
    variables: &[(OsString, OsString)],
    directory: &Path,
    input: Vec<u8>,
) -> std::io::Result<ProgramOutput> {
    let missing = || std::io::Error::new(std::io::ErrorKind::NotFound, "it is not in the PATH");
    let mut command = Command::new(judged.program().ok_or_else(missing)?);
    command.args(judged.argv()).env_clear().current_dir(directory);
    if judged.asks_cluster() {
        command.envs(variables.iter().map(|(name, value)| (name, value)));
    }
    let stdin = if input.is_empty() { Stdio::null() } else { Stdio::piped() };
    command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).process_group(0);
    let mut child = command.spawn()?;
    let group = Group::of(&child);
    if let Some(pid) = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw)
        && !judged.asks_cluster()
    {
        let limit = Rlimit { current: Some(FILTER_MAX_BYTES), maximum: Some(FILTER_MAX_BYTES) };
        // It may have ended already.
        let _ = prlimit(Some(pid), Resource::As, limit);
    }
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let feed = async {
        if let Some(mut stdin) = stdin {
            // A reader that has enough, as `head`, ends early.
            let _ = stdin.write_all(&input).await;
        }
        Ok(())
    };
    let ((), stdout, stderr) = tokio::try_join!(feed, keep(stdout), keep(stderr))?;
    let status = child.wait().await?;
    group.leave();
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    Ok(ProgramOutput { code, is_cut: stdout.1 || stderr.1, stdout: stdout.0, stderr: stderr.0 })
}

async fn keep(stream: Option<impl AsyncRead + Unpin>) -> std::io::Result<(Vec<u8>, bool)> {
    let (mut kept, mut is_cut) = (Vec::new(), false);
    let Some(mut stream) = stream else { return Ok((kept, is_cut)) };
    // On the heap: a question is asked from deep within nested futures.
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            return Ok((kept, is_cut));
        }
        let room = read.min(OUTPUT_MAX_BYTES - kept.len());
        kept.extend_from_slice(&buffer[..room]);
        is_cut |= room < read;
    }
}
