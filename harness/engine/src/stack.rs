//! The stack that drills break: Ironflow, NATS and PostgreSQL by their Helm chart, the operator that runs PostgreSQL, and what
//! watches them.

mod health;
mod inputs;
mod monitoring;
mod releases;
mod switch;
mod told;

pub use inputs::StackOptions;

use crate::cluster::{
    Cluster, ClusterError, LABEL_MANAGED_BY, MANAGED_BY, Waiting, url_escaped, wait_and_tell, wait_for,
};
use crate::process::{ProcessError, Progress, Tool};
use firedrill_core::scenario::Layout;
use inputs::Digests;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use releases::{Release, Role, SEPARATE_DATABASE, SEPARATE_LOGIN, releases};
use serde_json::json;
use std::path::PathBuf;
use std::time::Duration;
use thiserror::Error;

const OPERATOR_NAMESPACE: &str = "cnpg-system";
const OPERATOR: &str = "cnpg-controller-manager";
/// Annotation on a namespace: the digest of what was installed into it, once that was seen to work.
const ANNOTATION_DIGEST: &str = "firedrill.dev/installed";
const ANNOTATION_TEMPLATE: &str = "firedrill.dev/template";
/// The layout that a namespace is of, from the beginning of its installation on.
const ANNOTATION_LAYOUT: &str = "firedrill.dev/layout";

const APPLY_LIMIT: Duration = Duration::from_secs(120);
const OPERATOR_LIMIT: Duration = Duration::from_secs(180);
const HEALTHY_LIMIT: Duration = Duration::from_secs(420);
const LOGIN_LIMIT: Duration = Duration::from_secs(60);

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
    for layout in Layout::ALL {
        let Some(last) = releases(layout).last() else { continue };
        let Some(digest) = note(cluster, last.namespace, ANNOTATION_DIGEST).await? else { continue };
        let noted = note(cluster, last.namespace, ANNOTATION_LAYOUT).await?;
        if noted.as_deref() == Some(layout.name()) {
            let template = note(cluster, last.namespace, ANNOTATION_TEMPLATE).await?.unwrap_or_default();
            return Ok(Some(Installed { layout, template, digest, reused: true }));
        }
    }
    Ok(None)
}

/// What is missing until the stack that is there works, in its layout, or in the bundled one where none is noted; empty
/// where it does.
///
/// # Errors
/// Where the API server does not say.
pub async fn missing(cluster: &Cluster) -> Result<Vec<String>, StackError> {
    let layout = installed(cluster).await?.map_or(Layout::Bundled, |installed| installed.layout);
    let mut missing = Vec::new();
    for release in releases(layout) {
        missing.extend(health::missing(cluster, release).await?);
    }
    Ok(missing)
}

/// Installs the stack, or sees that it is there from the same chart, values and image, and waits until it works: every
/// workload complete, the database clusters healthy, `/ready` answered through each Ironflow's Service, and monitoring
/// there. A stack in another layout is taken away first, with its volumes.
///
/// # Errors
/// Where an input is missing, something is in the way, `helm` or `kubectl` fails, or it does not work within its limits.
pub async fn install(
    cluster: &Cluster,
    options: &StackOptions,
    progress: Progress<'_>,
) -> Result<Installed, StackError> {
    let digests = Digests::of(options)?;
    switch::make_room(cluster, options.layout, progress).await?;
    operator(cluster, options, &digests, progress).await?;
    monitoring::apply(cluster, options, &digests.monitoring, progress).await?;
    let same = installed(cluster).await?.is_some_and(|installed| installed.digest == digests.stack);
    let all = releases(options.layout);
    if !same {
        for release in all {
            progress(format!("installing release {} into namespace {}", release.name, release.namespace));
            switch::claim_namespace(cluster, release.namespace, options.layout).await?;
            if release.role == Role::Server {
                // Ironflow ends when a dependency is missing, and its database's password is the operator's to make.
                healthy(cluster, all, &|of| of.role == Role::Dependencies, progress).await?;
                hand_login_over(cluster, release).await?;
            }
            helm(cluster, release, options).await?;
        }
    }
    healthy(cluster, all, &|_| true, progress).await?;
    for release in all {
        record(cluster, release.namespace, &digests.stack, Some(&options.template)).await?;
    }
    monitoring::ready(cluster, &digests.monitoring, progress).await?;
    let (layout, template) = (options.layout, options.template.clone());
    Ok(Installed { layout, template, digest: digests.stack, reused: same })
}

