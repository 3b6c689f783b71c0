//! Brings samples from the probe agent to the runner, each exactly once.

use super::inside::AgentError;
use super::probe_line::{Line, Route};
use super::probe_wire::Request;
use firedrill_core::sample::{RECORD_BYTES, Sample, SeriesId};
use firedrill_core::time::At;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::mpsc::Sender;

/// How long the agent may hold an answer back for lack of records; also what keeps a quiet connection from being closed.
const WAIT: Duration = Duration::from_millis(200);
/// What opening a connection, or an answer, may take.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// The pause after the first failed connection; it doubles up to the longest.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// How many samples have come, or why no more can come.
pub(super) type Pumped = Result<u64, AgentError>;

/// Fetches until the agent says that there is no more, over as many connections as it takes. What ends it early is an error
/// that no new connection mends; the caller ends it where it takes too long. An agent whose probes end before `stopping` is set
/// is about to go: that is no end of the samples.
pub(super) async fn pump(route: &Route, offset_us: i64, sink: &Sender<Sample>, stopping: &AtomicBool) -> Pumped {
    let mut arrived = Arrived { next: 0, series: HashMap::new(), offset_us };
    let mut pause = PAUSE_MIN;
    loop {
        let error = match tokio::time::timeout(ANSWER_MAX, route.open()).await {
            Ok(Ok(line)) => {
                let before = arrived.next;
                match arrived.follow(line, sink).await {
                    Err(error @ AgentError::Broken(_)) => {
                        if arrived.next > before {
                            pause = PAUSE_MIN;
                        }
                        error
                    }
                    Ok(()) if !stopping.load(Ordering::Relaxed) => {
                        AgentError::Broken("its probes ended before they were asked to".to_owned())
                    }
                    end => return end.map(|()| arrived.next),
                }
            }
            Ok(Err(error @ AgentError::Broken(_))) => error,
            Ok(Err(error)) => return Err(error),
            Err(_) => AgentError::Broken(format!("not open within {} s", ANSWER_MAX.as_secs())),
        };
        if let Ok(Some(end)) = tokio::time::timeout(ANSWER_MAX, route.ended()).await {
            return Err(end);
        }
        tracing::debug!(%error, records = arrived.next, "connecting to the probe agent again");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

struct Arrived {
    next: u64,
    series: HashMap<SeriesId, u32>,
    offset_us: i64,
}

impl Arrived {
    async fn follow(&mut self, mut line: Line, sink: &Sender<Sample>) -> Result<(), AgentError> {
        loop {
            let request = Request::Fetch { from: self.next, wait: WAIT };
            let answer = tokio::time::timeout(ANSWER_MAX, line.ask(&request)).await;
            let (head, payload) = answer.map_err(|_| AgentError::Broken("no answer to a fetch".to_owned()))??;
            let (records, rest) = payload.as_chunks::<RECORD_BYTES>();
            if head.from != self.next || !rest.is_empty() {
                return Err(AgentError::Gap(format!("asked for record {}, got {}", self.next, head.from)));
            }
            for record in records {
                let sample = self.check(record)?;
                // Without a reader there is no run left.
                sink.send(sample).await.map_err(|_| AgentError::Refused("nobody reads the samples".to_owned()))?;
                self.next += 1;
            }
            if head.ended {
                return Ok(());
            }
        }
    }

    /// The sample of a record, in the runner's time; each series must be without gaps.
    fn check(&mut self, record: &[u8; RECORD_BYTES]) -> Result<Sample, AgentError> {
        let sample = Sample::decode(record).ok_or_else(|| AgentError::Gap("a record of unknown kind".to_owned()))?;
        let due = self.series.entry(sample.series).or_default();
        if sample.seq != *due {
            return Err(AgentError::Gap(format!("series {}: attempt {} after {due}", sample.series, sample.seq)));
        }
        *due += 1;
        let here = |at: At| At(at.0.saturating_add_signed(self.offset_us));
        Ok(Sample {
            intended: here(sample.intended),
            started: here(sample.started),
            ended: here(sample.ended),
            ..sample
        })
    }
}
