//! What runs in the pods that a drill makes, and the runner's side of it.

mod inside;
pub mod node;
mod probe;
mod probe_line;
mod probe_pod;
mod probe_pump;
#[cfg(test)]
mod probe_tests;
mod probe_wire;

pub use inside::{AgentError, Inside};
pub use probe::serve_probe;
