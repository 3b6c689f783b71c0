//! Powers servers off and on, resets and deletes them, and detaches volumes, by server name or `providerID`.
//!
//! Each function reads the resource again afterwards, because a successful action alone proves nothing.

use super::client::{ApiError, Client, Kind, Resource, Server, ServerStatus, Volume};
use serde_json::json;
use std::time::Duration;
use thiserror::Error;

/// The scheme of Hetzner's `providerID`.
const PROVIDER_ID_PREFIX: &str = "hcloud://";
/// Timeout of one action.
const ACTION_TIMEOUT: Duration = Duration::from_secs(180);

/// Identifies a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ServerRef {
    /// By its id, which is never reused.
    Id(i64),
    /// By its name, which is also the node's name.
    Name(String),
}

/// A server or volume did not reach the requested state.
#[derive(Debug, Error)]
pub(crate) enum PowerError {
    /// The API refused or did not answer.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// The node's `providerID` belongs to another provider.
    #[error("providerID `{0}` is not one of Hetzner's ({PROVIDER_ID_PREFIX}NUMBER)")]
    ProviderId(String),
    /// The action succeeded, but the server did not change.
    #[error("the action succeeded, but server {name} is {status:?}")]
    NoEffect {
        /// The server.
        name: String,
        /// Its status.
        status: ServerStatus,
    },
    /// The action succeeded, but the volume is still attached.
    #[error("the action succeeded, but volume {name} is still attached to server {server}")]
    StillAttached {
        /// The volume.
        name: String,
        /// The server's id.
        server: i64,
    },
}

impl ServerRef {
    /// Identifies the server of a node. A `providerID` takes precedence over the name.
    ///
    /// # Errors
    /// If the `providerID` is not Hetzner's.
    pub(crate) fn of_node(name: &str, provider_id: Option<&str>) -> Result<Self, PowerError> {
        let Some(text) = provider_id.filter(|text| !text.is_empty()) else { return Ok(Self::Name(name.to_owned())) };
        let number = text.strip_prefix(PROVIDER_ID_PREFIX).and_then(|number| number.parse().ok());
        number.filter(|id| *id > 0).map(Self::Id).ok_or_else(|| PowerError::ProviderId(text.to_owned()))
    }
}

