//! Acknowledged writes against what is there.

use crate::event::LedgerCount;
use crate::sample::{Outcome, Sample, SeriesId};

/// What a store was found to hold of a drill's writes, read to its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    writes: Vec<FoundWrite>,
    unfinished: Vec<(SeriesId, u32)>,
    unreadable: u64,
}

/// One write, and how often it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FoundWrite {
    /// The series that wrote it.
    pub series: SeriesId,
    /// Its number within the series.
    pub seq: u32,
    /// How often it is there, at least once.
    pub count: u32,
}

/// Bytes of one write in [`Found::encode`].
const WRITE_BYTES: usize = 10;

impl Found {
    /// From the writes in any order, each as often as it is there.
    pub fn new(writes: impl IntoIterator<Item = (SeriesId, u32)>) -> Self {
        Self::counted(writes.into_iter().map(|(series, seq)| FoundWrite { series, seq, count: 1 }))
    }

    /// From writes in any order with their counts; counts of the same write add up.
    pub fn counted(writes: impl IntoIterator<Item = FoundWrite>) -> Self {
        let mut writes: Vec<_> = writes.into_iter().filter(|write| write.count > 0).collect();
        writes.sort_unstable();
        writes.dedup_by(|next, kept| {
            let same = (next.series, next.seq) == (kept.series, kept.seq);
            if same {
                kept.count = kept.count.saturating_add(next.count);
            }
            same
        });
        Self { writes, ..Self::default() }
    }

    /// Adds writes that are there but have not come to their end (a run that has not completed). They do not count as found.
    #[must_use]
    pub fn with_unfinished(mut self, unfinished: impl IntoIterator<Item = (SeriesId, u32)>) -> Self {
        self.unfinished = unfinished.into_iter().collect();
        self.unfinished.sort_unstable();
        self
    }

    /// Adds entries that carry no identity of a drill's write.
    #[must_use]
    pub fn with_unreadable(mut self, unreadable: u64) -> Self {
        self.unreadable = unreadable;
        self
    }

    /// All writes, by series and number.
    pub fn writes(&self) -> &[FoundWrite] {
        &self.writes
    }

    /// The writes of one series, by number.
    pub fn of(&self, series: SeriesId) -> &[FoundWrite] {
        let from = self.writes.partition_point(|write| write.series < series);
        let until = self.writes.partition_point(|write| write.series <= series);
        &self.writes[from..until]
    }

    /// Writes that are there but have not come to their end, by series and number.
    pub fn unfinished(&self) -> &[(SeriesId, u32)] {
        &self.unfinished
    }

    /// Entries that carry no identity of a drill's write.
    pub fn unreadable(&self) -> u64 {
        self.unreadable
    }

    /// A compact form, to be sent from where the store was read.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(16 + WRITE_BYTES * (self.writes.len() + self.unfinished.len()));
        bytes.extend(self.unreadable.to_le_bytes());
        bytes.extend((self.writes.len() as u64).to_le_bytes());
        // An unfinished write is one with a count of nothing.
        let unfinished = self.unfinished.iter().map(|&(series, seq)| FoundWrite { series, seq, count: 0 });
        for write in self.writes.iter().copied().chain(unfinished) {
            bytes.extend(write.series.to_le_bytes());
            bytes.extend(write.seq.to_le_bytes());
            bytes.extend(write.count.to_le_bytes());
        }
        bytes
    }

    /// Reads [`Found::encode`]; `None` where it is something else.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (head, rest) = bytes.split_at_checked(16)?;
        let unreadable = u64::from_le_bytes(head[..8].try_into().ok()?);
        let found = usize::try_from(u64::from_le_bytes(head[8..].try_into().ok()?)).ok()?;
        let (records, []) = rest.as_chunks::<WRITE_BYTES>() else { return None };
        let write = |record: &[u8; WRITE_BYTES]| {
            let [a, b, c, d, e, f, g, h, i, j] = *record;
            FoundWrite {
                series: u16::from_le_bytes([a, b]),
                seq: u32::from_le_bytes([c, d, e, f]),
                count: u32::from_le_bytes([g, h, i, j]),
            }
        };
        let (writes, unfinished) = records.split_at_checked(found)?;
        Some(
            Self::counted(writes.iter().map(write))
                .with_unfinished(unfinished.iter().map(write).map(|write| (write.series, write.seq)))
                .with_unreadable(unreadable),
        )
    }
}

