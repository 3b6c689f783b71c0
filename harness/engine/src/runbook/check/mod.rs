//! Finds what in a runbook cannot work against a cluster, with nothing broken and nothing changed.
//!
//! The programs themselves, the API server, the containers, the database and the chart are asked: help texts, reads,
//! server-side dry runs, and commands in containers. No shell is involved: whatever is run passes the gate of `judge`
//! and is started with exactly the arguments that were judged (`spawn`).

mod api;
mod ask;
mod call;
mod chart;
mod expected;
mod found;
mod help;
mod inside;
mod judge;
mod kubectl;
mod objects;
mod spawn;
mod sql;
#[cfg(test)]
mod tests;
mod webhooks;

use crate::cluster::{Cluster, ClusterError};
use ask::{Asker, NO_PROGRAMS, Trouble};
use expected::CnpgCluster;
use firedrill_core::document::{Corrected, Document, FindingKind, Language, Report, Written};
use firedrill_core::scenario::{Correction, Fault, Layout, Scenario, TargetNames, Variant, bind_targets};
use firedrill_core::shell::{Pipeline, SimpleCommand, literal_pipelines, placeholders, simple_commands};
use firedrill_core::stack::{NotAsked, Runbooks, Stack};
use found::Found;
use sql::Database;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use tempfile::TempDir;

/// Programs that nothing is asked of, why, and what stands in for them, beside those that the stack names.
const STAND_INS: [(&str, &str, &str); 3] = [
    (
        "terraform",
        "it changes machines, not the cluster",
        "firedrill's provider: `firedrill up`, nodes powered off and on",
    ),
    (
        "hcloud",
        "it changes machines, not the cluster",
        "firedrill's provider: `firedrill up`, nodes powered off and on",
    ),
    ("talosctl", "it changes machines, not the cluster", "firedrill's provider: nodes powered off and on"),
];
/// How far a part of a command was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// It only reads, and can be run as it is.
    Read,
    /// The server tried it without doing it, or all that can fail was asked.
    Tried,
    /// Neither.
    Left,
}

/// Checks runbooks against one cluster.
pub struct Checker {
    asker: Asker,
    /// Programs that the stack says are not asked.
    not_asked: BTreeMap<String, NotAsked>,
    /// Where commands run: the chart is in it.
    _directory: TempDir,
}

/// The layout that a scenario's runbook gives a command for, where it is not for all.
fn layout_of(scenario: &Scenario, written: &Written) -> Option<Layout> {
    let mut steps = scenario.runbooks.values().flat_map(|runbook| &runbook.steps);
    steps.find(|step| step.section == written.section && step.command == written.text)?.layout.clone()
}

/// Where commands run: the chart stands in it where runbooks name it, and nothing else of this machine.
fn folder(chart: &Path, at: Option<&str>) -> std::io::Result<TempDir> {
    let directory = tempfile::Builder::new().prefix("firedrill-check-").tempdir()?;
    if let Some(at) = at.map(|at| directory.path().join(at)) {
        std::fs::create_dir_all(at.parent().unwrap_or(directory.path()))?;
        std::os::unix::fs::symlink(chart.canonicalize()?, at)?;
    }
    chart::write_show(directory.path())?;
    std::fs::create_dir(directory.path().join(NO_PROGRAMS))?;
    Ok(directory)
}

/// Notes what was not asked because it might change something. `None` where it was that.
fn skip_refused<T>(result: Result<T, Trouble>, span: Range<usize>, found: &mut Found) -> Result<Option<T>, Trouble> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Trouble::Refused(reason)) => {
            found.skip(span, reason);
            Ok(None)
        }
        Err(trouble) => Err(trouble),
    }
}

fn of_cluster(trouble: Trouble) -> ClusterError {
    match trouble {
        Trouble::Cluster(error) => error,
        Trouble::Refused(reason) => ClusterError::Other(reason),
    }
}

