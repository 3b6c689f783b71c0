//! Commands in containers, over the API server.

use super::{Cluster, ClusterError};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, AttachParams};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::timeout;

/// Bytes read at most of each stream.
pub(crate) const EXEC_OUTPUT_MAX_BYTES: usize = 64 * 1024;

/// A container.
#[derive(Clone, Copy, Debug)]
pub struct Container<'a> {
    /// The pod's namespace.
    pub namespace: &'a str,
    /// The pod.
    pub pod: &'a str,
    /// The container's name.
    pub container: &'a str,
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecOutput {
    /// Whether it exited with 0.
    pub ok: bool,
    /// The first 64 KiB of its standard output.
    pub stdout: String,
    /// The first 64 KiB of its standard error.
    pub stderr: String,
}

impl Cluster {
    /// Runs a command in a container to its end.
    ///
    /// # Errors
    /// Where it cannot be started or does not end within the limit.
    pub async fn exec(
        &self,
        place: Container<'_>,
        command: &[&str],
        limit: Duration,
    ) -> Result<ExecOutput, ClusterError> {
        let what = || format!("run {} in {}", command.first().unwrap_or(&""), place.pod);
        let ran = timeout(limit, self.run(place, command)).await;
        match ran {
            Ok(ended) => ended.map_err(ClusterError::api(what())),
            Err(_) => Err(ClusterError::Deadline { what: what(), limit }),
        }
    }

    async fn run(&self, place: Container<'_>, command: &[&str]) -> kube::Result<ExecOutput> {
        let pods: Api<Pod> = Api::namespaced(self.client(), place.namespace);
        let params = AttachParams::default().container(place.container).stderr(true);
        let mut exec = pods.exec(place.pod, command.iter().copied(), &params).await?;
        let (stdout, stderr, status) = (exec.stdout(), exec.stderr(), exec.take_status());
        let (stdout, stderr) = tokio::join!(all(stdout), all(stderr));
        let ended = match status {
            Some(status) => status.await,
            None => None,
        };
        let ok = ended.and_then(|status| status.status).is_some_and(|word| word == "Success");
        Ok(ExecOutput { ok, stdout, stderr })
    }
}

async fn all(stream: Option<impl AsyncRead + Unpin>) -> String {
    let mut text = Vec::new();
    if let Some(stream) = stream {
        // What was read before a stream broke is judged by the status alone.
        drop(stream.take(EXEC_OUTPUT_MAX_BYTES as u64).read_to_end(&mut text).await);
    }
    String::from_utf8_lossy(&text).into_owned()
}
