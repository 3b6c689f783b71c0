//! Where clusters come from, and what can be done to their machines.
//!
//! A provider is one folder here and one line in [`all`]. It makes, finds, opens and deletes clusters ([`Provider`]). A cluster that it
//! opened holds what acts on its machines ([`Machines`]). Nothing outside this folder knows which provider it has.

mod capability;
mod drain;
mod endpoint;
mod existing;
#[cfg(test)]
pub(crate) mod fake;
#[allow(dead_code, unused_imports, reason = "the provider itself, which uses these modules, is still missing")]
mod hetzner;
mod kind;
mod machines;
mod settle;
mod step_environment;
mod volumes;

pub use capability::{Capabilities, Capability, Support, Unavailable};
pub use endpoint::{ExternalEndpoint, ExternalNeed, Route};
pub use machines::{MachineError, Machines, replacement_of};
pub use step_environment::{ChangeEnd, ChangeLog, ChangeRequest, StepEnvironment};
pub use volumes::{FileSystemFindings, VolumeFault, VolumeSetting, Volumes};

use crate::cluster::{Cluster, ClusterError};
use crate::process::{ProcessError, Progress};
use async_trait::async_trait;
use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use thiserror::Error;

/// What the name of every cluster begins with that firedrill makes.
pub const NAME_PREFIX: &str = "firedrill-";

/// Every provider. A new one is one line here.
pub fn all() -> Vec<Arc<dyn Provider>> {
    vec![Arc::new(kind::Kind), Arc::new(existing::Existing)]
}

/// Makes, finds, opens and deletes clusters.
#[async_trait]
pub trait Provider: Send + Sync {
    /// Its name, as journals and undo records have it.
    fn name(&self) -> &'static str;

    /// Whether it makes clusters; one that does not opens those of others.
    fn makes_clusters(&self) -> bool;

    /// Makes a cluster and marks it as one that drills may break.
    ///
    /// # Errors
    /// Where it makes none, or the cluster does not work within its limits. What was made until then is found and deleted by name.
    async fn create(&self, options: &ClusterOptions, progress: Progress<'_>) -> Result<Cluster, ProviderError>;

    /// Makes a cluster that it made ready for drills: nodes that are off are powered on, and a creation that was cut off is finished.
    ///
    /// # Errors
    /// Where there is no such cluster, firedrill did not make it, or it does not get ready.
    async fn ensure_ready(&self, options: &ClusterOptions, progress: Progress<'_>) -> Result<Cluster, ProviderError>;

    /// All clusters that firedrill made with it, by name.
    ///
    /// # Errors
    /// Where the provider does not say.
    async fn find(&self) -> Result<Vec<FoundCluster>, ProviderError>;

    /// One of them.
    ///
    /// # Errors
    /// Where there is none of that name, firedrill did not make it, or the provider does not say.
    async fn find_named(&self, name: &str) -> Result<FoundCluster, ProviderError>;

    /// Opens a cluster. Nothing in it is changed. Only a provider of others' clusters needs the kubeconfig, in which the name is
    /// that of a context.
    ///
    /// # Errors
    /// Where there is no such cluster, it cannot be reached, or drills may not break it.
    async fn open(&self, name: &str, kubeconfig: Option<&Path>) -> Result<Cluster, ProviderError>;

    /// Deletes a cluster that firedrill made, and looks whether it is gone.
    ///
    /// # Errors
    /// Where there is no such cluster, firedrill did not make it, or it is still there afterwards.
    async fn delete(&self, name: &str) -> Result<(), ProviderError>;
}

/// A cluster to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterOptions {
    /// Its name, which begins with [`NAME_PREFIX`].
    pub name: String,
    /// Nodes beside the control plane.
    pub workers: u32,
    /// The image of every node; the provider's default where it is not given.
    pub node_image: Option<String>,
    /// The driver of volumes with a size, where there is to be one.
    pub volumes: Option<VolumesDriver>,
}

/// The driver of volumes with a size (`fixtures/volumes`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumesDriver {
    /// Its image.
    pub image: String,
    /// Its manifest, in which `firedrill.local/volumes` stands for the image.
    pub manifest: PathBuf,
}

