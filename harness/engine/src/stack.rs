//! Installs the stack that drills break, as its definition says: operators, Helm releases, and what watches them.

mod diagnostics;
mod health;
mod inputs;
mod monitoring;
mod releases;
mod switch;
#[cfg(test)]
mod words_tests;

pub use inputs::StackOptions;

use crate::cluster::{Cluster, ClusterError, LABEL_MANAGED_BY, MANAGED_BY, Waiting, url_escaped};
use crate::process::{ProcessError, Progress, Tool};
use firedrill_core::scenario::Layout;
use firedrill_core::stack::{Handover, Operator, Release, Stack, Webhook};
use inputs::Digests;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::json;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use thiserror::Error;

/// Annotation on a namespace: the digest of what was installed into it, once that was seen to work.
const ANNOTATION_DIGEST: &str = "firedrill.dev/installed";
const ANNOTATION_TEMPLATE: &str = "firedrill.dev/template";
/// The layout that a namespace is of, from the beginning of its installation on.
const ANNOTATION_LAYOUT: &str = "firedrill.dev/layout";

const APPLY_LIMIT: Duration = Duration::from_secs(120);
const OPERATOR_LIMIT: Duration = Duration::from_secs(180);
const HEALTHY_LIMIT: Duration = Duration::from_secs(420);
/// How often crashed pods are started anew: what crashes for another reason goes on to wait, and is told at the limit.
const RESTARTS_MAX: u32 = 3;
const HANDOVER_LIMIT: Duration = Duration::from_secs(60);

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
    /// Nobody said where an operator's manifest is.
    #[error("the manifest of {title} is not known")]
    NoManifest {
        /// The operator's name.
        operator: String,
        /// What people call it.
        title: String,
    },
    /// Something is where the layout belongs that firedrill may not take away.
    #[error("{why}")]
    InTheWay {
        /// What.
        why: String,
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
    /// Its layout.
    pub layout: Layout,
    /// The template that it was made from.
    pub template: String,
    /// The digest of definition, chart, values and images.
    pub digest: String,
    /// Whether it was there before.
    pub reused: bool,
}

/// What is recorded as installed, where something is. It was seen to work then; [`install`] looks whether it does now.
///
/// # Errors
/// Where the API server does not say.
pub async fn installed(cluster: &Cluster, stack: &Stack) -> Result<Option<Installed>, StackError> {
    for layout in &stack.layouts {
        let Some(last) = layout.releases.last() else { continue };
        let Some(digest) = note(cluster, &last.namespace, ANNOTATION_DIGEST).await? else { continue };
        let noted = note(cluster, &last.namespace, ANNOTATION_LAYOUT).await?;
        if noted.as_deref() == Some(layout.name.name()) {
            let template = note(cluster, &last.namespace, ANNOTATION_TEMPLATE).await?.unwrap_or_default();
            let layout = layout.name.clone();
            return Ok(Some(Installed { layout, template, digest, reused: true }));
        }
    }
    Ok(None)
}

/// What is missing until the stack that is there works, in its layout, or in the default one where none is noted; empty
/// where it does.
///
/// # Errors
/// Where the API server does not say.
pub async fn missing(cluster: &Cluster, stack: &Stack) -> Result<Vec<String>, StackError> {
    let layout = installed(cluster, stack).await?.map_or_else(|| stack.default_layout(), |installed| installed.layout);
    let mut missing = Vec::new();
    for release in stack.releases(&layout) {
        missing.extend(health::of_release(cluster, release).await?.missing);
    }
    Ok(missing)
}

