//! What watches the stack, such as Prometheus with alert rules, and the source of `kubectl top`.

use super::health::of_deployment;
use super::{ANNOTATION_DIGEST, APPLY_LIMIT, StackError, StackOptions, note, record};
use crate::cluster::{Cluster, ClusterError, MANAGED_BY, Waiting};
use crate::process::{Progress, Tool};
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::Api;
use std::time::Duration;

const READY_LIMIT: Duration = Duration::from_secs(180);

/// Applies the folder, unless the same was applied before. It starts while the stack does; [`ready`] waits for it.
pub(super) async fn apply(
    cluster: &Cluster,
    options: &StackOptions,
    digest: &str,
    progress: Progress<'_>,
) -> Result<(), StackError> {
    let (Some(monitoring), Some(folder)) = (&options.stack.monitoring, &options.monitoring) else { return Ok(()) };
    if note(cluster, &monitoring.namespace, ANNOTATION_DIGEST).await?.as_deref() == Some(digest) {
        return Ok(());
    }
    progress(format!("installing {}", monitoring.title));
    let kubectl = Tool::new("kubectl", APPLY_LIMIT).env(cluster.kubectl_env());
    let kubectl = kubectl.args(["apply", "--server-side", "--force-conflicts"]);
    kubectl.args(["--field-manager", MANAGED_BY, "--kustomize"]).arg(folder).run().await?;
    Ok(())
}

/// Waits until it works, and notes that.
pub(super) async fn ready(
    cluster: &Cluster,
    options: &StackOptions,
    digest: &str,
    progress: Progress<'_>,
) -> Result<(), StackError> {
    let Some(monitoring) = &options.stack.monitoring else { return Ok(()) };
    let mut told = |missing: String| progress(format!("waiting for monitoring: {missing}"));
    cluster
        .wait_and_tell("monitoring to be there", READY_LIMIT, &mut told, || async {
            let mut missing = Vec::new();
            for place in &monitoring.deployments {
                missing.extend(missing_of(cluster, &place.namespace, &place.name).await?);
            }
            Ok(if missing.is_empty() { Waiting::Done(()) } else { Waiting::Not(missing.join(", ")) })
        })
        .await?;
    record(cluster, &monitoring.namespace, digest, None).await?;
    Ok(())
}

async fn missing_of(cluster: &Cluster, namespace: &str, name: &str) -> Result<Option<String>, ClusterError> {
    let api: Api<Deployment> = Api::namespaced(cluster.client(), namespace);
    let found = cluster.ask(format!("deployment {namespace}/{name}"), api.get_opt(name)).await?;
    Ok(found.map_or_else(|| Some(format!("{name} is not there")), |deployment| of_deployment(&deployment)))
}
