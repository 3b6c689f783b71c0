//! kind's own configuration of a cluster.

use std::fmt::Write;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

/// The node ports that lead out to the loopback address.
pub(super) const OUTSIDE_NODE_PORTS: RangeInclusive<u16> = 31_900..=31_907;
/// The label of every node, whose value is the cluster's name.
pub const LABEL_CLUSTER: &str = "firedrill.dev/cluster";

/// Where every node has the folder that volumes are kept in; the driver's manifest names it too.
pub(super) const SHARED_FOLDER: &str = "/var/lib/firedrill-volumes";

/// The driver of volumes with a size (`fixtures/volumes`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumesDriver {
    /// Its image.
    pub image: String,
    /// Its manifest, in which `firedrill.local/volumes` stands for the image.
    pub manifest: PathBuf,
}

/// A cluster to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KindOptions {
    /// Its name, which begins with `firedrill-`.
    pub name: String,
    /// Nodes beside the control plane.
    pub workers: u32,
    /// The image of every node; kind's default where it is not given.
    pub node_image: Option<String>,
    /// The driver of volumes with a size, where there is to be one.
    pub volumes: Option<VolumesDriver>,
    /// How many node ports lead out to the loopback address, at most 8.
    pub expose_ports: u16,
}

impl KindOptions {
    /// The usual cluster: 3 workers, 8 outside ports.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), workers: 3, node_image: None, volumes: None, expose_ports: 8 }
    }

    /// The node ports that lead out.
    pub(super) fn node_ports(&self) -> impl Iterator<Item = u16> {
        OUTSIDE_NODE_PORTS.take(usize::from(self.expose_ports))
    }

    /// The configuration, as `kind create cluster --config` reads it. Host port 0 has kind choose a free one once, which
    /// then stays the same however often the node stops and starts.
    /// `shared` is a folder of this machine that every node has at [`SHARED_FOLDER`].
    pub(super) fn yaml(&self, shared: Option<&Path>) -> String {
        let mut yaml = String::from("kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\n");
        let _ = writeln!(yaml, "name: {}", self.name);
        // Node images that do not look for registry mirrors there are told to.
        yaml.push_str("containerdConfigPatches:\n- |-\n  [plugins.\"io.containerd.grpc.v1.cri\".registry]\n");
        yaml.push_str("    config_path = \"/etc/containerd/certs.d\"\nnodes:\n");
        yaml.push_str("- role: control-plane\n");
        self.node(&mut yaml, shared);
        if self.expose_ports > 0 {
            yaml.push_str("  extraPortMappings:\n");
        }
        for port in self.node_ports() {
            let _ = writeln!(yaml, "  - {{containerPort: {port}, hostPort: 0, listenAddress: 127.0.0.1}}");
        }
        for _ in 0..self.workers {
            yaml.push_str("- role: worker\n");
            self.node(&mut yaml, shared);
        }
        yaml
    }

    fn node(&self, yaml: &mut String, shared: Option<&Path>) {
        let _ = writeln!(yaml, "  labels: {{{LABEL_CLUSTER}: {}}}", self.name);
        if let Some(shared) = shared {
            let _ = writeln!(yaml, "  extraMounts:\n  - {{hostPath: {shared:?}, containerPath: {SHARED_FOLDER}}}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_is_kinds() {
        let options = KindOptions { workers: 2, expose_ports: 2, ..KindOptions::named("firedrill-a3f") };
        insta::assert_snapshot!(options.yaml(Some(Path::new("/cache/a b"))), @r#"
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
          - {hostPath: "/cache/a b", containerPath: /var/lib/firedrill-volumes}
          extraPortMappings:
          - {containerPort: 31900, hostPort: 0, listenAddress: 127.0.0.1}
          - {containerPort: 31901, hostPort: 0, listenAddress: 127.0.0.1}
        - role: worker
          labels: {firedrill.dev/cluster: firedrill-a3f}
          extraMounts:
          - {hostPath: "/cache/a b", containerPath: /var/lib/firedrill-volumes}
        - role: worker
          labels: {firedrill.dev/cluster: firedrill-a3f}
          extraMounts:
          - {hostPath: "/cache/a b", containerPath: /var/lib/firedrill-volumes}
        "#);
    }
}
