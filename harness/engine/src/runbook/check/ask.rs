//! Questions to the real programs, each asked once.

use crate::cluster::{Cluster, ClusterError};
use crate::runbook::{Environment, run_command};
use firedrill_core::event::StepEnd;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How long one question may take.
const LIMIT: Duration = Duration::from_secs(60);
/// What kubectl and helm say when the API server does not answer.
const UNREACHABLE: [&str; 3] =
    ["Unable to connect to the server", "The connection to the server", "Kubernetes cluster unreachable"];
/// Lines of an error that say nothing of its cause.
const NOISE: [&str; 6] =
    ["command terminated with", "Defaulted container", "Warning:", "See 'kubectl", "Unable to use a TTY", "E1"];

/// What a program answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// Its exit code; `None` where it was ended at its limit or never began.
    pub(super) code: Option<i32>,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

impl Answer {
    pub(super) fn ok(&self) -> bool {
        self.code == Some(0)
    }

    /// Why it failed, in one line.
    pub(super) fn why(&self) -> String {
        let is_noise = |line: &&str| line.trim().is_empty() || NOISE.iter().any(|noise| line.starts_with(noise));
        let lines: Vec<&str> = self.stderr.lines().filter(|line| !is_noise(line)).collect();
        let is_error =
            |line: &&&str| ["error", "Error", "ERROR", "psql: error"].iter().any(|word| line.starts_with(word));
        let line = lines.iter().find(is_error).or(lines.last()).copied().unwrap_or_default();
        let line = ["error: ", "Error: ", "ERROR:  "].iter().find_map(|word| line.strip_prefix(word)).unwrap_or(line);
        match (line.trim(), self.code) {
            ("", Some(code)) => format!("exit code {code} without a word"),
            ("", None) => format!("no answer within {} s", LIMIT.as_secs()),
            (line, _) => line.to_owned(),
        }
    }

    /// Whether the program that was to run in a container is not there.
    pub(super) fn lacks_program(&self) -> bool {
        self.stderr.contains("executable file not found") || self.stderr.contains("no such file or directory: unknown")
    }
}

/// Asks, and remembers.
pub(super) struct Asker {
    environment: Environment,
    answers: BTreeMap<String, Answer>,
}

impl Asker {
    /// Programs see this cluster alone and run in `directory`.
    pub(super) fn new(cluster: &Cluster, directory: &Path) -> Self {
        let environment = Environment { variables: cluster.kubectl_env(), directory: directory.to_owned() };
        Self { environment, answers: BTreeMap::new() }
    }

    #[cfg(test)]
    pub(super) fn without_cluster() -> Self {
        let variables =
            vec![("PATH".into(), crate::env::raw("PATH").unwrap()), ("KUBECONFIG".into(), "/dev/null".into())];
        Self { environment: Environment { variables, directory: std::env::temp_dir() }, answers: BTreeMap::new() }
    }

    /// Where programs run.
    pub(super) fn directory(&self) -> &Path {
        &self.environment.directory
    }

    /// Runs a program with arguments, none of which a shell reads.
    ///
    /// # Errors
    /// Where the API server does not answer it.
    pub(super) async fn ask<W: AsRef<str>>(&mut self, words: &[W]) -> Result<Answer, ClusterError> {
        let quoted: Vec<String> = words.iter().map(|word| quote(word.as_ref())).collect();
        self.run(&quoted.join(" ")).await
    }

    /// Runs a shell command.
    ///
    /// # Errors
    /// Where the API server does not answer it.
    pub(super) async fn run(&mut self, command: &str) -> Result<Answer, ClusterError> {
        if let Some(known) = self.answers.get(command) {
            return Ok(known.clone());
        }
        let stop = CancellationToken::new();
        let ended = run_command(command, &self.environment, None, None, LIMIT, &stop).await;
        let code = match ended.end {
            StepEnd::AsExpected { exit } | StepEnd::WrongExit { exit } | StepEnd::WrongOutput { exit, .. } => {
                Some(exit)
            }
            StepEnd::DeadlinePassed => None,
            StepEnd::NotStarted { reason } => return Err(ClusterError::Other(format!("bash cannot be run: {reason}"))),
        };
        let answer = Answer { code, stdout: ended.stdout, stderr: ended.stderr };
        let lost = answer.stderr.lines().find(|line| UNREACHABLE.iter().any(|said| line.contains(said)));
        if let Some(line) = lost.filter(|_| !answer.ok()) {
            return Err(ClusterError::Other(format!("the cluster was lost while it was asked: {line}")));
        }
        self.answers.insert(command.to_owned(), answer.clone());
        Ok(answer)
    }
}

/// A word as a shell passes it on unchanged.
pub(super) fn quote(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,@%+".contains(c);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cause_is_found_among_the_noise() {
        let answer = |stderr: &str| Answer { code: Some(1), stdout: String::new(), stderr: stderr.to_owned() };
        assert_eq!(
            answer("Defaulted container \"x\"\nError from server (NotFound): pods \"y\" not found\n").why(),
            "Error from server (NotFound): pods \"y\" not found"
        );
        assert_eq!(
            answer("psql: error: FATAL: no\ncommand terminated with exit code 2\n").why(),
            "psql: error: FATAL: no"
        );
        assert_eq!(answer("").why(), "exit code 1 without a word");
        assert_eq!(answer("error: unknown flag: --x\nSee 'kubectl get --help' for usage.").why(), "unknown flag: --x");
    }

    #[tokio::test]
    async fn words_reach_the_program_unchanged_and_a_question_is_asked_once() {
        let mut asker = Asker::without_cluster();
        let odd = "a'b \"c\" $HOME `d` <e>";
        assert_eq!(asker.ask(&["printf", "%s", odd]).await.unwrap().stdout, odd);
        let first = asker.ask(&["date", "+%N"]).await.unwrap();
        assert_eq!(asker.ask(&["date", "+%N"]).await.unwrap(), first);
    }
}
