//! The API server of the simulated cluster.

use super::Sim;
use crate::clock::simulated;
use crate::port::{
    Annotated, Cluster, ClusterError, DigestKey, DirtyEnd, Found, FoundDirtyEnd, FoundRecords, Inventory, Lease,
    LeaseError, Leftover, ObjectKey, Progress, RunMark, UndoRecord, Writers,
};
use crate::redact::Redactor;
use async_trait::async_trait;
use firedrill_core::event::{ClusterInfo, ContainerRestarts, Event, PageCache, Undo};
use firedrill_core::scenario::{Scenario, Variant};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub(super) const UID: &str = "simulated";

pub(super) fn key(api_version: &str, kind: &str, namespace: Option<&str>, name: &str) -> ObjectKey {
    let namespace = namespace.map(str::to_owned);
    ObjectKey { api_version: api_version.to_owned(), kind: kind.to_owned(), namespace, name: name.to_owned() }
}

#[async_trait]
impl Cluster for Sim {
    fn name(&self) -> &str {
        "simulated"
    }

    fn context(&self) -> &str {
        "simulated"
    }

    fn is_own(&self) -> bool {
        true
    }

    fn redactor(&self) -> Arc<Redactor> {
        Arc::default()
    }

    fn credential_plugin_note(&self) -> Option<String> {
        None
    }

    async fn check_credential_plugin(&self) -> Result<(), ClusterError> {
        Ok(())
    }

    async fn is_allowed(&self) -> Result<bool, ClusterError> {
        self.ask("the mark").await.map(|()| true)
    }

    async fn ensure_system_namespace(&self) -> Result<(), ClusterError> {
        self.ask("the system namespace").await
    }

    async fn info(&self) -> Result<ClusterInfo, ClusterError> {
        self.ask("the version").await?;
        let text = str::to_owned;
        Ok(ClusterInfo {
            name: text("simulated"),
            provider: text("kind"),
            uid: text(UID),
            version: text("1"),
            nodes: 4,
        })
    }

    fn page_cache(&self) -> Option<PageCache> {
        None
    }

    async fn uid(&self) -> Result<String, ClusterError> {
        self.ask("the UID").await.map(|()| UID.to_owned())
    }

    async fn lease(&self, holder: &str, _say: Progress<'_>) -> Result<Box<dyn Lease>, LeaseError> {
        self.ask("the lease").await?;
        let mut world = self.world();
        match world.lease {
            Some(other) if !world.dead.contains(&other) => {
                return Err(LeaseError::Held { holder: holder.to_owned() });
            }
            _ => world.lease = Some(self.process),
        }
        let (tell, lost) = watch::channel(None);
        let at = world.script.lease_lost_at.filter(|_| self.process == 1);
        let watching = tokio::spawn(async move {
            let Some(at) = at else { return std::future::pending().await };
            tokio::time::sleep(at.saturating_sub(simulated::elapsed())).await;
            tell.send_replace(Some("the lease was not renewed for 40 s".to_owned()));
            std::future::pending::<()>().await;
        });
        Ok(Box::new(SimLease { sim: self.clone(), lost, watching }))
    }

    async fn answers(&self) -> bool {
        self.ask("readyz").await.is_ok()
    }

    async fn inventory(&self, _key: &DigestKey) -> Result<Inventory, ClusterError> {
        self.ask("the inventory").await?;
        let world = self.world();
        let state = if world.changed { "3 of 3 ready" } else { "2 of 2 ready" };
        let web = (key("apps/v1", "Deployment", Some("ironflow"), "web"), state.to_owned());
        let made = world.objects.keys().map(|key| (key.clone(), String::new()));
        Ok(Inventory::simulated(made.chain([web])))
    }

    async fn objects_of_runs(&self) -> Result<Vec<Leftover>, ClusterError> {
        self.ask("the objects of runs").await?;
        let world = self.world();
        let leftover = |(object, run_id): (&ObjectKey, &String)| Leftover {
            run_id: run_id.clone(),
            expires_unix: None,
            object: object.clone(),
        };
        Ok(world.objects.iter().map(leftover).collect())
    }