/// Reads a server. Returns `None` if it does not exist.
///
/// # Errors
/// If the API fails.
pub(crate) async fn find(client: &Client, server: &ServerRef) -> Result<Option<Server>, ApiError> {
    #[derive(serde::Deserialize)]
    struct Reply {
        server: Server,
    }
    match server {
        ServerRef::Id(id) => match client.get::<Reply>(&format!("/servers/{id}"), &[]).await {
            Ok(reply) => Ok(Some(reply.server)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        },
        ServerRef::Name(name) => {
            let all: Vec<Server> = client.list("/servers", "servers", &[("name", name)]).await?;
            Ok(all.into_iter().find(|found| found.name == *name))
        }
    }
}

async fn existing(client: &Client, server: &ServerRef) -> Result<Server, ApiError> {
    let what = match server {
        ServerRef::Id(id) => format!("server with id {id}"),
        ServerRef::Name(name) => format!("server {name}"),
    };
    find(client, server).await?.ok_or(ApiError::NotFound { what })
}

/// Cuts a server's power without a shutdown. Does nothing if it is off.
///
/// # Errors
/// If the server does not exist, the API refuses, or the server is not off afterwards.
pub(crate) async fn power_off(client: &Client, server: &ServerRef) -> Result<(), PowerError> {
    change(client, server, "poweroff", ServerStatus::Off).await
}

/// Powers a server on. The caller waits for its kubelet.
///
/// # Errors
/// If the server does not exist, the API refuses, or the server is not on afterwards.
pub(crate) async fn power_on(client: &Client, server: &ServerRef) -> Result<(), PowerError> {
    change(client, server, "poweron", ServerStatus::Running).await
}

async fn change(client: &Client, server: &ServerRef, action: &str, wanted: ServerStatus) -> Result<(), PowerError> {
    let found = existing(client, server).await?;
    if found.status == wanted {
        return Ok(());
    }
    act(client, &found, action).await?;
    let name = found.name;
    let status = existing(client, &ServerRef::Id(found.id)).await?.status;
    if status == wanted { Ok(()) } else { Err(PowerError::NoEffect { name, status }) }
}

/// Resets a server: power off and on, without a shutdown.
///
/// # Errors
/// If the server does not exist, the API refuses, or the server is not on afterwards.
pub(crate) async fn reset(client: &Client, server: &ServerRef) -> Result<(), PowerError> {
    let found = existing(client, server).await?;
    act(client, &found, "reset").await?;
    let name = found.name;
    let status = existing(client, &ServerRef::Id(found.id)).await?.status;
    if status == ServerStatus::Running { Ok(()) } else { Err(PowerError::NoEffect { name, status }) }
}

async fn act(client: &Client, server: &Server, action: &str) -> Result<(), ApiError> {
    let action = client.act(Kind::Server, server.id, action, &json!({})).await?;
    client.wait_for_actions(vec![action], ACTION_TIMEOUT).await
}

/// Whether a server is on. Processes may run in every status but `off`.
///
/// # Errors
/// If the server does not exist, or the API fails.
pub(crate) async fn is_on(client: &Client, server: &ServerRef) -> Result<bool, PowerError> {
    Ok(existing(client, server).await?.status != ServerStatus::Off)
}

/// Deletes a server. A missing server is not an error. The caller has checked that it is ours.
///
/// # Errors
/// If the API refuses, or the server still exists afterwards.
pub(crate) async fn delete(client: &Client, server: &ServerRef) -> Result<(), PowerError> {
    let Some(found) = find(client, server).await? else { return Ok(()) };
    client.delete_resource(Kind::Server, found.id, ACTION_TIMEOUT).await?;
    match find(client, &ServerRef::Id(found.id)).await? {
        None => Ok(()),
        Some(Server { name, status, .. }) => Err(PowerError::NoEffect { name, status }),
    }
}

/// Lists the volumes that are attached to a server.
///
/// # Errors
/// If the API fails.
pub(crate) async fn volumes_of(client: &Client, server: &Server) -> Result<Vec<Volume>, ApiError> {
    let all: Vec<Volume> = client.list("/volumes", "volumes", &[]).await?;
    Ok(all.into_iter().filter(|volume| volume.server == Some(server.id)).collect())
}

/// Detaches a volume through the API, without an unmount. Does nothing if it is not attached.
///
/// # Errors
/// If the volume does not exist, the API refuses, or it is still attached afterwards.
pub(crate) async fn detach(client: &Client, volume: i64) -> Result<(), PowerError> {
    if client.resource(Kind::Volume, volume).await?.server.is_none() {
        return Ok(());
    }
    let action = client.act(Kind::Volume, volume, "detach", &json!({})).await?;
    client.wait_for_actions(vec![action], ACTION_TIMEOUT).await?;
    match client.resource(Kind::Volume, volume).await? {
        Resource { server: None, .. } => Ok(()),
        Resource { server: Some(server), name, .. } => Err(PowerError::StillAttached { name, server }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::client::{Code, Double, client_of, refusal};
    use super::super::labels::Labels;
    use super::*;
    use serde_json::Value;
    use wiremock::ResponseTemplate;

    #[test]
    fn a_node_is_its_server_by_provider_id_before_its_name() {
        let of = |id: Option<&str>| ServerRef::of_node("worker-1", id);
        assert_eq!(of(None).unwrap(), ServerRef::Name("worker-1".to_owned()));
        assert_eq!(of(Some("")).unwrap(), ServerRef::Name("worker-1".to_owned()));
        assert_eq!(of(Some("hcloud://42")).unwrap(), ServerRef::Id(42));
        for bad in ["aws:///eu/i-1", "hcloud://", "hcloud://x", "hcloud://-4", "hcloud://bm-4"] {
            assert!(matches!(of(Some(bad)), Err(PowerError::ProviderId(_))), "{bad}");
        }
    }

    #[tokio::test]
    async fn a_server_goes_off_and_on_and_away() {
        let double = Double::default();
        let server = double.start().await;
        let client = client_of(&server);
        let other = double.add("servers", "worker-10", &Labels::new(), json!({}));
        let id = double.add("servers", "worker-1", &Labels::new(), json!({}));
        let worker = ServerRef::Name("worker-1".to_owned());
        double.fail(&format!("POST /servers/{id}"), 3, refusal(423, "locked", "server is locked"));
        power_off(&client, &worker).await.unwrap();
        assert!(!is_on(&client, &worker).await.unwrap() && is_on(&client, &ServerRef::Id(other)).await.unwrap());
        power_off(&client, &worker).await.unwrap();
        power_on(&client, &ServerRef::Id(id)).await.unwrap();
        reset(&client, &worker).await.unwrap();
        delete(&client, &worker).await.unwrap();
        delete(&client, &worker).await.unwrap();
        assert_eq!(double.names(), ["servers/worker-10"]);
        let sent = |action: &str| double.changes().iter().filter(|change| change.ends_with(action)).count();
        assert_eq!(
            (sent("poweroff"), sent("poweron"), sent("reset")),
            (4, 1, 1),
            "three were refused, one was not needed"
        );
        let error = power_on(&client, &worker).await.unwrap_err().to_string();
        assert_eq!(error, "Hetzner has no server worker-1");
    }

    #[tokio::test]
    async fn an_action_without_effect_is_found_out() {
        let double = Double::default();
        let server = double.start().await;
        let client = client_of(&server);
        let id = double.add("servers", "worker-1", &Labels::new(), json!({}));
        let done = json!({"action": super::super::client::action_json(1, "stop_server", "success")});
        double.fail("POST /servers", 1, ResponseTemplate::new(201).set_body_json(&done));
        let error = power_off(&client, &ServerRef::Id(id)).await.unwrap_err().to_string();
        assert_eq!(error, "the action succeeded, but server worker-1 is Running");
        let volume = double.add("volumes", "pvc-1", &Labels::new(), json!({"server": id, "size": 10}));
        double.fail("POST /volumes", 1, ResponseTemplate::new(201).set_body_json(&done));
        let error = detach(&client, volume).await.unwrap_err().to_string();
        assert_eq!(error, format!("the action succeeded, but volume pvc-1 is still attached to server {id}"));
    }

    #[tokio::test]
    async fn a_volume_is_detached_and_its_failures_are_said() {
        let double = Double::default();
        let server = double.start().await;
        let client = client_of(&server);
        let id = double.add("servers", "worker-1", &Labels::new(), json!({}));
        let volume = double.add("volumes", "pvc-1", &Labels::new(), json!({"server": id, "size": 10}));
        double.add("volumes", "pvc-2", &Labels::new(), json!({"server": null, "size": 10}));
        let found = find(&client, &ServerRef::Id(id)).await.unwrap().unwrap();
        let names: Vec<_> = volumes_of(&client, &found).await.unwrap().into_iter().map(|volume| volume.name).collect();
        assert_eq!(names, ["pvc-1"]);
        double.fail("POST /volumes", 1, refusal(422, "user_action_required", "the volume is in use"));
        let error = detach(&client, volume).await.unwrap_err();
        let code = Code::Other("user_action_required".to_owned());
        assert!(matches!(&error, PowerError::Api(error) if error.code() == Some(&code)), "{error}");
        detach(&client, volume).await.unwrap();
        assert_eq!(double.thing("volumes", volume).unwrap()["server"], Value::Null);
        detach(&client, volume).await.unwrap();
    }
}
