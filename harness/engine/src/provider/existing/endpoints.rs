//! Addresses outside of a cluster that its owner has given to Services: by LoadBalancer, NodePort or Ingress. Nothing is made. An address
//! counts where it accepts a TCP connection from this machine.

use super::super::{ExternalEndpoint, ExternalNeed, Route};
use crate::cluster::{Cluster, ClusterError, NodeState};
use firedrill_core::scenario::ServiceRef;
use k8s_openapi::api::core::v1::{Node, Service, ServicePort};
use k8s_openapi::api::networking::v1::{HTTPIngressPath, Ingress, IngressRule, IngressServiceBackend};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;
use kube::api::{Api, ListParams};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;
use tokio::net::TcpStream;

/// How long an address may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Addresses of nodes that are tried for one node port.
const NODES_MAX: usize = 5;
/// Addresses that are tried for one Service.
const CANDIDATES_MAX: usize = 32;
/// The port of plain HTTP at an Ingress controller.
const INGRESS_PORT: u16 = 80;

/// What the API server says about the namespace of a Service.
pub(super) struct Objects {
    pub(super) services: Vec<Service>,
    pub(super) ingresses: Vec<Ingress>,
    pub(super) nodes: Vec<Node>,
}

impl Objects {
    /// Reads them.
    ///
    /// # Errors
    /// Where the API server does not say.
    pub(super) async fn list(cluster: &Cluster, namespace: &str) -> Result<Self, ClusterError> {
        let services: Api<Service> = Api::namespaced(cluster.client(), namespace);
        let ingresses: Api<Ingress> = Api::namespaced(cluster.client(), namespace);
        let nodes: Api<Node> = Api::all(cluster.client());
        let all = ListParams::default();
        let services = cluster.ask(format!("the services of namespace {namespace}"), services.list(&all)).await?;
        let ingresses = cluster.ask(format!("the ingresses of namespace {namespace}"), ingresses.list(&all)).await?;
        let nodes = cluster.ask("the cluster's nodes", nodes.list(&all)).await?;
        Ok(Self { services: services.items, ingresses: ingresses.items, nodes: nodes.items })
    }
}

/// An address that may lead to a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Candidate {
    host: String,
    port: u16,
    through: String,
}

/// Where a Service is reached from this machine.
///
/// # Errors
/// Why it is not.
pub(super) async fn find(need: &ExternalNeed, objects: &Objects) -> Result<ExternalEndpoint, String> {
    let ServiceRef { namespace, name, port } = &need.service;
    let found = candidates(need, objects).map_err(|why| format!("service {namespace}/{name} port {port} {why}"))?;
    let tried = futures::future::join_all(found.iter().map(connect)).await;
    let mut refused = Vec::new();
    for (candidate, tried) in found.into_iter().zip(tried) {
        let Candidate { host, port, through } = candidate;
        match tried {
            Ok(()) => {
                return Ok(ExternalEndpoint {
                    service: need.service.clone(),
                    host,
                    port,
                    route: Route::Existing { through },
                });
            }
            Err(why) => refused.push(format!("{host}:{port} ({through}): {why}")),
        }
    }
    Err(format!(
        "service {namespace}/{name} port {port} accepts no connection from this machine: {}",
        refused.join(", ")
    ))
}

async fn connect(candidate: &Candidate) -> Result<(), String> {
    match tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect((candidate.host.as_str(), candidate.port))).await {
        Ok(connected) => connected.map(drop).map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {} s", CONNECT_TIMEOUT.as_secs())),
    }
}

/// The addresses that may lead to a Service, the most stable first.
fn candidates(need: &ExternalNeed, objects: &Objects) -> Result<Vec<Candidate>, String> {
    let ServiceRef { name, port, .. } = &need.service;
    let named = objects.services.iter().find(|service| service.name_any() == *name).ok_or("is not there")?;
    let named_port = port_of(named, *port).ok_or("does not have that port")?;
    let same_pods = |service: &&Service| service.name_any() != *name && selector(service) == selector(named);
    // Another Service may lead to the same port of the same pods.
    let others: Vec<&Service> =
        if selector(named).is_some() { objects.services.iter().filter(same_pods).collect() } else { Vec::new() };
    let twins = others.into_iter().flat_map(move |service| {
        let same = move |port: &&ServicePort| target(port) == target(named_port) && is_tcp(port);
        ports(service).filter(same).map(move |port| (service, port))
    });
    let ways: Vec<(&Service, &ServicePort)> = std::iter::once((named, named_port)).chain(twins).collect();

    let mut found: Vec<Candidate> = ways.iter().flat_map(|(service, port)| balanced(service, port)).collect();
    let mut notes = Vec::new();
    for (service, port) in &ways {
        match by_node_port(service, port, &objects.nodes) {
            Ok(nodes) => found.extend(nodes),
            Err(note) => notes.extend(note),
        }
    }
    if need.http {
        found.extend(objects.ingresses.iter().flat_map(|ingress| by_ingress(ingress, &ways, &mut notes)));
    }
    found.truncate(CANDIDATES_MAX);
    if found.is_empty() {
        let kind = named.spec.as_ref().and_then(|spec| spec.type_.as_deref()).unwrap_or("ClusterIP");
        let ingress = if need.http { "NodePort, LoadBalancer or Ingress" } else { "NodePort or LoadBalancer" };
        notes.insert(0, format!("is of type {kind}, and no {ingress} leads to it"));
        return Err(notes.join("; "));
    }
    Ok(found)
}

