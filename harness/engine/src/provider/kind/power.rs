//! Power of node containers. Off is the death of every process of the node at once. The machine's page cache survives, so a write
//! that was never flushed is not lost as it would be with real power.

use super::super::MachineError;
use super::inspect::LABEL_CLUSTER;
use crate::process::Tool;
use std::time::Duration;

const CALL_LIMIT: Duration = Duration::from_secs(30);

/// The node containers of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Containers {
    /// The cluster's name.
    pub(super) cluster: String,
}

/// A container of a cluster, by the label that kind gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Machine {
    /// The engine's id, which no other container ever has.
    pub(super) id: String,
    pub(super) node: String,
    /// The run that made it, where one did.
    pub(super) run: Option<String>,
    pub(super) on: bool,
}

impl Containers {
    /// Powers a node off, and looks whether it is.
    ///
    /// # Errors
    /// Where it cannot be done, or was not.
    pub(super) async fn off(&self, node: &str) -> Result<(), MachineError> {
        let machine = self.machine(node).await?;
        if !machine.on {
            return Ok(());
        }
        engine(node, ["kill", &machine.id]).await?;
        if self.is_on(node).await? {
            return Err(MachineError::NoEffect { node: node.to_owned(), state: "on" });
        }
        Ok(())
    }

    /// Powers a node on, and looks whether it is. That its kubelet is ready again is for the caller to wait for.
    ///
    /// # Errors
    /// Where it cannot be done, or was not.
    pub(super) async fn on(&self, node: &str) -> Result<(), MachineError> {
        let machine = self.machine(node).await?;
        if machine.on {
            return Ok(());
        }
        engine(node, ["start", &machine.id]).await?;
        if !self.is_on(node).await? {
            return Err(MachineError::NoEffect { node: node.to_owned(), state: "off" });
        }
        Ok(())
    }

    /// Whether a node is on.
    ///
    /// # Errors
    /// Where that cannot be told.
    pub(super) async fn is_on(&self, node: &str) -> Result<bool, MachineError> {
        Ok(self.machine(node).await?.on)
    }

    /// The container of a node: one of another cluster, or of no cluster, is never taken for it.
    ///
    /// # Errors
    /// Where there is none, or the engine does not say.
    pub(super) async fn machine(&self, node: &str) -> Result<Machine, MachineError> {
        let found = self.find_machine(node).await?;
        found.ok_or_else(|| MachineError::NoMachine { node: node.to_owned() })
    }

    /// The same; `None` where the cluster has no container of that name.
    pub(super) async fn find_machine(&self, node: &str) -> Result<Option<Machine>, MachineError> {
        let filter = format!("label={LABEL_CLUSTER}={}", self.cluster);
        let said = engine(node, ["ps", "--all", "--no-trunc", "--filter", &filter, "--format", MACHINE]).await?;
        Ok(machines(&said).into_iter().find(|machine| machine.node == node))
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

async fn engine<const N: usize>(node: &str, args: [&str; N]) -> Result<String, MachineError> {
    let done = Tool::new("docker", CALL_LIMIT).args(args).run().await;
    done.map_err(|source| MachineError::Provider { node: node.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

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
