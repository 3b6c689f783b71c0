//! What is true in the simulated cluster, at each moment.

use super::rng::Rng;
use super::script::{AlertTrouble, Death, Script, SweepTrouble, UndoTrouble};
use super::store::Disk;
use crate::cluster::ObjectKey;
use crate::port::DirtyEnd;
use firedrill_core::alert::AlertState;
use firedrill_core::event::Undo;
use firedrill_core::plan::Target;
use firedrill_core::sample::SeriesId;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The process that sweeps first, after the run's own, which is 1.
pub(crate) const FIRST_SWEEP: u32 = 2;

/// For how long the service fails until its alert fires.
const ALERT_FOR: Duration = Duration::from_secs(4);
/// How long an alert still fires once the service is back.
const ALERT_RESOLVES: Duration = Duration::from_secs(3);

/// What a fault can break.
#[derive(Clone, Debug)]
pub(crate) struct Victim {
    pub(crate) target: Target,
    /// Since when it is broken.
    broken_since: Option<Duration>,
    /// When it is back by itself.
    heals_at: Option<Duration>,
}

/// A time in which the service truly failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TrueOutage {
    pub(crate) from: Duration,
    /// `None` while it lasts.
    pub(crate) until: Option<Duration>,
}

/// The cluster, and what is going to happen to it.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) script: Script,
    rng: Rng,
    now: Duration,
    victims: BTreeMap<String, Victim>,
    outages: Vec<TrueOutage>,
    /// When the quorum was lost first.
    lost_at: Option<Duration>,
    /// When the last victim came back.
    whole_since: Option<Duration>,
    /// What runs made, with the run that did.
    pub(crate) objects: BTreeMap<ObjectKey, String>,
    /// Subjects and tables that probes write into.
    pub(crate) data: BTreeSet<String>,
    /// Undo records, by run and number.
    pub(crate) records: BTreeMap<(String, u32), Undo>,
    /// How runs left the cluster, where they left it changed.
    pub(crate) dirty_ends: BTreeMap<String, DirtyEnd>,
    /// The process that holds the lease.
    pub(crate) lease: Option<u32>,
    /// The processes that have died.
    pub(crate) dead: BTreeSet<u32>,
    /// Whether the runbook changed an object for good.
    pub(crate) changed: bool,
    /// Acknowledged writes, by series.
    pub(crate) acknowledged: BTreeMap<SeriesId, Vec<u32>>,
    /// How many acknowledged writes were lost.
    pub(crate) lost: u64,
    /// Which undos were asked for, with how often they were refused.
    refused: BTreeMap<String, u32>,
    requests: u64,
    /// Requests of sweeps.
    sweep_requests: u64,
    /// Whether a record could not be written.
    pub(crate) journal_broke: bool,
    /// The disks of all machines.
    pub(super) disk: Disk,
    /// Faults that were put in for real.
    pub(crate) injected: BTreeSet<String>,
    /// Undos that were accepted, in words.
    pub(crate) undone: BTreeSet<String>,
    /// Targets that were broken before their undo was on the cluster.
    pub(crate) unrecorded: Vec<String>,
    /// When each target was broken, and until when.
    pub(crate) broken_times: Vec<(String, Duration, Option<Duration>)>,
}

impl World {
    pub(crate) fn new(seed: u64, script: Script) -> Self {
        Self {
            script,
            // Not the numbers that the script was drawn from.
            rng: Rng::new(seed ^ 0x5eed),
            now: Duration::ZERO,
            victims: BTreeMap::new(),
            outages: Vec::new(),
            lost_at: None,
            whole_since: None,
            objects: BTreeMap::new(),
            data: BTreeSet::new(),
            records: BTreeMap::new(),
            dirty_ends: BTreeMap::new(),
            lease: None,
            dead: BTreeSet::new(),
            changed: false,
            acknowledged: BTreeMap::new(),
            lost: 0,
            refused: BTreeMap::new(),
            requests: 0,
            sweep_requests: 0,
            journal_broke: false,
            disk: Disk::default(),
            injected: BTreeSet::new(),
            undone: BTreeSet::new(),
            unrecorded: Vec::new(),
            broken_times: Vec::new(),
        }
    }

    /// How many victims the service can do without.
    fn spare(&self) -> usize {
        if self.script.variant == "patched" { 0 } else { 1 }
    }

