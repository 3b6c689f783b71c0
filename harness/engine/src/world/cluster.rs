//! A real cluster, by its API server.

use super::{back_off, restart_crashed};
use crate::clock::Clock;
use crate::cluster;
use crate::lease;
use crate::port::{
    Annotated, Cluster, ClusterError, DigestKey, DirtyEnd, FoundRecords, Inventory, Lease, LeaseError, Leftover,
    ObjectKey, Progress, RunMark, Writers,
};
use crate::record::{self, Records, annotations, dirty_end, writers};
use crate::redact::Redactor;
use async_trait::async_trait;
use firedrill_core::event::{ClusterInfo, ContainerRestarts, Event, PageCache, Undo};
use firedrill_core::scenario::{Scenario, Variant};
use kube::client::Body;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

pub(super) struct RealCluster {
    pub(super) cluster: cluster::Cluster,
    pub(super) clock: Clock,
}

impl RealCluster {
    fn records(&self, uid: &str, mark: &RunMark) -> Records {
        Records::new(&self.cluster, uid, mark, self.clock)
    }
}

#[async_trait]
impl Cluster for RealCluster {
    fn name(&self) -> &str {
        &self.cluster.name
    }

    fn context(&self) -> &str {
        &self.cluster.context
    }

    fn is_own(&self) -> bool {
        self.cluster.is_own()
    }

    fn redactor(&self) -> Arc<Redactor> {
        self.cluster.redactor()
    }

    fn credential_plugin_note(&self) -> Option<String> {
        self.cluster.credential_plugin_note()
    }

    async fn check_credential_plugin(&self) -> Result<(), ClusterError> {
        self.cluster.check_credential_plugin().await
    }

    async fn is_allowed(&self) -> Result<bool, ClusterError> {
        self.cluster.is_allowed().await
    }

    async fn ensure_system_namespace(&self) -> Result<(), ClusterError> {
        self.cluster.ensure_system_namespace().await
    }

    async fn info(&self) -> Result<ClusterInfo, ClusterError> {
        self.cluster.info().await
    }

    fn page_cache(&self) -> Option<PageCache> {
        self.cluster.machines.page_cache()
    }

    async fn uid(&self) -> Result<String, ClusterError> {
        self.cluster.uid().await
    }

    async fn lease(&self, holder: &str, say: Progress<'_>) -> Result<Box<dyn Lease>, LeaseError> {
        Ok(Box::new(lease::Lease::acquire(&self.cluster, holder, say).await?))
    }

    /// One that has no etcd refuses everything: that is no answer, as nothing can be undone.
    async fn answers(&self) -> bool {
        let Ok(request) = http::Request::get("/readyz").body(Body::empty()) else { return false };
        self.cluster.client().send(request).await.is_ok_and(|answer| answer.status().as_u16() < 500)
    }

    async fn inventory(&self, key: &DigestKey) -> Result<Inventory, ClusterError> {
        self.cluster.inventory(key).await
    }

    async fn objects_of_runs(&self) -> Result<Vec<Leftover>, ClusterError> {
        self.cluster.objects_of_runs().await
    }

    async fn delete_by_label(&self, run_id: &str, within: Duration) -> Result<Vec<ObjectKey>, ClusterError> {
        self.cluster.delete_by_label(run_id, within).await
    }

    async fn create_namespace(&self, mark: &RunMark) -> Result<(), ClusterError> {
        self.cluster.create_namespace(mark).await.map(drop)
    }

    async fn wait_out_namespace(&self, name: &str, within: Duration) -> Result<(), ClusterError> {
        self.cluster.wait_out_namespace(name, within).await
    }

    async fn write_record(&self, uid: &str, mark: &RunMark, id: u32, undo: &Undo) -> Result<(), ClusterError> {
        self.records(uid, mark).write(id, undo).await
    }

    async fn delete_record(&self, mark: &RunMark, id: u32) -> Result<(), ClusterError> {
        self.records("", mark).delete(id).await
    }

    async fn records(&self, uid: &str) -> Result<FoundRecords, ClusterError> {
        record::find(&self.cluster, uid).await
    }

    async fn write_dirty_end(&self, mark: &RunMark, end: &DirtyEnd) -> Result<(), ClusterError> {
        dirty_end::write(&self.cluster, mark, end).await
    }

    async fn delete_dirty_end(&self, run_id: &str) -> Result<(), ClusterError> {
        dirty_end::delete(&self.cluster, run_id).await
    }

    async fn record_writers(&self) -> Writers {
        writers::of_records(&self.cluster).await
    }

    async fn annotations(&self) -> Result<Vec<Annotated>, ClusterError> {
        annotations::find(&self.cluster).await
    }

    async fn restarts(&self, scenario: &Scenario) -> (Vec<ContainerRestarts>, Vec<String>) {
        back_off::restarts(&self.cluster, scenario, self.clock).await
    }

    async fn replace_crashed(&self, scenario: &Scenario, variant: &Variant, say: Progress<'_>) -> Option<Event> {
        back_off::replace_crashed(&self.cluster, scenario, variant, self.clock, say).await
    }

    async fn restart_crashed(&self, scenario: &Scenario, run_id: &str) -> Vec<String> {
        restart_crashed::restart_crashed(&self.cluster, scenario, run_id).await
    }
}

#[async_trait]
impl Lease for lease::Lease {
    fn lost(&self) -> watch::Receiver<Option<String>> {
        lease::Lease::lost(self)
    }

    async fn release(self: Box<Self>) -> Result<(), ClusterError> {
        lease::Lease::release(*self).await
    }
}
