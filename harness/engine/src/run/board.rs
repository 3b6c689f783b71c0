//! All samples of a run: on disk at once, and as the state that the run's phases wait for.

use crate::planted::{self, Bug};
use crate::port::{Appender, Store};
use firedrill_core::judge::outage::SeriesTracker;
use firedrill_core::live::LiveProbe;
use firedrill_core::plan::Series;
use firedrill_core::sample::{Outcome, Sample, write_header};
use firedrill_core::scenario::Failing;
use firedrill_core::time::At;
use std::collections::{BTreeMap, VecDeque};
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Seconds of availability that people are shown.
const RECENT_S: usize = 60;
/// How many samples may wait to be written; probes wait beyond that, and their lateness shows as stalls.
const QUEUE_MAX: usize = 65_536;
/// How long samples may stay in this process's memory before they are with the operating system.
const FLUSH_EVERY: Duration = Duration::from_millis(500);
/// Time between two successes that are remembered: short against the 5 s that a control may be from its failure.
const OK_EVERY: Duration = Duration::from_millis(500);
/// How many successes are remembered, four minutes of them: an injection of several faults may take that long.
const OKS_MAX: usize = 480;

/// The state of every series. Cheap to clone.
#[derive(Clone)]
pub(super) struct Board {
    state: Arc<Mutex<State>>,
}

struct State {
    series: Vec<SeriesState>,
    broken: Option<String>,
}

struct SeriesState {
    series: Series,
    tracker: SeriesTracker,
    recent: VecDeque<(u64, u32, u32)>, // second, attempts, successes
    successes: u64,
    last: Option<Sample>,
    oks: VecDeque<At>,
    last_ok: Option<At>,
}

impl Board {
    /// Opens the samples file and starts to take samples. The task ends when every sender is gone, with the file on disk, and
    /// says how many it holds.
    ///
    /// # Errors
    /// As the file system.
    pub(super) fn open(
        store: &dyn Store,
        path: &Path,
        series: &[Series],
        sustained: Duration,
    ) -> io::Result<(Self, mpsc::Sender<Sample>, JoinHandle<io::Result<u64>>)> {
        let mut file = BufWriter::with_capacity(1 << 16, store.create(path)?);
        write_header(&mut file)?;
        file.flush()?;
        let states = series.iter().map(|series| SeriesState {
            series: series.clone(),
            tracker: SeriesTracker::new(sustained).with_every(series.every).with_timeout(series.timeout),
            recent: VecDeque::with_capacity(RECENT_S + 1),
            successes: 0,
            last: None,
            oks: VecDeque::with_capacity(OKS_MAX + 1),
            last_ok: None,
        });
        let board = Self { state: Arc::new(Mutex::new(State { series: states.collect(), broken: None })) };
        let (sender, receiver) = mpsc::channel(QUEUE_MAX);
        let task = tokio::spawn(take(board.clone(), receiver, file));
        Ok((board, sender, task))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, sample: &Sample) {
        let mut state = self.lock();
        let Some(one) = state.series.get_mut(usize::from(sample.series)) else { return };
        one.tracker.push(sample);
        one.last = Some(*sample);
        if matches!(sample.outcome, Outcome::Stalled | Outcome::NotSent { .. }) {
            return;
        }
        let second = sample.intended.0 / 1_000_000;
        if one.recent.back().is_none_or(|(latest, ..)| *latest < second) {
            one.recent.push_back((second, 0, 0));
            if one.recent.len() > RECENT_S {
                one.recent.pop_front();
            }
        }
        if let Some((_, attempts, successes)) = one.recent.back_mut() {
            *attempts += 1;
            *successes += u32::from(sample.is_ok());
        }
        if sample.is_ok() {
            one.successes += 1;
            one.last_ok = Some(sample.ended);
            if one.oks.back().is_none_or(|last| sample.ended.since(*last) >= OK_EVERY) {
                one.oks.push_back(sample.ended);
                if one.oks.len() > OKS_MAX {
                    one.oks.pop_front();
                }
            }
        }
    }

