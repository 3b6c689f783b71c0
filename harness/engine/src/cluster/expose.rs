//! NodePort Services that a run makes beside Services of the stack, for probes from outside.

use super::{Cluster, ClusterError, RunMark};
use firedrill_core::scenario::ServiceRef;
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use kube::api::{Api, ListParams, PostParams};
use std::collections::BTreeSet;

impl Cluster {
    /// The node ports that Services of this cluster have.
    ///
    /// # Errors
    /// Where the API server does not say.
    pub async fn node_ports_taken(&self) -> Result<BTreeSet<u16>, ClusterError> {
        let all: Api<Service> = Api::all(self.client());
        let services = self.ask("the cluster's services", all.list(&ListParams::default())).await?;
        Ok(services.iter().flat_map(node_ports).collect())
    }

    /// Makes a NodePort Service of that name beside a Service, with one port that leads where the Service's does.
    ///
    /// # Errors
    /// Where the Service is not there, lacks the port or selects nothing, or the node port was taken meanwhile.
    pub async fn make_node_port(
        &self,
        mark: &RunMark,
        service: &ServiceRef,
        name: &str,
        node_port: u16,
    ) -> Result<(), ClusterError> {
        let api: Api<Service> = Api::namespaced(self.client(), &service.namespace);
        let what = format!("service {}/{}", service.namespace, service.name);
        let target = self.ask(what, api.get(&service.name)).await?;
        let spec = node_port_spec(&target, service, node_port)?;
        let made = Service { metadata: mark.metadata(name), spec: Some(spec), status: None };
        let what = format!("service {}/{name}", service.namespace);
        self.ask(what, api.create(&PostParams::default(), &made)).await?;
        Ok(())
    }
}

fn node_ports(service: &Service) -> Vec<u16> {
    let ports = service.spec.as_ref().and_then(|spec| spec.ports.as_ref());
    ports.into_iter().flatten().filter_map(|port| port.node_port).filter_map(|port| u16::try_from(port).ok()).collect()
}

fn node_port_spec(target: &Service, service: &ServiceRef, node_port: u16) -> Result<ServiceSpec, ClusterError> {
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
        // Clients do not reach a server that is not ready yet.
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
    fn a_node_port_leads_where_its_service_leads() {
        let target = service(serde_json::json!({"spec": {
            "clusterIP": "None", "selector": {"app": "nats"},
            "ports": [{"port": 4222, "targetPort": "client"}, {"port": 8222, "targetPort": 8222}]}}));
        let made = serde_json::to_value(node_port_spec(&target, &reference(4222), 31_902).unwrap()).unwrap();
        assert_eq!(
            made,
            serde_json::json!({"type": "NodePort", "externalTrafficPolicy": "Cluster", "selector": {"app": "nats"},
                "publishNotReadyAddresses": false,
                "ports": [{"port": 4222, "targetPort": "client", "nodePort": 31_902}]})
        );
        let error = node_port_spec(&target, &reference(80), 31_902).unwrap_err().to_string();
        assert_eq!(error, "service ironflow/nats has no port 80");
        let nothing = service(serde_json::json!({"spec": {"ports": [{"port": 4222}]}}));
        let error = node_port_spec(&nothing, &reference(4222), 31_902).unwrap_err().to_string();
        assert_eq!(error, "service ironflow/nats selects no pods");
    }
}
