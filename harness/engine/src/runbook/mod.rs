//! A runbook's commands, run as an operator would run them.

pub mod check;
mod command;
mod steps;

pub use command::{CommandEnd, Environment, run_command};
pub use steps::{PlannedStep, plan_steps};
