//! One more node for a cluster, as a server of its own: what a provider does when it replaces one that is lost.

use super::super::MachineError;
use super::super::drain::drain_and_delete;
use super::super::new_node::{MadeBy, forget_request, may_remove, object_of, wait_and_label};
use super::account::other;
use super::client::{Client, Kind, Server};
use super::cloud_init::{BootstrapToken, ClusterSpec, Role, user_data};
use super::create::{self, ServerDraft, firewall_of, make_server, open_firewall, servers_of};
use super::labels;
use super::machine_types::{self, Choice, Need};
use super::machines::{HetznerMachines, refused};
use super::power::{self, ServerRef};
use super::settings::ARCHITECTURE;
use crate::clock::Clock;
use crate::cluster::{Cluster, ClusterError, RunMark};
use crate::provider::ProviderError;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, DeleteParams, PostParams};
use std::time::Duration;

/// Timeout of the actions that make a server and start it.
const SERVER_TIMEOUT: Duration = Duration::from_secs(300);
/// How long a new server may take to boot, install its packages and join.
const READY_TIMEOUT: Duration = Duration::from_secs(600);
/// Lifetime of the token by which it joins.
const TOKEN_VALID: Duration = Duration::from_secs(900);

/// Makes a server of that name, as another one is or was, and waits until its node is ready.
///
/// # Errors
/// If the node does not get ready in time. The caller records how to remove it before it calls this.
pub(super) async fn add(
    machines: &HetznerMachines,
    cluster: &Cluster,
    mark: &RunMark,
    like: &str,
    name: &str,
) -> Result<(), MachineError> {
    let token = BootstrapToken::generate().map_err(|error| refused(name, error))?;
    cluster.redactor().register("bootstrap token of a new node", token.reveal());
    let id = token.reveal().split('.').next().unwrap_or_default().to_owned();
    accept(cluster, &token).await?;
    let joined = async {
        make(machines, mark, like, name, token).await.map_err(|error| refused(name, error))?;
        wait_and_label(cluster, mark, name, READY_TIMEOUT).await
    };
    let joined = joined.await;
    // The token is of no use to anybody afterwards, whether the node has joined or not.
    let secrets: Api<Secret> = Api::namespaced(cluster.client(), "kube-system");
    match secrets.delete(&format!("bootstrap-token-{id}"), &DeleteParams::default()).await {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.code == 404 => {}
        Err(error) => return joined.and(Err(ClusterError::api("delete a bootstrap token")(error).into())),
    }
    joined?;
    forget_request(cluster, &id).await
}

/// Has the API server accept a token, for as long as a new server may take.
async fn accept(cluster: &Cluster, token: &BootstrapToken) -> Result<(), MachineError> {
    let clock = Clock::start();
    let until = clock.timestamp(clock.now().plus(TOKEN_VALID));
    let secret: Secret = serde_json::from_value(token.secret(&format!("{until:.0}")))
        .map_err(|_| MachineError::Unreadable("the bootstrap token's Secret".to_owned()))?;
    let secrets: Api<Secret> = Api::namespaced(cluster.client(), "kube-system");
    cluster.ask("making a bootstrap token", secrets.create(&PostParams::default(), &secret)).await?;
    Ok(())
}

async fn make(
    machines: &HetznerMachines,
    mark: &RunMark,
    like: &str,
    name: &str,
    token: BootstrapToken,
) -> Result<(), ProviderError> {
    let HetznerMachines { account, record, address } = machines;
    let client = &account.client;
    let there = servers_of(client, &record.settings.name).await?;
    // The lost one may be deleted by now; then one of the same role is as good.
    let is_worker = |server: &&Server| server.labels.get(labels::ROLE).is_some_and(|role| role == "worker");
    let like = there.iter().find(|server| server.name == like).or_else(|| there.iter().find(is_worker));
    let like = like.ok_or_else(|| other(format!("cluster {} has no worker's server", record.settings.name)))?;
    let spec = ClusterSpec::new(&record.settings.name, record.settings.image_mirror.as_deref());
    let secrets = record.secrets.with_bootstrap_token(token);
    let mut labels = record.labels_of_run(&mark.run_id)?;
    labels.insert(labels::ROLE.to_owned(), "worker".to_owned());
    let firewall = firewall_of(client, &record.settings.name).await?;
    let draft = ServerDraft {
        name: name.to_owned(),
        image: machine_types::image(client, &record.settings.image, ARCHITECTURE).await.map_err(other)?,
        labels,
        firewall,
        placement_group: group_of(client, &record.settings.name).await?,
        user_data: user_data(&spec, &secrets, name, Role::Worker { api_server: address }).map_err(other)?,
    };
    let choices = choices(client, machines, like).await?;
    let (server, actions) = make_server(client, &draft, &choices, &mut |line| tracing::info!("{line}")).await?;
    let mut all = there;
    all.retain(|known| known.id != server.id);
    all.push(server);
    open_firewall(client, record, firewall, &all).await?;
    client.wait_for_actions(actions, SERVER_TIMEOUT).await.map_err(other)
}

/// The type of another server first, then others at its location.
async fn choices(client: &Client, machines: &HetznerMachines, like: &Server) -> Result<Vec<Choice>, ProviderError> {
    let need = Need { location: Some(like.location.name.clone()), ..machines.record.settings.need() };
    let mut choices = machine_types::choices(client, &need).await.map_err(other)?;
    choices.sort_by_key(|choice| choice.server_type != like.server_type.name);
    Ok(choices)
}

async fn group_of(client: &Client, cluster: &str) -> Result<Option<i64>, ProviderError> {
    let groups = client.resources(Kind::PlacementGroup, &labels::selector_of(cluster)).await.map_err(other)?;
    let is_workers = |name: &str| name == create::worker_group_name(cluster);
    Ok(groups.iter().find(|group| group.claim().cluster() == Some(cluster) && is_workers(&group.name)).map(|g| g.id))
}

/// Removes a node that a run made, with its server. Repeating it, and removing what was never made, is harmless.
///
/// # Errors
/// If the API server or Hetzner does not do it, or what has the node's name was not made by this run.
pub(super) async fn remove(
    machines: &HetznerMachines,
    cluster: &Cluster,
    run_id: &str,
    node: &str,
) -> Result<(), MachineError> {
    let object = object_of(cluster, node).await?;
    let server = machines.find(node).await?;
    let run = server.as_ref().and_then(|server| server.labels.get(labels::RUN)).map(String::as_str);
    let made_by = server.as_ref().map(|_| MadeBy { run, what: "server" });
    may_remove(run_id, node, made_by, object.as_ref())?;
    if let Some(object) = object {
        drain_and_delete(cluster, node, object).await?;
    }
    let Some(server) = server else { return Ok(()) };
    let (client, record) = (&machines.account.client, &machines.record);
    power::delete(client, &ServerRef::Id(server.id)).await.map_err(|error| refused(node, error))?;
    // Its address may be somebody else's soon.
    let close = async {
        let left = servers_of(client, &record.settings.name).await?;
        open_firewall(client, record, firewall_of(client, &record.settings.name).await?, &left).await
    };
    close.await.map_err(|error| refused(node, error))
}

/// Whether neither the node nor its server is there.
///
/// # Errors
/// If that cannot be told.
pub(super) async fn is_gone(machines: &HetznerMachines, cluster: &Cluster, node: &str) -> Result<bool, MachineError> {
    let object = object_of(cluster, node).await?;
    Ok(object.is_none() && machines.find(node).await?.is_none())
}
