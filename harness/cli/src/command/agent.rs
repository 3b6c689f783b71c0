//! `firedrill agent`: what runs in the pods that a drill makes.

use crate::args::{AgentArgs, AgentCommand};
use crate::error::CliError;
use std::time::Duration;

/// Runs until its time is up, it is told to end, or it cannot go on.
///
/// # Errors
/// Where it cannot listen.
pub(crate) async fn agent(args: AgentArgs) -> Result<(), CliError> {
    match args.command {
        AgentCommand::Probe { listen, expires_after } => {
            firedrill_engine::agent::serve_probe(listen, Duration::from_secs(expires_after))
                .await
                .map_err(CliError::environment)
        }
        AgentCommand::Node { listen, expires_after, guard } => {
            firedrill_engine::agent::node::serve_node(listen, Duration::from_secs(expires_after), guard)
                .await
                .map_err(CliError::environment)
        }
    }
}
