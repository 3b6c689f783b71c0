//! Connections from the runner to the probe agent.

use super::inside::AgentError;
use super::probe_wire::{Head, PAYLOAD_BYTES_MAX, PORT, Request, read_json, write_json};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// How the agent is reached.
#[derive(Clone)]
pub(super) struct Route {
    way: Way,
    /// The agent process that must answer, once it is known.
    instance: Option<String>,
}

#[derive(Clone)]
enum Way {
    /// The API server's port-forward.
    Pod { pods: Box<Api<Pod>>, name: &'static str },
    /// A plain connection, where the agent is on this machine.
    #[cfg(test)]
    Here(std::net::SocketAddr),
}

trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// One connection. Requests are answered one after another.
pub(super) struct Line {
    stream: Box<dyn Io>,
    /// Carries the stream; ends with it.
    _forwarder: Option<kube::api::Portforwarder>,
    instance: Option<String>,
}

impl Route {
    pub(super) fn pod(pods: Api<Pod>, name: &'static str) -> Self {
        Self { way: Way::Pod { pods: Box::new(pods), name }, instance: None }
    }

    #[cfg(test)]
    pub(super) fn here(address: std::net::SocketAddr) -> Self {
        Self { way: Way::Here(address), instance: None }
    }

    /// The same, but only this agent process may answer.
    pub(super) fn of_instance(self, instance: String) -> Self {
        Self { instance: Some(instance), ..self }
    }

    /// Opens a connection. The caller limits it.
    pub(super) async fn open(&self) -> Result<Line, AgentError> {
        let (stream, forwarder): (Box<dyn Io>, _) = match &self.way {
            Way::Pod { pods, name } => {
                let mut forwarder = pods.portforward(name, &[PORT]).await.map_err(|error| match &error {
                    kube::Error::Api(status) if status.code == 404 => AgentError::Pod("its pod is gone".to_owned()),
                    _ => AgentError::Broken(error.to_string()),
                })?;
                let stream = forwarder
                    .take_stream(PORT)
                    .ok_or_else(|| AgentError::Broken("no stream was forwarded".to_owned()))?;
                (Box::new(stream), Some(forwarder))
            }
            #[cfg(test)]
            Way::Here(address) => {
                let stream = tokio::net::TcpStream::connect(address).await.map_err(broken)?;
                (Box::new(stream), None)
            }
        };
        Ok(Line { stream, _forwarder: forwarder, instance: self.instance.clone() })
    }

    /// Why there can be no agent at the end of it any more, where that is so. `None` where it may yet answer, and where that
    /// cannot be seen now. The caller limits it.
    pub(super) async fn ended(&self) -> Option<AgentError> {
        match &self.way {
            Way::Pod { pods, name } => match pods.get_opt(name).await {
                Ok(pod) => end_of(pod.as_ref()),
                Err(_) => None,
            },
            #[cfg(test)]
            Way::Here(_) => None,
        }
    }

    /// One request over a connection of its own.
    pub(super) async fn ask(&self, request: &Request, within: Duration) -> Result<(Head, Vec<u8>), AgentError> {
        let asked = async { self.open().await?.ask(request).await };
        tokio::time::timeout(within, asked)
            .await
            .unwrap_or_else(|_| Err(AgentError::Broken(format!("no answer within {} s", within.as_secs()))))
    }
}

impl Line {
    /// One request. The caller limits it, and drops the line where the limit passes.
    pub(super) async fn ask(&mut self, request: &Request) -> Result<(Head, Vec<u8>), AgentError> {
        write_json(&mut self.stream, request).await.map_err(broken)?;
        self.stream.flush().await.map_err(broken)?;
        let head: Head = read_json(&mut self.stream).await.map_err(broken)?;
        if self.instance.as_ref().is_some_and(|instance| *instance != head.instance) {
            return Err(AgentError::Replaced);
        }
        if head.bytes > PAYLOAD_BYTES_MAX {
            return Err(AgentError::Broken("an answer is too long".to_owned()));
        }
        let mut payload = vec![0; usize::try_from(head.bytes).unwrap_or_default()];
        self.stream.read_exact(&mut payload).await.map_err(broken)?;
        match head.error {
            Some(error) => Err(AgentError::Refused(error)),
            None => Ok((head, payload)),
        }
    }
}

/// An agent is never started again in its pod, so a pod that ends or is being deleted takes its samples with it.
fn end_of(pod: Option<&Pod>) -> Option<AgentError> {
    let gone = |why: &str| Some(AgentError::Pod(why.to_owned()));
    let Some(pod) = pod else { return gone("its pod is gone") };
    if pod.metadata.deletion_timestamp.is_some() {
        return gone("its pod is being deleted");
    }
    let status = pod.status.as_ref()?;
    let mut containers = status.container_statuses.iter().flatten();
    let ended = containers.find_map(|container| container.state.as_ref()?.terminated.as_ref());
    match (ended, status.phase.as_deref()) {
        (Some(ended), _) => {
            let reason = ended.reason.as_deref().unwrap_or("no reason given");
            gone(&format!("it ended with exit code {} ({reason})", ended.exit_code))
        }
        (None, Some("Failed" | "Succeeded")) => gone(status.reason.as_deref().unwrap_or("its pod has ended")),
        (None, _) => None,
    }
}

fn broken(error: std::io::Error) -> AgentError {
    AgentError::Broken(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_agent_that_is_gone_is_told_from_one_that_is_out_of_reach() {
        let end = |pod: serde_json::Value| {
            let pod: Pod = serde_json::from_value(pod).unwrap();
            end_of(Some(&pod)).map(|error| error.to_string())
        };
        assert_eq!(end(json!({"metadata": {}, "status": {"phase": "Running"}})), None);
        assert_eq!(end(json!({"metadata": {}})), None);
        let deleted =
            json!({"metadata": {"deletionTimestamp": "2026-01-02T03:04:05Z"}, "status": {"phase": "Running"}});
        assert_eq!(end(deleted).as_deref(), Some("probe agent: its pod is being deleted"));
        let killed = json!({"metadata": {}, "status": {"phase": "Running", "containerStatuses": [{
            "name": "probe-agent", "ready": false, "restartCount": 0, "image": "", "imageID": "",
            "state": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}]}});
        assert_eq!(end(killed).as_deref(), Some("probe agent: it ended with exit code 137 (OOMKilled)"));
        let late = json!({"metadata": {}, "status": {"phase": "Failed", "reason": "DeadlineExceeded"}});
        assert_eq!(end(late).as_deref(), Some("probe agent: DeadlineExceeded"));
        assert_eq!(end_of(None).unwrap().to_string(), "probe agent: its pod is gone");
    }
}
