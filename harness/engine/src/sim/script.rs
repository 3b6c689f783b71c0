//! What happens in one simulated run, drawn from its seed.

use super::rng::Rng;
use std::time::Duration;

/// How an undo goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UndoTrouble {
    /// Not at all.
    None,
    /// It is refused so many times.
    Refused(u32),
    /// It is refused for ever.
    AlwaysRefused,
    /// It is acknowledged, and the fault stays in.
    Ineffective,
}

/// How the alert on the service's failure goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AlertTrouble {
    /// Not at all.
    None,
    /// It fires for something else, from and for how long.
    Early(Duration, Duration),
    /// Its rule waits so much longer.
    Late(Duration),
    /// It stays pending.
    Never,
}

/// How a sweep ends early.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SweepTrouble {
    /// It dies in that request of the API server, before it arrives.
    Dies(u64),
    /// The user interrupts it, at these times after its start.
    Interrupted(Vec<Duration>),
}

/// When the runner dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Death {
    /// After that many records of its journal.
    AfterRecord(u64),
    /// In that request of the API server, before it arrives.
    InRequest(u64),
}

/// What happens to the service, and what goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Script {
    /// The variant of the simulated scenario.
    pub(crate) variant: &'static str,
    /// From the loss of the second server to the first failure of the service.
    pub(crate) fails_after: Duration,
    /// How long a server that was killed takes to be back.
    pub(crate) restarts_after: Duration,
    /// From the return of the quorum to the service's recovery.
    pub(crate) serves_after: Duration,
    /// From the return of the last server until redundancy is back.
    pub(crate) redundant_after: Duration,
    /// From the loss of the second server until the system notices.
    pub(crate) detected_after: Duration,
    /// Whether the injection says that it worked and did nothing.
    pub(crate) injection_ineffective: bool,
    /// Whether the injection is answered by an error, though it worked.
    pub(crate) injection_error: bool,
    /// Whether a fault's proof is never seen.
    pub(crate) proof_missing: bool,
    /// Whether a fault in two servers is without effect on the service.
    pub(crate) service_unharmed: bool,
    /// Whether the control fails with the service: the prober is cut off.
    pub(crate) control_fails: bool,
    /// Whether nothing but the undo heals.
    pub(crate) runbook_useless: bool,
    /// How many acknowledged writes are lost.
    pub(crate) lost_writes: u64,
    /// Whether the scenario demands more load than its probes make.
    pub(crate) low_load: bool,
    /// When the stream of samples breaks.
    pub(crate) samples_lost_at: Option<Duration>,
    /// When the lease is lost.
    pub(crate) lease_lost_at: Option<Duration>,
    /// The record of the journal that cannot be written.
    pub(crate) journal_fails_at: Option<u64>,
    /// When the user interrupts.
    pub(crate) interrupts: Vec<Duration>,
    /// When the machine is suspended, and for how long.
    pub(crate) suspension: Option<(Duration, Duration)>,
    /// How many of a hundred requests fail.
    pub(crate) errors_percent: u64,
    /// When the API server gives no answer: from, and for how long.
    pub(crate) silence: Option<(Duration, Duration)>,
    /// How many of a hundred updates another writer gets in front of.
    pub(crate) conflicts_percent: u64,
    /// When watches are lost and Prometheus does not answer: from, and for how long. What changes meanwhile is missed.
    pub(crate) watch_lost: Option<(Duration, Duration)>,
    /// How the alert goes wrong.
    pub(crate) alert_trouble: AlertTrouble,
    /// Whether nothing goes wrong but conflicts, lost watches and alerts: then the run must end clean.
    pub(crate) is_mild: bool,
    /// How the undo of faults goes wrong.
    pub(crate) undo_trouble: UndoTrouble,
    /// Whether the runbook changes an object that nobody changes back.
    pub(crate) leaves_a_change: bool,
    /// Whether deleting what the run made is acknowledged and one object stays.
    pub(crate) object_stays: bool,
    /// When the runner dies.
    pub(crate) death: Option<Death>,
    /// Whether the end of the journal is lost with the runner, as in a crash of the machine.
    pub(crate) tail_lost: bool,
    /// Whether the run's folder is not at hand when it is swept.
    pub(crate) folder_lost: bool,
    /// Whether no later process can read the run's journal.
    pub(crate) journal_unreadable: bool,
    /// The request in which the run panics.
    pub(crate) panics_in_request: Option<u64>,
    /// How the first sweep ends early; then there is a second one.
    pub(crate) first_sweep: Option<SweepTrouble>,
}

