//! The watchers of a run.

use super::follow::{ReportOptions, follow};
use super::subjects::Subjects;
use super::{alerts, cnpg, kubernetes, nats};
use crate::cluster::Cluster;
use firedrill_core::event::Observation;
use firedrill_core::scenario::Scenario;
use k8s_openapi::api::core::v1::{Event, Node, Pod};
use kube::api::{Api, ApiResource};
use tokio::sync::mpsc::Sender;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

/// Watches the nodes, the API server, the alerts and everything that the scenario is about, until it is stopped.
///
/// Changes are sent as they are seen, and wait where the queue is full. A watch that breaks is taken up again; while the
/// API server is away, that is said once.
pub fn watch(
    cluster: Cluster,
    scenario: &Scenario,
    to: Sender<Observation>,
    stop: CancellationToken,
) -> JoinHandle<()> {
    let subjects = Subjects::of(scenario);
    tokio::spawn(async move {
        let mut tasks = JoinSet::new();
        start(&cluster, subjects, &to, &mut tasks);
        drop(to);
        tokio::select! {
            () = stop.cancelled() => {}
            // All ended: nobody listens any more.
            () = async { while tasks.join_next().await.is_some() {} } => {}
        }
        tasks.shutdown().await;
    })
}

fn start(cluster: &Cluster, subjects: Subjects, to: &Sender<Observation>, tasks: &mut JoinSet<()>) {
    let states = ReportOptions { unhealthy_at_start: true, gone: true };
    let news = ReportOptions { unhealthy_at_start: false, gone: false };
    tasks.spawn(kubernetes::watch_api(cluster.clone(), to.clone()));
    let nodes = Api::all_with(cluster.client(), &ApiResource::erase::<Node>(&()));
    tasks.spawn(follow(nodes, states, to.clone(), |node: &Node| Some(kubernetes::node_state(node))));
    for namespace in &subjects.namespaces {
        let pods = Api::namespaced_with(cluster.client(), namespace, &ApiResource::erase::<Pod>(&()));
        tasks.spawn(follow(pods, states, to.clone(), |pod: &Pod| Some(kubernetes::pod_state(pod))));
        let events = Api::namespaced_with(cluster.client(), namespace, &ApiResource::erase::<Event>(&()));
        tasks.spawn(follow(events, news, to.clone(), |event: &Event| Some(kubernetes::event_state(event))));
    }
    for name in &subjects.cnpg {
        let Some((namespace, name)) = name.split_once('/') else { continue };
        let clusters = Api::namespaced_with(cluster.client(), namespace, &cnpg::resource());
        let name = name.to_owned();
        tasks.spawn(follow(clusters, states, to.clone(), move |object| cnpg::state(object, &name)));
    }
    let several = subjects.nats.len() > 1;
    tasks.spawn(alerts::watch(cluster.clone(), subjects.alerts, to.clone()));
    for servers in subjects.nats {
        tasks.spawn(nats::watch(cluster.clone(), servers, several, to.clone()));
    }
}
