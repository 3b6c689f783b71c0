//! The user data with which cloud-init and kubeadm turn a server into a node.
//!
//! It is a JSON document, because JSON is valid YAML and needs no quoting by hand; kubeadm's documents inside it are JSON too. The
//! secrets exist before the first server ([`ClusterSecrets`]), so workers join while the control plane still boots. No value passes
//! through a shell: the script gets three validated words as arguments. The same data serves images with and without Kubernetes: the script
//! installs only what is missing.
//!
//! An nftables table on every node, loaded before the kubelet starts, drops packets from pods to the metadata address. Pods with
//! `hostNetwork` still reach it. The table works with CNIs whose packets pass netfilter (Cilium with its default routing, kube-router,
//! kindnet). Cilium's eBPF host routing bypasses netfilter and needs a network policy for 169.254.169.254.

mod secrets;
#[cfg(test)]
mod tests;

pub(crate) use secrets::{BootstrapToken, ClusterSecrets};

use super::client::UserData;
use serde_json::{Value, json};
use thiserror::Error;

/// The RBAC group of the bootstrap token.
const JOIN_GROUP: &str = "system:bootstrappers:kubeadm:default-node-token";
/// Lifetime of the bootstrap token in the user data. A node that joins later needs a new token.
const TOKEN_VALID: &str = "1h0m0s";
/// How long a joining node waits for the API server.
const DISCOVERY_TIMEOUT: &str = "15m0s";
/// The version of Kubernetes; `ci/offline/versions.sh` pins the same.
const KUBERNETES: &str = "1.34.4";
/// The pause image of that version.
const PAUSE_IMAGE: &str = "registry.k8s.io/pause:3.10.1";
/// The port of the API server.
pub(crate) const API_SERVER_PORT: u16 = 6443;

const SCRIPT: &str = include_str!("cloud_init/node.sh");
const SCRIPT_PATH: &str = "/usr/local/sbin/firedrill-node";

const SYSCTL: &str =
    "net.ipv4.ip_forward = 1\nnet.bridge.bridge-nf-call-iptables = 1\nnet.bridge.bridge-nf-call-ip6tables = 1\n";
const MODULES: &str = "overlay\nbr_netfilter\n";

/// Drops packets from pods to the metadata server. On Hetzner these are forwarded; if the metadata server listens in the server's own
/// network namespace, they arrive at the input hook. Packets of the node's own processes pass neither hook, or arrive from `lo`.
const METADATA_RULES: &str = "\
table inet firedrill_metadata
delete table inet firedrill_metadata
table inet firedrill_metadata {
  chain forward { type filter hook forward priority -10; policy accept; ip daddr 169.254.169.254 drop; }
  chain input { type filter hook input priority -10; policy accept; iifname != \"lo\" ip daddr 169.254.169.254 drop; }
}
";

const METADATA_UNIT: &str = "\
[Unit]
Description=Keep pods from the metadata server
Before=kubelet.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=nft -f /etc/firedrill/metadata.nft

[Install]
WantedBy=multi-user.target
RequiredBy=kubelet.service
";

/// The repository of Debian packages that has kubeadm and kubelet, with the minor version between the two parts.
const KUBERNETES_REPOSITORY: (&str, &str) = ("https://pkgs.k8s.io/core:/stable:/v", "/deb/");
const KUBERNETES_KEY: &str = "/etc/apt/keyrings/kubernetes.asc";

/// Where apt finds what the image lacks of kubeadm, kubelet and containerd. An image that has them in the wanted version asks nobody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Packages {
    /// The Debian mirror; the image's own if `None`.
    pub(crate) debian_mirror: Option<String>,
    /// The flat repository of kubeadm and kubelet, `https://…/deb/`; that of Kubernetes if `None`.
    pub(crate) kubernetes: Option<String>,
    /// The repository's public key (ASCII armour). If `None`, the server takes `Release.key` of the repository, which must be HTTPS.
    pub(crate) kubernetes_key: Option<String>,
}

/// The settings that all nodes of a cluster share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClusterSpec {
    /// The cluster's name.
    pub(crate) name: String,
    /// The version of Kubernetes: `1.34.4`.
    pub(crate) kubernetes: String,
    /// Where apt finds what the image lacks.
    pub(crate) packages: Packages,
    /// The addresses of pods: `10.244.0.0/16`.
    pub(crate) pod_subnet: String,
    /// The addresses of Services: `10.96.0.0/16`.
    pub(crate) service_subnet: String,
    /// The pause image that `kubeadm config images list` shows for this version.
    pub(crate) pause_image: String,
    /// A registry mirror that containerd asks first for every image: `http://192.0.2.1:5000`.
    pub(crate) image_mirror: Option<String>,
    /// Whether Hetzner's cloud controller manager will run. If not, `cloud-provider=external` would leave the `uninitialized` taint.
    pub(crate) cloud_controller: bool,
    /// Additional SANs of the API server's certificate.
    pub(crate) api_server_names: Vec<String>,
}

