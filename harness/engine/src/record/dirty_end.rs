//! What a run left changed, told on the cluster: a runner on another machine has not the journal that says so.
//!
//! It is a ControllerRevision beside the undo records. Nothing is undone because of it. It keeps runs away until a sweep with the run's
//! files saw the cluster as before, or somebody takes the cluster as it is.

use super::{FORMAT, api, is_run_id, shown};
use crate::cluster::{Cluster, ClusterError, LABEL_RUN, RunMark};
use crate::env;
use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use kube::api::{DeleteParams, PostParams};
use serde::{Deserialize, Serialize};

/// What the names of these objects begin with.
const PREFIX: &str = "dirty-";
/// How many differences are kept.
const WHAT_MAX: usize = 5;

/// How a run left the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DirtyEnd {
    /// The version of this format.
    format: u32,
    /// The run.
    pub run: String,
    /// The UID of the cluster: of its namespace `kube-system`.
    cluster_uid: String,
    /// When it was written (RFC 3339).
    pub at: String,
    /// The host name of the machine that has the run's files.
    pub machine: String,
    /// The run's folder there.
    pub folder: String,
    /// What differs, a line each, without secrets.
    pub what: Vec<String>,
}

/// One as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundDirtyEnd {
    /// The object's name.
    pub name: String,
    /// What it holds, or why it cannot be read.
    pub end: Result<DirtyEnd, String>,
}

impl DirtyEnd {
    /// Of a run on the cluster of this UID. `what` must hold no secrets; a few lines of it are kept.
    pub fn new(run: &str, cluster_uid: &str, at: String, folder: &std::path::Path, what: &[String]) -> Self {
        let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
        let mut lines: Vec<String> = what.iter().take(WHAT_MAX).map(|line| shown(line)).collect();
        if what.len() > WHAT_MAX {
            lines.push(format!("and {} more", what.len() - WHAT_MAX));
        }
        Self {
            format: FORMAT,
            run: run.to_owned(),
            cluster_uid: cluster_uid.to_owned(),
            at,
            machine: env::host_name(),
            folder: folder.display().to_string(),
            what: lines,
        }
    }
}

impl std::fmt::Display for DirtyEnd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { run, at, machine, folder, what, .. } = self;
        let what = if what.is_empty() { "what differs is not known".to_owned() } else { what.join("; ") };
        write!(f, "run {run} was not proven to leave the cluster unchanged ({}): {}", shown(at), shown(&what))?;
        write!(f, " (its files are on {} in {})", shown(machine), shown(folder))
    }
}

/// Writes it. One of the same run that is there already stays as it is.
///
/// # Errors
/// Where it is not there afterwards.
pub async fn write(cluster: &Cluster, mark: &RunMark, end: &DirtyEnd) -> Result<(), ClusterError> {
    let name = name_of(&end.run);
    let data = serde_json::to_value(end).map_err(|error| ClusterError::Other(error.to_string()))?;
    let object = ControllerRevision { metadata: mark.metadata(&name), data: Some(RawExtension(data)), revision: 1 };
    match cluster.ask(format!("record {name}"), api(cluster).create(&PostParams::default(), &object)).await {
        Err(error) if error.code() == Some(409) => Ok(()),
        other => other.map(drop),
    }
}

/// Deletes that of a run; it may be gone already.
///
/// # Errors
/// Where the API server does not do it.
pub async fn delete(cluster: &Cluster, run_id: &str) -> Result<(), ClusterError> {
    let name = name_of(run_id);
    match cluster.ask(format!("record {name}"), api(cluster).delete(&name, &DeleteParams::default())).await {
        Err(error) if error.code() == Some(404) => Ok(()),
        other => other.map(drop),
    }
}

/// Whether an object of that name is one of these.
pub(super) fn is_name(name: &str) -> bool {
    name.starts_with(PREFIX)
}

