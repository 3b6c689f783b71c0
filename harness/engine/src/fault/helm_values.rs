//! Values of a Helm release changed as an operator would by mistake: `helm upgrade --reuse-values --set`.
//!
//! Whatever upgrades follow, a runbook's among them, `helm rollback` to the first revision undoes them all.

use super::choose::Choice;
use super::kind::{FaultKind, Site, UndoKind, not_a_target};
use super::{FaultError, Injected, Proof, Tools};
use crate::cluster::{Cluster, ClusterError};
use crate::process::Tool;
use async_trait::async_trait;
use firedrill_core::event::{RollBackUndo, Undo};
use firedrill_core::plan::Target;
use firedrill_core::scenario::HelmValuesFault;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, ListParams};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::Instant;

/// How long one call of Helm may take; none of them waits for workloads.
const HELM_LIMIT: Duration = Duration::from_secs(45);

/// A release as it is recorded in the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Recorded {
    revision: u32,
    status: String,
    /// Of the Secret, which stays the same while the revision's status changes.
    uid: String,
}

#[async_trait]
impl FaultKind for HelmValuesFault {
    /// The release as it is now.
    async fn targets(&self, choice: &Choice<'_>) -> Result<Vec<Target>, FaultError> {
        let (namespace, release) = (self.namespace.clone(), self.release.clone());
        match latest(choice.cluster, &namespace, &release).await? {
            Some(Recorded { revision, status, uid }) if status == "deployed" => {
                Ok(vec![Target::Release { namespace, release, revision, uid: Some(uid) }])
            }
            other => Err(FaultError::TooFewTargets {
                selector: format!("{namespace}/{release}"),
                wanted: "1 deployed Helm release".to_owned(),
                found: other.map_or("found none".to_owned(), |found| format!("found one that is {}", found.status)),
            }),
        }
    }

    fn preview(&self, target: &Target) -> String {
        let values = [self.set.as_slice(), &self.set_json].concat().join(", ");
        format!("helm upgrade {target} with {values}; helm rollback undoes it")
    }

    fn undo_of(&self, target: &Target) -> Result<Option<Undo>, FaultError> {
        let Target::Release { namespace, release, revision, uid } = target else { return Err(not_a_target(target)) };
        let (namespace, release, uid) = (namespace.clone(), release.clone(), uid.clone());
        Ok(Some(Undo::RollBack(RollBackUndo { namespace, release, revision: *revision, uid })))
    }

    async fn inject(&self, site: &mut Site<'_>) -> Result<Injected, FaultError> {
        let helm = helm(site.tools, &self.namespace).args(["upgrade", &self.release]);
        let mut helm = helm.arg(site.chart).arg("--reuse-values");
        for value in &self.set {
            helm = helm.arg("--set").arg(value);
        }
        for value in &self.set_json {
            helm = helm.arg("--set-json").arg(value);
        }
        helm.run().await?;
        Ok(Injected::of(site.target))
    }

    /// The cluster's own record names a later revision as deployed, and its objects differ from those before.
    async fn prove(&self, site: &mut Site<'_>, _: &Injected, _: Instant) -> Result<Vec<Proof>, FaultError> {
        let Target::Release { revision: before, .. } = site.target else { return Err(not_a_target(site.target)) };
        let (tools, namespace, release) = (site.tools, self.namespace.as_str(), self.release.as_str());
        let subject = format!("release {release}");
        let proof = |evidence: String, held| vec![Proof { subject, evidence, held, at: tools.clock.now() }];
        let now = match latest(&tools.cluster, namespace, release).await? {
            Some(Recorded { revision, status, .. }) if status == "deployed" && revision > *before => revision,
            Some(found) => return Ok(proof(format!("revision {} is {}", found.revision, found.status), false)),
            None => return Ok(proof("it is gone".to_owned(), false)),
        };
        let changed = changed_between(tools, namespace, release, *before, now).await?;
        let evidence = match changed.is_empty() {
            true => format!("revision {now} is deployed and says the same as revision {before}"),
            false => format!("revision {now} is deployed; changed: {}", changed.join(", ")),
        };
        Ok(proof(evidence, !changed.is_empty()))
    }
}

#[async_trait]
impl UndoKind for RollBackUndo {
    /// Rolls back, where it is not so already.
    async fn undo(&self, tools: &Tools, deadline: Instant) -> Result<(), FaultError> {
        if self.is_clean(tools, deadline).await? {
            return Ok(());
        }
        // What somebody else's hand has set in the meantime is part of what is undone.
        let revision = self.revision.to_string();
        let args = ["rollback", &self.release, &revision, "--force-conflicts"];
        helm(tools, &self.namespace).args(args).run().await?;
        Ok(())
    }

