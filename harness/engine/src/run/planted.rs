//! Bugs that the simulator's tests plant, to show that its seeds find them. None is there in a program that is not a test.

/// A bug in this module.
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
}

/// All of them.
#[cfg(test)]
pub(crate) const ALL: [Bug; 13] = [
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
pub(super) fn has(bug: Bug) -> bool {
    PLANTED.get() == Some(bug)
}

/// Whether that bug is planted.
#[cfg(not(test))]
pub(super) const fn has(_bug: Bug) -> bool {
    false
}