impl Checker {
    /// Sees that the cluster answers, and puts the chart where runbooks name it.
    ///
    /// # Errors
    /// Where the cluster does not answer or the chart is not there.
    pub async fn new(cluster: &Cluster, chart: &Path, stack: &Stack) -> Result<Self, ClusterError> {
        cluster.info().await?;
        let other = |error: std::io::Error| ClusterError::Other(format!("{}: {error}", chart.display()));
        let Runbooks { chart: at, not_asked } = stack.runbooks.clone();
        let directory = folder(chart, at.as_deref()).map_err(other)?;
        let mut asker = Asker::new(cluster, directory.path(), at);
        asker.look_around().await.map_err(of_cluster)?;
        Ok(Self { asker, not_asked, _directory: directory })
    }

    /// Checks every command of a runbook. For one of a scenario, its corrections count: a finding whose command has one is
    /// known drift, and a correction of a command that works as documented is a finding itself.
    ///
    /// # Errors
    /// Where the cluster does not answer any more.
    pub async fn check(
        &mut self,
        document: &Document,
        scenario: Option<&Scenario>,
        layout: &Layout,
    ) -> Result<Report, ClusterError> {
        self.check_all(document, scenario, layout).await.map_err(of_cluster)
    }

    async fn check_all(
        &mut self,
        document: &Document,
        scenario: Option<&Scenario>,
        layout: &Layout,
    ) -> Result<Report, Trouble> {
        let (targets, volumes) = match scenario {
            Some(scenario) => (self.targets(scenario).await?, self.volumes().await?),
            None => (Vec::new(), Vec::new()),
        };
        let (pods, nodes): (Vec<&str>, Vec<&str>) =
            targets.iter().map(|(pod, node)| (pod.as_str(), node.as_str())).unzip();
        let volumes: Vec<&str> = volumes.iter().map(String::as_str).collect();
        let targets = TargetNames { pods: &pods, nodes: &nodes, volumes: &volumes };
        let mut report = Report {
            file: document.file.clone(),
            commands: document.commands.len(),
            checked: 0,
            findings: Vec::new(),
            unchecked: Vec::new(),
        };
        let mut database = None;
        for written in &document.commands {
            let mut found = Found::default();
            if let Some(other) = scenario.and_then(|scenario| layout_of(scenario, written)).filter(|of| of != layout) {
                let (other, here) = (other.name(), layout.name());
                found.skip(written.span(), format!("a command of the {other} layout, and the {here} one is there"));
                report.unchecked.append(&mut found.unchecked);
                continue;
            }
            skip_refused(self.command(written, targets, &mut database, &mut found).await, written.span(), &mut found)?;
            let of = |correction: &&Correction| {
                correction.section == written.section && correction.documented == written.text
            };
            if let Some(correction) = scenario.and_then(|scenario| scenario.corrections.iter().find(of)) {
                self.correct(written, correction, targets, &mut found).await?;
            }
            report.checked += usize::from(found.is_empty());
            report.findings.append(&mut found.findings);
            report.unchecked.append(&mut found.unchecked);
        }
        for mention in &document.mentions {
            let mut found = Found::default();
            found.skip(mention.clone(), "named in the middle of a sentence: where it ends is not known");
            report.unchecked.append(&mut found.unchecked);
        }
        report.unchecked.sort_by_key(|unchecked| unchecked.span.start);
        report.findings.sort_by_key(|finding| finding.span.start);
        Ok(report)
    }

    /// Pods that a fault of the scenario would be put into, each with its node, for the placeholders that stand for them.
    async fn targets(&mut self, scenario: &Scenario) -> Result<Vec<(String, String)>, Trouble> {
        for pods in scenario.variants.values().flat_map(Variant::faults).filter_map(Fault::pods) {
            let columns = "custom-columns=:.metadata.name,:.spec.nodeName";
            let question =
                ["kubectl", "get", "pods", "-n", &pods.namespace, "-l", &pods.labels, "--no-headers", "-o", columns];
            let listed = self.asker.ask(&question).await?.stdout;
            let named = |line: &str| line.split_once(' ').map(|(pod, node)| (pod.to_owned(), node.trim().to_owned()));
            let names: Vec<(String, String)> = listed.lines().filter_map(named).collect();
            if !names.is_empty() {
                return Ok(names);
            }
        }
        Ok(Vec::new())
    }

