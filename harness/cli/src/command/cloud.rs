//! Options of clusters whose machines are rented.

use clap::Args;
use firedrill_core::time::parse_duration;
use firedrill_engine::provider::CloudOptions;
use std::time::Duration;

/// Options of providers of rented machines. Other providers refuse them.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct CloudArgs {
    /// hetzner: a network that may reach the cluster's API server and node ports, such as 198.51.100.7/32. Required; may be repeated.
    #[arg(long, value_name = "CIDR")]
    pub(crate) allow_from: Vec<String>,
    /// hetzner: the type of every server; without it the cheapest one with 4 cores and 8 GB that can be had.
    #[arg(long, value_name = "TYPE")]
    pub(crate) server_type: Option<String>,
    /// hetzner: where the servers are; without it where they are cheapest.
    #[arg(long, value_name = "LOCATION")]
    pub(crate) location: Option<String>,
    /// hetzner: nodes of the control plane, 1 or 3; 1 without it.
    #[arg(long, value_name = "N")]
    pub(crate) control_planes: Option<u32>,
    /// hetzner: who pays, as a label on every resource; the user without it.
    #[arg(long, value_name = "NAME")]
    pub(crate) owner: Option<String>,
    /// hetzner: how long the cluster may live, 10m to 720h; 8h without it. Afterwards `firedrill sweep --expired` deletes it. Nothing does
    /// so by itself.
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) lifetime: Option<Duration>,
    /// hetzner: make nothing if the cluster can cost more than this until its lifetime ends.
    #[arg(long, value_name = "EUR")]
    pub(crate) max_cost: Option<String>,
    /// hetzner: keep what was made of a cluster that could not be finished. Without it everything is removed.
    #[arg(long)]
    pub(crate) keep: bool,
    /// hetzner: a registry that the nodes ask first for every image, such as http://192.0.2.1:5000.
    #[arg(long, value_name = "URL")]
    pub(crate) image_mirror: Option<String>,
}

impl CloudArgs {
    /// The same for the engine.
    pub(crate) fn options(&self) -> CloudOptions {
        let Self { allow_from, server_type, location, control_planes, owner, lifetime, max_cost, keep, image_mirror } =
            self.clone();
        CloudOptions {
            allow_from,
            server_type,
            location,
            control_planes,
            owner,
            lifetime,
            max_cost,
            keep,
            image_mirror,
        }
    }
}