fn selector(service: &Service) -> Option<&BTreeMap<String, String>> {
    service.spec.as_ref().and_then(|spec| spec.selector.as_ref()).filter(|selector| !selector.is_empty())
}

fn ports(service: &Service) -> impl Iterator<Item = &ServicePort> {
    service.spec.iter().flat_map(|spec| spec.ports.iter().flatten())
}

fn port_of(service: &Service, port: u16) -> Option<&ServicePort> {
    ports(service).find(|known| known.port == i32::from(port) && is_tcp(known))
}

fn is_tcp(port: &ServicePort) -> bool {
    port.protocol.as_deref().unwrap_or("TCP") == "TCP"
}

/// The pods' port that it leads to.
fn target(port: &ServicePort) -> IntOrString {
    port.target_port.clone().unwrap_or(IntOrString::Int(port.port))
}

fn full_name(service: &Service) -> String {
    format!("{}/{}", service.namespace().unwrap_or_default(), service.name_any())
}

/// The addresses that a load balancer has for a Service.
fn balanced(service: &Service, port: &ServicePort) -> Vec<Candidate> {
    let status = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let addresses = status.into_iter().flat_map(|balancer| balancer.ingress.iter().flatten());
    let hosts = addresses.filter_map(|address| host_of(address.ip.as_deref(), address.hostname.as_deref()));
    let through = format!("LoadBalancer of service {}", full_name(service));
    hosts
        .filter_map(|host| Some(Candidate { host, port: u16::try_from(port.port).ok()?, through: through.clone() }))
        .collect()
}

/// A host that fits into an address `host:port`.
fn host_of(ip: Option<&str>, hostname: Option<&str>) -> Option<String> {
    let ip = ip.filter(|ip| ip.parse::<Ipv4Addr>().is_ok());
    ip.or(hostname.filter(|name| !name.is_empty())).map(str::to_owned)
}

/// A Service's port on nodes that are ready: on external addresses first, then on internal ones.
///
/// # Errors
/// Where there is a port that is not good enough, why; `None` where there is no port.
fn by_node_port(service: &Service, port: &ServicePort, nodes: &[Node]) -> Result<Vec<Candidate>, Option<String>> {
    let Some(node_port) = port.node_port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0) else {
        return Err(None);
    };
    let name = full_name(service);
    let policy = service.spec.as_ref().and_then(|spec| spec.external_traffic_policy.as_deref());
    if policy == Some("Local") {
        return Err(Some(format!(
            "node port {node_port} of service {name} does not count: with externalTrafficPolicy Local it moves with its pods"
        )));
    }
    let ready = || nodes.iter().filter(|node| NodeState::of(node).ready);
    let of = |kind: &'static str| ready().flat_map(move |node| addresses(node, kind)).take(NODES_MAX);
    let hosts = of("ExternalIP").chain(of("InternalIP"));
    let through = format!("NodePort of service {name}");
    Ok(hosts.map(|host| Candidate { host, port: node_port, through: through.clone() }).collect())
}

fn addresses(node: &Node, kind: &'static str) -> impl Iterator<Item = String> {
    let all = node.status.iter().flat_map(|status| status.addresses.iter().flatten());
    let of_kind = all.filter(move |address| address.type_ == kind && address.address.parse::<Ipv4Addr>().is_ok());
    of_kind.map(|address| address.address.clone())
}

