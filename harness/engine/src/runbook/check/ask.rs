//! Questions to the real programs, each asked once. The API server itself answers those that it can ([`super::api`]).

use super::api::ApiAnswers;
use super::judge::{AllowedCall, Judge, Stage};
use super::spawn::{ProgramOutput, spawn};
use crate::cluster::{Cluster, ClusterError};
use firedrill_core::shell::{After, Pipeline, Sink};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;
use thiserror::Error;

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
            ("", Some(code)) => format!("exit code {code} without output"),
            ("", None) => format!("no answer within {} s", LIMIT.as_secs()),
            (line, _) => line.to_owned(),
        }
    }

    /// Whether the program that was to run in a container is not there.
    pub(super) fn lacks_program(&self) -> bool {
        self.stderr.contains("executable file not found") || self.stderr.contains("no such file or directory: unknown")
    }
}

/// Why a question has no answer.
#[derive(Debug, Error)]
pub(super) enum Trouble {
    /// The cluster, or a program that is needed, does not answer.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// It is not asked: it might change something.
    #[error("{0}")]
    Refused(String),
}

/// Asks, and remembers.
pub(super) struct Asker {
    judge: Judge,
    /// The only variables that kubectl and helm see; filters see none.
    variables: Vec<(OsString, OsString)>,
    directory: PathBuf,
    /// Where runbooks name the chart, in that directory.
    chart: Option<String>,
    answers: BTreeMap<AllowedCall, Answer>,
    /// How reads of runbooks ended.
    reads: BTreeMap<AllowedCall, ProgramOutput>,
    /// What answers questions to kubectl without it.
    api: Option<ApiAnswers>,
    /// What was run, for tests.
    #[cfg(test)]
    pub(super) log: Vec<AllowedCall>,
}

impl Asker {
    /// Programs see this cluster alone and run in `directory`.
    pub(super) fn new(cluster: &Cluster, directory: &Path, chart: Option<String>) -> Self {
        let api = Some(ApiAnswers::of(cluster));
        Self { api, ..Self::with(cluster.kubectl_env(), directory, chart) }
    }

    /// The same with these variables. Programs are found in its PATH, of which they then see nothing: kubectl and helm run
    /// no plugin. Only where the kubeconfig names a program that logs in, that one may be found.
    pub(super) fn with(mut variables: Vec<(OsString, OsString)>, directory: &Path, chart: Option<String>) -> Self {
        let path =
            variables.iter().find(|(name, _)| name == "PATH").map(|(_, value)| value.clone()).unwrap_or_default();
        let judge = Judge::new(&path, directory, chart.as_deref());
        if !logs_in_by_program(&variables) {
            for (_, value) in variables.iter_mut().filter(|(name, _)| name == "PATH") {
                *value = directory.join(NO_PROGRAMS).into();
            }
        }
        Self {
            judge,
            variables,
            directory: directory.to_owned(),
            chart,
            answers: BTreeMap::new(),
            reads: BTreeMap::new(),
            api: None,
            #[cfg(test)]
            log: Vec::new(),
        }
    }

    #[cfg(test)]
    pub(super) fn without_cluster() -> Self {
        let variables =
            vec![("PATH".into(), crate::env::raw("PATH").unwrap()), ("KUBECONFIG".into(), "/dev/null".into())];
        Self::with(variables, &std::env::temp_dir(), None)
    }

    /// Where programs run.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Whether a runbook's path is one of the chart's.
    pub(super) fn is_of_chart(&self, path: &str) -> bool {
        self.chart.as_ref().is_some_and(|chart| path.trim_start_matches("./").starts_with(chart))
    }

    /// Why a path outside of the chart is not looked at.
    pub(super) fn outside_of_chart(&self) -> String {
        match &self.chart {
            Some(chart) => format!("only `{chart}/` is in the folder that commands run in"),
            None => "no file is in the folder that commands run in".to_owned(),
        }
    }

    /// Says what may be run.
    pub(super) fn judge(&self) -> &Judge {
        &self.judge
    }

