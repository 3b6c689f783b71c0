//! Asking a node's kubelet itself: the node's Ready condition stays true for most of a minute after the node went.

use super::Cluster;
use std::time::Duration;
use tokio::time::timeout;

/// The limit of one question.
const KUBELET_LIMIT: Duration = Duration::from_secs(3);

impl Cluster {
    /// Asks a node's kubelet, through the API server, whether it is healthy.
    ///
    /// # Errors
    /// What came instead, for people.
    pub async fn kubelet_answers(&self, node: &str) -> Result<(), String> {
        let request = http::Request::get(format!("/api/v1/nodes/{node}/proxy/healthz")).body(Vec::new());
        let request = request.map_err(|error| error.to_string())?;
        match timeout(KUBELET_LIMIT, self.client().request_text(request)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(kube::Error::Api(status))) => Err(status.message),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("nothing within {} s", KUBELET_LIMIT.as_secs())),
        }
    }
}
