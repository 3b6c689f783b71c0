//! Bugs that the simulator's tests plant, to show that its seeds find them. A program that is not a test has none.

/// A bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    /// An undo of a fault counts as done and is not carried out.
    UndoSkipped,
    /// A fault is injected before its undo is recorded anywhere.
    UndoNotRecorded,
    /// The undo is in the journal and on no cluster.
    RecordNotWritten,
    /// The run goes on without its lease.
    LostLeaseIgnored,
    /// Lost samples stop no run.
    LostSamplesIgnored,
    /// The first interrupt stops no phase.
    InterruptIgnored,
    /// A journal that cannot be written stops no run.
    BrokenJournalIgnored,
    /// A proof that does not hold counts.
    ProofNotAsked,
    /// The effect is dated by its proof, so that the outage looks shorter.
    EffectDatedLate,
    /// Too little load is no reason to stop.
    LoadNotDemanded,
    /// Writes that are acknowledged count as found.
    LedgerNotRead,
    /// Nobody looks whether a fault is out.
    FaultNotLookedAt,
    /// The cluster counts as before without a look.
    ClusterNotCompared,
    /// An alert that fired before the fault counts as one that the fault caused.
    EarlierAlertCounts,
    /// A runbook that starts at an alert starts without it.
    AlertNotAwaited,
    /// The run ends before its alerts had their time to fire and to be resolved.
    AlertsNotSettled,
    /// An undo that the API server refuses because of a conflict counts as done.
    ConflictCountsAsDone,
    /// An act follows though its undo record was refused because of a conflict.
    RecordConflictIgnored,
    /// What changed while a watch was lost is not reported after the next list.
    RelistIgnored,
}

/// All of them.
#[cfg(test)]
pub(crate) const ALL: [Bug; 19] = [
    Bug::UndoSkipped,
    Bug::UndoNotRecorded,
    Bug::RecordNotWritten,
    Bug::LostLeaseIgnored,
    Bug::LostSamplesIgnored,
    Bug::InterruptIgnored,
    Bug::BrokenJournalIgnored,
    Bug::ProofNotAsked,
    Bug::EffectDatedLate,
    Bug::LoadNotDemanded,
    Bug::LedgerNotRead,
    Bug::FaultNotLookedAt,
    Bug::ClusterNotCompared,
    Bug::EarlierAlertCounts,
    Bug::AlertNotAwaited,
    Bug::AlertsNotSettled,
    Bug::ConflictCountsAsDone,
    Bug::RecordConflictIgnored,
    Bug::RelistIgnored,
];

#[cfg(test)]
thread_local! {
    static PLANTED: std::cell::Cell<Option<Bug>> = const { std::cell::Cell::new(None) };
}

/// Plants a bug in the runs of this thread, in the place of the one that is there.
#[cfg(test)]
pub(crate) fn plant(bug: Option<Bug>) {
    PLANTED.set(bug);
}

/// Whether that bug is planted.
#[cfg(test)]
pub(crate) fn has(bug: Bug) -> bool {
    PLANTED.get() == Some(bug)
}

/// Whether that bug is planted.
#[cfg(not(test))]
pub(crate) const fn has(_bug: Bug) -> bool {
    false
}
