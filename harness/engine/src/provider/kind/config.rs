//! kind's own configuration of a cluster.

use super::super::ClusterOptions;
use std::fmt::Write;
use std::ops::RangeInclusive;
use std::path::Path;

/// The node ports that lead out to the loopback address.
pub(super) const OUTSIDE_NODE_PORTS: RangeInclusive<u16> = 31_900..=31_907;
/// The label of every node, whose value is the cluster's name.
const LABEL_CLUSTER: &str = "firedrill.dev/cluster";

/// Where every node has the folder that volumes are kept in; the driver's manifest names it too.
pub(super) const SHARED_FOLDER: &str = "/var/lib/firedrill-volumes";
/// An empty file of every node that firedrill had made. kind puts no labels of ours on its containers; a mount shows in them from
/// the moment at which they are made.
pub(super) const MARK: &str = "/etc/firedrill-made-this";

/// The configuration, as `kind create cluster --config` reads it. Host port 0 has kind choose a free one once, which then stays the
/// same however often the node stops and starts.
/// `shared` is a folder of this machine that every node has at [`SHARED_FOLDER`].
pub(super) fn yaml(options: &ClusterOptions, shared: Option<&Path>) -> String {
    let mut yaml = String::from("kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\n");
    let _ = writeln!(yaml, "name: {}", options.name);
    // Node images that do not look for registry mirrors there are told to.
    yaml.push_str("containerdConfigPatches:\n- |-\n  [plugins.\"io.containerd.grpc.v1.cri\".registry]\n");
    yaml.push_str("    config_path = \"/etc/containerd/certs.d\"\nnodes:\n");
    yaml.push_str("- role: control-plane\n");
    node(&options.name, &mut yaml, shared);
    yaml.push_str("  extraPortMappings:\n");
    for port in OUTSIDE_NODE_PORTS {
        let _ = writeln!(yaml, "  - {{containerPort: {port}, hostPort: 0, listenAddress: 127.0.0.1}}");
    }
    for _ in 0..options.workers {
        yaml.push_str("- role: worker\n");
        node(&options.name, &mut yaml, shared);
    }
    yaml
}

fn node(cluster: &str, yaml: &mut String, shared: Option<&Path>) {
    let _ = writeln!(yaml, "  labels: {{{LABEL_CLUSTER}: {cluster}}}");
    let _ = writeln!(yaml, "  extraMounts:\n  - {{hostPath: /dev/null, containerPath: {MARK}, readOnly: true}}");
    if let Some(shared) = shared {
        let _ = writeln!(yaml, "  - {{hostPath: {shared:?}, containerPath: {SHARED_FOLDER}}}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_is_kinds() {
        let name = "firedrill-a3f".to_owned();
        let options = ClusterOptions { name, workers: 2, node_image: None, volumes: None, cloud: Default::default() };
        insta::assert_snapshot!(yaml(&options, Some(Path::new("/cache/a b"))), @r#"
        kind: Cluster
        apiVersion: kind.x-k8s.io/v1alpha4
        name: firedrill-a3f
        containerdConfigPatches:
        - |-
          [plugins."io.containerd.grpc.v1.cri".registry]
            config_path = "/etc/containerd/certs.d"
        nodes:
        - role: control-plane
          labels: {firedrill.dev/cluster: firedrill-a3f}
          extraMounts:
          - {hostPath: /dev/null, containerPath: /etc/firedrill-made-this, readOnly: true}
          - {hostPath: "/cache/a b", containerPath: /var/lib/firedrill-volumes}
          extraPortMappings:
          - {containerPort: 31900, hostPort: 0, listenAddress: 127.0.0.1}
          - {containerPort: 31901, hostPort: 0, listenAddress: 127.0.0.1}
          - {containerPort: 31902, hostPort: 0, listenAddress: 127.0.0.1}
          - {containerPort: 31903, hostPort: 0, listenAddress: 127.0.0.1}
          - {containerPort: 31904, hostPort: 0, listenAddress: 127.0.0.1}
          - {containerPort: 31905, hostPort: 0, listenAddress: 127.0.0.1}
          - {containerPort: 31906, hostPort: 0, listenAddress: 127.0.0.1}
          - {containerPort: 31907, hostPort: 0, listenAddress: 127.0.0.1}
        - role: worker
          labels: {firedrill.dev/cluster: firedrill-a3f}
          extraMounts:
          - {hostPath: /dev/null, containerPath: /etc/firedrill-made-this, readOnly: true}
          - {hostPath: "/cache/a b", containerPath: /var/lib/firedrill-volumes}
        - role: worker
          labels: {firedrill.dev/cluster: firedrill-a3f}
          extraMounts:
          - {hostPath: /dev/null, containerPath: /etc/firedrill-made-this, readOnly: true}
          - {hostPath: "/cache/a b", containerPath: /var/lib/firedrill-volumes}
        "#);
    }
}
