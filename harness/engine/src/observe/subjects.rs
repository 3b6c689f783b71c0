//! What a scenario is about, as far as it can be watched.

use firedrill_core::scenario::{Condition, Detector, Fault, PodSelector, Scenario};
use std::collections::BTreeSet;

/// What is watched beside the nodes and the API server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Subjects {
    /// The stack's namespaces.
    pub(super) namespaces: BTreeSet<String>,
    /// CNPG clusters, `namespace/name`.
    pub(super) cnpg: BTreeSet<String>,
    /// NATS servers: a selector for each namespace that may have some.
    pub(super) nats: Vec<PodSelector>,
    /// Alerts that a variant expects.
    pub(super) alerts: BTreeSet<String>,
}

/// The namespaces of the stack that a scenario is about.
pub fn namespaces(scenario: &Scenario) -> BTreeSet<String> {
    Subjects::of(scenario).namespaces
}

impl Subjects {
    /// Everything that the scenario's probes, faults, detectors and conditions name.
    pub(super) fn of(scenario: &Scenario) -> Self {
        let mut subjects = Self::default();
        let mut servers = BTreeSet::new();
        for probe in scenario.probes.values() {
            subjects.namespaces.insert(probe.kind.service().namespace);
            let cluster = probe.kind.cnpg_cluster();
            subjects.cnpg.extend(cluster.map(|(namespace, name)| format!("{namespace}/{name}")));
        }
        for variant in scenario.variants.values() {
            subjects.alerts.extend(variant.alerts.iter().map(|alert| alert.fires.clone()));
            // What is broken in Kubernetes' own namespaces is no part of the stack.
            let of_the_stack = |namespace: &&str| !namespace.starts_with("kube-");
            let broken = variant.faults().filter_map(Fault::namespace).filter(of_the_stack);
            subjects.namespaces.extend(broken.map(str::to_owned));
            match &variant.detect {
                Detector::CnpgPhase { cluster } => {
                    subjects.cnpg.insert(cluster.clone());
                }
                Detector::NatsQuorum { pods } => {
                    servers.insert(pods.clone());
                }
                Detector::PodNotReady | Detector::NodeNotReady | Detector::Symptom(_) | Detector::Nothing => {}
            }
            for condition in &variant.redundancy {
                match condition {
                    Condition::CnpgHealthy { cluster } => {
                        subjects.cnpg.insert(cluster.clone());
                    }
                    Condition::NatsCurrent { pods, .. } => {
                        servers.insert(pods.clone());
                    }
                    Condition::PodsReady { pods } => {
                        subjects.namespaces.insert(pods.namespace.clone());
                    }
                    Condition::NoRows(query) => {
                        subjects.cnpg.insert(query.cluster.clone());
                    }
                    Condition::PoliciesAsBefore { namespace } => {
                        subjects.namespaces.insert(namespace.clone());
                    }
                    Condition::NodesReady | Condition::AlertOver { .. } => {}
                }
            }
        }
        let named =
            subjects.cnpg.iter().filter_map(|name| name.split_once('/')).map(|(namespace, _)| namespace.to_owned());
        subjects.namespaces.extend(named.collect::<Vec<_>>());
        subjects.namespaces.extend(servers.iter().map(|pods| pods.namespace.clone()));
        // A scenario about PostgreSQL names no NATS server, and its stack has some all the same.
        let usual = scenario.watch.nats.iter().flat_map(|labels| {
            let of = |namespace: &String| PodSelector { namespace: namespace.clone(), labels: labels.clone() };
            subjects.namespaces.iter().map(of)
        });
        subjects.nats = if servers.is_empty() { usual.collect() } else { servers.into_iter().collect() };
        subjects
    }
}