/// Installs the stack, or sees that it is there from the same definition, chart, values and images, and waits until it works:
/// every workload complete, every release ready by its own conditions, and monitoring there. A stack in another layout is taken
/// away first, with its volumes.
///
/// # Errors
/// Where an input is missing, something is in the way, `helm` or `kubectl` fails, or it does not work within its limits.
pub async fn install(
    cluster: &Cluster,
    options: &StackOptions,
    progress: Progress<'_>,
) -> Result<Installed, StackError> {
    let digests = Digests::of(options)?;
    switch::make_room(cluster, options, progress).await?;
    for (operator, digest) in options.stack.operators.iter().zip(&digests.operators) {
        install_operator(cluster, options, operator, digest, progress).await?;
    }
    monitoring::apply(cluster, options, &digests.monitoring, progress).await?;
    let same = installed(cluster, &options.stack).await?;
    let same = same.is_some_and(|installed| installed.digest == digests.stack);
    let all = options.releases();
    if !same {
        for release in all {
            progress(format!("installing release {} into namespace {}", release.name, release.namespace));
            switch::claim_namespace(cluster, &release.namespace, &options.layout).await?;
            if !release.after.is_empty() {
                healthy(cluster, all, &|other| release.after.contains(&other.name), progress).await?;
            }
            for secret in &release.secrets {
                hand_over(cluster, &release.namespace, secret).await?;
            }
            helm(cluster, release, options).await?;
        }
    }
    healthy(cluster, all, &|_| true, progress).await?;
    for release in all {
        record(cluster, &release.namespace, &digests.stack, Some(&options.template)).await?;
    }
    monitoring::ready(cluster, options, &digests.monitoring, progress).await?;
    let (layout, template) = (options.layout.clone(), options.template.clone());
    Ok(Installed { layout, template, digest: digests.stack, reused: same })
}

/// The Helm releases of a layout: namespace and name.
pub(crate) fn helm_releases<'a>(stack: &'a Stack, layout: &Layout) -> impl Iterator<Item = (&'a str, &'a str)> {
    stack.releases(layout).iter().map(|release| (release.namespace.as_str(), release.name.as_str()))
}

async fn healthy(
    cluster: &Cluster,
    all: &[Release],
    meant: &(dyn Fn(&Release) -> bool + Sync),
    progress: Progress<'_>,
) -> Result<(), ClusterError> {
    let mut tell = |missing: String| progress(format!("waiting for the stack: {missing}"));
    let meant: Vec<_> = all.iter().filter(|release| meant(release)).collect();
    let restarts = AtomicU32::new(0);
    let waited = cluster
        .wait_and_tell("the stack to be healthy", HEALTHY_LIMIT, &mut tell, || async {
            let (mut missing, mut has_dependencies) = (Vec::new(), true);
            for release in &meant {
                let health = health::of_release(cluster, release).await?;
                missing.extend(health.missing);
                has_dependencies &= health.has_dependencies;
            }
            if missing.is_empty() {
                return Ok(Waiting::Done(()));
            }
            if has_dependencies && restarts.load(Ordering::Relaxed) < RESTARTS_MAX {
                let is_restarted = restart_crashed(cluster, &meant).await?;
                restarts.fetch_add(u32::from(is_restarted), Ordering::Relaxed);
            }
            Ok(Waiting::Not(missing.join(", ")))
        })
        .await;
    if let Err(ClusterError::Deadline { .. }) = &waited {
        for release in meant {
            // That nothing is told is not the mistake to end with.
            let told = diagnostics::of_namespace(cluster, &release.namespace).await;
            for line in told.unwrap_or_else(|error| vec![error.to_string()]) {
                progress(line);
            }
        }
    }
    waited
}

/// Has pods start at once that ended because a dependency was not there yet: their kubelet would wait up to five minutes
/// before the next start. Whether there was one.
async fn restart_crashed(cluster: &Cluster, releases: &[&Release]) -> Result<bool, ClusterError> {
    let mut is_restarted = false;
    for release in releases {
        for (_, deleted) in cluster.delete_crashed(&release.namespace).await? {
            deleted?;
            is_restarted = true;
        }
    }
    Ok(is_restarted)
}

