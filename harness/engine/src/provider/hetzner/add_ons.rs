//! What a new cluster gets before a stack is installed: the pod network, and the driver of volumes with Hetzner's API as its backend.
//!
//! Everything is applied from the server's side, so applying it again changes nothing. The token goes to `kubectl` on its standard
//! input and stands in a Secret that only the driver's controller mounts.

#[cfg(test)]
mod real_tests;

use super::cloud_init::ClusterSpec;
use super::endpoint::Endpoint;
use super::labels::Labels;
use super::token::Token;
use crate::cluster::{Cluster, ClusterError, MANAGED_BY, Waiting, wait_and_tell};
use crate::process::{ProcessError, Progress, Tool};
use crate::provider::ProviderError;
use crate::provider::volumes::{DRIVER, NAMESPACE};
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::api::storage::v1::CSINode;
use kube::api::{Api, ListParams};
use serde_json::json;
use std::collections::BTreeSet;
use std::time::Duration;

const NETWORK: &str = include_str!("add_ons/network.yaml");
const VOLUMES: &str = include_str!("add_ons/volumes.yaml");
/// The limit of one call of `kubectl apply`.
const APPLY_TIMEOUT: Duration = Duration::from_secs(60);
/// The limit of a rollout.
const ROLLOUT_TIMEOUT: Duration = Duration::from_secs(300);

/// The variable with the API's address as servers reach it, for an endpoint that is not Hetzner's own.
const FROM_SERVERS_VARIABLE: &str = "HCLOUD_ENDPOINT_FROM_SERVERS";

/// What to install.
#[derive(Clone, Debug)]
pub(crate) struct AddOns<'a> {
    /// The cluster's settings.
    pub(crate) spec: &'a ClusterSpec,
    /// The image of the volume driver; none is installed without it.
    pub(crate) volumes_image: Option<&'a str>,
    /// The API's address.
    pub(crate) endpoint: &'a Endpoint,
    /// The token with which the volume driver creates, attaches and deletes volumes.
    pub(crate) token: &'a Token,
    /// The location of servers and volumes.
    pub(crate) location: &'a str,
    /// The labels of volumes, by which `down` and `sweep` find them.
    pub(crate) labels: &'a Labels,
}

/// Installs the pod network and the volume driver as soon as the API server answers. Nodes get ready with the network. Repeating it is
/// harmless.
///
/// # Errors
/// If a setting does not fit, or the API server refuses a manifest.
pub(crate) async fn install(
    cluster: &Cluster,
    add_ons: &AddOns<'_>,
    progress: Progress<'_>,
) -> Result<(), ProviderError> {
    progress("installing the pod network".to_owned());
    apply(cluster, network(add_ons.spec)?).await?;
    if let Some(image) = add_ons.volumes_image {
        progress("installing the driver of volumes".to_owned());
        let api = from_servers(add_ons.endpoint, crate::env::text)?;
        apply(cluster, volumes(add_ons, image, &api)?).await?;
    }
    Ok(())
}

/// The API's address as servers reach it. An endpoint on this machine's loopback address is not theirs.
fn from_servers(endpoint: &Endpoint, variable: impl Fn(&str) -> Option<String>) -> Result<String, ProviderError> {
    if endpoint.is_hetzner() {
        return Ok(endpoint.base().to_owned());
    }
    let unknown = || {
        let message = format!(
            "the servers' way to the API at {} is not known: set {FROM_SERVERS_VARIABLE} to its address for them (the double prints it \
             as `from_servers`)",
            endpoint.base()
        );
        ProviderError::Other(message)
    };
    variable(FROM_SERVERS_VARIABLE).ok_or_else(unknown)
}

/// A setting that does not fit into a manifest.
fn checked<'a>(what: &str, text: &'a str) -> Result<&'a str, ProviderError> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:@".contains(&byte);
    if !text.is_empty() && text.bytes().all(fits) {
        return Ok(text);
    }
    Err(ProviderError::Other(format!("{what} `{text}` cannot stand in a manifest: use letters, digits and -_./:@")))
}

/// The manifest of the pod network.
fn network(spec: &ClusterSpec) -> Result<String, ProviderError> {
    Ok(NETWORK
        .replace("@KUBERNETES@", checked("version of Kubernetes", &spec.kubernetes)?)
        .replace("@POD_SUBNET@", checked("pod subnet", &spec.pod_subnet)?)
        .replace("@SERVICE_SUBNET@", checked("service subnet", &spec.service_subnet)?))
}

/// The manifest of the volume driver, with its Secret. It contains the token.
fn volumes(add_ons: &AddOns<'_>, image: &str, api: &str) -> Result<String, ProviderError> {
    let manifest = VOLUMES.replace("@IMAGE@", checked("image", image)?);
    let labels = json!(add_ons.labels).to_string();
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
        "metadata": {"name": "hetzner", "namespace": NAMESPACE},
        "stringData": {
            "token": add_ons.token.reveal(), "endpoint": api, "location": add_ons.location, "labels": labels,
        },
    });
    Ok(format!("{manifest}---\n{secret}\n"))
}

async fn apply(cluster: &Cluster, manifest: String) -> Result<(), ProcessError> {
    let kubectl = Tool::new("kubectl", APPLY_TIMEOUT).env(cluster.kubectl_env());
    let args = ["apply", "--server-side", "--force-conflicts", "--field-manager", MANAGED_BY, "--filename", "-"];
    kubectl.args(args).input(manifest).run().await.map(drop)
}

