//! The part of firedrill that touches the world: clusters, faults, probes, runbooks, and the run that sequences them.

pub mod agent;
pub mod clock;
pub mod cluster;
pub mod copy;
pub mod doctor;
pub mod env;
pub mod fault;
pub mod files;
#[cfg(test)]
mod imports;
pub mod lease;
pub mod ledger;
pub mod observe;
mod planted;
pub mod port;
pub mod pressure;
pub mod probe;
pub mod process;
pub mod provider;
mod proxy;
pub mod record;
pub mod redact;
pub mod run;
pub mod runbook;
#[cfg(test)]
mod sim;
pub mod stack;
pub mod world;

#[cfg(test)]
#[path = "../tests/fake_api/mod.rs"]
mod fake_api;