    /// Lets everything happen that is due by now.
    pub(crate) fn advance(&mut self, now: Duration) {
        let mut due: Vec<(Duration, String)> = self
            .victims
            .iter()
            .filter_map(|(name, victim)| Some((victim.heals_at.filter(|at| *at <= now)?, name.clone())))
            .collect();
        due.sort();
        for (at, name) in due {
            self.mend_at(&name, at);
        }
        self.now = self.now.max(now);
    }

    /// Breaks a target.
    pub(crate) fn harm(&mut self, target: &Target) {
        let now = self.now;
        let heals_at = (self.script.variant == "killed").then(|| now + self.script.restarts_after);
        let victim = Victim { target: target.clone(), broken_since: Some(now), heals_at };
        self.victims.insert(target.to_string(), victim);
        self.injected.insert(target.to_string());
        self.broken_times.push((target.to_string(), now, None));
        if self.broken() > self.spare() && self.lost_at.is_none() {
            self.lost_at = Some(now);
            if !self.script.service_unharmed {
                self.outages.push(TrueOutage { from: now + self.script.fails_after, until: None });
            }
        }
    }

    /// Brings a target back.
    pub(crate) fn mend(&mut self, name: &str) {
        self.mend_at(name, self.now);
    }

    /// Brings all targets back that are of one kind of victim.
    pub(crate) fn mend_all(&mut self) {
        for name in self.victims.keys().cloned().collect::<Vec<_>>() {
            self.mend(&name);
        }
    }

    fn mend_at(&mut self, name: &str, at: Duration) {
        let spare = self.spare();
        let Some(victim) = self.victims.get_mut(name) else { return };
        victim.heals_at = None;
        if victim.broken_since.take().is_none() {
            return;
        }
        if let Some((_, _, until)) = self.broken_times.iter_mut().rev().find(|(broken, ..)| broken == name) {
            *until = Some(at);
        }
        let broken = self.broken();
        if broken == 0 {
            self.whole_since = Some(at);
        }
        if broken == spare
            && let Some(last) = self.outages.last_mut().filter(|last| last.until.is_none())
        {
            let until = at + self.script.serves_after;
            last.until = Some(until);
            // It healed before anyone could notice.
            if until <= last.from {
                self.outages.pop();
            }
        }
    }

    fn broken(&self) -> usize {
        self.victims.values().filter(|victim| victim.broken_since.is_some()).count()
    }

    /// Whether that target is broken.
    pub(crate) fn is_broken(&self, name: &str) -> bool {
        self.victims.get(name).is_some_and(|victim| victim.broken_since.is_some())
    }

    /// Targets that are broken and do not heal by themselves.
    pub(crate) fn faults_in(&self) -> Vec<String> {
        let lasting =
            self.victims.iter().filter(|(_, victim)| victim.broken_since.is_some() && victim.heals_at.is_none());
        lasting.map(|(_, victim)| victim.target.name().to_owned()).collect()
    }

    /// Whether the service fails now.
    pub(crate) fn is_down(&self) -> bool {
        let now = self.now;
        self.outages.iter().any(|outage| outage.from <= now && outage.until.is_none_or(|until| now < until))
    }

    /// The times in which the service failed until now.
    pub(crate) fn outages(&self) -> Vec<TrueOutage> {
        self.outages.iter().copied().filter(|outage| outage.from <= self.now).collect()
    }

    /// Whether everything redundant is there.
    pub(crate) fn is_redundant(&self) -> bool {
        let settled = self.whole_since.is_none_or(|since| self.now >= since + self.script.redundant_after);
        self.broken() == 0 && settled
    }

    /// Whether the system has noticed a fault.
    pub(crate) fn is_detected(&self) -> bool {
        self.lost_at.is_some_and(|at| self.now >= at + self.script.detected_after)
    }

    /// How much work waits.
    pub(crate) fn backlog(&self) -> u64 {
        if self.is_down() { 40 } else { 0 }
    }

    /// Whether undoing that is refused now.
    pub(crate) fn undo_is_refused(&mut self, undo: &Undo) -> bool {
        if !undo.is_of_a_fault() {
            return false;
        }
        let times = self.refused.entry(undo.to_string()).or_default();
        *times += 1;
        match self.script.undo_trouble {
            UndoTrouble::AlwaysRefused => true,
            UndoTrouble::Refused(count) => *times <= count,
            UndoTrouble::None | UndoTrouble::Ineffective => false,
        }
    }

