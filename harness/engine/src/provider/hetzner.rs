//! Clusters whose nodes are servers of Hetzner Cloud.
//!
//! No state file says which clusters there are: every resource carries labels, and the API is asked for them. What this machine keeps of
//! a cluster are its settings and secrets ([`record`]). Each secret has its own type, and `Debug` never prints one. Without a token
//! nothing is asked, and no cluster is found.

mod account;
mod add_ons;
mod client;
mod cloud_init;
mod clusters;
mod cost;
mod create;
mod endpoint;
mod estimate;
mod examine;
mod firewall;
mod kubernetes;
mod labels;
mod machine_types;
mod machines;
mod nodes;
#[allow(
    dead_code,
    reason = "reset, detach and a server's providerID are for clusters that others made at Hetzner, which are missing"
)]
mod power;
mod price;
mod record;
mod remove;
mod settings;
mod step_proxy;
#[cfg(test)]
mod tests;
mod token;

pub(crate) use examine::examine;

use super::settle::nodes_ready;
use super::{ClusterOptions, FoundCluster, Provider, ProviderError, cache};
use crate::clock::Clock;
use crate::cluster::{Cluster, wait_for};
use crate::lease::Lease;
use crate::process::Progress;
use account::{Account, other};
use async_trait::async_trait;
use client::{Limits, Server, ServerStatus};
use clusters::Parts;
use create::{api_server_at, firewall_of, open_firewall, servers_of};
use kubernetes::{Kubernetes, SetUp, Setup};
use machines::HetznerMachines;
use power::ServerRef;
use record::{Folder, Record};
use remove::{RemovalReport, Scope};
use settings::{Settings, networks};
use std::path::Path;
#[cfg(test)]
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// This provider's name.
pub(super) const NAME: &str = "hetzner";

const READY_TIMEOUT: Duration = Duration::from_secs(300);
/// How long a cluster may take to go: a volume that is held, or an API that is down, for some minutes.
const REMOVE_TIMEOUT: Duration = Duration::from_secs(600);
/// How long an API that does not answer may hold up a list of clusters, in which other providers may have some.
const FIND_TIMEOUT: Duration = Duration::from_secs(20);

/// The provider.
pub(super) struct Hetzner {
    access: Access,
    set_up: Arc<dyn SetUp>,
    /// Timeout of removing a cluster.
    remove_timeout: Duration,
}

/// Where account and folder come from.
enum Access {
    /// From the environment, when they are needed.
    Environment,
    /// From a test, with the folder of all clusters.
    #[cfg(test)]
    Given(Arc<Account>, PathBuf),
}

impl Hetzner {
    /// The provider for the token in the environment, which is read when it is needed.
    pub(super) fn of_environment() -> Self {
        Self { access: Access::Environment, set_up: Arc::new(Kubernetes), remove_timeout: REMOVE_TIMEOUT }
    }

    /// `None` where there is no token.
    fn account(&self, limits: Limits) -> Result<Option<Arc<Account>>, ProviderError> {
        match &self.access {
            Access::Environment => Ok(Account::of_environment(limits)?.map(Arc::new)),
            #[cfg(test)]
            Access::Given(account, _) => Ok(Some(account.clone())),
        }
    }

    fn needed_account(&self) -> Result<Arc<Account>, ProviderError> {
        self.account(Limits::default())?.ok_or_else(|| other(token::TokenError::Missing))
    }

    fn folder(&self, name: &str) -> Result<Folder, ProviderError> {
        let clusters = match &self.access {
            Access::Environment => cache::clusters()?,
            #[cfg(test)]
            Access::Given(_, folder) => folder.clone(),
        };
        Ok(Folder::of(&clusters, name))
    }

    /// What there is of a cluster.
    async fn parts(&self, name: &str) -> Result<Parts, ProviderError> {
        let missing = || ProviderError::NotFound { name: name.to_owned() };
        let limits = Limits { retry_timeout: FIND_TIMEOUT, ..Limits::default() };
        let account = self.account(limits)?.ok_or_else(missing)?;
        let mut found = clusters::find(&account.client, &labels::selector_of(name)).await?;
        found.remove(name).ok_or_else(missing)
    }

    /// The record of a cluster that exists.
    fn record_of(&self, name: &str) -> Result<Record, ProviderError> {
        let folder = self.folder(name)?;
        folder.load()?.ok_or_else(|| {
            other(format!(
                "the keys of {name} are not on this machine ({} is missing): only the machine that made it can open it; `firedrill \
                 down {name}` deletes it from anywhere",
                folder.record_path().display()
            ))
        })
    }