    /// Reads which namespaces there are, by which the names of hosts are judged.
    ///
    /// # Errors
    /// Where the API server does not answer.
    pub(super) async fn look_around(&mut self) -> Result<(), Trouble> {
        let listed = self.ask(&["kubectl", "get", "namespaces", "-o", "name"]).await?.stdout;
        self.judge.namespaces =
            listed.lines().filter_map(|line| line.strip_prefix("namespace/")).map(str::to_owned).collect();
        Ok(())
    }

    /// Puts a question of this program's own.
    ///
    /// # Errors
    /// Where the API server does not answer it, or a word of it might change something.
    pub(super) async fn ask<W: AsRef<str>>(&mut self, words: &[W]) -> Result<Answer, Trouble> {
        let words: Vec<String> = words.iter().map(|word| word.as_ref().to_owned()).collect();
        let judged = self.judge.question(&words).map_err(Trouble::Refused)?;
        self.run(&judged).await
    }

    /// Runs what was judged, once.
    ///
    /// # Errors
    /// Where the API server does not answer it.
    pub(super) async fn run(&mut self, judged: &AllowedCall) -> Result<Answer, Trouble> {
        if let Some(known) = self.answers.get(judged) {
            return Ok(known.clone());
        }
        let direct = match &mut self.api {
            Some(api) if judged.name() == "kubectl" => Box::pin(api.answer(judged.argv(), LIMIT)).await,
            _ => None,
        };
        let answer = match direct {
            Some(answer) => answer,
            None => self.run_with(judged, Vec::new()).await?,
        };
        self.answers.insert(judged.clone(), answer.clone());
        Ok(answer)
    }

    /// Runs what was judged, with something on its standard input.
    ///
    /// # Errors
    /// Where the API server does not answer it.
    pub(super) async fn run_with(&mut self, judged: &AllowedCall, input: Vec<u8>) -> Result<Answer, Trouble> {
        match tokio::time::timeout(LIMIT, self.spawn(judged, input)).await {
            Ok(ended) => {
                let ended = ended?;
                Ok(Answer { code: Some(ended.code), stdout: text(ended.stdout), stderr: text(ended.stderr) })
            }
            Err(_) => Ok(Answer { code: None, stdout: String::new(), stderr: String::new() }),
        }
    }

    /// Runs pipelines, every part of which only reads. One program runs after the other, with what the one before it wrote
    /// on its standard input; where one of them fails, the last code that is not 0 is that of its pipeline.
    ///
    /// # Errors
    /// Where a part is not on a list: then nothing is run. Where the API server does not answer.
    pub(super) async fn pipelines(&mut self, pipelines: &[Pipeline]) -> Result<Answer, Trouble> {
        let judge = |pipeline: &Pipeline| pipeline.commands.iter().map(|one| self.judge.read(&one.words)).collect();
        let stages: Result<Vec<Vec<Stage>>, String> = pipelines.iter().map(judge).collect();
        let stages = stages.map_err(Trouble::Refused)?;
        match tokio::time::timeout(LIMIT, self.staged(pipelines, &stages)).await {
            Ok(answer) => answer,
            Err(_) => Ok(Answer { code: None, stdout: String::new(), stderr: String::new() }),
        }
    }

    async fn staged(&mut self, pipelines: &[Pipeline], stages: &[Vec<Stage>]) -> Result<Answer, Trouble> {
        let (mut code, mut stdout, mut stderr) = (0, Vec::new(), Vec::new());
        for (pipeline, stages) in pipelines.iter().zip(stages) {
            let is_run = match pipeline.after {
                After::Always => true,
                After::Success => code == 0,
                After::Failure => code != 0,
            };
            if !is_run {
                continue;
            }
            code = 0;
            let mut piped = Vec::new();
            for (command, stage) in pipeline.commands.iter().zip(stages) {
                let ended = match stage {
                    Stage::Echo(text) => {
                        ProgramOutput { stdout: text.clone().into_bytes(), ..ProgramOutput::default() }
                    }
                    Stage::Run(judged) if judged.asks_cluster() && piped.is_empty() => self.read(judged).await?,
                    Stage::Run(judged) => self.spawn(judged, std::mem::take(&mut piped)).await?,
                };
                code = if ended.code == 0 { code } else { ended.code };
                piped.clear();
                for (sink, bytes) in [(command.output, ended.stdout), (command.errors, ended.stderr)] {
                    match sink {
                        Sink::Output => piped.extend(bytes),
                        Sink::Errors => stderr.extend(bytes),
                        Sink::Nothing => {}
                    }
                }
            }
            stdout.extend(piped);
        }
        Ok(Answer { code: Some(code), stdout: text(stdout), stderr: text(stderr) })
    }

