//! The driver of `fixtures/volumes`, asked by its own program in its controller's pod.

use crate::cluster::{Cluster, Container, Ended};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, ListParams};
use std::time::Duration;

/// Its name, as the volumes that it made carry it.
pub(crate) const DRIVER: &str = "volumes.firedrill.dev";
/// Where its controller runs.
const NAMESPACE: &str = "firedrill-volumes";

/// Runs a command of the driver's program.
///
/// # Errors
/// Where its controller does not run, or does not answer within the limit. That it failed is no error: it says so.
pub(crate) async fn ask(cluster: &Cluster, args: &[&str], limit: Duration) -> Result<Ended, String> {
    let pods: Api<Pod> = Api::namespaced(cluster.client(), NAMESPACE);
    let controllers = pods.list(&ListParams::default().labels("app=controller")).await;
    let controllers = controllers.map_err(|error| format!("list the volume driver's pods: {error}"))?;
    let runs = |pod: &&Pod| pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running");
    let pod =
        controllers.items.iter().find(runs).map(ResourceExt::name_any).ok_or("the volumes' driver does not run")?;
    let place = Container { namespace: NAMESPACE, pod: &pod, container: "driver" };
    let command: Vec<&str> = ["/volumes-driver"].iter().chain(args).copied().collect();
    cluster.exec(place, &command, limit).await.map_err(|error| error.to_string())
}

/// What it said last of why it failed.
pub(crate) fn failure(ended: &Ended) -> String {
    ended.stderr.lines().last().unwrap_or("it said nothing").to_owned()
}
