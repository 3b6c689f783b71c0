//! One file a command.

pub(crate) mod agent;
mod cloud;
pub(crate) mod common;
pub(crate) mod doctor;
pub(crate) mod down;
pub(crate) mod judge;
pub(crate) mod list;
pub(crate) mod merge;
pub(crate) mod plan;
pub(crate) mod rbac;
pub(crate) mod run;
pub(crate) mod runbook;
pub(crate) mod stack_file;
pub(crate) mod suite;
pub(crate) mod sweep;
pub(crate) mod up;
pub(crate) mod watch;
mod watch_result;
