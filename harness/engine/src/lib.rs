//! The part of firedrill that touches the world: clusters, faults, probes, runbooks, and the run that sequences them.

pub mod agent;
pub mod clock;
pub mod cluster;
pub mod copy;
pub mod doctor;
pub mod env;
pub mod fault;
pub mod files;
pub mod lease;
pub mod ledger;
pub mod observe;
pub mod pressure;
pub mod probe;
pub mod process;
pub mod provider;
mod proxy;
pub mod record;
pub mod redact;
pub mod run;
pub mod runbook;
pub mod stack;

#[cfg(test)]
#[path = "../tests/fake_api/mod.rs"]
mod fake_api;