    /// How long the next request takes.
    pub(crate) fn latency(&mut self) -> Duration {
        self.rng.ms(1..40)
    }

    /// Whether the next request fails.
    pub(crate) fn request_fails(&mut self) -> bool {
        let percent = self.script.errors_percent;
        percent > 0 && self.rng.percent(percent)
    }

    /// For how long the API server gives no answer still.
    pub(crate) fn silence_left(&self) -> Option<Duration> {
        let (from, length) = self.script.silence?;
        (from..from + length).contains(&self.now).then(|| from + length - self.now)
    }

    /// Whether the first process dies in this request; whether it panics in it.
    pub(crate) fn dies_in_request(&mut self, process: u32) -> bool {
        if process != 1 {
            self.sweep_requests += 1;
            return process == FIRST_SWEEP && self.script.first_sweep == Some(SweepTrouble::Dies(self.sweep_requests));
        }
        self.requests += 1;
        assert!(self.script.panics_in_request != Some(self.requests), "a simulated panic");
        self.script.death == Some(Death::InRequest(self.requests))
    }

    /// A number from a range that is not empty.
    pub(crate) fn within(&mut self, range: std::ops::Range<u64>) -> u64 {
        self.rng.within(range)
    }

    /// Whether another writer gets in front of the next update.
    pub(crate) fn update_conflicts(&mut self) -> bool {
        let percent = self.script.conflicts_percent;
        percent > 0 && self.rng.percent(percent)
    }

    /// Whether watches are lost now.
    pub(crate) fn watch_is_lost(&self) -> bool {
        self.script.watch_lost.is_some_and(|(from, length)| (from..from + length).contains(&self.now))
    }

    /// Everything that was ever broken, and whether it still is.
    pub(crate) fn victims(&self) -> impl Iterator<Item = (&String, bool)> {
        self.victims.iter().map(|(name, victim)| (name, victim.broken_since.is_some()))
    }

    /// How long the service must fail until the alert fires; `None` where it never does.
    fn alert_for(&self) -> Option<Duration> {
        match self.script.alert_trouble {
            AlertTrouble::Never => None,
            AlertTrouble::Late(delay) => Some(ALERT_FOR + delay),
            AlertTrouble::None | AlertTrouble::Early(..) => Some(ALERT_FOR),
        }
    }

    /// The alert on the service's failure.
    pub(crate) fn alert(&self) -> AlertState {
        let now = self.now;
        if let AlertTrouble::Early(from, length) = self.script.alert_trouble
            && (from..from + length).contains(&now)
        {
            return AlertState::Firing;
        }
        for outage in self.outages() {
            let fires_at = self.alert_for().map(|wait| outage.from + wait);
            let until = outage.until.unwrap_or(Duration::MAX);
            let fires = fires_at.is_some_and(|at| at <= now && at <= until);
            if fires && now < until.saturating_add(ALERT_RESOLVES) {
                return AlertState::Firing;
            }
            if now < until {
                return AlertState::Pending;
            }
        }
        AlertState::Inactive
    }

    /// When the alert first began to fire, at or after a moment.
    pub(crate) fn alert_fires_since(&self, since: Duration) -> Option<Duration> {
        let early = match self.script.alert_trouble {
            AlertTrouble::Early(from, _) => Some(from),
            _ => None,
        };
        let due = self.outages.iter().filter_map(|outage| {
            let at = outage.from + self.alert_for()?;
            outage.until.is_none_or(|until| at <= until).then_some(at)
        });
        due.chain(early).filter(|at| *at >= since).min()
    }

    /// Everything that a run left, a name each.
    pub(crate) fn leftovers(&self) -> Vec<String> {
        // What is in the run's namespace goes with it.
        let of_run = |key: &ObjectKey| key.namespace.clone().filter(|namespace| namespace.starts_with("firedrill-"));
        let objects = self.objects.keys().map(|key| of_run(key).unwrap_or_else(|| key.name.clone()));
        let changed = self.changed.then(|| "web".to_owned());
        self.faults_in().into_iter().chain(objects).chain(self.data.iter().cloned()).chain(changed).collect()
    }
}
