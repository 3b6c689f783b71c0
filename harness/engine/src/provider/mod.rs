//! Where clusters come from, and what can be done to their machines.
//!
//! A provider is one folder here and one line in [`all`]. It makes, finds, opens and deletes clusters ([`Provider`]). A cluster that it
//! opened holds what acts on its machines ([`Machines`]). Nothing outside this folder knows which provider it has.

mod cache;
mod capability;
mod drain;
mod endpoint;
mod existing;
#[cfg(test)]
pub(crate) mod fake;
mod hetzner;
mod kind;
mod machines;
mod new_node;
mod options;
mod ports;
mod settle;
mod step_environment;
mod volumes;

pub use capability::{Capabilities, Capability, Support, Unavailable};
pub use endpoint::{ExternalEndpoint, ExternalNeed, Route};
pub use machines::{MachineError, Machines, replacement_of};
pub use options::{CloudOptions, ClusterOptions, VolumesDriver};
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
    vec![Arc::new(kind::Kind), Arc::new(hetzner::Hetzner::of_environment()), Arc::new(existing::Existing)]
}

/// Makes, finds, opens and deletes clusters.
#[async_trait]
pub trait Provider: Send + Sync {
    /// Its name, as journals and undo records have it.
    fn name(&self) -> &'static str;

    /// Whether it makes clusters; one that does not opens those of others.
    fn makes_clusters(&self) -> bool;

    /// Checks the options of a new cluster, before anything is made and without a request.
    ///
    /// # Errors
    /// [`ProviderError::Option`] where one is missing, not valid, or not known to this provider.
    fn check(&self, options: &ClusterOptions) -> Result<(), ProviderError> {
        options.cloud.refuse(self.name())
    }

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
    async fn delete(&self, name: &str, progress: Progress<'_>) -> Result<(), ProviderError>;

    /// What a cluster costs, in one line; `None` where it costs nothing.
    ///
    /// # Errors
    /// Where the provider does not say.
    async fn cost(&self, _name: &str) -> Result<Option<String>, ProviderError> {
        Ok(None)
    }

    /// Deletes the clusters of everybody whose lifetime has passed, as far as the provider's clusters have one. Returns a line for
    /// each thing that was deleted.
    ///
    /// # Errors
    /// Where something that has expired is still there, or the provider does not say.
    async fn sweep_expired(&self, _progress: Progress<'_>) -> Result<Vec<String>, ProviderError> {
        Ok(Vec::new())
    }
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
    /// When it was made (RFC 3339); empty where that is not known.
    pub created: String,
    /// When its lifetime ends (RFC 3339), where it has one.
    pub expires: Option<String>,
}

impl fmt::Display for FoundCluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let minute = |time: &str| time.get(..16).unwrap_or(time).replace('T', " ");
        let Self { name, provider, nodes, state, .. } = self;
        write!(f, "{name:<18} {provider}  {nodes} nodes  {state:<20}")?;
        if !self.created.is_empty() {
            write!(f, " made {} UTC", minute(&self.created))?;
        }
        match &self.expires {
            Some(expires) => write!(f, ", expires {} UTC", minute(expires)),
            None => Ok(()),
        }
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
pub async fn delete(name: &str, progress: Progress<'_>) -> Result<(), ProviderError> {
    provider_of(name).await?.delete(name, progress).await
}

/// What a cluster that firedrill made costs; see [`Provider::cost`].
///
/// # Errors
/// Where there is no such cluster, or its provider does not say.
pub async fn cost(name: &str) -> Result<Option<String>, ProviderError> {
    provider_of(name).await?.cost(name).await
}

/// Deletes all clusters whose lifetime has passed; see [`Provider::sweep_expired`]. Every provider is asked, whatever the one before
/// says.
///
/// # Errors
/// Those of all providers, in one.
pub async fn sweep_expired(progress: Progress<'_>) -> Result<Vec<String>, ProviderError> {
    let (mut deleted, mut errors) = (Vec::new(), Vec::new());
    for provider in all() {
        match provider.sweep_expired(progress).await {
            Ok(lines) => deleted.extend(lines),
            Err(error) => errors.push(error.to_string()),
        }
    }
    if errors.is_empty() { Ok(deleted) } else { Err(ProviderError::Other(errors.join("; "))) }
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

/// The providers that know [`CloudOptions`], for hints.
fn knowing() -> &'static str {
    hetzner::NAME
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
    /// An option of a new cluster is missing, not valid, or not known to the provider. Nothing was made.
    #[error("{message}")]
    Option {
        /// What is wrong.
        message: String,
        /// What to do about it.
        hint: String,
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
        assert_eq!(names, ["kind", "hetzner", "existing"]);
        assert_eq!(makers(), ["kind", "hetzner"]);
        for name in names {
            assert_eq!(named(name).unwrap().name(), name);
        }
        let error = named("docker").err().unwrap().to_string();
        assert_eq!(error, "there is no provider `docker` (providers: kind, hetzner, existing)");
        assert!(is_own("kind") && is_own("hetzner") && !is_own(EXISTING) && !is_own("docker"));
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
            expires: None,
        };
        let line = "firedrill-a3f      kind  2 nodes  1 of 2 nodes off     made 2026-11-22 19:00 UTC";
        assert_eq!(cluster.to_string(), line);
        let expires = Some("2026-11-23T03:00:00Z".to_owned());
        assert_eq!(FoundCluster { expires, ..cluster }.to_string(), format!("{line}, expires 2026-11-23 03:00 UTC"));
    }
}
