//! Makes a cluster's resources at Hetzner: placement groups, firewall, servers. Repeating it goes on where it stopped, because each
//! resource has a name and labels by which it is found again.

use super::super::ProviderError;
use super::account::{Account, other};
use super::client::{Action, ApiError, Client, Code, Kind, NewServer, Server, ServerStatus, UserData};
use super::cloud_init::{API_SERVER_PORT, ClusterSpec, Role, user_data};
use super::estimate::Estimate;
use super::firewall;
use super::labels::{self, Claim, Labels};
use super::machine_types::{self, Choice, ChoiceError};
use super::power::{self, ServerRef};
use super::price::{PriceError, Prices};
use super::record::Record;
use super::settings::{ARCHITECTURE, networks, wrong};
use crate::clock::Clock;
use crate::process::Progress;
use futures::future::{join_all, try_join_all};
use std::net::Ipv4Addr;
use std::time::Duration;

/// Timeout of the actions that make a server and start it. Hetzner names 60 to 90 s on average, and over 10 min from own images.
const SERVER_TIMEOUT: Duration = Duration::from_secs(600);
const FIREWALL_TIMEOUT: Duration = Duration::from_secs(120);

/// A cluster's resources, all of which exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Made {
    /// The first control plane's address.
    pub(crate) address: String,
    /// Where the servers are.
    pub(crate) location: String,
    /// The names of all nodes.
    pub(crate) nodes: Vec<String>,
}

impl Made {
    /// The API server: `192.0.2.7:6443`.
    pub(crate) fn api_server(&self) -> String {
        api_server_at(&self.address)
    }
}

/// The API server on a server with this address.
pub(crate) fn api_server_at(address: &str) -> String {
    format!("{address}:{API_SERVER_PORT}")
}

