//! Clusters that someone else made: named by kubeconfig and context, and marked for drills by their owner.

use super::ProviderError;
use crate::cluster::{Cluster, MARKER};
use std::path::Path;

/// Opens a cluster that its owner has marked as one that drills may break.
///
/// # Errors
/// Where it cannot be reached, or does not carry the mark.
pub async fn open(kubeconfig: &Path, context: &str) -> Result<Cluster, ProviderError> {
    let cluster = Cluster::connect(context, kubeconfig, context).await?;
    if cluster.is_allowed().await? {
        return Ok(cluster);
    }
    let why = format!(
        "it carries no mark that drills may break it; its owner sets one with \
         `kubectl --context {context} create configmap {MARKER} --namespace kube-system`"
    );
    Err(ProviderError::NotOurs { name: context.to_owned(), why })
}
