//! Scenarios: what is broken, how it is to recover, and what is demanded of that.
//!
//! [`parse()`] reads a scenario file with its runbooks and returns either a [`Scenario`] without mistakes or all of its mistakes.

mod attributes;
mod check;
mod check_faults;
mod check_layouts;
mod check_objectives;
mod check_runbooks;
mod command;
mod effect;
mod fault;
pub(crate) mod form;
pub(crate) mod format;
mod kinds;
mod kubectl;
mod layout;
pub(crate) mod mistake;
mod model;
mod objects;
mod parse;
mod parts;
mod probe;
pub(crate) mod read;
mod recovery;
mod reference;
pub(crate) mod runbook;
pub(crate) mod schema;
pub(crate) mod text;
mod without;

pub use command::{TargetNames, bind_targets};
pub use effect::*;
pub use fault::*;
pub use layout::Layout;
pub use mistake::{Mistake, closest};
pub use model::*;
pub use objects::*;
pub use parse::parse;
pub use probe::*;
pub use recovery::*;
pub use reference::reference;
pub use schema::schema;
pub use without::drill_name;
pub(crate) use without::section_named;
