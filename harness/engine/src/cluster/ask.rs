//! One request to the API server, with a limit.

use super::{Cluster, ClusterError};
use std::pin::Pin;
use std::time::Duration;

/// How long one request may take, where its caller does not say otherwise.
pub const ASK_LIMIT: Duration = Duration::from_secs(15);

/// A request, and its answer when it comes.
pub(crate) type Asked<'a, T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send + 'a>>;

impl Cluster {
    /// Awaits one answer of the API server, at most [`ASK_LIMIT`].
    ///
    /// The request is boxed: its states are many and large, and would else be a part of each caller's.
    ///
    /// # Errors
    /// Where it refuses, or gives no answer in time.
    pub fn ask<'a, T: 'a>(
        &self,
        what: impl Into<String>,
        request: impl Future<Output = kube::Result<T>> + Send + 'a,
    ) -> Asked<'a, T, ClusterError> {
        Box::pin(within_limit(what.into(), Box::pin(request)))
    }
}

async fn within_limit<T>(what: String, request: Asked<'_, T, kube::Error>) -> Result<T, ClusterError> {
    match tokio::time::timeout(ASK_LIMIT, request).await {
        Ok(answer) => answer.map_err(ClusterError::api(what)),
        Err(_) => Err(ClusterError::Unreachable { what, silent: ASK_LIMIT, last: None }),
    }
}
