//! Actions: work that the API completes after its reply.

use super::error::{ApiError, Code};
use super::{Client, Limits};
use serde::Deserialize;
use serde_json::Value;
use std::time::Duration;

/// Maximum number of ids in one request, as in Hetzner's own client.
const IDS_MAX: usize = 25;

/// An asynchronous operation of the API.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Action {
    /// Its id.
    pub(crate) id: i64,
    /// Its command: `attach_volume`.
    pub(crate) command: String,
    /// Its status.
    pub(crate) status: ActionStatus,
    /// Its progress in percent.
    #[serde(default)]
    progress: i64,
    #[serde(default)]
    error: Option<ActionError>,
}

/// The status of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ActionStatus {
    /// It runs.
    Running,
    /// It succeeded.
    Success,
    /// It failed.
    Error,
    /// A status that this version does not know. Polling goes on.
    #[serde(other)]
    Unknown,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct ActionError {
    code: String,
    message: String,
}

impl Action {
    /// Whether it succeeded. Returns an error if it failed.
    fn is_done(&self) -> Result<bool, ApiError> {
        match self.status {
            ActionStatus::Success => Ok(true),
            ActionStatus::Running | ActionStatus::Unknown => Ok(false),
            ActionStatus::Error => {
                let (code, message) = match &self.error {
                    Some(error) => (Code::of(&error.code), error.message.clone()),
                    None => (Code::Other("unknown".to_owned()), "without a reason".to_owned()),
                };
                Err(ApiError::ActionFailed { id: self.id, command: self.command.clone(), code, message })
            }
        }
    }
}

impl Client {
    /// Waits until all actions have succeeded.
    ///
    /// # Errors
    /// If one fails, disappears or exceeds the limit.
    pub(crate) async fn wait_for_actions(&self, actions: Vec<Action>, limit: Duration) -> Result<(), ApiError> {
        let mut left = undone(actions)?;
        let wait = async {
            let mut waits = poll_waits(&self.limits);
            while !left.is_empty() {
                tokio::time::sleep(waits.next().unwrap_or(self.limits.poll_wait)).await;
                left = undone(self.look_again(&left).await?)?;
            }
            Ok(())
        };
        let outcome = tokio::time::timeout(limit, wait).await;
        outcome.unwrap_or_else(|_| {
            let Some(Action { id, command, progress, .. }) = left.into_iter().next() else { return Ok(()) };
            Err(ApiError::ActionTimeout { id, command, progress, limit })
        })
    }

    async fn look_again(&self, actions: &[Action]) -> Result<Vec<Action>, ApiError> {
        let mut all = Vec::new();
        for actions in actions.chunks(IDS_MAX) {
            let ids: Vec<_> = actions.iter().map(|action| action.id.to_string()).collect();
            let query: Vec<_> = ids.iter().map(|id| ("id", id.as_str())).collect();
            let reply: Value = self.get("/actions", &query).await?;
            let entries = reply.get("actions").cloned().unwrap_or_default();
            let unreadable = |error: serde_json::Error| ApiError::Unreadable {
                request: "GET /actions".to_owned(),
                why: error.to_string(),
            };
            let found: Vec<Action> = serde_json::from_value(entries).map_err(unreadable)?;
            for action in actions {
                let again = found.iter().find(|found| found.id == action.id).cloned();
                let gone = || ApiError::ActionGone { id: action.id, command: action.command.clone() };
                all.push(again.ok_or_else(gone)?);
            }
        }
        Ok(all)
    }
}

fn undone(actions: Vec<Action>) -> Result<Vec<Action>, ApiError> {
    let mut left = Vec::new();
    for action in actions {
        if !action.is_done()? {
            left.push(action);
        }
    }
    Ok(left)
}

/// The waits between polls. They grow to four times the first.
fn poll_waits(limits: &Limits) -> impl Iterator<Item = Duration> + use<> {
    let first = limits.poll_wait;
    std::iter::successors(Some(first), move |wait| Some((*wait * 3 / 2).min(first * 4)))
}