pub(super) fn read(name: &str, object: &ControllerRevision, cluster_uid: &str) -> Result<DirtyEnd, String> {
    let data = object.data.as_ref().map(|data| data.0.clone()).unwrap_or_default();
    let end: DirtyEnd = serde_json::from_value(data).map_err(|error| format!("it cannot be read: {error}"))?;
    let label = object.metadata.labels.as_ref().and_then(|labels| labels.get(LABEL_RUN));
    if end.format != FORMAT {
        return Err(format!("its format {} is unknown to this version", end.format));
    }
    if !is_run_id(&end.run) || label != Some(&end.run) || name != name_of(&end.run) {
        return Err("its name, label and data do not name the same run".to_owned());
    }
    if end.cluster_uid != cluster_uid {
        return Err("it is of another cluster".to_owned());
    }
    Ok(end)
}

fn name_of(run_id: &str) -> String {
    format!("{PREFIX}{run_id}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake_api::FakeApi;
    use crate::record;
    use serde_json::json;
    use std::path::Path;

    const RECORDS: &str = "/apis/apps/v1/namespaces/firedrill-system/controllerrevisions";

    fn end(run: &str) -> DirtyEnd {
        let what = [String::from("web: 3 of 3 ready\u{1b}[2J")];
        DirtyEnd::new(run, "here", "2026-12-01T00:00:00Z".to_owned(), Path::new("/runs/r1"), &what)
    }

    #[tokio::test]
    async fn it_is_found_until_it_is_deleted_and_is_no_undo_record() {
        let api = FakeApi::start().await;
        let folder = tempfile::tempdir().unwrap();
        let cluster = Cluster::connect("c", &api.kubeconfig(folder.path()), "x").await.unwrap();
        let mark = RunMark { run_id: "r1".to_owned(), expires_unix: 9 };
        for _ in 0..2 {
            write(&cluster, &mark, &end("r1")).await.unwrap();
        }
        assert_eq!(api.paths(RECORDS), [format!("{RECORDS}/dirty-r1")]);
        let found = FoundDirtyEnd { name: "dirty-r1".to_owned(), end: Ok(end("r1")) };
        let found = record::FoundRecords { undos: Vec::new(), dirty_ends: vec![found] };
        assert_eq!(record::find(&cluster, "here").await.unwrap(), found);
        let elsewhere = record::find(&cluster, "there").await.unwrap();
        assert_eq!(elsewhere.dirty_ends[0].end, Err("it is of another cluster".to_owned()));
        for _ in 0..2 {
            delete(&cluster, "r1").await.unwrap();
        }
        assert_eq!(record::find(&cluster, "here").await.unwrap(), record::FoundRecords::default());
    }

    #[test]
    fn what_a_stranger_wrote_is_refused_and_never_shown_raw() {
        let object = |data: serde_json::Value, label: &str| -> ControllerRevision {
            let metadata = json!({"name": "dirty-r1", "labels": {LABEL_RUN: label}});
            serde_json::from_value(json!({"metadata": metadata, "data": data, "revision": 1})).unwrap()
        };
        let good = serde_json::to_value(end("r1")).unwrap();
        assert_eq!(read("dirty-r1", &object(good.clone(), "r1"), "here"), Ok(end("r1")));
        let changed = |key: &str, value: serde_json::Value| {
            let mut data = good.clone();
            data[key] = value;
            read("dirty-r1", &object(data, "r1"), "here").unwrap_err()
        };
        assert!(changed("format", json!(9)).contains("format 9"));
        assert!(changed("run", json!("../r1")).contains("same run"));
        assert!(changed("run", json!("r2")).contains("same run"));
        assert!(changed("more", json!(1)).contains("cannot be read"));
        assert!(read("dirty-r1", &object(good.clone(), "r2"), "here").is_err());
        let hostile = DirtyEnd { machine: "a\nb\u{1b}[2J".to_owned(), ..end("r1") };
        let text = hostile.to_string();
        assert!(!text.chars().any(char::is_control), "{text:?}");
    }

    #[test]
    fn a_few_differences_are_kept() {
        let what: Vec<String> = (0..8).map(|number| format!("d{number}")).collect();
        let end = DirtyEnd::new("r1", "here", String::new(), Path::new("runs/r1"), &what);
        assert_eq!(end.what.len(), 6);
        assert_eq!(end.what[5], "and 3 more");
        assert!(end.folder.starts_with('/') && end.folder.ends_with("runs/r1"));
        assert!(!end.machine.contains('\n'));
    }
}
