//! Clusters whose nodes are servers of Hetzner Cloud.
//!
//! These modules talk to Hetzner's HTTP API; none of them needs a cluster. No state file exists: every resource carries labels, and
//! the API is asked for them. Each secret has its own type, and `Debug` never prints one.

mod add_ons;
mod client;
mod cloud_init;
mod cost;
mod endpoint;
mod examine;
mod firewall;
mod labels;
mod machine_types;
mod power;
mod price;
mod remove;
mod step_proxy;
mod token;

pub(crate) use examine::examine;
