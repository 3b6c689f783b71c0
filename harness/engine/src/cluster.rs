//! The handle on one cluster that everything else uses.

mod ask;
mod crashed;
mod discovery;
mod error;
mod exec;
mod expose;
mod inventory;
mod kubeconfig;
mod kubelet;
mod mark;
mod namespace;
mod node;
mod pages;
mod placement;
mod pods;
mod wait;

pub use ask::ASK_LIMIT;
pub use discovery::{Leftover, ObjectKey};
pub use error::ClusterError;
pub(crate) use error::said;
pub(crate) use exec::EXEC_OUTPUT_MAX_BYTES;
pub use exec::{Container, ExecOutput};
pub use inventory::{Differences, DigestKey, Inventory, differences};
pub use mark::{ANNOTATION_EXPIRES, LABEL_MANAGED_BY, LABEL_RUN, MANAGED_BY, MARKER, RunMark};
pub use namespace::system_labels;
pub use node::{LABEL_CONTROL_PLANE, NodeState};
pub(crate) use pages::SAME_PAGE_FOR;
pub(crate) use pods::{exactly, is_ready, typed};
pub use wait::{Waiting, wait_and_tell, wait_for};

use crate::clock::Clock;
use crate::files;
use crate::process::Tool;
use crate::provider::{self, Machines};
use crate::proxy::Way;
use crate::redact::Redactor;
use firedrill_core::event::ClusterInfo;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Node, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, ListParams};
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kubeconfig::{only_context, register_logins, server_of};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

/// One cluster, named by an explicit kubeconfig and context. The user's own kubeconfig is never read.
#[derive(Clone)]
pub struct Cluster {
    /// Its name.
    pub name: String,
    /// The kubeconfig that it was opened with.
    pub kubeconfig: PathBuf,
    /// The context in it.
    pub context: String,
    /// Its provider's name.
    pub provider: String,
    /// What acts on its machines.
    pub machines: Arc<dyn Machines>,
    client: kube::Client,
    pages: Arc<pages::Pages>,
    /// Knows every secret that was read from it or that it was opened with.
    redactor: Arc<Redactor>,
    /// A home for the programs that act on it, with a kubeconfig of this context alone.
    home: Arc<TempDir>,
    /// How it is reached, by this program and by those.
    way: Way,
    /// The program that the context's user gets its credentials from, where there is one.
    plugin: Option<String>,
    /// The one clock of everything that is done with this handle.
    clock: Clock,
}

impl Cluster {
    /// Connects lazily: nothing is asked of the cluster yet. It counts as somebody else's until [`Cluster::provided_by`] says otherwise.
    ///
    /// # Errors
    /// Where the kubeconfig cannot be read or lacks the context.
    pub async fn connect(name: &str, kubeconfig: &Path, context: &str) -> Result<Self, ClusterError> {
        let bad = |reason: String| ClusterError::Kubeconfig { path: kubeconfig.to_owned(), reason };
        // Paths in it are relative to it, and programs are started in other folders.
        let absolute = std::path::absolute(kubeconfig).map_err(|error| bad(error.to_string()))?;
        let file = Kubeconfig::read_from(absolute).map_err(|error| bad(error.to_string()))?;
        let home = tempfile::Builder::new().prefix("firedrill-").tempdir().map_err(|error| bad(error.to_string()))?;
        files::write(&home.path().join(OWN_KUBECONFIG), &only_context(&file, context).map_err(bad)?)
            .map_err(|error| bad(error.to_string()))?;
        let redactor = Redactor::default();
        register_logins(&redactor, &file, context);
        let (server, own_proxy) = server_of(&file, context);
        let unreachable = |why: String| ClusterError::Proxy { server: server.clone(), why };
        let uri: http::Uri =
            server.parse().map_err(|_| bad(format!("{server} is not the address of an API server")))?;
        let way = Way::to(&uri, own_proxy.as_deref(), crate::env::text).map_err(unreachable)?;
        let options = KubeConfigOptions { context: Some(context.to_owned()), ..Default::default() };
        let mut config = kube::Config::from_custom_kubeconfig(file, &options).await.map_err(|error| match error {
            KubeconfigError::ParseNoProxy(_) => unreachable("NO_PROXY cannot be read".to_owned()),
            error => bad(error.to_string()),
        })?;
        config.proxy_url = way.proxy().cloned();
        let plugin = config.auth_info.exec.as_ref().and_then(|exec| exec.command.clone());
        config.default_retry = false;
        config.connect_timeout = Some(Duration::from_secs(3));
        config.read_timeout = Some(Duration::from_secs(20));
        config.write_timeout = Some(Duration::from_secs(10));
        let client = kube::Client::try_from(config).map_err(|error| bad(error.to_string()))?;
        let clock = Clock::start();
        Ok(Self {
            name: name.to_owned(),
            kubeconfig: kubeconfig.to_owned(),
            context: context.to_owned(),
            provider: provider::EXISTING.to_owned(),
            machines: provider::machines_of_others(),
            client,
            pages: Arc::new(pages::Pages::new(clock)),
            redactor: Arc::new(redactor),
            home: Arc::new(home),
            way,
            plugin,
            clock,
        })
    }

