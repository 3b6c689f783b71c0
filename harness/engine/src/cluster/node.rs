//! A node, as drills look at it.

use k8s_openapi::api::core::v1::Node;

/// Label and taint of the control plane's nodes.
pub const LABEL_CONTROL_PLANE: &str = "node-role.kubernetes.io/control-plane";

/// The state of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeState {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// Whether it is Ready.
    pub ready: bool,
    /// Whether it runs the control plane.
    pub control_plane: bool,
    /// Whether nothing new may be placed on it.
    pub unschedulable: bool,
    /// Its taints, `key=value:effect`.
    pub taints: Vec<String>,
}

impl NodeState {
    pub(crate) fn of(node: &Node) -> Self {
        let spec = node.spec.as_ref();
        let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
        let taints = spec.and_then(|spec| spec.taints.as_ref()).into_iter().flatten();
        let labels = node.metadata.labels.as_ref();
        Self {
            name: node.metadata.name.clone().unwrap_or_default(),
            uid: node.metadata.uid.clone().unwrap_or_default(),
            ready: conditions.into_iter().flatten().any(|c| c.type_ == "Ready" && c.status == "True"),
            control_plane: labels.is_some_and(|labels| labels.contains_key(LABEL_CONTROL_PLANE)),
            unschedulable: spec.and_then(|spec| spec.unschedulable).unwrap_or(false),
            taints: taints
                .map(|taint| format!("{}={}:{}", taint.key, taint.value.as_deref().unwrap_or(""), taint.effect))
                .collect(),
        }
    }
}
