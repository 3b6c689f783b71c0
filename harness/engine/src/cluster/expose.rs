//! Doors from this machine's loopback address to Services of the cluster.
//!
//! No address of a node is kept: a node that was powered off may come back with another one. The engine publishes a node's ports
//! on the loopback address and follows the container; probes from inside resolve names anew for each connection.

use super::{Cluster, ClusterError, RunMark};
use firedrill_core::scenario::ServiceRef;
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use kube::api::{Api, ListParams, PostParams};
use std::collections::{BTreeMap, BTreeSet};

/// A NodePort Service of a run, beside the Service that it leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Door {
    /// Where it leads.
    pub service: ServiceRef,
    /// Its own name, in the same namespace.
    pub name: String,
    /// Its port on the cluster's nodes.
    pub node_port: u16,
    /// The port of 127.0.0.1 that leads there.
    pub host_port: u16,
}

impl Cluster {
    /// Chooses a free outside port for each Service, so that what is about to be made can be written down first.
    ///
    /// # Errors
    /// Where the cluster has too few outside ports.
    pub async fn plan_doors(&self, mark: &RunMark, services: &[ServiceRef]) -> Result<Vec<Door>, ClusterError> {
        let all: Api<Service> = Api::all(self.client());
        let taken = self.ask("the cluster's services", all.list(&ListParams::default())).await?;
        let taken = taken.iter().flat_map(node_ports).collect();
        choose(&self.name, &self.outside_ports, &taken, mark, services)
    }

    /// Makes a door that was planned.
    ///
    /// # Errors
    /// Where its Service is not there, lacks the port or selects nothing, or the node port was taken meanwhile.
    pub async fn open_door(&self, mark: &RunMark, door: &Door) -> Result<(), ClusterError> {
        let service = &door.service;
        let api: Api<Service> = Api::namespaced(self.client(), &service.namespace);
        let what = format!("service {}/{}", service.namespace, service.name);
        let target = self.ask(what, api.get(&service.name)).await?;
        let spec = spec_of_door(&target, service, door.node_port)?;
        let made = Service { metadata: mark.metadata(&door.name), spec: Some(spec), status: None };
        let what = format!("service {}/{}", service.namespace, door.name);
        self.ask(what, api.create(&PostParams::default(), &made)).await?;
        Ok(())
    }
}

fn choose(
    cluster: &str,
    outside_ports: &BTreeMap<u16, u16>,
    taken: &BTreeSet<u16>,
    mark: &RunMark,
    services: &[ServiceRef],
) -> Result<Vec<Door>, ClusterError> {
    if outside_ports.is_empty() {
        return Err(ClusterError::Other(format!("cluster {cluster} has no ports that lead into it from outside")));
    }
    let ports = outside_ports.iter().enumerate();
    let free: Vec<_> = ports.filter(|(_, (node_port, _))| !taken.contains(node_port)).collect();
    if free.len() < services.len() {
        let (wanted, free, all) = (services.len(), free.len(), outside_ports.len());
        let text = format!("{wanted} outside ports are needed; {free} of {all} of cluster {cluster} are free");
        return Err(ClusterError::Other(text));
    }
    let pairs = services.iter().zip(free);
    let door = |(service, (number, (node_port, host_port))): (&ServiceRef, (usize, (&u16, &u16)))| Door {
        service: service.clone(),
        name: format!("firedrill-{}-{number}", mark.run_id),
        node_port: *node_port,
        host_port: *host_port,
    };
    Ok(pairs.map(door).collect())
}

fn node_ports(service: &Service) -> Vec<u16> {
    let ports = service.spec.as_ref().and_then(|spec| spec.ports.as_ref());
    ports.into_iter().flatten().filter_map(|port| port.node_port).filter_map(|port| u16::try_from(port).ok()).collect()
}

fn spec_of_door(target: &Service, service: &ServiceRef, node_port: u16) -> Result<ServiceSpec, ClusterError> {
    let name = format!("service {}/{}", service.namespace, service.name);
    let spec = target.spec.as_ref();
    let selector = spec.and_then(|spec| spec.selector.clone()).filter(|selector| !selector.is_empty());
    let selector = selector.ok_or_else(|| ClusterError::Other(format!("{name} selects no pods")))?;
    let mut ports = spec.and_then(|spec| spec.ports.as_ref()).into_iter().flatten();
    let port = ports.find(|port| port.port == i32::from(service.port));
    let port = port.ok_or_else(|| ClusterError::Other(format!("{name} has no port {}", service.port)))?;
    Ok(ServiceSpec {
        type_: Some("NodePort".to_owned()),
        external_traffic_policy: Some("Cluster".to_owned()),
        selector: Some(selector),
        ports: Some(vec![ServicePort {
            port: port.port,
            target_port: port.target_port.clone(),
            protocol: port.protocol.clone(),
            node_port: Some(i32::from(node_port)),
            ..Default::default()
        }]),
        // A door to a server that is not ready yet would be no door that clients have.
        publish_not_ready_addresses: Some(false),
        ..Default::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(json: serde_json::Value) -> Service {
        serde_json::from_value(json).unwrap()
    }

    fn reference(port: u16) -> ServiceRef {
        ServiceRef { namespace: "ironflow".into(), name: "nats".into(), port }
    }

    #[test]
    fn a_door_leads_where_its_service_leads() {
        let target = service(serde_json::json!({"spec": {
            "clusterIP": "None", "selector": {"app": "nats"},
            "ports": [{"port": 4222, "targetPort": "client"}, {"port": 8222, "targetPort": 8222}]}}));
        let made = serde_json::to_value(spec_of_door(&target, &reference(4222), 31_902).unwrap()).unwrap();
        assert_eq!(
            made,
            serde_json::json!({"type": "NodePort", "externalTrafficPolicy": "Cluster", "selector": {"app": "nats"},
                "publishNotReadyAddresses": false,
                "ports": [{"port": 4222, "targetPort": "client", "nodePort": 31_902}]})
        );
        let error = spec_of_door(&target, &reference(80), 31_902).unwrap_err().to_string();
        assert_eq!(error, "service ironflow/nats has no port 80");
        let nothing = service(serde_json::json!({"spec": {"ports": [{"port": 4222}]}}));
        let error = spec_of_door(&nothing, &reference(4222), 31_902).unwrap_err().to_string();
        assert_eq!(error, "service ironflow/nats selects no pods");
    }

    #[test]
    fn doors_take_free_ports_alone() {
        let outside = BTreeMap::from([(31_900, 40_001), (31_901, 40_002), (31_902, 40_003)]);
        let mark = RunMark { run_id: "r1".into(), expires_unix: 0 };
        let two = [reference(4222), reference(80)];
        let doors = choose("c", &outside, &BTreeSet::from([31_900]), &mark, &two).unwrap();
        let shown: Vec<_> = doors.iter().map(|d| (d.name.as_str(), d.node_port, d.host_port)).collect();
        assert_eq!(shown, [("firedrill-r1-1", 31_901, 40_002), ("firedrill-r1-2", 31_902, 40_003)]);
        let error = choose("c", &outside, &BTreeSet::from([31_900, 31_902]), &mark, &two).unwrap_err().to_string();
        assert_eq!(error, "2 outside ports are needed; 1 of 3 of cluster c are free");
    }
}