    /// Says that samples are lost; the first reason counts.
    pub(super) fn lose(&self, reason: String) {
        if !planted::has(Bug::LostSamplesIgnored) {
            self.lock().broken.get_or_insert(reason);
        }
    }

    /// Why samples are lost or cannot be written, once that happened.
    pub(super) fn broken(&self) -> Option<String> {
        self.lock().broken.clone()
    }

    /// The latest of the moments since when each series of these probes succeeds; `None` while one does not.
    pub(super) fn ok_since(&self, probes: &[String]) -> Option<At> {
        let state = self.lock();
        let mut latest = At(0);
        for one in state.of(probes) {
            latest = latest.max(one.tracker.ok_since()?);
        }
        Some(latest)
    }

    /// The shortest of the unbroken runs of successes of these probes' series, by what their samples show; `None` while one
    /// does not succeed.
    pub(super) fn ok_for(&self, probes: &[String]) -> Option<Duration> {
        let state = self.lock();
        state.of(probes).map(|one| one.tracker.ok_for()).min().flatten()
    }

    /// The names of the series of these probes that are not succeeding, with how their last attempt ended.
    pub(super) fn failing(&self, probes: &[String]) -> Vec<String> {
        let state = self.lock();
        let failing = state.of(probes).filter(|one| one.tracker.ok_since().is_none());
        failing
            .map(|one| match one.last.map(|sample| sample.outcome) {
                Some(Outcome::Failed { cause, code: 0, .. }) => format!("{}: {cause:?}", one.series),
                Some(Outcome::Failed { cause, code, .. }) => format!("{}: {cause:?} {code}", one.series),
                Some(Outcome::Stalled) => format!("{}: never sent", one.series),
                Some(Outcome::NotSent { why }) => format!("{}: not sent by this side: {why:?}", one.series),
                Some(Outcome::Ok) => format!("{}: not long enough yet", one.series),
                None => format!("{}: no attempt yet", one.series),
            })
            .map(|text| text.to_lowercase())
            .collect()
    }

    /// Successes so far of all series of these probes.
    pub(super) fn successes(&self, probes: &[String]) -> u64 {
        self.lock().of(probes).map(|one| one.successes).sum()
    }

    /// For each series of a probe that is in an outage which a fault of `since` can have caused, the start of that; `None`
    /// while too few of them are in one. An attempt that was in flight then may have started before.
    pub(super) fn down_since(&self, probe: &str, since: At, failing: Failing) -> Option<Vec<(Series, At)>> {
        let state = self.lock();
        let all: Vec<_> = state.series.iter().filter(|one| one.series.probe == probe).collect();
        let down = all.iter().filter_map(|one| {
            let at = one.tracker.down_since().filter(|at| at.plus(one.series.timeout) >= since)?;
            Some((one.series.clone(), at.max(since)))
        });
        let down: Vec<_> = down.collect();
        let enough = match failing {
            Failing::All => down.len() == all.len(),
            Failing::Any => true,
        };
        (enough && !down.is_empty()).then_some(down)
    }

    /// For each series of a probe: the end of the first success known from `since` on.
    pub(super) fn ok_after(&self, probe: &str, since: At) -> Vec<(Series, At)> {
        let state = self.lock();
        let all = state.series.iter().filter(|one| one.series.probe == probe);
        let after = all.filter_map(|one| {
            let at = one.oks.iter().chain(&one.last_ok).find(|at| **at >= since)?;
            Some((one.series.clone(), *at))
        });
        after.collect()
    }

    /// Whether every series of a probe is down.
    pub(super) fn is_down(&self, probe: &str) -> bool {
        let state = self.lock();
        let mut all = state.series.iter().filter(|one| one.series.probe == probe).peekable();
        all.peek().is_some() && all.all(|one| one.tracker.is_down())
    }

