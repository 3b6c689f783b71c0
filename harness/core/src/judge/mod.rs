//! The judge: a pure function of a run's journal and samples.

mod alerts;
mod assemble;
mod attribution;
pub mod latency;
pub mod ledger;
mod moments;
mod objectives;
pub mod outage;
mod parts;
mod recovery;
mod series;

pub use assemble::judge;