/// Writes a Secret that a release reads from one that another one has made. The value is kept nowhere else: no value of a
/// release and no argument of a program holds it.
async fn hand_over(cluster: &Cluster, namespace: &str, secret: &Handover) -> Result<(), ClusterError> {
    let from = &secret.from;
    let what = format!("{} in secret {}/{}", secret.from_key, from.namespace, from.name);
    let value = cluster
        .wait_for(&what, HANDOVER_LIMIT, || async {
            cluster.get_secret(&from.namespace, &from.name, &secret.from_key).await.map(Waiting::Done)
        })
        .await?;
    let object = json!({"apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": secret.name, "labels": {LABEL_MANAGED_BY: MANAGED_BY}},
        "stringData": {&secret.key: secret.written(&url_escaped(&value))}});
    let api: Api<Secret> = Api::namespaced(cluster.client(), namespace);
    let params = PatchParams::apply(MANAGED_BY).force();
    let what = format!("secret {namespace}/{}", secret.name);
    cluster.ask(what, api.patch(&secret.name, &params, &Patch::Apply(&object))).await?;
    Ok(())
}

/// Installs an operator by its own release manifest, places it off the nodes that drills break, and proves its webhook by a
/// request that it has to answer.
async fn install_operator(
    cluster: &Cluster,
    options: &StackOptions,
    operator: &Operator,
    digest: &str,
    progress: Progress<'_>,
) -> Result<(), StackError> {
    if note(cluster, &operator.namespace, ANNOTATION_DIGEST).await?.as_deref() == Some(digest) {
        return Ok(());
    }
    progress(format!("installing {}", operator.title));
    let kubectl = Tool::new("kubectl", APPLY_LIMIT).env(cluster.kubectl_env());
    let kubectl = kubectl.args(["apply", "--server-side", "--force-conflicts"]);
    kubectl.args(["--field-manager", MANAGED_BY, "--filename"]).arg(options.manifest(operator)?).run().await?;
    progress(format!("keeping {} on the control plane", operator.title));
    cluster.prefer_control_plane(&operator.namespace, &operator.deployment, OPERATOR_LIMIT).await?;
    if let Some(webhook) = &operator.webhook {
        progress(format!("asking the webhook of {}", operator.title));
        cluster.wait_for("an answer of the operator's webhook", OPERATOR_LIMIT, || dry_run(cluster, webhook)).await?;
    }
    record(cluster, &operator.namespace, digest, None).await?;
    Ok(())
}

/// Has the API server admit an object without making it: that needs the webhook's answer.
async fn dry_run(cluster: &Cluster, webhook: &Webhook) -> Result<Waiting<()>, ClusterError> {
    let (group, version) = webhook.api_version.rsplit_once('/').unwrap_or(("", &webhook.api_version));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, &webhook.kind));
    let object = DynamicObject::new("firedrill-webhook-check", &resource).data(webhook.object.clone());
    let api: Api<DynamicObject> = Api::namespaced_with(cluster.client(), "default", &resource);
    let params = PostParams { dry_run: true, field_manager: None };
    let what = format!("a {} that is admitted and not made", webhook.kind);
    let answer = cluster.ask(what, api.create(&params, &object)).await?;
    let is_defaulted = answer.data.pointer(&webhook.defaulted).is_some_and(serde_json::Value::is_object);
    Ok(if is_defaulted { Waiting::Done(()) } else { Waiting::Not("it was admitted without the webhook".to_owned()) })
}

async fn helm(cluster: &Cluster, release: &Release, options: &StackOptions) -> Result<(), StackError> {
    let mut helm = Tool::new("helm", APPLY_LIMIT).env(cluster.kubectl_env());
    helm = helm.args(["upgrade", "--install", &release.name]).arg(options.chart_of(release));
    helm = helm.args(["--namespace", &release.namespace]);
    for values in options.values_files(release) {
        helm = helm.arg("--values").arg(values);
    }
    for setting in options.settings(release) {
        helm = helm.arg("--set-string").arg(setting);
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