    /// Every probe as people see it, at `now`.
    pub(super) fn live(&self, now: At) -> Vec<LiveProbe> {
        let state = self.lock();
        let mut probes: BTreeMap<&str, Vec<&SeriesState>> = BTreeMap::new();
        for one in &state.series {
            probes.entry(&one.series.probe).or_default().push(one);
        }
        let second = now.0 / 1_000_000;
        let live = probes.into_iter().map(|(name, all)| LiveProbe {
            name: name.to_owned(),
            down_since: all.iter().filter_map(|one| one.tracker.down_since()).min(),
            recent: (second.saturating_sub(RECENT_S as u64 - 1)..=second)
                .map(|second| {
                    let sums = all.iter().flat_map(|one| one.recent.iter()).filter(|(at, ..)| *at == second);
                    let (attempts, successes) =
                        sums.fold((0, 0), |(attempts, successes), (_, a, s)| (attempts + a, successes + s));
                    (attempts > 0).then(|| successes as f32 / attempts as f32)
                })
                .collect(),
        });
        live.collect()
    }
}

impl State {
    fn of<'a>(&'a self, probes: &'a [String]) -> impl Iterator<Item = &'a SeriesState> {
        self.series.iter().filter(|one| probes.contains(&one.series.probe))
    }
}

async fn take(
    board: Board,
    mut receiver: mpsc::Receiver<Sample>,
    mut file: BufWriter<Box<dyn Appender>>,
) -> io::Result<u64> {
    let mut count = 0;
    let mut tick = tokio::time::interval(FLUSH_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let written = tokio::select! {
            biased;
            _ = tick.tick() => file.flush(),
            sample = receiver.recv() => match sample {
                Some(sample) => {
                    board.push(&sample);
                    count += 1;
                    file.write_all(&sample.encode())
                }
                None => {
                    file.flush()?;
                    return file.get_mut().sync().map(|()| count);
                }
            },
        };
        if let Err(error) = written {
            board.lose(format!("samples cannot be written: {error}"));
            return Err(error);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use firedrill_core::sample::{Cause, Connection};
    use firedrill_core::scenario::{ProbeKind, ServiceRef, TcpProbe, Vantage};

    /// Two of three NATS servers were killed and back after 0.6 s: new connections were refused, the one to the third server
    /// never failed.
    #[tokio::test]
    async fn an_effect_on_one_kind_of_connection_is_enough_where_the_scenario_says_so() {
        let series = [Connection::New, Connection::Reused].map(|connection| Series {
            id: u16::from(connection == Connection::Reused),
            probe: "publish".to_owned(),
            kind: ProbeKind::Tcp(TcpProbe {
                service: ServiceRef { namespace: "n".to_owned(), name: "nats".to_owned(), port: 4222 },
            }),
            vantage: Vantage::Inside,
            agent_namespace: None,
            blocked_while: None,
            connection,
            every: Duration::from_millis(50),
            timeout: Duration::from_secs(1),
        });
        let dir = tempfile::tempdir().expect("a directory");
        let (board, _sender, _task) =
            Board::open(&crate::world::Files, &dir.path().join("samples.bin"), &series, Duration::from_secs(5))
                .expect("a file");
        let push = |series: u16, seq: u32, outcome: Outcome| {
            let at = At(u64::from(seq) * 50_000);
            board.push(&Sample { series, seq, intended: at, started: at, ended: at, outcome });
        };
        let refused = Outcome::Failed { cause: Cause::Refused, code: 0, maybe_applied: false };
        let since = At(2_000_000);
        for seq in 0..60 {
            push(0, seq, if (40..52).contains(&seq) { refused } else { Outcome::Ok });
            push(1, seq, Outcome::Ok);
            let any = board.down_since("publish", since, Failing::Any);
            assert_eq!(any.is_some(), seq >= 40, "{seq}");
            assert!(board.down_since("publish", since, Failing::All).is_none());
        }
        push(1, 60, refused);
        assert_eq!(board.down_since("publish", since, Failing::All).map(|down| down.len()), Some(2));
    }
}