impl ClusterSpec {
    /// The settings of a cluster that the offline kit's images fit: without a cloud controller, and with packages from where the image
    /// says if it lacks them.
    pub(crate) fn new(name: &str, image_mirror: Option<&str>) -> Self {
        Self {
            name: name.to_owned(),
            kubernetes: KUBERNETES.to_owned(),
            packages: Packages::default(),
            pod_subnet: "10.244.0.0/16".to_owned(),
            service_subnet: "10.96.0.0/16".to_owned(),
            pause_image: PAUSE_IMAGE.to_owned(),
            image_mirror: image_mirror.map(str::to_owned),
            cloud_controller: false,
            api_server_names: Vec::new(),
        }
    }
}

/// The role of a server in its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role<'a> {
    /// The first control plane (`kubeadm init`). Its public address is the control plane endpoint.
    First,
    /// A further control plane.
    ControlPlane {
        /// The first one's address.
        api_server: &'a str,
    },
    /// A worker.
    Worker {
        /// The first control plane's address.
        api_server: &'a str,
    },
}

/// The user data cannot be created.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum CloudInitError {
    /// A value is not valid.
    #[error("{what} `{value}` is not {expected}")]
    Value {
        /// The name of the setting.
        what: &'static str,
        /// The value.
        value: String,
        /// The expected format.
        expected: &'static str,
    },
    /// The user data is too long.
    #[error("the user data of {node} has {bytes} bytes, but Hetzner accepts at most 32768")]
    TooLong {
        /// The server's name.
        node: String,
        /// Its length in bytes.
        bytes: usize,
    },
}

/// Creates the user data of one server. It contains secrets: the bootstrap token, and for a control plane the CA keys.
///
/// # Errors
/// If a value is not valid, or the user data is too long.
pub(crate) fn user_data(
    spec: &ClusterSpec,
    secrets: &ClusterSecrets,
    node: &str,
    role: Role<'_>,
) -> Result<UserData, CloudInitError> {
    check(spec)?;
    let mut files = vec![
        file("/etc/modules-load.d/kubernetes.conf", MODULES, "0644"),
        file("/etc/sysctl.d/90-kubernetes.conf", SYSCTL, "0644"),
        file("/etc/containerd/config.toml", &containerd(spec), "0644"),
        file("/etc/firedrill/metadata.nft", METADATA_RULES, "0644"),
        file("/etc/systemd/system/firedrill-metadata.service", METADATA_UNIT, "0644"),
        file("/etc/firedrill/kubeadm.yaml", &kubeadm(spec, secrets, node, role), "0600"),
        file(SCRIPT_PATH, SCRIPT, "0755"),
    ];
    if let Some(mirror) = &spec.image_mirror {
        let hosts = format!("[host.\"{mirror}\"]\n  capabilities = [\"pull\", \"resolve\"]\n");
        files.push(file("/etc/containerd/certs.d/_default/hosts.toml", &hosts, "0644"));
    }
    if !matches!(role, Role::Worker { .. }) {
        for (name, text, is_private) in secrets.files() {
            let mode = if is_private { "0600" } else { "0644" };
            files.push(file(&format!("/etc/firedrill/pki/{name}"), text, mode));
        }
    }
    let how = if role == Role::First { "init" } else { "join" };
    let repository = repository(spec);
    if let Some(key) = &spec.packages.kubernetes_key {
        files.push(file(KUBERNETES_KEY, key, "0644"));
    }
    let source = format!("deb [signed-by={KUBERNETES_KEY}] {repository} /\n");
    files.push(file("/etc/apt/sources.list.d/kubernetes.list", &source, "0644"));
    let mut config = json!({
        "ssh_pwauth": false, "disable_root": true, "preserve_hostname": false, "write_files": [],
        "runcmd": [[SCRIPT_PATH, how, spec.kubernetes, repository]],
    });
    if let Some(mirror) = &spec.packages.debian_mirror {
        let mirror = json!([{"arches": ["default"], "uri": mirror}]);
        config["apt"] = json!({"primary": mirror, "security": mirror});
    }
    config["write_files"] = files.into();
    let too_long = |bytes| CloudInitError::TooLong { node: node.to_owned(), bytes };
    UserData::new(format!("#cloud-config\n{config}\n")).map_err(too_long)
}

fn repository(spec: &ClusterSpec) -> String {
    let (before, after) = KUBERNETES_REPOSITORY;
    let minor = spec.kubernetes.rsplit_once('.').map_or("", |(minor, _)| minor);
    spec.packages.kubernetes.clone().unwrap_or_else(|| format!("{before}{minor}{after}"))
}

fn file(path: &str, content: &str, mode: &str) -> Value {
    json!({"path": path, "content": content, "permissions": mode, "owner": "root:root"})
}

