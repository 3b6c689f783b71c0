//! What this machine keeps of a cluster: its settings and its secrets, in a file of mode 0600. With it a second `up` goes on where the
//! first one stopped. Which resources there are is not kept: the API is asked.

use super::super::cache;
use super::super::{ClusterOptions, ProviderError};
use super::account::other;
use super::cloud_init::ClusterSecrets;
use super::labels::{Labels, Mark};
use super::settings::Settings;
use crate::clock::Clock;
use crate::files;
use crate::redact::Redactor;
use serde::{Deserialize, Serialize};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

const FILE: &str = "hetzner.json";
const KUBECONFIG: &str = "kubeconfig";

/// What is kept. `Debug` prints no secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The settings.
    pub(crate) settings: Settings,
    /// Tells this cluster's resources from those of an earlier one of its name.
    pub(crate) run: String,
    /// When its lifetime ends, in seconds since the epoch.
    pub(crate) expires_unix_s: i64,
    /// Whether the cluster was finished once.
    pub(crate) finished: bool,
    /// The cluster's secrets.
    pub(crate) secrets: ClusterSecrets,
}

impl Record {
    /// A record of a new cluster, with new secrets.
    ///
    /// # Errors
    /// If an option is not valid, or the secrets cannot be made.
    pub(crate) fn new(options: &ClusterOptions) -> Result<Self, ProviderError> {
        let settings = Settings::of(options)?;
        let clock = Clock::start();
        let now = clock.unix_seconds(clock.now());
        let lifetime_s = i64::try_from(settings.lifetime.as_secs()).map_err(other)?;
        let secrets = ClusterSecrets::generate(now).map_err(other)?;
        let run = format!("up-{now}-{:04x}", clock.seed() & 0xffff);
        Ok(Self { settings, run, expires_unix_s: now + lifetime_s, finished: false, secrets })
    }

    /// The labels of each of its resources.
    ///
    /// # Errors
    /// If one cannot be a label.
    pub(crate) fn labels(&self) -> Result<Labels, ProviderError> {
        self.labels_of_run(&self.run)
    }

    /// The labels of a resource that a drill makes.
    ///
    /// # Errors
    /// If one cannot be a label.
    pub(crate) fn labels_of_run(&self, run: &str) -> Result<Labels, ProviderError> {
        self.mark_of_run(run).labels().map_err(other)
    }

    /// The mark of a resource that this run makes.
    pub(crate) fn mark_of_run(&self, run: &str) -> Mark {
        let Settings { name, owner, .. } = &self.settings;
        let (cluster, run, owner) = (name.clone(), run.to_owned(), owner.clone());
        Mark { cluster, run, owner, expires_unix_s: self.expires_unix_s }
    }

    /// Has its secrets taken out of all texts.
    pub(crate) fn register(&self, redactor: &Redactor) {
        for (label, secret) in self.secrets.reveal() {
            redactor.register(label, secret);
        }
    }
}

/// The folder of one cluster.
#[derive(Clone, Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// The folder of a cluster below that of all clusters.
    pub(crate) fn of(clusters: &Path, name: &str) -> Self {
        Self(clusters.join(name))
    }

    /// Reads the record; `None` where there is none.
    ///
    /// # Errors
    /// If it is there and cannot be read.
    pub(crate) fn load(&self) -> Result<Option<Record>, ProviderError> {
        let path = self.0.join(FILE);
        let text = match std::fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            text => text.map_err(|source| ProviderError::File { path: path.clone(), source })?,
        };
        // The parser's message could quote a secret.
        let read = serde_json::from_slice(&text).map(Some);
        read.map_err(|_| ProviderError::Other(format!("{}: it is not what firedrill writes there", path.display())))
    }

    /// Writes the record. It is on disk when this returns.
    ///
    /// # Errors
    /// As the file system.
    pub(crate) fn save(&self, record: &Record) -> Result<(), ProviderError> {
        files::create_dir_all(&self.0).map_err(|source| ProviderError::File { path: self.0.clone(), source })?;
        let text = serde_json::to_vec(record).map_err(other)?;
        let path = self.0.join(FILE);
        files::replace(&path, &text).map_err(|source| ProviderError::File { path, source })
    }

    /// Writes the kubeconfig for an API server at this address. Returns its path.
    ///
    /// # Errors
    /// As the file system.
    pub(crate) fn write_kubeconfig(&self, record: &Record, api_server: &str) -> Result<PathBuf, ProviderError> {
        files::create_dir_all(&self.0).map_err(|source| ProviderError::File { path: self.0.clone(), source })?;
        let path = self.0.join(KUBECONFIG);
        let text = record.secrets.kubeconfig(&record.settings.name, api_server);
        files::replace(&path, text.as_bytes()).map_err(|source| ProviderError::File { path: path.clone(), source })?;
        Ok(path)
    }

    /// Removes both files, and the folder unless somebody else put something there.
    ///
    /// # Errors
    /// As the file system.
    pub(crate) fn forget(&self) -> Result<(), ProviderError> {
        cache::forget(&self.0.join(FILE))?;
        cache::forget(&self.0.join(KUBECONFIG))?;
        cache::remove_if_empty(&self.0)
    }

    /// The record's path, for messages.
    pub(crate) fn record_path(&self) -> PathBuf {
        self.0.join(FILE)
    }
}
