//! Power of a cluster's nodes: off is what a cut of power is to every process on it, at once.
//!
//! With Docker it is the death of every process of the node. The machine's page cache survives, so a write that was never
//! flushed is not lost as it would be with real power.

use crate::process::{ProcessError, Tool};
use std::time::Duration;
use thiserror::Error;

const CALL_LIMIT: Duration = Duration::from_secs(30);
/// kind's label of a node's container, whose value is the cluster's name.
const LABEL_CLUSTER: &str = "io.x-k8s.kind.cluster";

/// Who can power nodes off and on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Power {
    /// Nobody.
    Unavailable {
        /// Why.
        why: String,
    },
    /// Each node is a container of its own name, with kind's label of its cluster.
    Docker {
        /// The cluster's name.
        cluster: String,
    },
}

/// How it did not work.
#[derive(Debug, Error)]
pub enum PowerError {
    /// This cluster's nodes cannot be powered.
    #[error("node power is not available: {0}")]
    Unavailable(String),
    /// The engine did not do it.
    #[error("node {node}: {source}")]
    Engine {
        /// The node.
        node: String,
        /// What it said.
        #[source]
        source: ProcessError,
    },
    /// The cluster has no container of that name.
    #[error("node {node}: the cluster has no container of that name")]
    Missing {
        /// The node.
        node: String,
    },
    /// The engine said that it did, and it is not so.
    #[error("node {node} is still {state}")]
    NoEffect {
        /// The node.
        node: String,
        /// `on` or `off`.
        state: &'static str,
    },
}

/// A container of a cluster, by the label that kind gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Machine {
    /// The engine's id, which no other container ever has.
    pub(crate) id: String,
    pub(crate) node: String,
    /// The run that made it, where one did.
    pub(crate) run: Option<String>,
    pub(crate) on: bool,
}

impl Power {
    /// Powers a node off, and looks whether it is.
    ///
    /// # Errors
    /// Where it cannot be done, or was not.
    pub async fn off(&self, node: &str) -> Result<(), PowerError> {
        let machine = self.machine(node).await?;
        if !machine.on {
            return Ok(());
        }
        engine(node, ["kill", &machine.id]).await?;
        if self.is_on(node).await? {
            return Err(PowerError::NoEffect { node: node.to_owned(), state: "on" });
        }
        Ok(())
    }

    /// Powers a node on, and looks whether it is. That its kubelet is ready again is for the caller to wait for.
    ///
    /// # Errors
    /// Where it cannot be done, or was not.
    pub async fn on(&self, node: &str) -> Result<(), PowerError> {
        let machine = self.machine(node).await?;
        if machine.on {
            return Ok(());
        }
        engine(node, ["start", &machine.id]).await?;
        if !self.is_on(node).await? {
            return Err(PowerError::NoEffect { node: node.to_owned(), state: "off" });
        }
        Ok(())
    }

    /// Whether a node is on.
    ///
    /// # Errors
    /// Where that cannot be told.
    pub async fn is_on(&self, node: &str) -> Result<bool, PowerError> {
        Ok(self.machine(node).await?.on)
    }

    /// The command by which a person powers a node on, where there is one.
    pub fn on_command(&self, node: &str) -> Option<String> {
        match self {
            Power::Unavailable { .. } => None,
            Power::Docker { .. } => Some(format!("docker start {node}")),
        }
    }

    /// The container of a node: one of another cluster, or of no cluster, is never taken for it.
    ///
    /// # Errors
    /// Where there is none, or the engine does not say.
    pub(crate) async fn machine(&self, node: &str) -> Result<Machine, PowerError> {
        let found = self.find_machine(node).await?;
        found.ok_or_else(|| PowerError::Missing { node: node.to_owned() })
    }

    /// The same; `None` where the cluster has no container of that name.
    pub(crate) async fn find_machine(&self, node: &str) -> Result<Option<Machine>, PowerError> {
        match self {
            Power::Unavailable { why } => Err(PowerError::Unavailable(why.clone())),
            Power::Docker { cluster } => {
                let filter = format!("label={LABEL_CLUSTER}={cluster}");
                let said =
                    engine(node, ["ps", "--all", "--no-trunc", "--filter", &filter, "--format", MACHINE]).await?;
                Ok(machines(&said).into_iter().find(|machine| machine.node == node))
            }
        }
    }
}

/// What the engine says of a container: id, names, run, state.
const MACHINE: &str = "{{.ID}}\t{{.Names}}\t{{.Label \"firedrill.dev/run\"}}\t{{.State}}";

fn machines(said: &str) -> Vec<Machine> {
    let line = |line: &str| {
        let mut fields = line.split('\t');
        let mut field = || fields.next().map(str::to_owned);
        let (id, node, run, state) = (field()?, field()?, field()?, field()?);
        // A paused one has its processes.
        let on = matches!(state.as_str(), "running" | "paused");
        Some(Machine { id, node, run: Some(run).filter(|run| !run.is_empty()), on })
    };
    said.lines().filter_map(line).collect()
}

async fn engine<const N: usize>(node: &str, args: [&str; N]) -> Result<String, PowerError> {
    let done = Tool::new("docker", CALL_LIMIT).args(args).run().await;
    done.map_err(|source| PowerError::Engine { node: node.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn without_a_provider_nothing_is_called() {
        let power = Power::Unavailable { why: "its provider is unknown".to_owned() };
        let error = power.off("any").await.unwrap_err().to_string();
        assert_eq!(error, "node power is not available: its provider is unknown");
        assert_eq!(power.on_command("any"), None);
    }

    #[test]
    fn a_machine_is_known_by_id_name_run_and_state() {
        let said = "a1\tc-worker\t\trunning\nb2\tc-worker-new\tr1\texited\nbroken line\n";
        let machine = |id: &str, node: &str, run: Option<&str>, on| Machine {
            id: id.to_owned(),
            node: node.to_owned(),
            run: run.map(str::to_owned),
            on,
        };
        let expected = [machine("a1", "c-worker", None, true), machine("b2", "c-worker-new", Some("r1"), false)];
        assert_eq!(machines(said), expected);
    }
}