/// A pod's OOM score is not set below containerd's own: without CAP_SYS_RESOURCE no pod would start, and on Hetzner containerd's is
/// the lowest.
fn containerd(spec: &ClusterSpec) -> String {
    let cri = "plugins.\"io.containerd.grpc.v1.cri\"";
    let pause = &spec.pause_image;
    format!(
        "version = 2\n\n[{cri}]\n  sandbox_image = \"{pause}\"\n\
         restrict_oom_score_adj = true\n\
         [{cri}.cni]\n  bin_dir = \"/opt/cni/bin\"\n  conf_dir = \"/etc/cni/net.d\"\n\
         [{cri}.containerd.runtimes.runc]\n  runtime_type = \"io.containerd.runc.v2\"\n\
         [{cri}.containerd.runtimes.runc.options]\n  SystemdCgroup = true\n\
         [{cri}.registry]\n  config_path = \"/etc/containerd/certs.d\"\n"
    )
}

/// kubeadm's configuration. The script replaces two placeholders by the server's own address and id.
fn kubeadm(spec: &ClusterSpec, secrets: &ClusterSecrets, node: &str, role: Role<'_>) -> String {
    let (api, token) = ("kubeadm.k8s.io/v1beta4", secrets.bootstrap_token().reveal());
    // Without a cloud controller, nothing else tells Kubernetes which server a node is.
    let mut kubelet = vec![json!({"name": "provider-id", "value": "hcloud://@INSTANCE_ID@"})];
    let external = json!({"name": "cloud-provider", "value": "external"});
    let mut controllers = Vec::new();
    if spec.cloud_controller {
        kubelet.push(external.clone());
        controllers.push(external);
    }
    let registration =
        json!({"name": node, "criSocket": "unix:///run/containerd/containerd.sock", "kubeletExtraArgs": kubelet});
    let api_server = match role {
        Role::First => {
            let init = json!({
                "apiVersion": api, "kind": "InitConfiguration", "nodeRegistration": registration,
                "localAPIEndpoint": {"bindPort": API_SERVER_PORT},
                "bootstrapTokens": [{"token": token, "ttl": TOKEN_VALID, "usages": ["signing", "authentication"],
                                     "groups": [JOIN_GROUP]}],
            });
            let mut names = spec.api_server_names.clone();
            names.push("@PUBLIC_IPV4@".to_owned());
            let cluster = json!({
                "apiVersion": api, "kind": "ClusterConfiguration", "clusterName": spec.name,
                "kubernetesVersion": format!("v{}", spec.kubernetes),
                "controlPlaneEndpoint": format!("@PUBLIC_IPV4@:{API_SERVER_PORT}"),
                "networking": {"podSubnet": spec.pod_subnet, "serviceSubnet": spec.service_subnet},
                "apiServer": {"certSANs": names}, "controllerManager": {"extraArgs": controllers},
            });
            let kubelet = json!({
                "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration", "cgroupDriver": "systemd",
            });
            // The kernel's own limit of connections stays: only the host's network namespace may change it.
            let proxy = json!({
                "apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration",
                "conntrack": {"maxPerCore": 0},
            });
            return format!("{init}\n---\n{cluster}\n---\n{kubelet}\n---\n{proxy}\n");
        }
        Role::ControlPlane { api_server } | Role::Worker { api_server } => format!("{api_server}:{API_SERVER_PORT}"),
    };
    let mut join = json!({
        "apiVersion": api, "kind": "JoinConfiguration", "nodeRegistration": registration,
        "discovery": {"bootstrapToken": {"apiServerEndpoint": api_server, "token": token,
                                         "caCertHashes": [secrets.authority_hash()]}},
        "timeouts": {"discovery": DISCOVERY_TIMEOUT},
    });
    if matches!(role, Role::ControlPlane { .. }) {
        join["controlPlane"] = json!({"localAPIEndpoint": {"bindPort": API_SERVER_PORT}});
    }
    format!("{join}\n")
}

fn check(spec: &ClusterSpec) -> Result<(), CloudInitError> {
    let refuse = |what, value: &str, expected| Err(CloudInitError::Value { what, value: value.to_owned(), expected });
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_version = spec.kubernetes.split('.').count() == 3 && spec.kubernetes.split('.').all(is_number);
    if !is_version {
        return refuse("version of Kubernetes", &spec.kubernetes, "three numbers such as 1.34.4");
    }
    // These stand in files with a syntax of their own.
    let is_word = |text: &str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\')
    };
    let is_address = |text: &str| is_word(text) && (text.starts_with("https://") || text.starts_with("http://"));
    if !is_word(&spec.pause_image) {
        return refuse("image", &spec.pause_image, "the name of an image");
    }
    let Packages { debian_mirror, kubernetes, kubernetes_key } = &spec.packages;
    let mut addresses = spec.image_mirror.iter().chain(debian_mirror).chain(kubernetes);
    if let Some(plain) = kubernetes.as_ref().filter(|address| !address.starts_with("https://"))
        && kubernetes_key.is_none()
    {
        return refuse("address", plain, "an https address, which a repository without a key needs");
    }
    match addresses.find(|address| !is_address(address)) {
        Some(bad) => refuse("address", bad, "a web address"),
        None => Ok(()),
    }
}