    /// Makes what is missing of a cluster, and finishes it. What cannot be finished is removed, unless the user keeps it.
    async fn bring_up(
        &self,
        options: &ClusterOptions,
        record: Record,
        progress: Progress<'_>,
    ) -> Result<Cluster, ProviderError> {
        let account = self.needed_account()?;
        let folder = self.folder(&options.name)?;
        // Before the first resource: a server's keys must not be lost.
        folder.save(&record)?;
        let brought_up = self.make_and_finish(&account, &folder, options, &record, progress).await;
        let error = match brought_up {
            Ok(cluster) => {
                folder.save(&Record { finished: true, ..record })?;
                return Ok(cluster);
            }
            Err(error) => error,
        };
        if options.cloud.keep {
            let name = &options.name;
            return Err(other(format!(
                "{error}; what was made is kept, and costs money: `firedrill down {name}` deletes it"
            )));
        }
        progress(format!("{error}: removing what was made"));
        let scope = Scope::Run { cluster: options.name.clone(), run: record.run.clone() };
        match remove::remove(&account.client, &scope, self.remove_timeout, progress).await {
            Ok(removed) => {
                folder.forget()?;
                Err(match error {
                    // An option that is wrong stays one.
                    ProviderError::Option { .. } if removed.deleted.is_empty() => error,
                    error => other(format!("{error}; {}", removed_line(&removed))),
                })
            }
            Err(left) => Err(other(format!(
                "{error}; what was made could not be removed, and costs money: {left}; repeat `firedrill down {}`",
                options.name
            ))),
        }
    }

    async fn make_and_finish(
        &self,
        account: &Arc<Account>,
        folder: &Folder,
        options: &ClusterOptions,
        record: &Record,
        progress: Progress<'_>,
    ) -> Result<Cluster, ProviderError> {
        let made = create::make(account, record, progress).await?;
        let cluster = connect(account, folder, record, &made.address).await?;
        let setup = Setup { account, record, made: &made, volumes: options.volumes.as_ref() };
        self.set_up.set_up(&cluster, &setup, progress).await?;
        Ok(cluster)
    }

    /// Powers on what is off in a cluster that was finished before.
    async fn revive(
        &self,
        record: Record,
        options: &ClusterOptions,
        progress: Progress<'_>,
    ) -> Result<Cluster, ProviderError> {
        let (account, name) = (self.needed_account()?, options.name.as_str());
        let servers = servers_of(&account.client, name).await?;
        let cluster = self.open_with(&account, &record, &servers).await?;
        let off: Vec<_> = servers.iter().filter(|server| server.status == ServerStatus::Off).collect();
        // A node that is off may be what a drill under way is about.
        if !off.is_empty()
            && let Ok(Some(holder)) = Lease::in_use_by(&cluster).await
        {
            return Err(other(format!("{name} is in use by {holder}, and a node of it is off")));
        }
        for server in off {
            progress(format!("server {} is off: powering it on", server.name));
            power::power_on(&account.client, &ServerRef::Id(server.id)).await.map_err(other)?;
        }
        let limit = READY_TIMEOUT;
        wait_for("every node of the cluster to be ready", limit, || nodes_ready(&cluster)).await?;
        Ok(cluster)
    }

    async fn open_with(
        &self,
        account: &Arc<Account>,
        record: &Record,
        servers: &[Server],
    ) -> Result<Cluster, ProviderError> {
        let name = &record.settings.name;
        let is_control_plane = |server: &&Server| record.settings.control_plane_names().contains(&server.name);
        let mut control_planes: Vec<_> = servers.iter().filter(is_control_plane).collect();
        control_planes.sort_by_key(|server| server.status == ServerStatus::Off);
        let address = control_planes.iter().find_map(|server| server.ipv4());
        let address = address.ok_or_else(|| other(format!("cluster {name} has no control plane with an address")))?;
        connect(account, &self.folder(name)?, record, address).await
    }
}

/// Connects to a cluster by its saved secrets. Nothing is asked of it yet.
async fn connect(
    account: &Arc<Account>,
    folder: &Folder,
    record: &Record,
    address: &str,
) -> Result<Cluster, ProviderError> {
    let name = &record.settings.name;
    let kubeconfig = folder.write_kubeconfig(record, &api_server_at(address))?;
    let cluster = Cluster::connect(name, &kubeconfig, name).await?;
    account.register(&cluster.redactor());
    record.register(&cluster.redactor());
    let machines = HetznerMachines { account: account.clone(), record: record.clone(), address: address.to_owned() };
    Ok(cluster.provided_by(NAME, Arc::new(machines)))
}