    /// Volumes of the cluster, any of which may stand for those of a fault.
    async fn volumes(&mut self) -> Result<Vec<String>, Trouble> {
        let question = ["kubectl", "get", "persistentvolumes", "--no-headers", "-o", "custom-columns=:.metadata.name"];
        let listed = self.asker.ask(&question).await?.stdout;
        Ok(listed.lines().map(|line| line.trim().to_owned()).filter(|name| !name.is_empty()).collect())
    }

    /// Checks one command.
    async fn command(
        &mut self,
        written: &Written,
        targets: TargetNames<'_>,
        database: &mut Option<Database>,
        found: &mut Found,
    ) -> Result<(), Trouble> {
        if written.language == Language::Sql {
            match database {
                Some(database) => database.check(&mut self.asker, &written.text, &written.span(), found).await?,
                None => found.skip(written.span(), "no psql before it says which database is meant"),
            }
            return Ok(());
        }
        let bound = bind_targets(&written.text, targets);
        let literal = literal_pipelines(&bound);
        if let Err(why) = &literal
            && why.is_misread
        {
            found.skip(written.span(), format!("{} is not read", why.what));
            return Ok(());
        }
        let Some(mut parts) = simple_commands(&written.text) else {
            found.skip(written.span(), "a quote or a parenthesis is not closed");
            return Ok(());
        };
        for word in parts.iter_mut().flat_map(|part| part.words.iter_mut().chain(&mut part.redirects)) {
            word.span = written.place(word.span.clone());
            word.text = bind_targets(&word.text, targets);
        }
        // Statements behind a psql that leads nowhere are not put to the one before it.
        if parts.iter().any(|part| part.words.iter().any(|word| word.text == "psql")) {
            *database = None;
        }
        let mut ways = Vec::new();
        for part in &parts {
            let span = part.words.first().map_or(written.span(), |word| word.span.clone());
            let way = self.part(part, database, found).await;
            ways.push(skip_refused(way, span, found)?.unwrap_or(Way::Left));
        }
        let pipelines = match literal {
            Ok(pipelines) => pipelines,
            Err(why) if found.is_empty() => {
                found.skip(written.span(), format!("it is not run: {}", why.what));
                return Ok(());
            }
            Err(_) => return Ok(()),
        };
        if !found.is_empty() {
            return Ok(());
        }
        if ways.iter().all(|way| *way == Way::Read) {
            self.run(written, &parts, &pipelines, found).await?;
        } else if let Some(claim) = written.claims.first() {
            found.skip(claim.span.clone(), "what it shows is not known: it was tried and not done");
        }
        Ok(())
    }

    /// Checks one simple command.
    async fn part(
        &mut self,
        part: &SimpleCommand,
        database: &mut Option<Database>,
        found: &mut Found,
    ) -> Result<Way, Trouble> {
        let Some(program) = part.words.first() else { return Ok(Way::Left) };
        let span = program.span.start..part.words.last().map_or(program.span.end, |word| word.span.end);
        match program.text.as_str() {
            "kubectl" => kubectl::check(&mut self.asker, &part.words, database, found).await,
            "helm" => chart::check(&mut self.asker, &part.words, found).await,
            name if self.not_asked.contains_key(name) => {
                if let Some(not_asked) = self.not_asked.get(name) {
                    found.skip_for(span.clone(), not_asked.because.clone(), &not_asked.instead);
                }
                Ok(Way::Left)
            }
            name if STAND_INS.iter().any(|(program, ..)| *program == name) => {
                for (_, reason, stand_in) in STAND_INS.iter().filter(|(program, ..)| *program == name) {
                    found.skip_for(span.clone(), *reason, stand_in);
                }
                Ok(Way::Left)
            }
            "cd" => {
                found.skip(span, self.asker.outside_of_chart());
                Ok(Way::Left)
            }
            name => {
                let has = self.asker.judge().has(name);
                if has == Some(false) && program.is_literal && placeholders(name).is_empty() {
                    let message = format!("there is no program `{name}` on this machine");
                    found.add(FindingKind::MissingProgram, program.span.clone(), message, None);
                    return Ok(Way::Left);
                }
                let words: Vec<String> = part.words.iter().map(|word| word.text.clone()).collect();
                match self.asker.judge().read(&words) {
                    Ok(_) => Ok(Way::Read),
                    Err(reason) => {
                        found.skip(span, reason);
                        Ok(Way::Left)
                    }
                }
            }
        }
    }

