//! One drill, from preflight to the last trace of it: the only place that sequences.

mod account;
mod alerts;
mod arm;
mod before;
mod board;
mod compare;
mod context;
mod dirty;
mod drill;
#[cfg(test)]
pub(crate) mod fake;
mod finish;
mod heartbeat;
mod inject;
mod interrupt;
mod journals;
mod leftovers;
mod panics;
mod planned;
mod preflight;
mod recorder;
mod recover;
mod steady;
mod suspension;
mod sweep;
mod undo_log;
mod watching;

#[cfg(test)]
mod sweep_tests;

pub use drill::{Options, Ran, run};
pub use interrupt::{InterruptSource, Interrupts};
pub use planned::{Drill, RunError, plan, planned_steps};
pub use recorder::{Progress, Recorder};
pub use sweep::{SweepOptions, Swept, sweep};