/// Makes what is missing of a cluster's resources. What it can cost is said, and checked, before.
///
/// # Errors
/// If the options cannot be met, the cost can exceed the user's limit, or the API fails. Then some of the resources may exist.
pub(crate) async fn make(account: &Account, record: &Record, progress: Progress<'_>) -> Result<Made, ProviderError> {
    let (client, settings) = (&account.client, &record.settings);
    let there = servers_of(client, &settings.name).await?;
    if let Some(strange) = there.iter().find(|server| !is_of(server, record)) {
        let why = format!("server {} was made by another `up`", strange.name);
        return Err(ProviderError::NotOurs { name: settings.name.clone(), why });
    }
    let choices = choices(client, record, &there, progress).await?;
    let labels = record.labels()?;
    let parts = Parts {
        image: machine_types::image(client, &settings.image, ARCHITECTURE).await.map_err(no_choice)?,
        firewall: firewall(client, record, &labels).await?,
        control_plane_group: match settings.control_planes {
            // One server needs none.
            1 => None,
            _ => Some(group(client, &format!("{}-control-planes", settings.name), &labels).await?),
        },
        worker_group: group(client, &worker_group_name(&settings.name), &labels).await?,
        labels,
    };
    let maker = Maker { account, record, there: &there, parts };
    let nodes = [settings.control_plane_names(), settings.worker_names()].concat();
    let first = nodes.first().cloned().unwrap_or_default();
    progress(format!("making server {first}"));
    let (first, mut actions) = maker.server(&first, Role::First, &choices, progress).await?;
    let address = first.ipv4().ok_or_else(|| other(format!("server {} has no IPv4 address", first.name)))?.to_owned();
    let location = first.location.name.clone();

    // Volumes reach servers of their own location only, so all are in one.
    let near: Vec<_> = choices.into_iter().filter(|choice| choice.location == location).collect();
    progress(format!("making servers {}", nodes[1..].join(", ")));
    let rest = nodes.iter().skip(1).map(|node| {
        let role = match settings.control_plane_names().contains(node) {
            true => Role::ControlPlane { api_server: &address },
            false => Role::Worker { api_server: &address },
        };
        let (maker, near) = (&maker, &near);
        async move {
            let mut said = Vec::new();
            let made = maker.server(node, role, near, &mut |line| said.push(line)).await;
            (made, said)
        }
    });
    let (mut servers, mut failed) = (vec![first], None);
    for (made, said) in join_all(rest).await {
        said.into_iter().for_each(&mut *progress);
        match made {
            Ok((server, running)) => {
                servers.push(server);
                actions.extend(running);
            }
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    if let Some(error) = failed {
        return Err(error);
    }
    progress(format!("waiting for {} servers to start", servers.len()));
    client.wait_for_actions(actions, SERVER_TIMEOUT).await.map_err(other)?;
    open_firewall(client, record, maker.parts.firewall, &servers).await?;
    // One that an earlier attempt made may be off.
    let off = servers.iter().filter(|server| server.status == ServerStatus::Off);
    try_join_all(off.map(|server| async move { power::power_on(client, &ServerRef::Id(server.id)).await }))
        .await
        .map_err(other)?;
    Ok(Made { address, location, nodes })
}

/// The servers of a cluster, by its label.
///
/// # Errors
/// If the API fails.
pub(crate) async fn servers_of(client: &Client, cluster: &str) -> Result<Vec<Server>, ProviderError> {
    let mut servers = client.servers(&labels::selector_of(cluster)).await.map_err(other)?;
    servers.retain(|server| Claim::of(&server.labels).cluster() == Some(cluster));
    servers.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(servers)
}

fn is_of(server: &Server, record: &Record) -> bool {
    // A drill's own servers carry the drill's run.
    let is_of_cluster = |name: &String| *name == server.name;
    let is_named =
        record.settings.control_plane_names().iter().chain(&record.settings.worker_names()).any(is_of_cluster);
    !is_named || matches!(Claim::of(&server.labels), Claim::Ours(mark) if mark.run == record.run)
}

/// The types and locations that can be had and paid, the cheapest first. Servers that exist decide on the location.
async fn choices(
    client: &Client,
    record: &Record,
    there: &[Server],
    progress: Progress<'_>,
) -> Result<Vec<Choice>, ProviderError> {
    let mut need = record.settings.need();
    if let Some(server) = there.first() {
        need.location = Some(server.location.name.clone());
    }
    let choices = machine_types::choices(client, &need).await.map_err(no_choice)?;
    let prices = Prices::fetch(client).await.map_err(other)?;
    let clock = Clock::start();
    let left_s = record.expires_unix_s.saturating_sub(clock.unix_seconds(clock.now()));
    let left_s = u64::try_from(left_s).unwrap_or(0);
    let max = record.settings.max_cost()?;
    let (mut paid, mut why) = (Vec::new(), None);
    for choice in choices {
        match Estimate::of(&prices, &record.settings, &choice, left_s, max) {
            Ok(estimate) => {
                if paid.is_empty() {
                    progress(estimate.to_string());
                }
                paid.push(choice);
            }
            Err(error) => why = why.or(Some(error)),
        }
    }
    match why {
        Some(error @ PriceError::TooExpensive { .. }) if paid.is_empty() => {
            Err(wrong(error, "nothing was made; a shorter --lifetime lowers the bound too"))
        }
        Some(error) if paid.is_empty() => Err(other(error)),
        _ => Ok(paid),
    }
}

fn no_choice(error: ChoiceError) -> ProviderError {
    match error {
        ChoiceError::NoType { .. } | ChoiceError::NoLocation { .. } | ChoiceError::NoImage { .. } => {
            wrong(error, "nothing was made; leave the option out, or give one that Hetzner has")
        }
        error => other(error),
    }
}

/// The name of the placement group of a cluster's workers.
pub(crate) fn worker_group_name(cluster: &str) -> String {
    format!("{cluster}-workers")
}

async fn group(client: &Client, name: &str, labels: &Labels) -> Result<i64, ProviderError> {
    Ok(client.create_placement_group(name, labels).await.map_err(other)?.resource.id)
}

/// The firewall, which lets the user's networks in. The nodes' addresses are not known yet.
async fn firewall(client: &Client, record: &Record, labels: &Labels) -> Result<i64, ProviderError> {
    let rules = firewall::rules(&networks(&record.settings.allow_from)?, &[]).map_err(other)?;
    let made = client.create_firewall(&record.settings.name, rules, labels).await.map_err(other)?;
    client.wait_for_actions(made.actions, FIREWALL_TIMEOUT).await.map_err(other)?;
    Ok(made.resource.id)
}

/// The firewall of a cluster that exists.
///
/// # Errors
/// If there is none, or the API fails.
pub(crate) async fn firewall_of(client: &Client, cluster: &str) -> Result<i64, ProviderError> {
    let all = client.resources(Kind::Firewall, &labels::selector_of(cluster)).await.map_err(other)?;
    let own = all.into_iter().find(|firewall| firewall.claim().cluster() == Some(cluster));
    Ok(own.ok_or_else(|| other(format!("cluster {cluster} has no firewall")))?.id)
}

/// Lets these servers reach each other.
///
/// # Errors
/// If there are too many, or the API fails.
pub(crate) async fn open_firewall(
    client: &Client,
    record: &Record,
    firewall: i64,
    servers: &[Server],
) -> Result<(), ProviderError> {
    let addresses = servers.iter().filter_map(Server::ipv4).map(str::parse::<Ipv4Addr>);
    let addresses: Vec<_> = addresses.collect::<Result<_, _>>().map_err(other)?;
    let rules = firewall::rules(&networks(&record.settings.allow_from)?, &addresses).map_err(other)?;
    let actions = client.set_firewall_rules(firewall, rules).await.map_err(other)?;
    client.wait_for_actions(actions, FIREWALL_TIMEOUT).await.map_err(other)
}

/// What every server needs.
struct Parts {
    image: i64,
    firewall: i64,
    control_plane_group: Option<i64>,
    worker_group: i64,
    labels: Labels,
}

struct Maker<'a> {
    account: &'a Account,
    record: &'a Record,
    there: &'a [Server],
    parts: Parts,
}

impl Maker<'_> {
    /// Makes a server, unless it exists. Returns it with the actions that still run.
    async fn server(
        &self,
        name: &str,
        role: Role<'_>,
        choices: &[Choice],
        progress: Progress<'_>,
    ) -> Result<(Server, Vec<Action>), ProviderError> {
        let client = &self.account.client;
        if let Some(found) = self.there.iter().find(|server| server.name == name) {
            return Ok((found.clone(), running_actions(client, found).await?));
        }
        let Record { settings, secrets, .. } = self.record;
        let spec = ClusterSpec::new(&settings.name, settings.image_mirror.as_deref());
        let is_worker = matches!(role, Role::Worker { .. });
        let mut labels = self.parts.labels.clone();
        labels.insert(labels::ROLE.to_owned(), if is_worker { "worker" } else { "control-plane" }.to_owned());
        let server = ServerDraft {
            name: name.to_owned(),
            image: self.parts.image,
            labels,
            firewall: self.parts.firewall,
            placement_group: if is_worker { Some(self.parts.worker_group) } else { self.parts.control_plane_group },
            user_data: user_data(&spec, secrets, name, role).map_err(other)?,
        };
        make_server(client, &server, choices, progress).await
    }
}

