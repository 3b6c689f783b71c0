//! The stack that drills break: Ironflow, NATS and PostgreSQL by their Helm chart, and the operator that runs PostgreSQL.

mod health;
mod inputs;

pub use inputs::StackOptions;

use crate::cluster::{Cluster, ClusterError, MANAGED_BY, Waiting, wait_and_tell, wait_for};
use crate::process::{ProcessError, Progress, Tool};
use inputs::Digests;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::json;
use std::path::PathBuf;
use std::time::Duration;
use thiserror::Error;

/// The namespace, and the release, of the stack.
pub const NAMESPACE: &str = "ironflow";
const OPERATOR_NAMESPACE: &str = "cnpg-system";
const OPERATOR: &str = "cnpg-controller-manager";
/// Annotation on a namespace: the digest of what was installed into it, once that was seen to work.
const ANNOTATION_DIGEST: &str = "firedrill.dev/installed";
const ANNOTATION_TEMPLATE: &str = "firedrill.dev/template";

const APPLY_LIMIT: Duration = Duration::from_secs(120);
const OPERATOR_LIMIT: Duration = Duration::from_secs(180);
const HEALTHY_LIMIT: Duration = Duration::from_secs(420);

/// How the stack could not be had.
#[derive(Debug, Error)]
pub enum StackError {
    /// A file that it is made from is not there.
    #[error("{path}: {reason}")]
    Input {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// `helm` or `kubectl` failed.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// The cluster did not do what it should.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
}

/// A stack that is there and was seen to work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    /// The chart's template.
    pub template: String,
    /// The digest of chart, values and image.
    pub digest: String,
    /// Whether it was there before.
    pub reused: bool,
}

/// What is recorded as installed, where something is. It was seen to work then; [`install`] looks whether it does now.
///
/// # Errors
/// Where the API server does not say.
pub async fn installed(cluster: &Cluster) -> Result<Option<Installed>, StackError> {
    let Some(digest) = note(cluster, NAMESPACE, ANNOTATION_DIGEST).await? else { return Ok(None) };
    let template = note(cluster, NAMESPACE, ANNOTATION_TEMPLATE).await?.unwrap_or_default();
    Ok(Some(Installed { template, digest, reused: true }))
}

/// Installs the stack, or sees that it is there from the same chart, values and image, and waits until it works: every
/// workload complete, the database cluster healthy, and `/ready` answered through Ironflow's Service.
///
/// # Errors
/// Where an input is missing, `helm` or `kubectl` fails, or it does not work within its limits.
pub async fn install(
    cluster: &Cluster,
    options: &StackOptions,
    progress: Progress<'_>,
) -> Result<Installed, StackError> {
    let digests = Digests::of(options)?;
    operator(cluster, options, &digests, progress).await?;
    let same = note(cluster, NAMESPACE, ANNOTATION_DIGEST).await?.as_deref() == Some(digests.stack.as_str());
    if !same {
        progress(format!("installing the stack, template {}", options.template));
        helm(cluster, options).await?;
    }
    let mut told = |missing: String| progress(format!("waiting for the stack: {missing}"));
    wait_and_tell("the stack to be healthy", HEALTHY_LIMIT, &mut told, || async {
        let missing = health::missing(cluster).await?;
        Ok(if missing.is_empty() { Waiting::Done(()) } else { Waiting::Not(missing.join(", ")) })
    })
    .await?;
    record(cluster, NAMESPACE, &digests.stack, Some(&options.template)).await?;
    Ok(Installed { template: options.template.clone(), digest: digests.stack, reused: same })
}

/// The operator that runs PostgreSQL: its own release manifest, placed off the nodes that drills break, and its webhook
/// proven by a request that it has to answer.
async fn operator(
    cluster: &Cluster,
    options: &StackOptions,
    digests: &Digests,
    progress: Progress<'_>,
) -> Result<(), StackError> {
    if note(cluster, OPERATOR_NAMESPACE, ANNOTATION_DIGEST).await?.as_deref() == Some(digests.operator.as_str()) {
        return Ok(());
    }
    progress("installing the CloudNativePG operator".to_owned());
    let kubectl = Tool::new("kubectl", APPLY_LIMIT).env(cluster.kubectl_env());
    let kubectl = kubectl.args(["apply", "--server-side", "--force-conflicts"]);
    kubectl.args(["--field-manager", MANAGED_BY, "--filename"]).arg(&options.cnpg_manifest).run().await?;
    progress("keeping the operator on the control plane".to_owned());
    cluster.prefer_control_plane(OPERATOR_NAMESPACE, OPERATOR, OPERATOR_LIMIT).await?;
    progress("asking the operator's webhook".to_owned());
    wait_for("an answer of the operator's webhook", OPERATOR_LIMIT, || dry_run(cluster)).await?;
    record(cluster, OPERATOR_NAMESPACE, &digests.operator, None).await?;
    Ok(())
}

/// Has the API server admit a database cluster without making it: that needs the webhook's answer.
async fn dry_run(cluster: &Cluster) -> Result<Waiting<()>, ClusterError> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("postgresql.cnpg.io", "v1", "Cluster"));
    let spec = json!({"spec": {"instances": 1, "storage": {"size": "1Gi"}}});
    let object = DynamicObject::new("firedrill-webhook-check", &resource).data(spec);
    let api: Api<DynamicObject> = Api::namespaced_with(cluster.client(), "default", &resource);
    let params = PostParams { dry_run: true, field_manager: None };
    let answer = cluster.ask("a database cluster that is admitted and not made", api.create(&params, &object)).await?;
    let defaulted = answer.data["spec"]["postgresql"].is_object();
    Ok(if defaulted { Waiting::Done(()) } else { Waiting::Not("it was admitted without the webhook".to_owned()) })
}

async fn helm(cluster: &Cluster, options: &StackOptions) -> Result<(), StackError> {
    let mut helm = Tool::new("helm", APPLY_LIMIT).env(cluster.kubectl_env());
    helm = helm.args(["upgrade", "--install", NAMESPACE]).arg(&options.chart);
    helm = helm.args(["--namespace", NAMESPACE, "--create-namespace"]);
    for values in options.values_files() {
        helm = helm.arg("--values").arg(values);
    }
    for (key, value) in options.image_values() {
        helm = helm.arg("--set-string").arg(format!("{key}={value}"));
    }
    helm.run().await?;
    Ok(())
}

async fn note(cluster: &Cluster, namespace: &str, name: &str) -> Result<Option<String>, ClusterError> {
    let api: Api<Namespace> = Api::all(cluster.client());
    let found = cluster.ask(format!("namespace {namespace}"), api.get_metadata_opt(namespace)).await?;
    Ok(found.and_then(|namespace| namespace.metadata.annotations).and_then(|mut notes| notes.remove(name)))
}

async fn record(cluster: &Cluster, namespace: &str, digest: &str, template: Option<&str>) -> Result<(), ClusterError> {
    let api: Api<Namespace> = Api::all(cluster.client());
    let notes = json!({ANNOTATION_DIGEST: digest, ANNOTATION_TEMPLATE: template});
    let patch = Patch::Merge(json!({"metadata": {"annotations": notes}}));
    let what = format!("noting what is installed in namespace {namespace}");
    cluster.ask(what, api.patch(namespace, &PatchParams::default(), &patch)).await?;
    Ok(())
}
