//! A line to one node agent: a port-forward through the API server, one request and one answer at a time.

use super::FaultError;
use crate::agent::node::wire::{KeptFile, LINE_BYTES_MAX, Messages, PORT, Process, Reply, Request, Space, StreamSeen};
use crate::cluster::ClusterError;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, Portforwarder};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, DuplexStream};
use tokio::time::timeout;

/// An open line. It breaks when nothing is said for as long as the client's read timeout.
pub(super) struct Line {
    node: String,
    stream: BufReader<DuplexStream>,
    forward: Portforwarder,
}

impl Drop for Line {
    fn drop(&mut self) {
        self.forward.abort();
    }
}

impl Line {
    /// Opens a line and asks whether somebody is there.
    ///
    /// # Errors
    /// Where the agent does not answer in time.
    pub(super) async fn open(pods: &Api<Pod>, pod: &str, node: &str, limit: Duration) -> Result<Self, FaultError> {
        let opened = async {
            let mut forward = pods.portforward(pod, &[PORT]).await.map_err(ClusterError::api("forward a port"))?;
            let agent = |reason: &str| FaultError::Agent { node: node.to_owned(), reason: reason.to_owned() };
            let stream = forward.take_stream(PORT).ok_or_else(|| agent("its port was not forwarded"))?;
            let mut line = Line { node: node.to_owned(), stream: BufReader::new(stream), forward };
            match line.ask(&Request::Ping, limit).await? {
                Reply::Pong { processes: 2.. } => Ok(line),
                Reply::Pong { .. } => Err(agent("it sees itself alone: its pod does not share the node's processes")),
                other => Err(agent(&format!("a ping was answered with {other:?}"))),
            }
        };
        match timeout(limit, opened).await {
            Ok(result) => result,
            Err(_) => Err(FaultError::Agent {
                node: node.to_owned(),
                reason: format!("no answer within {} ms", limit.as_millis()),
            }),
        }
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// Where the line is broken or the answer does not come in time; what was asked may have been done all the same.
    pub(super) async fn ask(&mut self, request: &Request, limit: Duration) -> Result<Reply, FaultError> {
        match timeout(limit, self.exchange(request)).await {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(reason)) => Err(self.failed(reason)),
            Err(_) => Err(self.failed(format!("no answer within {} ms", limit.as_millis()))),
        }
    }

    /// Asks for something that is answered with processes.
    ///
    /// # Errors
    /// As [`Line::ask`], and where the agent says that it could not.
    pub(super) async fn processes(&mut self, request: &Request, limit: Duration) -> Result<Vec<Process>, FaultError> {
        match self.ask(request, limit).await? {
            Reply::Processes { processes } => Ok(processes),
            Reply::Failed { reason } => Err(self.failed(reason)),
            _ => Err(self.failed("it answered another question".to_owned())),
        }
    }

    /// Asks for something that is answered with files.
    ///
    /// # Errors
    /// As [`Line::ask`], and where the agent says that it could not.
    pub(super) async fn files(&mut self, request: &Request, limit: Duration) -> Result<Vec<KeptFile>, FaultError> {
        match self.ask(request, limit).await? {
            Reply::Files { files } => Ok(files),
            Reply::Failed { reason } => Err(self.failed(reason)),
            _ => Err(self.failed("it answered another question".to_owned())),
        }
    }

    /// Asks for something that is answered with how full a volume is.
    ///
    /// # Errors
    /// As [`Line::ask`], and where the agent says that it could not.
    pub(super) async fn space(&mut self, request: &Request, limit: Duration) -> Result<Space, FaultError> {
        match self.ask(request, limit).await? {
            Reply::Space(space) => Ok(space),
            Reply::Failed { reason } => Err(self.failed(reason)),
            _ => Err(self.failed("it answered another question".to_owned())),
        }
    }

    /// Asks for something that is answered with how a stream is; `None` where there is none of that name.
    ///
    /// # Errors
    /// As [`Line::ask`], and where the agent says that it could not.
    pub(super) async fn stream(
        &mut self,
        messages: Messages,
        limit: Duration,
    ) -> Result<Option<StreamSeen>, FaultError> {
        match self.ask(&Request::LookAtStream(messages), limit).await? {
            Reply::Stream(seen) => Ok(seen),
            Reply::Failed { reason } => Err(self.failed(reason)),
            _ => Err(self.failed("it answered another question".to_owned())),
        }
    }

    /// Asks for something that is answered with its being empty.
    ///
    /// # Errors
    /// As [`Line::ask`], and where the agent says that it could not.
    pub(super) async fn emptied(&mut self, request: &Request, limit: Duration) -> Result<(), FaultError> {
        match self.ask(request, limit).await? {
            Reply::Emptied => Ok(()),
            Reply::Failed { reason } => Err(self.failed(reason)),
            _ => Err(self.failed("it answered another question".to_owned())),
        }
    }

    async fn exchange(&mut self, request: &Request) -> Result<Reply, String> {
        let mut text = serde_json::to_vec(request).map_err(|error| error.to_string())?;
        text.push(b'\n');
        self.stream.get_mut().write_all(&text).await.map_err(|error| error.to_string())?;
        let mut line = Vec::new();
        let read = (&mut self.stream).take(LINE_BYTES_MAX).read_until(b'\n', &mut line).await;
        match read.map_err(|error| error.to_string())? {
            0 => Err(match self.forward.take_error(PORT) {
                Some(error) => error.await.unwrap_or_else(|| "the line was closed".to_owned()),
                None => "the line was closed".to_owned(),
            }),
            _ => serde_json::from_slice(&line).map_err(|error| format!("its answer is not readable: {error}")),
        }
    }

    fn failed(&self, reason: String) -> FaultError {
        FaultError::Agent { node: self.node.clone(), reason }
    }
}