/// The addresses by which an Ingress hands every path of plain HTTP to one of these Services.
fn by_ingress(ingress: &Ingress, ways: &[(&Service, &ServicePort)], notes: &mut Vec<String>) -> Vec<Candidate> {
    let Some(spec) = &ingress.spec else { return Vec::new() };
    let through = format!("Ingress {}/{}", ingress.namespace().unwrap_or_default(), ingress.name_any());
    let leads_here =
        |backend: &IngressServiceBackend| ways.iter().any(|(service, port)| is_backend(backend, service, port));
    let has_all = |path: &HTTPIngressPath| {
        let is_root = matches!(path.path.as_deref(), None | Some("" | "/")) && path.path_type != "Exact";
        is_root && path.backend.service.as_ref().is_some_and(leads_here)
    };
    let to_us = |rule: &&IngressRule| rule.http.iter().flat_map(|http| http.paths.iter()).any(has_all);
    let mut hosts: Vec<Option<&str>> =
        spec.rules.iter().flatten().filter(to_us).map(|rule| rule.host.as_deref()).collect();
    let default = spec.default_backend.as_ref().and_then(|backend| backend.service.as_ref());
    if default.is_some_and(leads_here) {
        hosts.push(None);
    }
    let mut found = Vec::new();
    for host in hosts {
        let covers = |tls: &Vec<String>| tls.is_empty() || host.is_none_or(|host| tls.iter().any(|name| name == host));
        if spec.tls.iter().flatten().any(|tls| covers(&tls.hosts.clone().unwrap_or_default())) {
            notes.push(format!("{through} does not count: it wants TLS, and probes ask by plain HTTP"));
            continue;
        }
        match host {
            Some(host) if host.contains('*') => {
                notes.push(format!("{through} does not count: {host} names no single host"));
            }
            // Its rule holds for requests to that name alone.
            Some(host) => found.push(Candidate { host: host.to_owned(), port: INGRESS_PORT, through: through.clone() }),
            None => {
                let status = ingress.status.as_ref().and_then(|status| status.load_balancer.as_ref());
                let addresses = status.into_iter().flat_map(|balancer| balancer.ingress.iter().flatten());
                let hosts = addresses.filter_map(|address| host_of(address.ip.as_deref(), address.hostname.as_deref()));
                found.extend(hosts.map(|host| Candidate { host, port: INGRESS_PORT, through: through.clone() }));
            }
        }
    }
    found
}