/// A cluster that firedrill made, as its provider shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundCluster {
    /// Its name.
    pub name: String,
    /// Its provider's name.
    pub provider: &'static str,
    /// How many nodes it has.
    pub nodes: usize,
    /// Whether they are on, in a word or two.
    pub state: String,
    /// When it was made (RFC 3339).
    pub created: String,
}

impl fmt::Display for FoundCluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let made = self.created.get(..16).unwrap_or(&self.created).replace('T', " ");
        let Self { name, provider, nodes, state, .. } = self;
        write!(f, "{name:<18} {provider}  {nodes} nodes  {state:<20} made {made} UTC")
    }
}

/// The provider of that name.
///
/// # Errors
/// Where there is none.
pub fn named(name: &str) -> Result<Arc<dyn Provider>, ProviderError> {
    let found = all().into_iter().find(|provider| provider.name() == name);
    found.ok_or_else(|| {
        let known = all().iter().map(|provider| provider.name()).collect::<Vec<_>>().join(", ");
        ProviderError::Unknown { name: name.to_owned(), known }
    })
}

/// The names of the providers that make clusters. A new cluster is made by the first one unless the user names another.
pub fn makers() -> Vec<&'static str> {
    all().iter().filter(|provider| provider.makes_clusters()).map(|provider| provider.name()).collect()
}

/// All clusters that firedrill made, with whichever provider.
///
/// # Errors
/// Where a provider does not say.
pub async fn find() -> Result<Vec<FoundCluster>, ProviderError> {
    let mut found = Vec::new();
    for provider in all() {
        found.extend(provider.find().await?);
    }
    Ok(found)
}

/// Opens a cluster that firedrill made, by its name.
///
/// # Errors
/// Where there is no such cluster, firedrill did not make it, or it cannot be reached.
pub async fn open(name: &str) -> Result<Cluster, ProviderError> {
    provider_of(name).await?.open(name, None).await
}

/// Opens a cluster that somebody else made and has marked for drills.
///
/// # Errors
/// Where it cannot be reached, or does not carry the mark.
pub async fn open_existing(kubeconfig: &Path, context: &str) -> Result<Cluster, ProviderError> {
    existing::Existing.open(context, Some(kubeconfig)).await
}

/// Deletes a cluster that firedrill made, by its name.
///
/// # Errors
/// Where there is no such cluster, firedrill did not make it, or it is still there afterwards.
pub async fn delete(name: &str) -> Result<(), ProviderError> {
    provider_of(name).await?.delete(name).await
}

/// The provider of a cluster that firedrill made.
async fn provider_of(name: &str) -> Result<Arc<dyn Provider>, ProviderError> {
    for provider in all() {
        match provider.find_named(name).await {
            Err(ProviderError::NotFound { .. }) => {}
            other => return other.map(|_| provider),
        }
    }
    Err(ProviderError::NotFound { name: name.to_owned() })
}

/// What `doctor` finds of Hetzner's API.
pub(crate) async fn examine_hetzner() -> Vec<crate::doctor::Check> {
    hetzner::examine().await
}

/// A name for a new cluster, [`NAME_PREFIX`] and three random hexadecimal digits.
pub fn random_name() -> String {
    let random = RandomState::new().build_hasher().finish();
    format!("{NAME_PREFIX}{:03x}", random & 0xfff)
}

/// The machines of a cluster that firedrill did not make.
pub(crate) fn machines_of_others() -> Arc<dyn Machines> {
    Arc::new(existing::OthersMachines)
}

/// Whether firedrill makes the clusters of a provider with that name. An unknown one is somebody else's.
pub(crate) fn is_own(provider: &str) -> bool {
    named(provider).is_ok_and(|provider| provider.makes_clusters())
}

