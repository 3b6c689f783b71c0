//! One layout in the place of another: what is there is taken away whole, volumes included.

use super::{ANNOTATION_LAYOUT, StackError, StackOptions, note};
use crate::cluster::{Cluster, ClusterError};
use crate::process::Progress;
use firedrill_core::scenario::Layout;
use firedrill_core::stack::Stack;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use serde_json::json;
use std::time::Duration;

/// All but the pods goes when Kubernetes comes to it.
const GONE_LIMIT: Duration = Duration::from_secs(300);

/// Makes room for a layout: the namespaces of another one are deleted, in clusters that firedrill made and nowhere else.
/// Two layouts share names, and the measured one would share its processors with an idle one.
///
/// # Errors
/// Where a namespace in the way is not known to be of a stack that firedrill installed, the cluster is not firedrill's
/// own, or something does not go.
pub(super) async fn make_room(
    cluster: &Cluster,
    options: &StackOptions,
    progress: Progress<'_>,
) -> Result<(), StackError> {
    let mut others = Vec::new();
    for namespace in options.stack.namespaces() {
        let api: Api<Namespace> = Api::all(cluster.client());
        let asked = cluster.ask(format!("namespace {namespace}"), api.get_metadata_opt(namespace)).await?;
        if asked.is_none() {
            continue;
        }
        let noted = note(cluster, namespace, ANNOTATION_LAYOUT).await?;
        match claim(&options.stack, namespace, noted.as_deref(), &options.layout) {
            Claim::Wanted | Claim::NotInTheWay => {}
            Claim::Other(layout) => others.push((namespace, layout)),
            Claim::Unknown => {
                return Err(StackError::InTheWay {
                    why: format!("namespace {namespace} exists, but firedrill did not install its contents"),
                });
            }
        }
    }
    let Some((_, layout)) = others.first() else { return Ok(()) };
    if !cluster.is_own() {
        let why = format!("the {layout} layout is installed in a cluster that firedrill did not make");
        return Err(StackError::InTheWay { why });
    }
    progress(format!("deleting the {layout} layout with its volumes"));
    for (namespace, _) in &others {
        cluster.begin_to_delete_namespace(namespace).await?;
        end_pods(cluster, namespace).await?;
    }
    for (namespace, _) in &others {
        let mut told = |missing: String| progress(format!("waiting for the end of namespace {namespace}: {missing}"));
        cluster.wait_for_end_of_namespace(namespace, GONE_LIMIT, &mut told).await?;
    }
    Ok(())
}

/// Ends the pods of a namespace that is being deleted, which no controller can make again. Their own grace is for data that
/// is to be kept: PostgreSQL's is half an hour. Kubernetes' namespace controller begins 5 s after the deletion, and where
/// it finds a pod that may take so long it comes again after half of that time.
async fn end_pods(cluster: &Cluster, namespace: &str) -> Result<(), ClusterError> {
    let pods: Api<Pod> = Api::namespaced(cluster.client(), namespace);
    let (at_once, all) = (DeleteParams::default().grace_period(1), ListParams::default());
    let asked = pods.delete_collection(&at_once, &all);
    cluster.ask(format!("the end of the pods in namespace {namespace}"), asked).await?;
    Ok(())
}

/// Makes a namespace of a layout, or notes that it is of that layout, before anything is in it: what breaks off half-way is
/// known for what it is.
pub(super) async fn claim_namespace(cluster: &Cluster, namespace: &str, layout: &Layout) -> Result<(), ClusterError> {
    let api: Api<Namespace> = Api::all(cluster.client());
    let notes = json!({ANNOTATION_LAYOUT: layout.name()});
    let object = json!({"apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": namespace, "annotations": notes}});
    let params = PatchParams::apply("firedrill-stack").force();
    cluster.ask(format!("namespace {namespace}"), api.patch(namespace, &params, &Patch::Apply(&object))).await?;
    Ok(())
}

/// Whose a namespace is that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Claim {
    /// The wanted layout's own.
    Wanted,
    /// Another layout's.
    Other(Layout),
    /// Not known, and the wanted layout does not use it.
    NotInTheWay,
    /// Not known, and the wanted layout uses it.
    Unknown,
}

fn claim(stack: &Stack, namespace: &str, noted: Option<&str>, wanted: &Layout) -> Claim {
    let is_of = |layout: &Layout| stack.releases(layout).iter().any(|release| release.namespace == namespace);
    let noted = noted.and_then(|name| stack.layout(&Layout::named(name)));
    match noted.map(|layout| &layout.name) {
        Some(layout) if layout == wanted => Claim::Wanted,
        Some(layout) => Claim::Other(layout.clone()),
        None if is_of(wanted) => Claim::Unknown,
        None => Claim::NotInTheWay,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_known_to_be_a_layout_is_taken_away() {
        let stack = super::super::inputs::tests::options(std::path::Path::new("")).stack;
        let claim = |namespace: &str, noted: Option<&str>, wanted: &str| {
            super::claim(&stack, namespace, noted, &Layout::named(wanted))
        };
        let other = |layout: &str| Claim::Other(Layout::named(layout));
        assert_eq!(claim("ironflow", Some("separate"), "separate"), Claim::Wanted);
        assert_eq!(claim("ironflow", Some("separate"), "bundled"), other("separate"));
        assert_eq!(claim("ironflow", None, "bundled"), Claim::Unknown, "somebody's own Ironflow is not upgraded");
        assert_eq!(claim("ironflow", None, "tenants"), Claim::NotInTheWay);
        assert_eq!(claim("ironflow-system", Some("separate"), "tenants"), other("separate"));
        assert_eq!(claim("ironflow-system", None, "separate"), Claim::Unknown);
        assert_eq!(claim("ironflow-system", None, "bundled"), Claim::NotInTheWay);
        assert_eq!(claim("tenant-acme", Some("what"), "tenants"), Claim::Unknown);
    }
}