    /// The same cluster, of this provider and with these machines.
    #[must_use]
    pub fn provided_by(self, provider: &str, machines: Arc<dyn Machines>) -> Self {
        Self { provider: provider.to_owned(), machines, ..self }
    }

    /// The clock of everything that is done with this handle.
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// The same cluster by another clock: that of a run.
    #[must_use]
    pub fn by_clock(self, clock: Clock) -> Self {
        Self { clock, pages: Arc::new(pages::Pages::new(clock)), ..self }
    }

    /// Whether firedrill made it.
    pub fn is_own(&self) -> bool {
        provider::is_own(&self.provider)
    }

    /// What takes the secrets that were read from this cluster out of texts.
    pub fn redactor(&self) -> Arc<Redactor> {
        self.redactor.clone()
    }

    /// The client. Watches and execs that live longer than its read timeout reconnect by themselves.
    pub fn client(&self) -> kube::Client {
        self.client.clone()
    }

    /// Which cluster this is.
    ///
    /// # Errors
    /// Where the API server does not say.
    pub async fn info(&self) -> Result<ClusterInfo, ClusterError> {
        let version = self.ask("the cluster's version", self.client.apiserver_version()).await?;
        let uid = self.uid().await?;
        let nodes = self.nodes().await?;
        Ok(ClusterInfo {
            name: self.name.clone(),
            provider: self.provider.clone(),
            uid,
            version: version.git_version.trim_start_matches('v').to_owned(),
            nodes: u32::try_from(nodes.len()).unwrap_or(u32::MAX),
        })
    }

    /// Its UID: that of the namespace `kube-system`, which no other cluster has.
    ///
    /// # Errors
    /// Where the API server does not say.
    pub async fn uid(&self) -> Result<String, ClusterError> {
        let namespaces: Api<Namespace> = Api::all(self.client());
        let system = self.ask("the cluster's identity", namespaces.get_metadata("kube-system")).await?;
        system.metadata.uid.ok_or_else(|| ClusterError::Other("namespace kube-system has no UID".to_owned()))
    }

    /// Its nodes, by name.
    ///
    /// # Errors
    /// Where the API server does not say.
    pub async fn nodes(&self) -> Result<Vec<NodeState>, ClusterError> {
        let api: Api<Node> = Api::all(self.client());
        let nodes = self.ask("the cluster's nodes", api.list(&ListParams::default())).await?;
        let mut nodes: Vec<_> = nodes.iter().map(NodeState::of).collect();
        nodes.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(nodes)
    }

    /// What the mark that drills may break this cluster says, where it carries it.
    ///
    /// # Errors
    /// Where the API server does not say.
    pub async fn marker(&self) -> Result<Option<BTreeMap<String, String>>, ClusterError> {
        let api: Api<ConfigMap> = Api::namespaced(self.client(), "kube-system");
        let marker = self.ask("the mark that drills are allowed", api.get_opt(MARKER)).await?;
        Ok(marker.map(|marker| marker.data.unwrap_or_default()))
    }

    /// Whether drills may break this cluster: whether it carries [`MARKER`].
    ///
    /// # Errors
    /// Where the API server does not say.
    pub async fn is_allowed(&self) -> Result<bool, ClusterError> {
        Ok(self.marker().await?.is_some())
    }

    /// Marks this cluster as one that drills may break.
    ///
    /// # Errors
    /// Where the API server refuses.
    pub async fn allow(&self, data: BTreeMap<String, String>) -> Result<(), ClusterError> {
        let labels = BTreeMap::from([(LABEL_MANAGED_BY.to_owned(), MANAGED_BY.to_owned())]);
        let metadata = ObjectMeta { name: Some(MARKER.to_owned()), labels: Some(labels), ..Default::default() };
        let marker = ConfigMap { metadata, data: Some(data), ..Default::default() };
        let api: Api<ConfigMap> = Api::namespaced(self.client(), "kube-system");
        let params = kube::api::PatchParams::apply(MANAGED_BY).force();
        self.ask("marking the cluster", api.patch(MARKER, &params, &kube::api::Patch::Apply(&marker))).await?;
        Ok(())
    }

    /// One value of a Secret. From now on [`Cluster::redactor`] takes it out of texts, unless its key says that it is none.
    ///
    /// # Errors
    /// Where there is no such Secret, key or text.
    pub async fn get_secret(&self, namespace: &str, name: &str, key: &str) -> Result<String, ClusterError> {
        let api: Api<Secret> = Api::namespaced(self.client(), namespace);
        let secret = self.ask(format!("secret {namespace}/{name}"), api.get(name)).await?;
        let value = secret.data.and_then(|mut data| data.remove(key));
        let value = value.ok_or_else(|| ClusterError::Other(format!("secret {namespace}/{name} has no {key}")))?;
        let value = String::from_utf8(value.0);
        let value = value.map_err(|_| ClusterError::Other(format!("{key} of {namespace}/{name} is not text")))?;
        if !PUBLIC_KEYS.contains(&key) {
            self.redactor.register(&format!("{key} of Secret {namespace}/{name}"), &value);
        }
        Ok(value)
    }