impl Script {
    /// The script of a seed. In about a third of all seeds nothing goes wrong, in most others one or two things do.
    pub(crate) fn of(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let mut script = Self::without_trouble(&mut rng);
        if !rng.percent(30) {
            for _ in 0..rng.within(1..4) {
                script.trouble(&mut rng);
            }
        }
        script
    }

    /// A script of a variant in which nothing goes wrong.
    pub(crate) fn calm(seed: u64, variant: &'static str) -> Self {
        Self { variant, ..Self::without_trouble(&mut Rng::new(seed)) }
    }

    fn without_trouble(rng: &mut Rng) -> Self {
        Self {
            variant: rng.one_of(&["killed", "hung", "off", "patched", "alert-start", "alert-expected"]),
            fails_after: rng.ms(20..3_000),
            restarts_after: rng.ms(2_000..9_000),
            serves_after: rng.ms(100..5_000),
            redundant_after: rng.ms(100..6_000),
            detected_after: rng.ms(500..4_000),
            injection_ineffective: false,
            injection_error: false,
            proof_missing: false,
            service_unharmed: false,
            control_fails: false,
            runbook_useless: false,
            lost_writes: 0,
            low_load: false,
            samples_lost_at: None,
            lease_lost_at: None,
            journal_fails_at: None,
            interrupts: Vec::new(),
            suspension: None,
            errors_percent: 0,
            silence: None,
            conflicts_percent: 0,
            watch_lost: None,
            alert_trouble: AlertTrouble::None,
            is_mild: true,
            undo_trouble: UndoTrouble::None,
            leaves_a_change: false,
            object_stays: false,
            death: None,
            tail_lost: false,
            folder_lost: false,
            journal_unreadable: false,
            panics_in_request: None,
            first_sweep: None,
        }
    }

    fn trouble(&mut self, rng: &mut Rng) {
        // A quarter of all troubles are of the mild kinds.
        let kind = rng.within(0..30);
        self.is_mild &= kind >= 22;
        match kind {
            0 => self.injection_ineffective = true,
            1 => self.injection_error = true,
            2 => self.proof_missing = true,
            3 => self.service_unharmed = true,
            4 => self.control_fails = true,
            5 => self.runbook_useless = true,
            6 => self.lost_writes = rng.within(1..20),
            7 => self.low_load = true,
            8 => self.samples_lost_at = Some(rng.ms(3_000..60_000)),
            9 => self.lease_lost_at = Some(rng.ms(1_000..60_000)),
            10 => self.journal_fails_at = Some(rng.within(2..80)),
            11 => self.interrupts = (0..rng.within(1..4)).map(|_| rng.ms(500..70_000)).collect(),
            12 => self.suspension = Some((rng.ms(2_000..50_000), rng.ms(1_500..20_000))),
            13 => self.errors_percent = rng.one_of(&[1, 5, 20]),
            14 => self.silence = Some((rng.ms(1_000..60_000), rng.ms(1_000..400_000))),
            15 => self.undo_trouble = UndoTrouble::Refused(u32::try_from(rng.within(1..4)).unwrap_or(1)),
            16 => self.undo_trouble = rng.one_of(&[UndoTrouble::AlwaysRefused, UndoTrouble::Ineffective]),
            17 => self.leaves_a_change = true,
            18 => self.object_stays = true,
            19 => {
                self.death = Some(Death::AfterRecord(rng.within(1..90)));
                self.files_lost(rng);
            }
            20 => {
                self.death = Some(Death::InRequest(rng.within(5..400)));
                self.files_lost(rng);
            }
            21 => self.panics_in_request = Some(rng.within(10..400)),
            22..25 => {
                self.alert_trouble = match rng.within(0..3) {
                    0 => AlertTrouble::Early(rng.ms(1_000..12_000), rng.ms(1_000..60_000)),
                    1 => AlertTrouble::Late(rng.ms(5_000..60_000)),
                    _ => AlertTrouble::Never,
                }
            }
            25..27 => self.conflicts_percent = rng.one_of(&[5, 20, 40]),
            _ => self.watch_lost = Some((rng.ms(1_000..40_000), rng.ms(500..20_000))),
        }
    }
    /// What becomes of the files of a runner that died.
    fn files_lost(&mut self, rng: &mut Rng) {
        self.tail_lost = rng.percent(30);
        match rng.within(0..10) {
            0..4 => self.folder_lost = true,
            4 => self.journal_unreadable = true,
            _ => {}
        }
    }
}
