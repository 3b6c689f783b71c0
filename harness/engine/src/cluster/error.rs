//! How a question to the cluster goes unanswered.

use std::path::PathBuf;
use std::time::Duration;
use thiserror::Error;

/// What the cluster answered, or that it did not.
#[derive(Debug, Error)]
pub enum ClusterError {
    /// The kubeconfig cannot be used.
    #[error("kubeconfig {path}: {reason}")]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The environment or the kubeconfig names a proxy that cannot be used.
    #[error("no way to {server}: {why}")]
    Proxy {
        /// The API server.
        server: String,
        /// Why.
        why: String,
    },
    /// The API server did not answer, or refused.
    #[error("{what}: {}", said(source))]
    Api {
        /// What was asked.
        what: String,
        /// The answer.
        #[source]
        source: Box<kube::Error>,
    },
    /// The API server gave no answer at all.
    #[error("{what}: the API server did not answer for {} s{}", silent.as_secs(), because(last))]
    Unreachable {
        /// What was asked.
        what: String,
        /// For how long.
        silent: Duration,
        /// What the last attempt met, where it met something.
        last: Option<String>,
    },
    /// A wait's limit passed.
    #[error("{what} did not come within {} s", limit.as_secs())]
    Deadline {
        /// What was waited for.
        what: String,
        /// The limit.
        limit: Duration,
    },
    /// Anything else that stands in the way.
    #[error("{0}")]
    Other(String),
}

impl ClusterError {
    /// For `map_err`: an API error with what was asked.
    pub fn api(what: impl Into<String>) -> impl FnOnce(kube::Error) -> ClusterError {
        let what = what.into();
        move |source| ClusterError::Api { what, source: Box::new(source) }
    }

    /// Whether the API server itself gave no answer (a refusal is an answer).
    pub fn is_unreachable(&self) -> bool {
        match self {
            ClusterError::Unreachable { .. } => true,
            ClusterError::Api { source, .. } => !matches!(**source, kube::Error::Api(_)),
            ClusterError::Kubeconfig { .. }
            | ClusterError::Proxy { .. }
            | ClusterError::Deadline { .. }
            | ClusterError::Other(_) => false,
        }
    }

    /// The status code of a refusal.
    pub fn code(&self) -> Option<u16> {
        match self {
            ClusterError::Api { source, .. } => match &**source {
                kube::Error::Api(status) => Some(status.code),
                _ => None,
            },
            _ => None,
        }
    }

    /// Whether the same question may be answered otherwise a moment later.
    pub fn is_transient(&self) -> bool {
        match self {
            ClusterError::Api { source, .. } => match &**source {
                kube::Error::Api(status) => matches!(status.code, 404 | 408 | 409 | 429 | 500..),
                kube::Error::SerdeError(_) | kube::Error::BuildRequest(_) => false,
                _ => true,
            },
            ClusterError::Unreachable { .. } | ClusterError::Deadline { .. } => true,
            ClusterError::Kubeconfig { .. } | ClusterError::Proxy { .. } | ClusterError::Other(_) => false,
        }
    }
}

/// What the API server said, or why it could not be asked, down to the last cause: the first one only says that there is one.
pub(crate) fn said(error: &kube::Error) -> String {
    if let kube::Error::Api(status) = error {
        let text = if status.message.is_empty() { &status.reason } else { &status.message };
        return format!("{text} ({})", status.code);
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    match error {
        kube::Error::HyperError(_) | kube::Error::Service(_) => format!("no answer of the API server: {cause}"),
        _ => cause.to_string(),
    }
}

fn because(last: &Option<String>) -> String {
    last.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::ASK_LIMIT;
    use super::*;

    #[tokio::test]
    async fn silence_has_its_last_cause() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config");
        let text = "{apiVersion: v1, kind: Config, clusters: [{name: c, cluster: {server: 'https://127.0.0.1:1'}}], \
            users: [{name: u, user: {token: t}}], contexts: [{name: x, context: {cluster: c, user: u}}]}";
        std::fs::write(&file, text).unwrap();
        let cluster = super::super::Cluster::connect("test", &file, "x").await.unwrap();
        let error = cluster.is_allowed().await.unwrap_err();
        let told = "the mark that drills are allowed: no answer of the API server: Connection refused (os error 111)";
        assert!(error.is_unreachable());
        assert_eq!(error.to_string(), told);
    }

    #[test]
    fn refusals_are_told_from_silence() {
        let status = |code| kube::core::Status::failure("no", "Reason").with_code(code).boxed();
        let refused = ClusterError::api("pods")(kube::Error::Api(status(403)));
        assert!(!refused.is_unreachable() && !refused.is_transient());
        assert_eq!(refused.to_string(), "pods: no (403)");
        let busy = ClusterError::api("pods")(kube::Error::Api(status(503)));
        assert!(!busy.is_unreachable() && busy.is_transient());
        let silent = ClusterError::Unreachable { what: "pods".into(), silent: ASK_LIMIT, last: Some("refused".into()) };
        assert!(silent.is_unreachable() && silent.is_transient());
        assert_eq!(silent.to_string(), "pods: the API server did not answer for 15 s (refused)");
    }
}
