//! The shell of a simulated runbook. Its commands say what they do: `look`, `fail`, `mend`, `change`.

use super::Sim;
use crate::port::{CommandEnd, Shell};
use async_trait::async_trait;
use firedrill_core::event::StepEnd;
use std::path::Path;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

#[async_trait]
impl Shell for Sim {
    fn prepare(&self, _folder: &Path) -> Result<(), String> {
        Ok(())
    }

    async fn run(
        &self,
        _folder: &Path,
        command: &str,
        (exit, _expect): (Option<i32>, Option<&str>),
        limit: Duration,
        stop: &CancellationToken,
    ) -> CommandEnd {
        let takes = Duration::from_millis(self.world().within(50..4_000));
        let working = async {
            let asked = self.ask(command).await;
            tokio::time::sleep(takes).await;
            asked
        };
        let end = tokio::select! {
            biased;
            () = stop.cancelled() => StepEnd::NotStarted { reason: "stopped".to_owned() },
            done = tokio::time::timeout(limit, working) => match done {
                Err(_) => StepEnd::DeadlinePassed,
                Ok(Err(_)) if exit.is_some() => StepEnd::WrongExit { exit: 1 },
                Ok(_) => {
                    self.act(command);
                    StepEnd::AsExpected { exit: 0 }
                }
            },
        };
        CommandEnd::silent(end)
    }
}

impl Sim {
    fn act(&self, command: &str) {
        let mut world = self.world();
        if command.contains("delete pod") && !world.script.runbook_useless {
            world.mend_all();
        }
        if command.contains("scale") && world.script.leaves_a_change {
            world.changed = true;
        }
    }
}