    /// Runs a command that only reads, and holds it against what the runbook says of it.
    async fn run(
        &mut self,
        written: &Written,
        parts: &[SimpleCommand],
        pipelines: &[Pipeline],
        found: &mut Found,
    ) -> Result<(), Trouble> {
        let answer = self.asker.pipelines(pipelines).await?;
        let last = pipelines.last().filter(|last| last.commands.len() > 1).and_then(|last| last.commands.last());
        let is_grep = last.and_then(|last| last.words.first()).is_some_and(|program| program.ends_with("grep"));
        if answer.code != Some(0) && !written.any_exit {
            if is_grep
                && answer.code == Some(1)
                && !answer.stderr.lines().any(|line| line.to_lowercase().starts_with("error"))
            {
                found.skip(written.span(), "a healthy cluster shows no line of what `grep` looks for");
            } else if answer.stderr.contains("previous terminated container") {
                found.skip(written.span(), "there is a log of the last crash only after one");
            } else {
                found.add(FindingKind::Fails, written.span(), answer.why(), None);
            }
            return Ok(());
        }
        let cluster = match parts.first() {
            Some(part) => CnpgCluster::of(&mut self.asker, &part.words).await?,
            None => None,
        };
        let output = answer.stdout + &answer.stderr;
        expected::check(&mut self.asker, &written.claims, &output, cluster.as_ref(), found).await
    }

    /// Holds a command's findings against its correction, and checks that one too.
    async fn correct(
        &mut self,
        written: &Written,
        correction: &Correction,
        targets: TargetNames<'_>,
        found: &mut Found,
    ) -> Result<(), Trouble> {
        let span: Range<usize> = written.span();
        if found.is_empty() && correction.at_times {
            found.skip(span, "it works now; its correction is needed at times");
            return Ok(());
        }
        if found.is_empty() {
            let message = "it works as documented: its correction is no longer needed".to_owned();
            found.add(
                FindingKind::NotNeeded,
                span,
                message,
                Some("take the correction out of the scenario".to_owned()),
            );
            return Ok(());
        }
        if found.findings.is_empty() {
            found.skip(span.clone(), "whether its correction is still needed cannot be told from a healthy cluster");
        }
        for finding in &mut found.findings {
            let Correction { instead, because, .. } = correction.clone();
            finding.corrected = Some(Corrected { instead, because });
        }
        if correction.provider.is_some() {
            found.skip(written.span(), format!("of its correction: {}", correction.instead));
            return Ok(());
        }
        let instead = written.replaced(&correction.instead, correction.expect.as_deref());
        let mut of_correction = Found::default();
        let checked = self.command(&instead, targets, &mut None, &mut of_correction).await;
        skip_refused(checked, span.clone(), &mut of_correction)?;
        for finding in of_correction.findings {
            let message = format!("its correction cannot work: {}", finding.message);
            found.add(finding.kind, span.clone(), message, finding.hint);
        }
        for unchecked in of_correction.unchecked {
            found.skip(span.clone(), format!("of its correction: {}", unchecked.reason));
        }
        Ok(())
    }
}