/// Counts what became of one series' writes.
///
/// `attempts` are those of the whole run, of any series and in any order, each once. A write found more than once counts as
/// duplicated whether it was acknowledged or not. Entries without an identity are counted as foreign to every series of
/// their store.
pub fn count(series: SeriesId, store: &str, attempts: impl Iterator<Item = Sample>, found: &Found) -> LedgerCount {
    let there = found.of(series);
    let mut result = empty(series, store);
    let mut lost = Vec::new();
    let mut ours = 0_u64;
    // Attempts come in order as a rule: the write looked for is the one after the last, or near it.
    let mut cursor = 0;
    for sample in attempts.filter(|sample| sample.series == series) {
        let hit = seek(there, &mut cursor, sample.seq);
        let is_there = hit.is_some();
        match sample.outcome {
            Outcome::Ok => {
                result.acknowledged += 1;
                if !is_there {
                    lost.push(sample.seq);
                }
            }
            Outcome::Failed { maybe_applied: true, .. } => {
                result.indeterminate += 1;
                result.indeterminate_found += u64::from(is_there);
            }
            Outcome::Failed { maybe_applied: false, .. } => result.refused_found += u64::from(is_there),
            // Never sent: what is there under this number is not ours.
            Outcome::Stalled | Outcome::NotSent { .. } => continue,
        }
        if let Some(write) = hit {
            ours += 1;
            result.duplicated += u64::from(write.count > 1);
        }
    }
    result.lost = lost.len() as u64;
    result.lost_ranges = ranges(lost);
    result.foreign = (there.len() as u64).saturating_sub(ours) + found.unreadable;
    result
}

/// The count of a series whose store could not be read to its end: nothing in it counts but the reason.
pub fn unreadable(series: SeriesId, store: &str, error: String) -> LedgerCount {
    LedgerCount { error: Some(error), ..empty(series, store) }
}

fn empty(series: SeriesId, store: &str) -> LedgerCount {
    LedgerCount {
        series,
        store: store.to_owned(),
        error: None,
        acknowledged: 0,
        lost: 0,
        lost_ranges: Vec::new(),
        duplicated: 0,
        indeterminate: 0,
        indeterminate_found: 0,
        refused_found: 0,
        foreign: 0,
    }
}

fn seek(there: &[FoundWrite], cursor: &mut usize, seq: u32) -> Option<FoundWrite> {
    let near = there.get(*cursor).is_some_and(|write| write.seq == seq);
    if !near {
        *cursor = there.partition_point(|write| write.seq < seq);
    }
    let hit = there.get(*cursor).copied().filter(|write| write.seq == seq);
    *cursor += usize::from(hit.is_some());
    hit
}

