//! The marks that firedrill puts on clusters and on objects.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// Label on every object that a run makes: the run's id.
pub const LABEL_RUN: &str = "firedrill.dev/run";
/// Annotation on every object that a run makes: when it counts as abandoned, in seconds since the epoch.
pub const ANNOTATION_EXPIRES: &str = "firedrill.dev/expires";
/// Label on every object that firedrill makes, and on none that it only marks.
pub const LABEL_MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Its value.
pub const MANAGED_BY: &str = "firedrill";
/// ConfigMap in `kube-system` that marks a cluster as one that drills may break.
pub const MARKER: &str = "firedrill-allowed";

/// The mark that every object of a run carries, so that it is found again without the run's own files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunMark {
    /// The run's id.
    pub run_id: String,
    /// When everything of it counts as abandoned, in seconds since the epoch.
    pub expires_unix: i64,
}

impl RunMark {
    /// Metadata of an object of this run.
    pub fn metadata(&self, name: &str) -> ObjectMeta {
        let labels = [(LABEL_RUN, self.run_id.as_str()), (LABEL_MANAGED_BY, MANAGED_BY)];
        let annotations = [(ANNOTATION_EXPIRES, self.expires_unix.to_string())];
        ObjectMeta {
            name: Some(name.to_owned()),
            labels: Some(labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()),
            annotations: Some(annotations.map(|(key, value)| (key.to_owned(), value)).into()),
            ..Default::default()
        }
    }

    /// The namespace that holds this run's pods; it exists only for the run.
    pub fn namespace(&self) -> String {
        format!("firedrill-{}", self.run_id)
    }
}
