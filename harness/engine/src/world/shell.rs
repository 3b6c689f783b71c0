//! Commands of a runbook in bash on this machine.

use crate::cluster::Cluster;
use crate::copy::{CopyLimits, copy_tree};
use crate::port::{CommandEnd, Shell};
use crate::runbook::{Environment, run_command};
use async_trait::async_trait;
use firedrill_core::event::StepEnd;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The folder that a runbook's commands run in, in that of the run.
const WORKPLACE: &str = "work";

/// bash, with kubectl and helm bound to the cluster.
pub(super) struct Bash {
    pub(super) cluster: Cluster,
    pub(super) chart: PathBuf,
    /// Where runbooks name the chart; without it they name none.
    pub(super) chart_at: Option<String>,
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
            Err(error) => {
                let end = StepEnd::NotStarted { reason: error.to_string() };
                return CommandEnd { end, stdout: String::new(), stderr: String::new() };
            }
        };
        let environment = Environment { variables: self.cluster.kubectl_env(), directory };
        run_command(command, &environment, exit, expect, limit, stop).await
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
    use std::fs;

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