/// A server that is to be made, of whichever type can be had.
pub(crate) struct ServerDraft {
    pub(crate) name: String,
    pub(crate) image: i64,
    pub(crate) labels: Labels,
    pub(crate) firewall: i64,
    pub(crate) placement_group: Option<i64>,
    pub(crate) user_data: UserData,
}

/// Makes a server of the first type that has capacity.
///
/// # Errors
/// If none has, or the API fails.
pub(crate) async fn make_server(
    client: &Client,
    draft: &ServerDraft,
    choices: &[Choice],
    progress: Progress<'_>,
) -> Result<(Server, Vec<Action>), ProviderError> {
    let mut last = None;
    for Choice { server_type, location, .. } in choices {
        let server = NewServer {
            name: draft.name.clone(),
            server_type: server_type.clone(),
            location: location.clone(),
            image: draft.image,
            labels: draft.labels.clone(),
            firewall: draft.firewall,
            placement_group: draft.placement_group,
            user_data: draft.user_data.clone(),
        };
        match client.create_server(&server).await {
            Ok(made) => return Ok((made.resource, made.actions)),
            Err(error) if is_out_of_capacity(&error) => {
                progress(format!("{location} has no {server_type} for {} at the moment", draft.name));
                last = Some(error);
            }
            Err(error) => return Err(other(error)),
        }
    }
    Err(last.map_or_else(|| other(format!("no server type is left for {}", draft.name)), other))
}

fn is_out_of_capacity(error: &ApiError) -> bool {
    matches!(error.code(), Some(Code::ResourceUnavailable | Code::PlacementError))
}

async fn running_actions(client: &Client, server: &Server) -> Result<Vec<Action>, ProviderError> {
    let path = format!("/servers/{}/actions", server.id);
    client.list(&path, "actions", &[("status", "running")]).await.map_err(other)
}
