//! Where the time went: the worst outage, and then the way back to normal, cut into phases without gap or overlap.
//!
//! The cut points are moments of the run and what the watchers saw; each ends one share and begins the next. One that
//! was not seen, or that lies outside its turn, makes no share: the time belongs to the share that ends next.

use super::moments::History;
use super::objectives::relevant;
use super::series::SeriesHistory;
use crate::event::{Fact, Observation, Source};
use crate::scenario::Moment;
use crate::time::At;
use crate::verdict::{ObjectiveResult, Share};

/// Cuts the worst outage that gates. Where no sample failed: the time from the effect to redundancy.
pub(crate) fn attribute(
    history: &History<'_>,
    series: &[SeriesHistory<'_>],
    objectives: &[ObjectiveResult],
) -> Vec<Share> {
    let Some((from, until, ended)) = worst_outage(history, series, objectives) else {
        return match history.moment(Moment::Effect).zip(history.moment(Moment::Redundancy)) {
            Some((effect, redundancy)) => cut(effect, &after_outage(history, effect, redundancy)),
            None => Vec::new(),
        };
    };
    let mut cuts = inside_outage(history, from, until, ended);
    cuts.extend(after_outage(history, until, history.horizon()));
    cut(from, &cuts)
}

/// From the first failure to the end of the first success that lasted, and whether there was one, of the series that was worst.
fn worst_outage(
    history: &History<'_>,
    series: &[SeriesHistory<'_>],
    objectives: &[ObjectiveResult],
) -> Option<(At, At, bool)> {
    let inject = history.moment(Moment::Inject)?;
    let horizon = history.horizon();
    let length = |seen: &SeriesHistory<'_>| {
        let outages: Vec<usize> = relevant(seen, inject, horizon).collect();
        let (first, last) = outages.first().zip(outages.last())?;
        let from = seen.summary.outages[*first].first_failure;
        let answered = seen.summary.outages[*last].first_ok_after;
        Some((from, answered.unwrap_or(horizon).max(from), answered.is_some()))
    };
    let gates = |seen: &&SeriesHistory<'_>| {
        objectives.iter().any(|objective| objective.accepted_ms.is_some() && objective.series == Some(seen.plan.id))
    };
    let longest = |a: &(At, At, bool), b: &(At, At, bool)| a.1.since(a.0).cmp(&b.1.since(b.0));
    let gating = series.iter().filter(gates).filter_map(length).max_by(longest);
    gating.or_else(|| series.iter().filter_map(length).max_by(longest))
}

fn inside_outage(history: &History<'_>, from: At, until: At, ended: bool) -> Vec<(At, String)> {
    let mut cuts = Vec::new();
    let mut add = |at: Option<At>, name: &str| cuts.extend(at.map(|at| (at, name.to_owned())));
    add(history.moment(Moment::Detected), "detection");
    add(history.moment(Moment::RunbookStart), "waiting for the runbook");
    add(history.moment(Moment::RunbookEnd), "runbook");
    let acted = [Moment::RunbookEnd, Moment::Detected].into_iter().find_map(|moment| history.moment(moment));
    let acted = acted.unwrap_or(from).clamp(from, until);
    let back = system_back(history, acted, until);
    let restarted = last_healthy(history, Source::Pods, acted, back.map_or(until, |(at, _)| at));
    add(restarted, "restart");
    if let Some((at, what)) = back {
        if what == Return::Promotion {
            add(first_unhealthy(history, Source::Cnpg, acted, at), "lease");
        }
        add(Some(at), what.name());
        add(Some(until), if ended { "reconnect" } else { "still down" });
    } else {
        add(Some(until), if ended { "until the service answered" } else { "still down" });
    }
    cuts
}

/// What brought the service back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Return {
    /// Servers of NATS elected a leader.
    Election,
    /// Another instance of the database became the primary.
    Promotion,
}

impl Return {
    fn name(self) -> &'static str {
        match self {
            Return::Election => "election",
            Return::Promotion => "promotion",
        }
    }
}

/// When the consensus or the primary was back, and what that took. Only where it was seen to be gone: a replica that lagged for
/// a moment, or an instance that was missing, is no election and no promotion.
fn system_back(history: &History<'_>, after: At, before: At) -> Option<(At, Return)> {
    let inject = history.moment(Moment::Inject)?;
    let within = |from: At| move |(at, _): &&(At, &Observation)| *at > from && *at < before;
    let back = |is_it: fn(&Observation) -> bool, is_gone: fn(&Observation) -> bool| {
        let mut seen = history.observed.iter().filter(within(inject));
        let gone = seen.find(|(_, seen)| is_it(seen) && is_gone(seen)).map(|(at, _)| *at)?;
        let mut later = history.observed.iter().rev().filter(within(gone.max(after)));
        later.find(|(_, seen)| is_it(seen) && seen.healthy == Some(true)).map(|(at, _)| *at)
    };
    let quorum = back(|seen| seen.fact == Some(Fact::Quorum), |seen| seen.healthy == Some(false));
    let primary =
        || back(|seen| seen.source == Source::Cnpg, |seen| matches!(seen.fact, Some(Fact::PrimaryMoves { .. })));
    quorum.map(|at| (at, Return::Election)).or_else(|| primary().map(|at| (at, Return::Promotion)))
}

fn last_healthy(history: &History<'_>, source: Source, after: At, before: At) -> Option<At> {
    let healthy = |(at, seen): &&(At, &Observation)| {
        seen.source == source && seen.healthy == Some(true) && *at > after && *at < before
    };
    history.observed.iter().rev().find(healthy).map(|(at, _)| *at)
}

fn first_unhealthy(history: &History<'_>, source: Source, after: At, before: At) -> Option<At> {
    let unhealthy = |(at, seen): &&(At, &Observation)| {
        seen.source == source && seen.healthy == Some(false) && *at > after && *at < before
    };
    history.observed.iter().find(unhealthy).map(|(at, _)| *at)
}

fn after_outage(history: &History<'_>, from: At, until: At) -> Vec<(At, String)> {
    let later = |moment: Moment, name: &str| {
        history.moment(moment).filter(|at| *at > from && *at <= until).map(|at| (at, name.to_owned()))
    };
    [later(Moment::Redundancy, "redundancy"), later(Moment::BacklogDrained, "backlog")].into_iter().flatten().collect()
}

/// The shares between consecutive cut points. A point that is not later than the one before is left out.
fn cut(from: At, cuts: &[(At, String)]) -> Vec<Share> {
    let until = cuts.iter().map(|(at, _)| *at).max().unwrap_or(from);
    let mut shares: Vec<Share> = Vec::new();
    let mut at = from;
    for (next, name) in cuts {
        if *next > at && *next <= until {
            shares.push(Share { name: name.clone(), from: at, until: *next });
            at = *next;
        }
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn shares_partition_the_time_exactly(from in 0u64..1_000, points in proptest::collection::vec(0u64..2_000, 0..12)) {
            let cuts: Vec<_> = points.iter().map(|at| (At(*at), at.to_string())).collect();
            let shares = cut(At(from), &cuts);
            let end = points.iter().copied().max().unwrap_or(0).max(from);
            prop_assert_eq!(shares.first().map_or(end, |share| share.from.0), from.min(end));
            prop_assert_eq!(shares.last().map_or(from, |share| share.until.0), end);
            prop_assert!(shares.windows(2).all(|pair| pair[0].until == pair[1].from));
            prop_assert!(shares.iter().all(|share| share.from < share.until));
        }
    }
}
