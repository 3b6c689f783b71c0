//! Finding what runs left behind by labels alone, where no journal is at hand.

use super::ANNOTATION_UNDO;
use super::node_agent::LABEL_COMPONENT;
use crate::cluster::{ANNOTATION_EXPIRES, Cluster, ClusterError, LABEL_RUN};
use firedrill_core::event::Undo;
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, ListParams};

/// A fault that an object of the cluster tells of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The run.
    pub run_id: String,
    /// The object, for people.
    pub object: String,
    /// When the run counts as abandoned, in seconds since the epoch; `None` where the object does not say.
    pub expires_unix: Option<i64>,
    /// How to undo it.
    pub undos: Vec<Undo>,
}

/// Every fault that node agents and nodes of this cluster tell of, whether in place or already undone.
///
/// # Errors
/// Where the cluster does not answer, and where a mark cannot be read: to pass over it would leave something behind.
pub async fn find_held(cluster: &Cluster) -> Result<Vec<Held>, ClusterError> {
    let (key, value) = LABEL_COMPONENT;
    let agents = ListParams::default().labels(&format!("{LABEL_RUN},{key}={value}"));
    let pods: Api<Pod> = Api::all(cluster.client());
    let nodes: Api<Node> = Api::all(cluster.client());
    let pods = pods.list_metadata(&agents).await.map_err(ClusterError::api("list node agents"))?;
    let marked = nodes.list_metadata(&ListParams::default().labels(LABEL_RUN)).await;
    let marked = marked.map_err(ClusterError::api("list marked nodes"))?;
    let pods = pods.items.iter().map(|pod| ("pod", &pod.metadata));
    let nodes = marked.items.iter().map(|node| ("node", &node.metadata));
    pods.chain(nodes).filter_map(|(kind, metadata)| held(kind, metadata).transpose()).collect()
}

fn held(kind: &str, metadata: &ObjectMeta) -> Result<Option<Held>, ClusterError> {
    let annotation = |key: &str| metadata.annotations.as_ref().and_then(|all| all.get(key));
    let run_id = metadata.labels.as_ref().and_then(|all| all.get(LABEL_RUN));
    let (Some(run_id), Some(text)) = (run_id, annotation(ANNOTATION_UNDO)) else { return Ok(None) };
    let object = format!("{kind} {}", metadata.name.as_deref().unwrap_or_default());
    let undos = serde_json::from_str(text)
        .map_err(|error| ClusterError::Other(format!("{object} has an unreadable {ANNOTATION_UNDO}: {error}")))?;
    let expires_unix = annotation(ANNOTATION_EXPIRES).and_then(|text| text.parse().ok());
    Ok(Some(Held { run_id: run_id.clone(), object, expires_unix, undos }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn marks_are_read_and_broken_ones_are_told() {
        let metadata = |undo: &str| -> ObjectMeta {
            let annotations = json!({ANNOTATION_UNDO: undo, ANNOTATION_EXPIRES: "99"});
            serde_json::from_value(json!({"name": "w1", "labels": {LABEL_RUN: "r7"}, "annotations": annotations}))
                .unwrap()
        };
        let found = held("node", &metadata(r#"[{"power_on":{"node":"w1"}}]"#)).unwrap().unwrap();
        assert_eq!((found.run_id.as_str(), found.expires_unix), ("r7", Some(99)));
        assert_eq!(found.undos, [Undo::PowerOn { node: "w1".to_owned() }]);
        let error = held("node", &metadata("{")).unwrap_err().to_string();
        assert!(error.starts_with("node w1 has an unreadable firedrill.dev/undo"), "{error}");
        assert_eq!(held("pod", &ObjectMeta::default()).unwrap(), None);
    }
}