    async fn delete_by_label(&self, run_id: &str, _within: Duration) -> Result<Vec<ObjectKey>, ClusterError> {
        self.ask("deleting what a run made").await?;
        let mut world = self.world();
        let of_run: Vec<_> =
            world.objects.iter().filter(|(_, run)| *run == run_id).map(|(key, _)| key.clone()).collect();
        of_run.iter().for_each(|key| drop(world.objects.remove(key)));
        Ok(of_run)
    }

    async fn create_namespace(&self, mark: &RunMark) -> Result<(), ClusterError> {
        self.update("the run's namespace").await?;
        let namespace = key("v1", "Namespace", None, &mark.namespace());
        self.world().objects.insert(namespace, mark.run_id.clone());
        self.ask("the run's namespace, made").await
    }

    async fn wait_out_namespace(&self, _name: &str, _within: Duration) -> Result<(), ClusterError> {
        self.ask("the end of a namespace").await
    }

    async fn write_record(&self, _uid: &str, mark: &RunMark, id: u32, undo: &Undo) -> Result<(), ClusterError> {
        self.update("an undo record").await?;
        self.world().records.insert((mark.run_id.clone(), id), undo.clone());
        self.ask("an undo record, written").await
    }

    async fn delete_record(&self, mark: &RunMark, id: u32) -> Result<(), ClusterError> {
        self.update("the end of an undo record").await?;
        self.world().records.remove(&(mark.run_id.clone(), id));
        Ok(())
    }

    async fn records(&self, _uid: &str) -> Result<FoundRecords, ClusterError> {
        self.ask("the undo records").await?;
        let world = self.world();
        let undo = |((run, id), undo): (&(String, u32), &Undo)| Found {
            name: format!("undo-{run}-{id}"),
            record: Ok(UndoRecord::simulated(run, *id, undo)),
        };
        let dirty_end =
            |(run, end): (&String, &DirtyEnd)| FoundDirtyEnd { name: format!("dirty-{run}"), end: Ok(end.clone()) };
        Ok(FoundRecords {
            undos: world.records.iter().map(undo).collect(),
            dirty_ends: world.dirty_ends.iter().map(dirty_end).collect(),
        })
    }

    async fn write_dirty_end(&self, _mark: &RunMark, end: &DirtyEnd) -> Result<(), ClusterError> {
        self.update("the record of a dirty end").await?;
        self.world().dirty_ends.insert(end.run.clone(), end.clone());
        self.ask("the record of a dirty end, written").await
    }

    async fn delete_dirty_end(&self, run_id: &str) -> Result<(), ClusterError> {
        self.update("the end of a record of a dirty end").await?;
        self.world().dirty_ends.remove(run_id);
        Ok(())
    }

    async fn record_writers(&self) -> Writers {
        Writers::Trusted
    }

    async fn annotations(&self) -> Result<Vec<Annotated>, ClusterError> {
        self.ask("annotations").await.map(|()| Vec::new())
    }

    async fn restarts(&self, _scenario: &Scenario) -> (Vec<ContainerRestarts>, Vec<String>) {
        (Vec::new(), Vec::new())
    }

    async fn replace_crashed(&self, _: &Scenario, _: &Variant, _say: Progress<'_>) -> Option<Event> {
        None
    }

    async fn restart_crashed(&self, _scenario: &Scenario, _run_id: &str) -> Vec<String> {
        Vec::new()
    }
}

struct SimLease {
    sim: Sim,
    lost: watch::Receiver<Option<String>>,
    watching: JoinHandle<()>,
}

impl Drop for SimLease {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

#[async_trait]
impl Lease for SimLease {
    fn lost(&self) -> watch::Receiver<Option<String>> {
        self.lost.clone()
    }

    async fn release(self: Box<Self>) -> Result<(), ClusterError> {
        self.sim.update("the release of the lease").await?;
        let mut world = self.sim.world();
        if world.lease == Some(self.sim.process) {
            world.lease = None;
        }
        Ok(())
    }
}
