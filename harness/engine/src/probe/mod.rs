//! Open-loop probes: one attempt every so often, however long the ones before it take.
//!
//! Each series has its own client, its own timeout and its own task. Attempt `k` is *intended* at `start + k * every`; a
//! service that hangs does not slow the schedule down, so its outage is not under-counted (no coordinated omission).
//! Probes use no proxy and read no variable of the environment.

mod cause;
mod client;
mod endpoint;
mod http;
mod ironflow;
mod nats;
pub(crate) mod nats_server;
mod pool;
pub(crate) mod postgres;
mod postgres_url;
mod remarks;
mod schedule;
mod tcp;
mod watch;

pub use endpoint::{
    Endpoint, EndpointError, HttpEndpoint, IronflowEndpoint, JetstreamEndpoint, Login, NatsEndpoint, Place,
    PostgresEndpoint, PostgresReadEndpoint, TcpEndpoint, endpoint_of, postgres_url, redacted, undo_of,
};
pub use http::BODY_SEARCHED_MAX;
pub use remarks::Remarks;
pub use schedule::{IN_FLIGHT_SLACK, LATE_MAX, ProbeSpec, start};
pub use watch::{Watched, watch};

pub(crate) use http::HttpClient;
pub(crate) use ironflow::LIST_RUNS;
