//! Node ports of a cluster that are reached from outside, and the choice of free ones for a run's Services.

use super::{ExternalEndpoint, ExternalNeed, MachineError, Route};
use crate::cluster::Cluster;
use std::collections::{BTreeMap, BTreeSet};

/// Whether a cluster has as many ports as Services are wanted from outside.
pub(super) fn check(cluster: &str, ports: usize, wanted: usize) -> Result<(), MachineError> {
    match ports {
        enough if enough >= wanted => Ok(()),
        0 => Err(MachineError::NoEndpoint(format!("cluster {cluster} has no port that leads into it from outside"))),
        few => Err(MachineError::NoEndpoint(format!(
            "cluster {cluster} has {few} ports that lead into it from outside, and {wanted} are needed"
        ))),
    }
}

/// The endpoint of each Service at `host`, by a node port that no Service of the cluster has. Without needs, the cluster is not asked.
pub(super) async fn endpoints(
    cluster: &Cluster,
    host: &str,
    outside_ports: &BTreeMap<u16, u16>,
    needs: &[ExternalNeed],
) -> Result<Vec<ExternalEndpoint>, MachineError> {
    if needs.is_empty() {
        return Ok(Vec::new());
    }
    let taken = cluster.node_ports_taken().await?;
    choose((&cluster.name, host), outside_ports, &taken, needs)
}

/// Chooses a free port for each Service, so that what is about to be made can be written down first. `outside_ports` are ports of the
/// host by node port.
fn choose(
    (cluster, host): (&str, &str),
    outside_ports: &BTreeMap<u16, u16>,
    taken: &BTreeSet<u16>,
    needs: &[ExternalNeed],
) -> Result<Vec<ExternalEndpoint>, MachineError> {
    check(cluster, outside_ports.len(), needs.len())?;
    let free: Vec<_> = outside_ports.iter().filter(|(node_port, _)| !taken.contains(node_port)).collect();
    if free.len() < needs.len() {
        let (wanted, free, all) = (needs.len(), free.len(), outside_ports.len());
        let text = format!("{wanted} outside ports are needed; {free} of {all} of cluster {cluster} are free");
        return Err(MachineError::NoEndpoint(text));
    }
    let endpoint = |(need, (node_port, host_port)): (&ExternalNeed, (&u16, &u16))| ExternalEndpoint {
        service: need.service.clone(),
        host: host.to_owned(),
        port: *host_port,
        route: Route::New { node_port: *node_port },
    };
    Ok(needs.iter().zip(free).map(endpoint).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use firedrill_core::scenario::ServiceRef;

    fn need(port: u16) -> ExternalNeed {
        let service = ServiceRef { namespace: "ironflow".into(), name: "nats".into(), port };
        ExternalNeed { service, http: false }
    }

    #[test]
    fn endpoints_take_free_ports_alone() {
        let outside = BTreeMap::from([(31_900, 40_001), (31_901, 40_002), (31_902, 40_003)]);
        let two = [need(4222), need(80)];
        let endpoints = choose(("c", "127.0.0.1"), &outside, &BTreeSet::from([31_900]), &two).unwrap();
        let shown: Vec<_> = endpoints.iter().map(|e| (e.host.as_str(), e.port, e.route.clone())).collect();
        let new = |node_port| Route::New { node_port };
        assert_eq!(shown, [("127.0.0.1", 40_002, new(31_901)), ("127.0.0.1", 40_003, new(31_902))]);
        let error =
            choose(("c", "127.0.0.1"), &outside, &BTreeSet::from([31_900, 31_902]), &two).unwrap_err().to_string();
        assert_eq!(error, "2 outside ports are needed; 1 of 3 of cluster c are free");
    }

    #[test]
    fn a_cluster_with_too_few_ports_is_refused() {
        assert!(check("c", 0, 0).is_ok() && check("c", 2, 2).is_ok());
        let error = |ports, wanted| check("c", ports, wanted).unwrap_err().to_string();
        assert_eq!(error(0, 1), "cluster c has no port that leads into it from outside");
        assert_eq!(error(1, 2), "cluster c has 1 ports that lead into it from outside, and 2 are needed");
    }
}