fn ranges(mut numbers: Vec<u32>) -> Vec<(u32, u32)> {
    numbers.sort_unstable();
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some((_, until)) if until.checked_add(1) == Some(number) => *until = number,
            _ => ranges.push((number, number)),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::Cause;
    use crate::time::At;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn sample(series: SeriesId, seq: u32, outcome: Outcome) -> Sample {
        let at = At(u64::from(seq) * 1_000);
        Sample { series, seq, intended: at, started: at, ended: at, outcome }
    }

    fn failed(maybe_applied: bool) -> Outcome {
        Outcome::Failed { cause: Cause::Timeout, code: 0, maybe_applied }
    }

    #[test]
    fn each_kind_is_told_from_the_others() {
        let outcomes = [
            Outcome::Ok,
            Outcome::Ok,
            Outcome::Ok,
            failed(true),
            failed(true),
            failed(false),
            Outcome::Stalled,
            Outcome::Ok,
        ];
        let attempts = (0..).zip(outcomes).map(|(seq, outcome)| sample(4, seq, outcome));
        // 1, 2 and 7 are lost; 0 is there twice; of 3 and 4 one is there; 5 was refused and is there; 6 was never sent.
        let found = Found::new([(4, 0), (4, 0), (4, 3), (4, 5), (4, 6), (4, 99), (3, 1), (5, 1)]).with_unreadable(1);
        let count = count(4, "nats", attempts, &found);
        assert_eq!((count.acknowledged, count.lost, count.lost_ranges), (4, 3, vec![(1, 2), (7, 7)]));
        assert_eq!((count.duplicated, count.indeterminate, count.indeterminate_found), (1, 2, 1));
        assert_eq!((count.refused_found, count.foreign), (1, 3));
    }

    #[test]
    fn a_store_not_read_counts_nothing() {
        let count = unreadable(1, "nats", "no leader".to_owned());
        assert_eq!((count.error.as_deref(), count.acknowledged), (Some("no leader"), 0));
    }

    #[test]
    fn something_else_is_not_decoded() {
        assert_eq!(Found::decode(b"short"), None);
        assert_eq!(Found::decode(&[1; 27]), None);
    }

    fn any_outcome() -> impl Strategy<Value = Outcome> {
        prop_oneof![
            4 => Just(Outcome::Ok),
            1 => Just(failed(true)),
            1 => Just(failed(false)),
            1 => Just(Outcome::Stalled),
            1 => Just(Outcome::NotSent { why: crate::sample::NotSent::NoLocalPort }),
        ]
    }

    proptest! {
        /// Against the obvious way to count, whatever the order of attempts and entries.
        #[test]
        fn counts_are_those_of_the_obvious_way(
            outcomes in proptest::collection::vec(any_outcome(), 0..60),
            found in proptest::collection::vec((0_u16..3, 0_u32..80), 0..120),
            unfinished in proptest::collection::vec((0_u16..3, 0_u32..80), 0..9),
            unreadable in 0_u64..3,
            turn in 0_usize..60,
        ) {
            let mut attempts: Vec<_> = (0..).zip(&outcomes).map(|(seq, outcome)| sample(1, seq, *outcome)).collect();
            if !attempts.is_empty() {
                let by = turn % attempts.len();
                attempts.rotate_left(by);
            }
            let mut times = BTreeMap::<u32, u32>::new();
            for (_, seq) in found.iter().filter(|(series, _)| *series == 1) {
                *times.entry(*seq).or_default() += 1;
            }
            let store = Found::new(found).with_unfinished(unfinished).with_unreadable(unreadable);
            prop_assert_eq!(Found::decode(&store.encode()), Some(store.clone()));
            let got = count(1, "postgres", attempts.iter().copied(), &store);

            let is = |wanted: fn(&Outcome) -> bool| {
                outcomes.iter().enumerate().filter(move |(_, outcome)| wanted(outcome)).map(|(seq, _)| seq as u32)
            };
            let acked = is(|outcome| *outcome == Outcome::Ok);
            let lost: Vec<_> = acked.clone().filter(|seq| !times.contains_key(seq)).collect();
            prop_assert_eq!(got.acknowledged, acked.count() as u64);
            prop_assert_eq!(got.lost, lost.len() as u64);
            let listed: Vec<u32> = got.lost_ranges.iter().flat_map(|(from, until)| *from..=*until).collect();
            prop_assert_eq!(listed, lost);
            prop_assert!(got.lost_ranges.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0));
            let maybe = is(|outcome| *outcome == failed(true));
            prop_assert_eq!(got.indeterminate, maybe.clone().count() as u64);
            prop_assert_eq!(got.indeterminate_found, maybe.filter(|seq| times.contains_key(seq)).count() as u64);
            let refused = is(|outcome| *outcome == failed(false));
            prop_assert_eq!(got.refused_found, refused.filter(|seq| times.contains_key(seq)).count() as u64);
            let sent: Vec<_> = is(|outcome| !matches!(outcome, Outcome::Stalled | Outcome::NotSent { .. })).collect();
            prop_assert_eq!(got.foreign, times.keys().filter(|seq| !sent.contains(seq)).count() as u64 + unreadable);
            prop_assert_eq!(got.duplicated, times.iter().filter(|(seq, n)| sent.contains(seq) && **n > 1).count() as u64);
        }
    }
}