fn is_backend(backend: &IngressServiceBackend, service: &Service, port: &ServicePort) -> bool {
    let Some(wanted) = &backend.port else { return false };
    let by_number = wanted.number == Some(port.port);
    let by_name = wanted.name.is_some() && wanted.name == port.name;
    backend.name == service.name_any() && (by_number || by_name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use tokio::net::TcpListener;

    fn need(http: bool) -> ExternalNeed {
        ExternalNeed { service: ServiceRef { namespace: "n".into(), name: "web".into(), port: 80 }, http }
    }

    fn service(name: &str, mut spec: Value) -> Service {
        spec["selector"] = json!({"app": "web"});
        let status = spec.as_object_mut().unwrap().remove("status").unwrap_or_default();
        serde_json::from_value(json!({"metadata": {"name": name, "namespace": "n"}, "spec": spec, "status": status}))
            .unwrap()
    }

    fn node(name: &str, ready: &str, addresses: &[(&str, &str)]) -> Node {
        let addresses: Vec<Value> =
            addresses.iter().map(|(kind, address)| json!({"type": kind, "address": address})).collect();
        let conditions = json!([{"type": "Ready", "status": ready}]);
        serde_json::from_value(
            json!({"metadata": {"name": name}, "status": {"addresses": addresses, "conditions": conditions}}),
        )
        .unwrap()
    }

    fn ingress(name: &str, mut spec: Value, backend: &Value) -> Ingress {
        let path = json!({"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "web", "port": backend}}});
        for rule in spec["rules"].as_array_mut().unwrap() {
            rule["http"] = json!({"paths": [path]});
        }
        let status = json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.7"}]}});
        serde_json::from_value(json!({"metadata": {"name": name, "namespace": "n"}, "spec": spec, "status": status}))
            .unwrap()
    }

    fn cluster_ip() -> Service {
        service("web", json!({"ports": [{"name": "http", "port": 80, "targetPort": "http"}]}))
    }

    fn shown(http: bool, objects: &Objects) -> Result<Vec<String>, String> {
        let found = candidates(&need(http), objects)?;
        Ok(found.into_iter().map(|found| format!("{}:{} {}", found.host, found.port, found.through)).collect())
    }

    fn objects(services: Vec<Service>, ingresses: Vec<Ingress>) -> Objects {
        let nodes = vec![
            node("a", "True", &[("InternalIP", "10.0.0.1"), ("InternalIP", "fd00::1"), ("Hostname", "a")]),
            node("b", "True", &[("InternalIP", "10.0.0.2"), ("ExternalIP", "192.0.2.2")]),
            node("c", "False", &[("ExternalIP", "192.0.2.3")]),
        ];
        Objects { services, ingresses, nodes }
    }

    #[test]
    fn a_node_port_is_reached_on_nodes_that_are_ready_and_by_external_addresses_first() {
        let spec =
            json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 30_080}, {"port": 81, "nodePort": 30_081}]});
        let through = "NodePort of service n/web";
        let expected = ["192.0.2.2", "10.0.0.1", "10.0.0.2"].map(|host| format!("{host}:30080 {through}"));
        assert_eq!(shown(false, &objects(vec![service("web", spec)], vec![])).unwrap(), expected);
    }

    #[test]
    fn a_node_port_that_moves_with_its_pods_does_not_count() {
        let spec =
            json!({"type": "NodePort", "externalTrafficPolicy": "Local", "ports": [{"port": 80, "nodePort": 30_080}]});
        let why = shown(false, &objects(vec![service("web", spec)], vec![])).unwrap_err();
        assert!(why.starts_with("is of type NodePort") && why.contains("30080") && why.contains("Local"), "{why}");
    }

    #[test]
    fn a_load_balancer_is_reached_by_its_address_or_name() {
        let spec = json!({"type": "LoadBalancer", "ports": [{"port": 80}],
            "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.9"}, {"hostname": "lb.example"}, {"ip": "2001:db8::1"}]}}});
        let through = "LoadBalancer of service n/web";
        let expected = [format!("192.0.2.9:80 {through}"), format!("lb.example:80 {through}")];
        assert_eq!(shown(false, &objects(vec![service("web", spec)], vec![])).unwrap(), expected);
    }

    #[test]
    fn another_service_of_the_same_pods_and_port_counts() {
        let ports = json!([{"port": 8080, "targetPort": "http", "nodePort": 30_088}, {"port": 81, "nodePort": 30_081}]);
        let public = service("web-public", json!({"type": "NodePort", "ports": ports}));
        let mut other =
            service("other", json!({"type": "NodePort", "ports": [{"port": 80, "targetPort": "http", "nodePort": 1}]}));
        other.spec.as_mut().unwrap().selector = Some([("app".to_owned(), "other".to_owned())].into());
        let found = shown(false, &objects(vec![cluster_ip(), other, public], vec![])).unwrap();
        assert!(found.iter().all(|found| found.ends_with(":30088 NodePort of service n/web-public")), "{found:?}");
        assert_eq!(found.len(), 3);
    }

    #[test]
    fn an_ingress_counts_for_http_alone() {
        let rules = json!({"rules": [{"host": "web.example"}, {}, {"host": "*.example"}]});
        let by = |backend: Value| objects(vec![cluster_ip()], vec![ingress("i", rules.clone(), &backend)]);
        let expected = ["web.example:80 Ingress n/i", "192.0.2.7:80 Ingress n/i"];
        assert_eq!(shown(true, &by(json!({"number": 80}))).unwrap(), expected);
        assert_eq!(shown(true, &by(json!({"name": "http"}))).unwrap(), expected);
        assert!(shown(true, &by(json!({"number": 81}))).is_err());
        let why = shown(false, &by(json!({"number": 80}))).unwrap_err();
        assert_eq!(why, "is of type ClusterIP, and no NodePort or LoadBalancer leads to it");
    }

    #[test]
    fn an_ingress_with_tls_or_for_a_part_of_the_paths_does_not_count() {
        let secure = json!({"rules": [{"host": "web.example"}], "tls": [{"hosts": ["web.example"]}]});
        let why =
            shown(true, &objects(vec![cluster_ip()], vec![ingress("i", secure, &json!({"number": 80}))])).unwrap_err();
        assert!(why.contains("Ingress n/i does not count: it wants TLS"), "{why}");
        let mut part = ingress("i", json!({"rules": [{}]}), &json!({"number": 80}));
        let rules = part.spec.as_mut().unwrap().rules.as_mut().unwrap();
        rules[0].http.as_mut().unwrap().paths[0].path = Some("/api".to_owned());
        assert!(shown(true, &objects(vec![cluster_ip()], vec![part])).is_err());
    }

    #[test]
    fn a_service_that_is_not_there_is_named() {
        assert_eq!(shown(false, &objects(vec![], vec![])).unwrap_err(), "is not there");
        let other = service("web", json!({"ports": [{"port": 81}]}));
        assert_eq!(shown(false, &objects(vec![other], vec![])).unwrap_err(), "does not have that port");
    }

    #[tokio::test]
    async fn the_first_address_that_accepts_a_connection_is_taken() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let spec = json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": port}]});
        let nodes = vec![node("a", "True", &[("InternalIP", "127.0.0.2"), ("InternalIP", "127.0.0.1")])];
        let objects = Objects { services: vec![service("web", spec)], ingresses: vec![], nodes };
        let found = find(&need(true), &objects).await.unwrap();
        assert_eq!((found.host.as_str(), found.port), ("127.0.0.1", port));
        assert_eq!(found.route, Route::Existing { through: "NodePort of service n/web".to_owned() });
        drop(listener);
        let why = find(&need(true), &objects).await.unwrap_err();
        assert!(why.starts_with("service n/web port 80 accepts no connection from this machine: 127.0.0.2:"), "{why}");
    }
}
