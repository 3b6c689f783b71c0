//! Annotations by which older versions recorded undos, on pods, nodes and namespaces of runs.
//!
//! Whoever can write such an object can forge one, so they are shown, and obeyed only where the user says so.

use super::{is_run_id, shown};
use crate::cluster::{Cluster, ClusterError, LABEL_RUN};
use crate::fault::LABEL_COMPONENT;
use firedrill_core::event::Undo;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, ListParams};

/// Annotation of older versions that holds undos, as JSON.
pub const ANNOTATION_UNDO: &str = "firedrill.dev/undo";

/// An object with such an annotation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Annotated {
    /// The run that its label names.
    pub run_id: String,
    /// The object, for people.
    pub object: String,
    /// The undos that it names, or why they cannot be read.
    pub undos: Result<Vec<Undo>, String>,
}

/// Every object that carries one.
///
/// # Errors
/// Where the cluster does not answer.
pub async fn find(cluster: &Cluster) -> Result<Vec<Annotated>, ClusterError> {
    let (key, value) = LABEL_COMPONENT;
    let agents = ListParams::default().labels(&format!("{LABEL_RUN},{key}={value}"));
    let of_runs = ListParams::default().labels(LABEL_RUN);
    let pods: Api<Pod> = Api::all(cluster.client());
    let nodes: Api<Node> = Api::all(cluster.client());
    let namespaces: Api<Namespace> = Api::all(cluster.client());
    let pods = cluster.ask("node agents", pods.list_metadata(&agents)).await?;
    let nodes = cluster.ask("nodes with the label of a run", nodes.list_metadata(&of_runs)).await?;
    let namespaces = cluster.ask("namespaces of runs", namespaces.list_metadata(&of_runs)).await?;
    let pods = pods.items.iter().map(|pod| ("pod", &pod.metadata));
    let nodes = nodes.items.iter().map(|node| ("node", &node.metadata));
    let namespaces = namespaces.items.iter().map(|namespace| ("namespace", &namespace.metadata));
    Ok(pods.chain(nodes).chain(namespaces).filter_map(|(kind, metadata)| annotated(kind, metadata)).collect())
}

fn annotated(kind: &str, metadata: &ObjectMeta) -> Option<Annotated> {
    let run_id = metadata.labels.as_ref()?.get(LABEL_RUN)?.clone();
    let text = metadata.annotations.as_ref()?.get(ANNOTATION_UNDO)?;
    let namespace = metadata.namespace.as_ref().map(|namespace| format!("{namespace}/")).unwrap_or_default();
    let object = format!("{kind} {namespace}{}", metadata.name.as_deref().unwrap_or_default());
    let undos = match is_run_id(&run_id) {
        true => serde_json::from_str(text).map_err(|error| format!("it cannot be read: {}", shown(&error.to_string()))),
        false => Err("its label is not the id of a run".to_owned()),
    };
    // A namespace of an older version carries an empty list once all is undone.
    let nothing = undos.as_ref().is_ok_and(Vec::is_empty);
    (!nothing).then_some(Annotated { run_id, object, undos })
}

#[cfg(test)]
mod tests {
    use super::*;
    use firedrill_core::event::PowerOnUndo;
    use serde_json::json;

    #[test]
    fn annotations_are_read_and_broken_ones_do_not_stop_the_rest() {
        let metadata = |undo: &str| -> ObjectMeta {
            let annotations = json!({ANNOTATION_UNDO: undo});
            serde_json::from_value(json!({"name": "w1", "labels": {LABEL_RUN: "r7"}, "annotations": annotations}))
                .unwrap()
        };
        let found = annotated("node", &metadata(r#"[{"power_on":{"node":"w1"}}]"#)).unwrap();
        assert_eq!((found.run_id.as_str(), found.object.as_str()), ("r7", "node w1"));
        assert_eq!(found.undos.unwrap(), [Undo::PowerOn(PowerOnUndo { node: "w1".to_owned(), container: None })]);
        assert!(annotated("node", &metadata("{")).unwrap().undos.is_err());
        assert_eq!(annotated("namespace", &metadata("[]")), None);
        assert_eq!(annotated("pod", &ObjectMeta::default()), None);
    }
}
