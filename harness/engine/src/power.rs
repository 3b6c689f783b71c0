//! Power of a cluster's nodes: off is what a cut of power is to every process on it, at once.
//!
//! With Docker it is the death of every process of the node. The machine's page cache survives, so a write that was never
//! flushed is not lost as it would be with real power.

use crate::process::{ProcessError, Tool};
use std::time::Duration;
use thiserror::Error;

const CALL_LIMIT: Duration = Duration::from_secs(30);

/// Who can power nodes off and on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Power {
    /// Nobody.
    Unavailable {
        /// Why.
        why: String,
    },
    /// Each node is a container of its own name.
    Docker,
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
    /// The engine said that it did, and it is not so.
    #[error("node {node} is still {state}")]
    NoEffect {
        /// The node.
        node: String,
        /// `on` or `off`.
        state: &'static str,
    },
}

impl Power {
    /// Powers a node off, and looks whether it is.
    ///
    /// # Errors
    /// Where it cannot be done, or was not.
    pub async fn off(&self, node: &str) -> Result<(), PowerError> {
        if !self.is_on(node).await? {
            return Ok(());
        }
        engine(node, ["kill", node]).await?;
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
        if self.is_on(node).await? {
            return Ok(());
        }
        engine(node, ["start", node]).await?;
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
        match self {
            Power::Unavailable { why } => Err(PowerError::Unavailable(why.clone())),
            Power::Docker => {
                let state = engine(node, ["container", "inspect", "--format", "{{.State.Running}}", node]).await?;
                Ok(state.trim() == "true")
            }
        }
    }

    /// The command by which a person powers a node on, where there is one.
    pub fn on_command(&self, node: &str) -> Option<String> {
        match self {
            Power::Unavailable { .. } => None,
            Power::Docker => Some(format!("docker start {node}")),
        }
    }
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
}