    /// The whole environment of a program that acts on this cluster: a home of its own, this context and no other, and the
    /// same proxy as this program.
    ///
    /// Where the context's user has its credentials from a plugin, the plugin's part of this program's environment is kept,
    /// the user's home among it. What kubectl and helm keep of their own is elsewhere all the same.
    pub fn kubectl_env(&self) -> Vec<(OsString, OsString)> {
        let home = self.home.path();
        let path = crate::env::raw("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
        let mut all: BTreeMap<OsString, OsString> = self.way.variables().into_iter().collect();
        if self.plugin.is_some() {
            all.extend(crate::env::of_credential_plugins());
            for (name, folder) in [
                ("KUBECACHEDIR", "kube-cache"),
                ("HELM_CACHE_HOME", "helm/cache"),
                ("HELM_CONFIG_HOME", "helm/config"),
                ("HELM_DATA_HOME", "helm/data"),
            ] {
                all.insert(name.into(), home.join(folder).into());
            }
        }
        all.insert("PATH".into(), path);
        all.insert("KUBECONFIG".into(), home.join(OWN_KUBECONFIG).into());
        all.entry("HOME".into()).or_insert_with(|| home.into());
        all.into_iter().collect()
    }

    /// What people must know where the context's user gets its credentials from a plugin.
    pub fn credential_plugin_note(&self) -> Option<String> {
        let plugin = self.plugin.as_ref()?;
        Some(format!(
            "the kubeconfig's credential plugin is {plugin:?}: kubectl, helm and runbook commands see your home and the settings \
             of cloud tools ({})",
            crate::env::CREDENTIAL_PLUGIN_VARIABLES
        ))
    }

    /// Whether kubectl can get credentials where they come from a plugin: it has less of the environment than this program.
    ///
    /// # Errors
    /// In the plugin's own words.
    pub async fn check_credential_plugin(&self) -> Result<(), ClusterError> {
        let Some(plugin) = &self.plugin else { return Ok(()) };
        let kubectl = Tool::new("kubectl", PLUGIN_TIMEOUT).env(self.kubectl_env());
        let asked = kubectl.args(["get", "--raw", "/readyz"]).run().await;
        asked.map(drop).map_err(|error| {
            ClusterError::Other(format!(
                "kubectl cannot use the credential plugin {plugin} of context {}: {error}",
                self.context
            ))
        })
    }
}

/// A password as a URL wants it.
pub(crate) fn url_escaped(password: &str) -> String {
    let letter =
        |byte: u8| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    password.bytes().map(letter).collect()
}

const OWN_KUBECONFIG: &str = "kubeconfig";
/// A plugin may have to renew a login over the network.
const PLUGIN_TIMEOUT: Duration = Duration::from_secs(60);

/// Keys of Secrets whose values are no secrets: reports need them.
const PUBLIC_KEYS: [&str; 6] = ["username", "user", "host", "port", "dbname", "database"];

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = "{apiVersion: v1, kind: Config, current-context: other, \
        clusters: [{name: a, cluster: {server: 'https://127.0.0.1:1'}}, {name: b, cluster: {server: 'https://127.0.0.1:2'}}], \
        users: [{name: ua, user: {token: secret-a}}, {name: ub, user: {token: secret-b}}], \
        contexts: [{name: mine, context: {cluster: a, user: ua}}, {name: other, context: {cluster: b, user: ub}}]}";

    #[tokio::test]
    async fn programs_see_one_context_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config");
        files::write(&file, TWO.as_bytes()).unwrap();
        let cluster = Cluster::connect("test", &file, "mine").await.unwrap();
        let env: BTreeMap<_, _> = cluster.kubectl_env().into_iter().collect();
        assert_eq!(env.len(), 3);
        let seen = std::fs::read_to_string(&env[&OsString::from("KUBECONFIG")]).unwrap();
        assert!(seen.contains("secret-a") && !seen.contains("secret-b"), "{seen}");
        assert!(seen.contains(r#""current-context":"mine""#), "{seen}");
        let home = PathBuf::from(&env[&OsString::from("HOME")]);
        drop(cluster);
        assert!(!home.exists());
    }

    #[tokio::test]
    async fn an_unknown_context_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config");
        files::write(&file, TWO.as_bytes()).unwrap();
        let error = Cluster::connect("test", &file, "third").await.err().unwrap().to_string();
        assert!(error.ends_with("no context `third`"), "{error}");
    }
}
