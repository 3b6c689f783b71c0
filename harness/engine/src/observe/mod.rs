//! What can be seen of the cluster: watchers that run during the whole drill, conditions that are looked at afresh, and
//! what is kept of a run that did not pass.

mod alerts;
mod bundle;
mod cnpg;
mod condition;
mod file_systems;
mod follow;
mod kubernetes;
mod nats;
mod nats_state;
mod nats_view;
mod placement;
mod rows;
mod subjects;
mod symptom;
mod watchers;

pub use alerts::not_quiet;
pub use bundle::bundle;
pub use cnpg::login_secret;
pub use condition::{Baseline, NotHeld, detected, holds};
pub use file_systems::{AtRisk, at_risk, check};
#[cfg(test)]
pub(crate) use follow::{KnownObjects, ReportOptions};
pub use nats::backlog;
pub use placement::placement;
pub use subjects::namespaces;
pub use symptom::symptom_since;
pub use watchers::watch;