/// Waits until these nodes are there and ready, each with a pod network.
///
/// # Errors
/// If they are not within the limit.
pub(crate) async fn nodes_ready(
    cluster: &Cluster,
    names: &BTreeSet<String>,
    limit: Duration,
    progress: Progress<'_>,
) -> Result<(), ClusterError> {
    wait_and_tell("the nodes", limit, progress, || async {
        let nodes = cluster.nodes().await?;
        let ready: BTreeSet<_> = nodes.into_iter().filter(|node| node.ready).map(|node| node.name).collect();
        let missing: Vec<_> = names.difference(&ready).map(String::as_str).collect();
        Ok(if missing.is_empty() {
            Waiting::Done(())
        } else {
            Waiting::Not(format!("not ready: {}", missing.join(", ")))
        })
    })
    .await
}

/// Waits until the pod network, CoreDNS and, where it was installed, the volume driver run on all nodes.
///
/// # Errors
/// If they do not within their limits.
pub(crate) async fn ready(cluster: &Cluster, with_volumes: bool, progress: Progress<'_>) -> Result<(), ProviderError> {
    let mut rollouts = vec![("kube-system", "daemonset/kube-router"), ("kube-system", "deployment/coredns")];
    if with_volumes {
        rollouts.extend([(NAMESPACE, "daemonset/node"), (NAMESPACE, "deployment/controller")]);
    }
    for (namespace, name) in rollouts {
        progress(format!("waiting for {name}"));
        let kubectl = Tool::new("kubectl", ROLLOUT_TIMEOUT).env(cluster.kubectl_env());
        let timeout = format!("--timeout={}s", ROLLOUT_TIMEOUT.as_secs());
        kubectl.args(["rollout", "status", "--namespace", namespace, &timeout, name]).run().await?;
    }
    if with_volumes {
        volumes_registered(cluster, progress).await?;
    }
    Ok(())
}

/// Waits until every node lists the driver.
async fn volumes_registered(cluster: &Cluster, progress: Progress<'_>) -> Result<(), ClusterError> {
    let (nodes, drivers): (Api<Node>, Api<CSINode>) = (Api::all(cluster.client()), Api::all(cluster.client()));
    wait_and_tell("the volume driver on every node", ROLLOUT_TIMEOUT, progress, || async {
        let count = cluster.ask("the nodes", nodes.list_metadata(&ListParams::default())).await?.items.len();
        let listed = cluster.ask("the nodes' drivers", drivers.list(&ListParams::default())).await?;
        let has_it = |node: &&CSINode| node.spec.drivers.iter().any(|driver| driver.name == DRIVER);
        let with_it = listed.iter().filter(has_it).count();
        let done = with_it >= count;
        Ok(if done { Waiting::Done(()) } else { Waiting::Not(format!("{with_it} of {count} nodes have it")) })
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifests_are_filled_in_whole() {
        let token = Token::parse("a-token", "test").unwrap();
        let (spec, labels) = (
            ClusterSpec::new("firedrill-a3f", None),
            [("firedrill.dev/cluster".to_owned(), "firedrill-a3f".to_owned())].into(),
        );
        let endpoint = Endpoint::of_test("https://api.hetzner.cloud/v1", None);
        let image = "firedrill.local/volumes:abc";
        let add_ons = AddOns {
            spec: &spec,
            volumes_image: Some(image),
            endpoint: &endpoint,
            token: &token,
            location: "fsn1",
            labels: &labels,
        };
        let (network, volumes) = (network(&spec).unwrap(), volumes(&add_ons, image, endpoint.base()).unwrap());
        for placeholder in ["@KUBERNETES@", "@POD_SUBNET@", "@SERVICE_SUBNET@", "@IMAGE@"] {
            assert!(!network.contains(placeholder) && !volumes.contains(placeholder), "{placeholder}");
        }
        assert!(network.contains("kube-proxy:v1.34.4") && network.contains("value: \"10.244.0.0/16\""));
        assert_eq!(volumes.matches("image: \"firedrill.local/volumes:abc\"\n").count(), 2);
        let secret: serde_json::Value = serde_json::from_str(volumes.rsplit("---\n").next().unwrap()).unwrap();
        assert_eq!(secret["stringData"]["token"], "a-token");
        assert_eq!(secret["stringData"]["endpoint"], "https://api.hetzner.cloud/v1");
        assert_eq!(secret["stringData"]["labels"], r#"{"firedrill.dev/cluster":"firedrill-a3f"}"#);
        assert!(!format!("{add_ons:?}").contains("a-token"));
    }

    #[test]
    fn what_could_change_a_manifest_is_refused() {
        for bad in ["", "10.244.0.0/16\"", "a\nb", "a b", "{}"] {
            let spec = ClusterSpec { pod_subnet: bad.to_owned(), ..ClusterSpec::new("firedrill-a3f", None) };
            let error = network(&spec).unwrap_err().to_string();
            assert!(error.contains("cannot stand in a manifest"), "{error}");
        }
    }

    #[test]
    fn servers_are_told_an_address_that_they_reach() {
        let hetzner = Endpoint::of_test("https://api.hetzner.cloud/v1", None);
        assert_eq!(from_servers(&hetzner, |_| None).unwrap(), "https://api.hetzner.cloud/v1");
        let double = Endpoint::of_test("http://127.0.0.1:8080/v1", None);
        let error = from_servers(&double, |_| None).unwrap_err().to_string();
        assert!(error.contains(FROM_SERVERS_VARIABLE), "{error}");
        let given = from_servers(&double, |_| Some("http://198.18.0.1:8080/v1".to_owned())).unwrap();
        assert_eq!(given, "http://198.18.0.1:8080/v1");
    }
}
