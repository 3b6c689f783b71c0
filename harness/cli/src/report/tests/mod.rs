//! Reports of a drill whose records and samples are made here, judged by the judge.

pub(crate) mod drill;
mod hostile;
mod junit;
mod page;
mod suites;
mod verdicts;
