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

fn broken(error: std::io::Error) -> AgentError {
    AgentError::Broken(error.to_string())
}
