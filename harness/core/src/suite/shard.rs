//! A suite cut into parts for several machines.

use super::model::Entry;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Shards of one suite, at most.
const SHARDS_MAX: u32 = 64;

/// One part of a suite: `2/4`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Shard {
    /// Which, from 1.
    pub index: u32,
    /// Of how many.
    pub of: u32,
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('/').and_then(|(index, of)| Some((index.parse().ok()?, of.parse().ok()?)));
        match parts {
            Some((index, of)) if (1..=of).contains(&index) && of <= SHARDS_MAX => Ok(Self { index, of }),
            Some((_, of)) if of > SHARDS_MAX => Err(format!("{of} shards, {SHARDS_MAX} at most")),
            Some((index, of)) => Err(format!("there is no shard {index} of {of}: they count from 1")),
            None => Err("such as 1/4: the first of four".to_owned()),
        }
    }
}

/// The shard, from 1, of each drill, with all of its repeats: the longest first, each to the shard that has least to do. It
/// depends on nothing but the drills and the number of shards, so all machines agree.
pub fn assign(drills: &[Entry], of: u32) -> Vec<u32> {
    let mut order: Vec<usize> = (0..drills.len()).collect();
    // Stable: drills of one length stay in the suite's order.
    order.sort_by_key(|index| std::cmp::Reverse(drills[*index].expected_in_all()));
    let mut loads: Vec<(Duration, u32)> = (1..=of.max(1)).map(|shard| (Duration::ZERO, shard)).collect();
    let mut shards = vec![1; drills.len()];
    for index in order {
        if let Some(least) = loads.iter_mut().min() {
            shards[index] = least.1;
            least.0 = least.0.saturating_add(drills[index].expected_in_all());
        }
    }
    shards
}

#[cfg(test)]
mod tests {
    use super::super::model::slots;
    use super::super::model::tests::entry;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn shards_read_as_they_are_written() {
        assert_eq!("2/4".parse(), Ok(Shard { index: 2, of: 4 }));
        for bad in ["0/4", "5/4", "1", "a/b", "1/65", "-1/2", "1/0"] {
            assert!(bad.parse::<Shard>().is_err(), "{bad}");
        }
    }

    #[test]
    fn long_drills_are_spread() {
        let drills = [entry("a", 7, 1), entry("b", 2, 3), entry("c", 4, 1), entry("d", 1, 1)];
        assert_eq!(assign(&drills, 2), [1, 2, 2, 1]);
    }

    proptest! {
        #[test]
        fn every_run_is_in_exactly_one_shard(
            drills in prop::collection::vec((1_u64..60, 1_u32..5), 1..40),
            of in 1_u32..9,
        ) {
            let entry = |(at, (minutes, repeat)): (usize, &(u64, u32))| entry(&format!("v{at}"), *minutes, *repeat);
            let drills: Vec<_> = drills.iter().enumerate().map(entry).collect();
            let mut found = Vec::new();
            for index in 1..=of {
                found.extend(slots(&drills, Some(Shard { index, of })));
            }
            found.sort();
            prop_assert_eq!(found, slots(&drills, None));
        }

        /// The bound of every rule that gives the next drill to the shard with least to do (Graham 1966).
        #[test]
        fn no_shard_is_much_longer_than_needed(lengths in prop::collection::vec(1_u64..60, 1..40), of in 1_u32..9) {
            let drills: Vec<_> =
                lengths.iter().enumerate().map(|(at, minutes)| entry(&format!("v{at}"), *minutes, 1)).collect();
            let mut loads = vec![0; of as usize];
            for (drill, shard) in drills.iter().zip(assign(&drills, of)) {
                loads[shard as usize - 1] += drill.expected.as_secs();
            }
            let longest = loads.iter().max().unwrap();
            let mean = loads.iter().sum::<u64>() as f64 / f64::from(of);
            let most = drills.iter().map(|drill| drill.expected.as_secs()).max().unwrap() as f64;
            prop_assert!(*longest as f64 <= mean + most);
            // A shard is idle only where there are fewer drills than shards.
            prop_assert_eq!(loads.contains(&0), drills.len() < of as usize);
        }
    }
}