    /// Runs a read of a runbook, once: many runbooks begin with the same.
    async fn read(&mut self, judged: &AllowedCall) -> Result<ProgramOutput, Trouble> {
        if let Some(known) = self.reads.get(judged) {
            return Ok(known.clone());
        }
        let ended = self.spawn(judged, Vec::new()).await?;
        self.reads.insert(judged.clone(), ended.clone());
        Ok(ended)
    }

    async fn spawn(&mut self, judged: &AllowedCall, input: Vec<u8>) -> Result<ProgramOutput, Trouble> {
        #[cfg(test)]
        self.log.push(judged.clone());
        let name = judged.name();
        let not_run = |error: std::io::Error| ClusterError::Other(format!("{name} cannot be run: {error}"));
        let ended = Box::pin(spawn(judged, &self.variables, &self.directory, input)).await.map_err(not_run)?;
        if ended.is_cut {
            return Err(Trouble::Refused(format!("`{name}` writes more output than is read")));
        }
        let said = String::from_utf8_lossy(&ended.stderr);
        let lost = said.lines().find(|line| UNREACHABLE.iter().any(|said| line.contains(said)));
        if let Some(line) = lost.filter(|_| ended.code != 0 && judged.asks_cluster()) {
            return Err(ClusterError::Other(format!("the cluster was lost while it was asked: {line}")).into());
        }
        Ok(ended)
    }
}

/// A folder without programs.
pub(super) const NO_PROGRAMS: &str = ".firedrill-no-programs";

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Whether the kubeconfig, which is one of this program's own and has one user, logs in by a program.
fn logs_in_by_program(variables: &[(OsString, OsString)]) -> bool {
    let file = variables.iter().find(|(name, _)| name == "KUBECONFIG").map(|(_, file)| file);
    let file = file.and_then(|file| std::fs::read(file).ok()).unwrap_or_default();
    let config: serde_json::Value = serde_json::from_slice(&file).unwrap_or_default();
    config["users"].as_array().into_iter().flatten().any(|user| user["user"]["exec"].is_object())
}

#[cfg(test)]
mod tests {
    use super::*;
    use firedrill_core::shell::literal_pipelines;

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
    async fn pipelines_run_without_a_shell() {
        let mut asker = Asker::without_cluster();
        for (text, code, wanted) in [
            ("echo 'a $HOME' \"b\" | tr a-z A-Z | grep -c B", 0, "1\n"),
            ("echo a | grep b || echo 'none (expected)'", 0, "none (expected)\n"),
            ("echo a | grep b | wc -l", 1, "0\n"),
            ("echo a | grep b && echo c; echo d", 0, "d\n"),
            ("echo '{\"b\": 1}' | jq .b 2>&1", 0, "1\n"),
            ("echo a >/dev/null", 0, ""),
            ("echo a 1>&2", 0, ""),
        ] {
            let answer = asker.pipelines(&literal_pipelines(text).unwrap()).await.unwrap();
            assert_eq!((answer.code, answer.stdout.as_str()), (Some(code), wanted), "{text}: {answer:?}");
        }
        // Nothing is run where one part may not be.
        let before = asker.log.len();
        let refused = asker.pipelines(&literal_pipelines("echo a | sort | sort -o x").unwrap()).await.unwrap_err();
        assert!(matches!(refused, Trouble::Refused(_)) && asker.log.len() == before);
    }
}
