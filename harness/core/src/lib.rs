//! The pure part of firedrill: scenarios, plans, events, samples and the judge.
//!
//! Nothing here reads a clock, a file, the environment or a socket. A saved run is judged again by the same
//! functions that judged it the first time.

pub mod alert;
pub mod document;
pub mod event;
pub mod exit;
pub mod fidelity;
pub mod journal;
pub mod judge;
pub mod listing;
pub mod live;
pub mod plan;
pub mod sample;
pub mod scenario;
pub mod shell;
pub mod stack;
mod statements;
pub mod suite;
pub mod time;
pub mod utf8;
pub mod verdict;