/// The Helm releases of a layout: namespace and name.
pub(crate) fn helm_releases(layout: Layout) -> impl Iterator<Item = (&'static str, &'static str)> {
    releases(layout).iter().map(|release| (release.namespace, release.name))
}

async fn healthy(
    cluster: &Cluster,
    all: &[Release],
    meant: &(dyn Fn(&Release) -> bool + Sync),
    progress: Progress<'_>,
) -> Result<(), ClusterError> {
    let mut tell = |missing: String| progress(format!("waiting for the stack: {missing}"));
    let meant: Vec<_> = all.iter().filter(|release| meant(release)).collect();
    let waited = wait_and_tell("the stack to be healthy", HEALTHY_LIMIT, &mut tell, || async {
        let mut missing = Vec::new();
        for release in &meant {
            missing.extend(health::missing(cluster, release).await?);
        }
        Ok(if missing.is_empty() { Waiting::Done(()) } else { Waiting::Not(missing.join(", ")) })
    })
    .await;
    if let Err(ClusterError::Deadline { .. }) = &waited {
        for release in meant {
            // That nothing is told is not the mistake to end with.
            let told = told::of_namespace(cluster, release.namespace).await;
            for line in told.unwrap_or_else(|error| vec![error.to_string()]) {
                progress(line);
            }
        }
    }
    waited
}

/// Writes the address of the other namespace's database, with the password that the operator made for it, into a Secret
/// that Ironflow reads. It is kept nowhere else: no value of a release and no argument of a program holds it.
async fn hand_login_over(cluster: &Cluster, release: &Release) -> Result<(), ClusterError> {
    let Some(system) = releases(Layout::Separate).iter().find(|release| release.role == Role::Dependencies) else {
        return Ok(());
    };
    let (database, made) = (system.namespace, format!("{SEPARATE_DATABASE}-app"));
    let password = wait_for("the password of Ironflow's database", LOGIN_LIMIT, || async {
        cluster.get_secret(database, &made, "password").await.map(Waiting::Done)
    })
    .await?;
    let url = format!(
        "postgresql://ironflow:{}@{SEPARATE_DATABASE}-rw.{database}.svc.cluster.local:5432/ironflow?sslmode=require",
        url_escaped(&password)
    );
    let object = json!({"apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": SEPARATE_LOGIN, "labels": {LABEL_MANAGED_BY: MANAGED_BY}},
        "stringData": {"url": url}});
    let api: Api<Secret> = Api::namespaced(cluster.client(), release.namespace);
    let params = PatchParams::apply(MANAGED_BY).force();
    let what = format!("secret {}/{SEPARATE_LOGIN}", release.namespace);
    cluster.ask(what, api.patch(SEPARATE_LOGIN, &params, &Patch::Apply(&object))).await?;
    Ok(())
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

async fn helm(cluster: &Cluster, release: &Release, options: &StackOptions) -> Result<(), StackError> {
    let mut helm = Tool::new("helm", APPLY_LIMIT).env(cluster.kubectl_env());
    helm = helm.args(["upgrade", "--install", release.name]).arg(&options.chart);
    helm = helm.args(["--namespace", release.namespace]);
    for values in release.values_files(options) {
        helm = helm.arg("--values").arg(values);
    }
    for (key, value) in release.settings(options) {
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
