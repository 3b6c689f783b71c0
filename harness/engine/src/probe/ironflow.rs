//! An Ironflow run, triggered and followed until it has completed.

use super::cause::{Failure, Sent};
use super::client::Attempts;
use super::http::{HttpClient, Session};
use ::http::{Method, Uri};
use async_trait::async_trait;
use bytes::Bytes;
use firedrill_core::sample::{Cause, Connection, SeriesId};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use std::time::Duration;
use tokio::time::MissedTickBehavior;

/// How often a run is looked at.
const POLL_EVERY: Duration = Duration::from_millis(20);

const TRIGGER: &str = "/ironflow.v1.IronflowService/Trigger";
const GET_RUN: &str = "/ironflow.v1.IronflowService/GetRun";
/// Path of `ListRuns`.
pub(crate) const LIST_RUNS: &str = "/ironflow.v1.IronflowService/ListRuns";

/// Triggers runs and waits for each.
pub(super) struct IronflowAttempts {
    client: HttpClient,
    drill: Drill,
    trigger: Uri,
    get_run: Uri,
}

/// What the runs of a series are triggered with.
pub(super) struct Drill {
    event: String,
    key_prefix: String,
    series: SeriesId,
    filler: String,
}

impl Drill {
    pub(super) fn new(event: &str, key_prefix: &str, series: SeriesId, payload_kib: u32) -> Self {
        let filler = "fire drill data ".repeat(payload_kib as usize * 1024 / 16);
        Self { event: event.to_owned(), key_prefix: key_prefix.to_owned(), series, filler }
    }

    /// The body of the trigger of one attempt.
    fn trigger(&self, seq: u32) -> String {
        let Self { event, key_prefix, series, filler } = self;
        let mut data = json!({ "drill": key_prefix, "series": series, "seq": seq });
        if !filler.is_empty() {
            data["filler"] = json!(filler);
        }
        json!({ "event": event, "data": data, "idempotencyKey": format!("{key_prefix}-{series}-{seq}") }).to_string()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Triggered {
    #[serde(default)]
    run_ids: Vec<String>,
}

/// A run, bare or wrapped in `run`.
#[derive(Deserialize)]
struct Got {
    run: Option<RunState>,
    status: Option<String>,
}

#[derive(Deserialize)]
struct RunState {
    status: String,
}

impl IronflowAttempts {
    pub(super) fn new(base_url: &str, drill: Drill, connection: Connection, limit: usize) -> Result<Self, String> {
        let (client, base) = HttpClient::new(base_url, connection, limit)?;
        let base = base.path().trim_end_matches('/').to_owned();
        let path = |method: &str| format!("{base}{method}").parse().map_err(|error| format!("not a path: {error}"));
        Ok(Self { client, drill, trigger: path(TRIGGER)?, get_run: path(GET_RUN)? })
    }

    async fn call<A: DeserializeOwned>(
        &self,
        session: &mut Session<'_>,
        path: &Uri,
        body: String,
        sent: &Sent,
    ) -> Result<A, Failure> {
        let reply = session.ask(Method::POST, path, Some(Bytes::from(body)), sent).await?;
        let status = reply.status.as_u16();
        match status {
            200..=299 => serde_json::from_slice(&reply.body).map_err(|_| Failure::coded(Cause::Body, status)),
            // The request itself was found wanting; only a server's own time limit leaves it open what it did.
            400..=499 if status != 408 => Err(Failure::coded(Cause::Status, status).refused()),
            _ => Err(Failure::coded(Cause::Status, status)),
        }
    }
}

#[async_trait]
impl Attempts for IronflowAttempts {
    async fn attempt(&self, seq: u32, sent: &Sent) -> Result<(), Failure> {
        let mut session = self.client.session().await;
        let triggered: Triggered = self.call(&mut session, &self.trigger, self.drill.trigger(seq), sent).await?;
        if triggered.run_ids.is_empty() {
            return Err(Failure::of(Cause::Unavailable));
        }
        let mut ticks = tokio::time::interval(POLL_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for id in &triggered.run_ids {
            let ask = json!({ "id": id }).to_string();
            loop {
                ticks.tick().await;
                let got: Got = self.call(&mut session, &self.get_run, ask.clone(), sent).await.map_err(|failure| {
                    // That the look was refused says nothing of the run, which has been accepted.
                    Failure { refused: false, ..failure }
                })?;
                match got.run.map(|run| run.status).or(got.status).as_deref() {
                    Some("completed") => break,
                    Some("failed" | "cancelled") => return Err(Failure::of(Cause::Unavailable)),
                    Some(_) => {}
                    None => return Err(Failure::of(Cause::Protocol)),
                }
            }
        }
        session.done();
        Ok(())
    }
}