    /// Whether the revision that is deployed says the same as the one before the fault. A release that is gone, or was
    /// installed anew, is the listing's to show.
    async fn is_clean(&self, tools: &Tools, _: Instant) -> Result<bool, FaultError> {
        let Self { namespace, release, revision, uid } = self;
        let records = records(&tools.cluster, namespace, release).await?;
        match since(&records, *revision, uid.as_deref()) {
            Since::Another | Since::Nothing => Ok(true),
            Since::Unfinished => Ok(false),
            Since::Forgotten => Err(FaultError::Mismatch(format!(
                "Helm's record of revision {revision} of release {release} in {namespace} is gone: whether it is as it was then \
                 cannot be known; see helm history {release} -n {namespace}"
            ))),
            Since::Deployed(now) => Ok(changed_between(tools, namespace, release, *revision, now).await?.is_empty()),
        }
    }
}

/// What became of a release since a revision of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Since {
    /// It is gone, or another one has its name.
    Another,
    /// It is that revision.
    Nothing,
    /// A later revision is deployed.
    Deployed(u32),
    /// The latest revision is not deployed.
    Unfinished,
    /// There are later revisions, and the record of that one is gone: Helm keeps the latest ten.
    Forgotten,
}

fn since(records: &[Recorded], revision: u32, uid: Option<&str>) -> Since {
    let Some(latest) = records.iter().max_by_key(|record| record.revision) else { return Since::Another };
    match records.iter().find(|record| record.revision == revision) {
        Some(then) if uid.is_some_and(|uid| uid != then.uid) => Since::Another,
        None if latest.revision < revision => Since::Another,
        None => Since::Forgotten,
        Some(_) if latest.status != "deployed" => Since::Unfinished,
        Some(_) if latest.revision == revision => Since::Nothing,
        Some(_) => Since::Deployed(latest.revision),
    }
}

/// How to undo what a runbook may leave of a release: an upgrade that failed or never ended. `None` where the release is not
/// deployed now, since what it is rolled back to would not be what was there.
///
/// # Errors
/// Where the API server does not say.
pub async fn undo_of_unfinished(
    cluster: &Cluster,
    namespace: &str,
    release: &str,
) -> Result<Option<Undo>, ClusterError> {
    let deployed = latest(cluster, namespace, release).await?.filter(|latest| latest.status == "deployed");
    Ok(deployed.map(|Recorded { revision, uid, .. }| Undo::RollBackUnfinished {
        namespace: namespace.to_owned(),
        release: release.to_owned(),
        revision,
        uid,
    }))
}

/// Rolls a release back to its last deployed revision, where its latest one is not deployed.
pub(super) async fn undo_unfinished(
    tools: &Tools,
    namespace: &str,
    release: &str,
    before: (u32, &str),
) -> Result<(), FaultError> {
    let records = records(&tools.cluster, namespace, release).await?;
    let Some(revision) = last_deployed(&records, before) else { return Ok(()) };
    let revision = revision.to_string();
    helm(tools, namespace).args(["rollback", release, revision.as_str(), "--force-conflicts"]).run().await?;
    Ok(())
}

/// Whether no upgrade of the release is unfinished.
pub(super) async fn is_finished(
    tools: &Tools,
    namespace: &str,
    release: &str,
    before: (u32, &str),
) -> Result<bool, FaultError> {
    let records = records(&tools.cluster, namespace, release).await?;
    Ok(last_deployed(&records, before).is_none())
}

/// The revision that a release has to be rolled back to; `None` where its latest one is deployed, and where it is gone or was
/// installed anew. What was deployed last is the latest revision that is or was so: an upgrade that failed changes no
/// other's status, one that worked supersedes those before it.
fn last_deployed(records: &[Recorded], (revision, uid): (u32, &str)) -> Option<u32> {
    match since(records, revision, Some(uid)) {
        Since::Another | Since::Nothing | Since::Deployed(_) => return None,
        // Helm keeps the latest ten: the record is gone, and what came after it counts all the same.
        Since::Forgotten if records.iter().max_by_key(|record| record.revision)?.status == "deployed" => return None,
        Since::Unfinished | Since::Forgotten => {}
    }
    let of = |status: &str| records.iter().filter(|record| record.status == status).map(|record| record.revision).max();
    of("deployed").or_else(|| of("superseded"))
}

fn helm(tools: &Tools, namespace: &str) -> Tool {
    Tool::new("helm", HELM_LIMIT).env(tools.cluster.kubectl_env()).args(["--namespace", namespace])
}

/// The objects of which two revisions of a release do not say the same, as `Kind/name`.
async fn changed_between(
    tools: &Tools,
    namespace: &str,
    release: &str,
    old: u32,
    new: u32,
) -> Result<Vec<String>, FaultError> {
    let of = |revision| manifest(tools, namespace, release, revision);
    let (old, new) = tokio::try_join!(of(old), of(new))?;
    Ok(changed(&old, &new))
}

async fn manifest(tools: &Tools, namespace: &str, release: &str, revision: u32) -> Result<String, FaultError> {
    let revision = revision.to_string();
    Ok(helm(tools, namespace).args(["get", "manifest", release, "--revision", revision.as_str()]).run().await?)
}

async fn latest(cluster: &Cluster, namespace: &str, release: &str) -> Result<Option<Recorded>, ClusterError> {
    let records = records(cluster, namespace, release).await?;
    Ok(records.into_iter().max_by_key(|record| record.revision))
}

