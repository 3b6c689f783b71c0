//! What a kubeconfig says of one context.

use crate::redact::Redactor;
use kube::config::Kubeconfig;

/// The API server of a context and the proxy that its cluster names, as far as they are there.
pub(super) fn server_of(file: &Kubeconfig, context: &str) -> (String, Option<String>) {
    let named = file.contexts.iter().find(|named| named.name == context);
    let name = named.and_then(|named| named.context.as_ref()).map(|context| context.cluster.as_str());
    let cluster = file.clusters.iter().find(|cluster| Some(cluster.name.as_str()) == name);
    let cluster = cluster.and_then(|cluster| cluster.cluster.as_ref());
    let server = cluster.and_then(|cluster| cluster.server.clone()).unwrap_or_default();
    (server, cluster.and_then(|cluster| cluster.proxy_url.clone()))
}

/// Registers the secrets of a context's user: steps run with a copy of them in a file.
pub(super) fn register_logins(redactor: &Redactor, file: &Kubeconfig, context: &str) {
    let named = file.contexts.iter().find(|named| named.name == context);
    let user = named.and_then(|named| named.context.as_ref()).and_then(|inner| inner.user.as_ref());
    let infos = file.auth_infos.iter().filter(|known| Some(&known.name) == user);
    for info in infos.filter_map(|known| known.auth_info.as_ref()) {
        let Ok(info) = serde_json::to_value(info) else { continue };
        for what in ["token", "password", "client-key-data"] {
            if let Some(secret) = info[what].as_str() {
                redactor.register(&format!("{what} of the kubeconfig"), secret);
            }
        }
    }
}

/// A kubeconfig with one context, which is the current one. JSON, which is YAML too.
pub(super) fn only_context(file: &Kubeconfig, context: &str) -> Result<Vec<u8>, String> {
    let named = file.contexts.iter().find(|named| named.name == context);
    let named = named.ok_or_else(|| format!("no context `{context}`"))?.clone();
    let inner = named.context.clone().ok_or_else(|| format!("context `{context}` is empty"))?;
    let only = Kubeconfig {
        clusters: file.clusters.iter().filter(|cluster| cluster.name == inner.cluster).cloned().collect(),
        auth_infos: file.auth_infos.iter().filter(|user| inner.user.as_ref() == Some(&user.name)).cloned().collect(),
        contexts: vec![named],
        current_context: Some(context.to_owned()),
        kind: Some("Config".to_owned()),
        api_version: Some("v1".to_owned()),
        ..Default::default()
    };
    serde_json::to_vec(&only).map_err(|error| error.to_string())
}