#[async_trait]
impl Provider for Hetzner {
    fn name(&self) -> &'static str {
        NAME
    }

    fn makes_clusters(&self) -> bool {
        true
    }

    fn check(&self, options: &ClusterOptions) -> Result<(), ProviderError> {
        Settings::of(options).map(drop)
    }

    async fn create(&self, options: &ClusterOptions, progress: Progress<'_>) -> Result<Cluster, ProviderError> {
        let record = Record::new(options)?;
        progress(format!("making cluster {} at Hetzner Cloud", options.name));
        self.bring_up(options, record, progress).await
    }

    async fn ensure_ready(&self, options: &ClusterOptions, progress: Progress<'_>) -> Result<Cluster, ProviderError> {
        let mut record = self.record_of(&options.name)?;
        let allow_from = &options.cloud.allow_from;
        networks(allow_from)?;
        let moved = !allow_from.is_empty() && *allow_from != record.settings.allow_from;
        if moved {
            record.settings.allow_from.clone_from(allow_from);
            self.folder(&options.name)?.save(&record)?;
        }
        if !record.finished {
            progress(format!("{} is not finished: going on with it", options.name));
            return self.bring_up(options, record, progress).await;
        }
        if moved {
            let client = &self.needed_account()?.client;
            progress(format!("opening the firewall to {}", allow_from.join(", ")));
            let (firewall, servers) = (firewall_of(client, &options.name), servers_of(client, &options.name));
            open_firewall(client, &record, firewall.await?, &servers.await?).await?;
        }
        self.revive(record, options, progress).await
    }

    async fn find(&self) -> Result<Vec<FoundCluster>, ProviderError> {
        let limits = Limits { retry_timeout: FIND_TIMEOUT, ..Limits::default() };
        let Some(account) = self.account(limits)? else { return Ok(Vec::new()) };
        let found = clusters::find(&account.client, &labels::selector_of_all()).await;
        let found = found.map_err(|error| other(format!("{error}; without a token Hetzner Cloud is left out")))?;
        Ok(found.iter().map(|(name, parts)| parts.summary(name)).collect())
    }

    async fn find_named(&self, name: &str) -> Result<FoundCluster, ProviderError> {
        Ok(self.parts(name).await?.summary(name))
    }

    async fn open(&self, name: &str, _kubeconfig: Option<&Path>) -> Result<Cluster, ProviderError> {
        self.parts(name).await?;
        let (account, record) = (self.needed_account()?, self.record_of(name)?);
        let servers = servers_of(&account.client, name).await?;
        self.open_with(&account, &record, &servers).await
    }

    async fn delete(&self, name: &str, progress: Progress<'_>) -> Result<(), ProviderError> {
        let (account, folder) = (self.needed_account()?, self.folder(name)?);
        let found = clusters::find(&account.client, &labels::selector_of(name)).await?;
        if !found.contains_key(name) {
            folder.forget()?;
            return Err(ProviderError::NotFound { name: name.to_owned() });
        }
        let scope = Scope::Cluster(name.to_owned());
        let cost = self.cost(name).await.map(Option::unwrap_or_default);
        let removed = remove::remove(&account.client, &scope, self.remove_timeout, progress).await.map_err(other)?;
        folder.forget()?;
        progress(removed_line(&removed));
        // What it cost is told, and is no reason to keep it.
        progress(match cost {
            Ok(cost) => format!("cost: {cost}, until now"),
            Err(error) => format!("what it cost is not known: {error}"),
        });
        Ok(())
    }

    async fn cost(&self, name: &str) -> Result<Option<String>, ProviderError> {
        let (account, clock) = (self.needed_account()?, Clock::start());
        let scope = Scope::Cluster(name.to_owned());
        let bill = cost::bill(&account.client, &scope, clock.unix_seconds(clock.now())).await.map_err(other)?;
        Ok(Some(bill.to_string()))
    }

    async fn sweep_expired(&self, progress: Progress<'_>) -> Result<Vec<String>, ProviderError> {
        let clock = Clock::start();
        self.sweep(clock.unix_seconds(clock.now()), progress).await
    }
}

impl Hetzner {
    /// Deletes what has expired at this time.
    async fn sweep(&self, now_unix_s: i64, progress: Progress<'_>) -> Result<Vec<String>, ProviderError> {
        let Some(account) = self.account(Limits::default())? else { return Ok(Vec::new()) };
        let found = clusters::find(&account.client, &labels::selector_of_all()).await?;
        let scope = Scope::Expired { now_unix_s };
        let removed = remove::remove(&account.client, &scope, self.remove_timeout, progress).await.map_err(other)?;
        for (name, _) in found.iter().filter(|(_, parts)| parts.is_expired(now_unix_s)) {
            self.folder(name)?.forget()?;
        }
        let kept = removed.kept.iter().map(|kept| format!("left, and still costs money: {kept}"));
        Ok(removed.deleted.iter().map(|deleted| format!("deleted {deleted}")).chain(kept).collect())
    }
}

/// What a removal did, in one line. It has proven by listing that nothing with the cluster's label is left.
fn removed_line(removed: &RemovalReport) -> String {
    let list = |all: &[remove::ListedResource]| all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let gone = match removed.deleted.as_slice() {
        [] => "nothing was made, and Hetzner lists nothing of the cluster".to_owned(),
        deleted => format!("removed {}; Hetzner lists nothing more of the cluster", list(deleted)),
    };
    match removed.kept.as_slice() {
        [] => gone,
        kept => format!("{gone}; without firedrill's label, so still there and costing money: {}", list(kept)),
    }
}
