//! The ports on a real cluster.

mod back_off;
mod capabilities;
mod cluster;
mod endpoints;
mod faults;
mod observer;
mod probes;
mod restart_crashed;
mod shell;
mod store;

use crate::clock::Clock;
use crate::cluster::Cluster;
use crate::port::Ports;
use firedrill_core::stack::Stack;
use std::path::Path;
use std::sync::Arc;

pub use store::Files;

/// The ports on a cluster. Drills need the `stack` that they are for, a run also the folder of its `chart`. `image` is the image that
/// holds this program.
pub fn ports(cluster: &Cluster, stack: Option<&Arc<Stack>>, chart: Option<&Path>, image: &str) -> Ports {
    let clock = Clock::start();
    let cluster = &cluster.clone().by_clock(clock);
    let chart = chart.unwrap_or(Path::new("")).to_owned();
    let faults = faults::RealFaults { cluster: cluster.clone(), clock, image: image.to_owned(), chart: chart.clone() };
    let probes = probes::RealProbes { cluster: cluster.clone(), clock, image: image.to_owned() };
    let shell = shell::Bash {
        cluster: cluster.clone(),
        chart,
        chart_at: stack.and_then(|stack| stack.runbooks.chart.clone()),
        provided: tokio::sync::OnceCell::new(),
    };
    Ports {
        clock,
        cluster: Arc::new(cluster::RealCluster { cluster: cluster.clone(), clock }),
        faults: Arc::new(faults),
        observer: Arc::new(observer::RealObserver(cluster.clone())),
        probes: Arc::new(probes),
        shell: Arc::new(shell),
        deployer: Arc::new(faults::Releases { cluster: cluster.clone(), stack: stack.cloned() }),
        store: Arc::new(Files),
    }
}