/// Helm's own records of a release, which are Secrets that carry revision and status as labels.
async fn records(cluster: &Cluster, namespace: &str, release: &str) -> Result<Vec<Recorded>, ClusterError> {
    let secrets: Api<Secret> = Api::namespaced(cluster.client(), namespace);
    let of_release = ListParams::default().labels(&format!("owner=helm,name={release}"));
    let listed = secrets.list_metadata(&of_release).await.map_err(ClusterError::api("list Helm's records"))?;
    let recorded = listed.items.into_iter().filter_map(|record| {
        let (labels, uid) = (record.metadata.labels?, record.metadata.uid?);
        let (version, status) = (labels.get("version")?, labels.get("status")?.clone());
        Some(Recorded { revision: version.parse().ok()?, status, uid })
    });
    Ok(recorded.collect())
}

/// The objects of two manifests that are not the same, as `Kind/name`.
fn changed(old: &str, new: &str) -> Vec<String> {
    let objects = |manifest: &str| -> BTreeSet<String> {
        let documents = manifest.split("\n---").map(|text| text.trim_start_matches("---").trim().to_owned());
        documents.filter(|text| !text.is_empty()).collect()
    };
    let (old, new) = (objects(old), objects(new));
    let names: BTreeSet<String> = old.symmetric_difference(&new).map(|text| name_of(text)).collect();
    names.into_iter().collect()
}

fn name_of(document: &str) -> String {
    let after = |key: &str| document.lines().find_map(|line| line.strip_prefix(key)).unwrap_or("?").trim();
    format!("{}/{}", after("kind:"), after("  name:"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_of_the_same_name_that_was_installed_since_is_another() {
        let record =
            |revision, status: &str, uid: &str| Recorded { revision, status: status.to_owned(), uid: uid.to_owned() };
        let before = [record(1, "superseded", "a"), record(2, "deployed", "b")];
        let with = |more: Recorded| [before.to_vec(), vec![more]].concat();
        assert_eq!(since(&before, 2, Some("b")), Since::Nothing);
        assert_eq!(since(&before, 1, Some("a")), Since::Deployed(2));
        assert_eq!(since(&with(record(3, "pending-upgrade", "c")), 2, Some("b")), Since::Unfinished);
        assert_eq!(since(&[], 2, Some("b")), Since::Another);
        assert_eq!(since(&[record(1, "deployed", "x")], 2, Some("b")), Since::Another, "installed anew");
        let anew = [record(1, "superseded", "x"), record(2, "superseded", "y"), record(3, "deployed", "z")];
        assert_eq!(since(&anew, 2, Some("b")), Since::Another, "installed anew and upgraded");
        assert_eq!(since(&anew, 2, None), Since::Deployed(3), "a run that did not note it");
        assert_eq!(since(&[record(13, "deployed", "z")], 2, Some("b")), Since::Forgotten);
    }

    #[test]
    fn an_unfinished_upgrade_is_rolled_back_to_what_was_deployed_last() {
        let record =
            |revision, status: &str, uid: &str| Recorded { revision, status: status.to_owned(), uid: uid.to_owned() };
        let with = |more: &[(u32, &str)]| {
            let before = [record(1, "superseded", "a"), record(2, "deployed", "b")];
            let more = more.iter().map(|(revision, status)| record(*revision, status, "z"));
            before.into_iter().chain(more).collect::<Vec<_>>()
        };
        let to = |records: &[Recorded]| last_deployed(records, (2, "b"));
        assert_eq!(to(&with(&[])), None);
        assert_eq!(to(&with(&[(3, "failed")])), Some(2));
        assert_eq!(to(&with(&[(3, "failed"), (4, "pending-upgrade")])), Some(2));
        assert_eq!(to(&with(&[(3, "failed"), (4, "deployed")])), None, "a runbook may upgrade for good");
        let upgraded = [record(2, "superseded", "b"), record(3, "deployed", "c"), record(4, "pending-rollback", "d")];
        assert_eq!(to(&upgraded), Some(3), "what the runbook deployed by then stays");
        assert_eq!(to(&[record(2, "superseded", "b"), record(3, "failed", "c")]), Some(2));
        assert_eq!(to(&[]), None, "it is gone");
        assert_eq!(to(&[record(1, "deployed", "x"), record(2, "failed", "y")]), None, "it was installed anew");
        assert_eq!(to(&[record(12, "deployed", "m"), record(13, "failed", "n")]), Some(12), "the record is gone");
        assert_eq!(to(&[record(13, "deployed", "n")]), None);
    }

    #[test]
    fn what_differs_between_two_manifests_is_named() {
        let object = |kind: &str, name: &str, rest: &str| {
            format!("---\n# Source: x\nkind: {kind}\nmetadata:\n  name: {name}\nspec: {rest}\n")
        };
        let old = object("Deployment", "ironflow", "a") + &object("Service", "ironflow", "b");
        let new = object("Deployment", "ironflow", "c") + &object("Service", "ironflow", "b");
        assert_eq!(changed(&old, &new), ["Deployment/ironflow"]);
        assert!(changed(&old, &old).is_empty());
        assert_eq!(changed(&old, &object("Service", "ironflow", "b")), ["Deployment/ironflow"]);
    }
}
