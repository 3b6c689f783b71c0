//! Commands of a runbook in bash on this machine.

use crate::cluster::Cluster;
use crate::copy::{CopyLimits, copy_tree};
use crate::port::{CommandEnd, Shell};
use crate::provider::{MachineError, StepEnvironment};
use crate::runbook::{Environment, run_command};
use async_trait::async_trait;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

/// The folder that a runbook's commands run in, in that of the run.
const WORKPLACE: &str = "work";

/// bash, with kubectl and helm bound to the cluster.
pub(super) struct Bash {
    pub(super) cluster: Cluster,
    pub(super) chart: PathBuf,
    /// Where runbooks name the chart; without it they name none.
    pub(super) chart_at: Option<String>,
    /// What the provider gives to commands, made for the first one.
    pub(super) provided: OnceCell<StepEnvironment>,
}

impl Bash {
    async fn provided(&self) -> Result<&StepEnvironment, MachineError> {
        let make = || async {
            let made = self.cluster.machines.step_environment().await?;
            for (label, value) in &made.secrets {
                self.cluster.redactor().register(label, value);
            }
            Ok(made)
        };
        self.provided.get_or_try_init(make).await
    }
}

#[async_trait]
impl Shell for Bash {
    /// A copy of the chart stands where the runbook's commands name it, so that no command reaches the chart itself.
    fn prepare(&self, folder: &Path) -> Result<(), String> {
        workplace(folder, &self.chart, self.chart_at.as_deref()).map(drop)
    }

    async fn run(
        &self,
        folder: &Path,
        command: &str,
        (exit, expect): (Option<i32>, Option<&str>),
        limit: Duration,
        stop: &CancellationToken,
    ) -> CommandEnd {
        let directory = match std::path::absolute(folder.join(WORKPLACE)) {
            Ok(directory) => directory,
            Err(error) => return CommandEnd::not_started(error.to_string()),
        };
        let provided = match self.provided().await {
            Ok(provided) => provided,
            Err(error) => return CommandEnd::not_started(error.to_string()),
        };
        let mut variables = self.cluster.kubectl_env();
        // Later ones replace earlier ones.
        variables.extend(provided.variables.iter().cloned());
        let environment = Environment { variables, directory };
        let ended = run_command(command, &environment, exit, expect, limit, stop).await;
        CommandEnd { changes: provided.requests.take().iter().map(ToString::to_string).collect(), ..ended }
    }
}

/// `at` is where runbooks name the chart, below the folder.
fn workplace(folder: &Path, chart: &Path, at: Option<&str>) -> Result<PathBuf, String> {
    let io = |error: std::io::Error| format!("{}: {error}", folder.display());
    let directory = folder.join(WORKPLACE);
    crate::files::create_dir_all(&directory).map_err(io)?;
    if let Some(at) = at.map(|at| directory.join(at)) {
        crate::files::create_dir_all(at.parent().unwrap_or(&directory)).map_err(io)?;
        copy_tree(chart, &at, CopyLimits::CHART).map_err(|error| format!("the chart cannot be copied: {error}"))?;
    }
    std::path::absolute(&directory).map_err(io)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake_api::FakeApi;
    use crate::provider::{Capabilities, ExternalEndpoint, ExternalNeed, Machines, Support};
    use std::fs;
    use std::sync::Arc;

    /// Machines whose provider has a program of its own.
    struct WithProgram;

    #[async_trait]
    impl Machines for WithProgram {
        fn capabilities(&self) -> Capabilities {
            Capabilities { node_power: Support::Yes, new_node: Support::Yes, volume_fault: Support::Yes }
        }

        async fn remove_node(&self, _: &Cluster, _: &str, _: &str) -> Result<(), MachineError> {
            Ok(())
        }

        async fn is_node_gone(&self, _: &Cluster, _: &str) -> Result<bool, MachineError> {
            Ok(true)
        }

        async fn external_endpoints(
            &self,
            _: &Cluster,
            _: &[ExternalNeed],
        ) -> Result<Vec<ExternalEndpoint>, MachineError> {
            Ok(Vec::new())
        }

        async fn step_environment(&self) -> Result<StepEnvironment, MachineError> {
            let variables = vec![("HCLOUD_TOKEN".into(), "t0kenOfTheRun".into()), ("HOME".into(), "/nowhere".into())];
            let secrets = vec![("the token of the run", "t0kenOfTheRun".to_owned())];
            Ok(StepEnvironment::new(variables, secrets))
        }
    }

    #[tokio::test]
    async fn commands_find_what_the_provider_gives_and_its_secrets_are_taken_out() {
        let (api, folder) = (FakeApi::start().await, tempfile::tempdir().unwrap());
        let cluster = Cluster::connect("c", &api.kubeconfig(folder.path()), "x").await.unwrap();
        let cluster = cluster.provided_by("fake", Arc::new(WithProgram));
        let shell = Bash { cluster: cluster.clone(), chart: PathBuf::new(), chart_at: None, provided: OnceCell::new() };
        shell.prepare(folder.path()).unwrap();
        let (command, limit) = ("echo $HCLOUD_TOKEN $HOME", Duration::from_secs(20));
        let expected = (Some(0), Some("t0kenOfTheRun /nowhere"));
        let end = shell.run(folder.path(), command, expected, limit, &CancellationToken::new()).await;
        assert!(end.end.held() && end.changes.is_empty(), "{end:?}");
        assert!(!cluster.redactor().text(&end.stdout).contains("t0kenOfTheRun"));
    }

    #[tokio::test]
    async fn a_step_that_writes_into_the_chart_leaves_the_chart_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let chart = folder.path().join("chart");
        fs::create_dir(&chart).unwrap();
        fs::write(chart.join("Chart.yaml"), "name: x\n").unwrap();
        let directory = workplace(&folder.path().join("run"), &chart, Some("deploy/helm/ironflow")).unwrap();
        let variables = vec![("PATH".into(), crate::env::raw("PATH").unwrap())];
        let environment = Environment { variables, directory };
        let command = "cd deploy/helm/ironflow && echo bad >> Chart.yaml && cat Chart.yaml && rm Chart.yaml";
        let stop = CancellationToken::new();
        let end = run_command(command, &environment, Some(0), Some("bad"), Duration::from_secs(20), &stop).await;
        assert!(end.end.held(), "{end:?}");
        assert_eq!(fs::read_to_string(chart.join("Chart.yaml")).unwrap(), "name: x\n");
    }
}