/// The provider of clusters that firedrill did not make.
pub(crate) const EXISTING: &str = existing::NAME;

/// What stands between a provider and a cluster.
#[derive(Debug, Error)]
pub enum ProviderError {
    /// A program of the provider failed.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// The cluster did not do what it should.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// A machine of the cluster did not do what it should.
    #[error(transparent)]
    Machine(#[from] MachineError),
    /// No provider has that name.
    #[error("there is no provider `{name}` (providers: {known})")]
    Unknown {
        /// The name.
        name: String,
        /// Those that there are.
        known: String,
    },
    /// The provider opens clusters of others.
    #[error("provider {provider} makes no clusters")]
    MakesNone {
        /// The provider.
        provider: &'static str,
    },
    /// There is no such cluster.
    #[error("there is no cluster {name}")]
    NotFound {
        /// Its name.
        name: String,
    },
    /// It is there and firedrill did not make it.
    #[error("firedrill did not make cluster {name}: {why}")]
    NotOurs {
        /// Its name.
        name: String,
        /// What shows that.
        why: String,
    },
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Anything else that stands in the way.
    #[error("{0}")]
    Other(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registry_knows_its_providers_by_name() {
        let names: Vec<_> = all().iter().map(|provider| provider.name()).collect();
        assert_eq!(names, ["kind", "existing"]);
        assert_eq!(makers(), ["kind"]);
        for name in names {
            assert_eq!(named(name).unwrap().name(), name);
        }
        let error = named("docker").err().unwrap().to_string();
        assert_eq!(error, "there is no provider `docker` (providers: kind, existing)");
        assert!(is_own("kind") && !is_own(EXISTING) && !is_own("docker"));
    }

    /// A fact about one provider outside of this folder would run its commands for another one.
    #[test]
    fn nothing_outside_this_folder_names_a_providers_programs() {
        let harness = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut folders = vec![harness.join("engine/src"), harness.join("cli/src")];
        let is_code = |path: &Path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.ends_with(".rs") && !name.ends_with("_tests.rs")
        };
        let (mut found, mut files) = (Vec::new(), 0);
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                // `doctor` looks whether this machine has what kind needs.
                let is_exempt = path.ends_with("engine/src/provider") || path.ends_with("engine/src/doctor.rs");
                if path.is_dir() && !is_exempt {
                    folders.push(path);
                } else if is_code(&path) && !is_exempt {
                    files += 1;
                    let text = std::fs::read_to_string(&path).unwrap_or_default().to_lowercase();
                    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default().lines();
                    let code = code.filter(|line| !line.trim_start().starts_with("//"));
                    // The type of Secret is Kubernetes' own.
                    let named = code.filter(|line| line.replace("docker-registry", "").contains("docker"));
                    found.extend(named.map(|line| format!("{}: {line}", path.display())));
                }
            }
        }
        assert!(found.is_empty() && files > 100, "{files} files: {found:#?}");
    }

    #[test]
    fn names_are_ours_and_differ() {
        let names: std::collections::BTreeSet<_> = (0..50).map(|_| random_name()).collect();
        assert!(names.iter().all(|name| name.len() == NAME_PREFIX.len() + 3 && name.starts_with(NAME_PREFIX)));
        assert!(names.len() > 25, "{names:?}");
    }

    #[test]
    fn a_cluster_is_one_line() {
        let cluster = FoundCluster {
            name: "firedrill-a3f".to_owned(),
            provider: "kind",
            nodes: 2,
            state: "1 of 2 nodes off".to_owned(),
            created: "2026-11-22T19:00:00Z".to_owned(),
        };
        let line = "firedrill-a3f      kind  2 nodes  1 of 2 nodes off     made 2026-11-22 19:00 UTC";
        assert_eq!(cluster.to_string(), line);
    }
}
