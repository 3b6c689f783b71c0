//! Suites: drills in an order, with repeats, a time budget and shards; what became of them; and several shards as one.
//!
//! [`parse`] reads a suite's file. [`Course`] says, before each run, whether it takes place. [`SuiteResult`] is what is kept,
//! and [`merge()`] makes one of the results of all shards.

mod course;
mod file;
mod merge;
mod model;
mod result;
mod shard;
mod statistics;

pub use course::{Course, Next};
pub use file::{parse, schema};
pub use merge::{Part, merge};
pub use model::{Catalog, Entry, Facts, Slot, Suite, facts};
pub use result::{Because, ObjectiveSeen, Outcome, Ran, RunResult, SUITE_VERSION, ShardTook, SuiteResult};
pub use shard::{Shard, assign};
pub use statistics::{Held, LeftOut, Measure, Repeated, p90_confidence, violation_bound};
