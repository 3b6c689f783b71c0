//! Open-loop probes: one attempt every so often, however long the ones before it take.
//!
//! Each series has its own client, its own timeout and its own task. Attempt `k` is *intended* at `start + k * every`; a
//! service that hangs does not slow the schedule down, so its outage is not under-counted (no coordinated omission).

mod cause;
mod client;
mod endpoint;
mod http;
mod ironflow;
mod nats;
mod pool;
pub(crate) mod postgres;
mod schedule;
mod tcp;
mod watch;

pub use endpoint::{Endpoint, EndpointError, redacted};
pub use schedule::{IN_FLIGHT_SLACK, LATE_MAX, ProbeSpec, start};
pub use watch::{Watched, watch};

pub(crate) use http::HttpClient;
pub(crate) use ironflow::LIST_RUNS;
