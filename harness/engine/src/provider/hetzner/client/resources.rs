//! Creates, finds and deletes resources.
//!
//! Creation can be repeated, because names are unique in a project. If a reply was lost or the name is taken, the existing resource is
//! adopted only if its labels name the same cluster and run.

use super::super::labels::{Claim, Labels};
use super::error::{ApiError, Code};
use super::reply::{Resource, Server, Volume};
use super::{Action, Client};
use hcloud::models::{
    CreateFirewallRequest, CreatePlacementgroupRequest, CreateServerRequest, CreateServerRequestFirewalls,
    CreateServerRequestPublicNet, Rule, SetRulesRequest, create_placementgroup_request,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;
use std::time::Duration;

/// Hetzner's maximum size of user data.
const USER_DATA_BYTES_MAX: usize = 32 * 1024;

/// A kind of resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// `load_balancer`
    LoadBalancer,
    /// `server`
    Server,
    /// `volume`
    Volume,
    /// `primary_ip`
    PrimaryIp,
    /// `firewall`
    Firewall,
    /// `network`
    Network,
    /// `placement_group`
    PlacementGroup,
    /// `ssh_key`
    SshKey,
}

impl Kind {
    /// All kinds in the order of deletion: a resource comes after those that use it.
    pub(crate) const ALL: [Kind; 8] = [
        Kind::LoadBalancer,
        Kind::Server,
        Kind::Volume,
        Kind::PrimaryIp,
        Kind::Firewall,
        Kind::Network,
        Kind::PlacementGroup,
        Kind::SshKey,
    ];

    /// The name of its list, in replies and in the path.
    pub(crate) fn plural(self) -> &'static str {
        match self {
            Kind::LoadBalancer => "load_balancers",
            Kind::Server => "servers",
            Kind::Volume => "volumes",
            Kind::PrimaryIp => "primary_ips",
            Kind::Firewall => "firewalls",
            Kind::Network => "networks",
            Kind::PlacementGroup => "placement_groups",
            Kind::SshKey => "ssh_keys",
        }
    }

    /// The name of one resource in replies.
    fn singular(self) -> &'static str {
        self.plural().trim_end_matches('s')
    }

    fn path(self) -> String {
        format!("/{}", self.plural())
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::LoadBalancer => "load balancer",
            Kind::Server => "server",
            Kind::Volume => "volume",
            Kind::PrimaryIp => "Primary IP",
            Kind::Firewall => "firewall",
            Kind::Network => "network",
            Kind::PlacementGroup => "placement group",
            Kind::SshKey => "SSH key",
        })
    }
}

/// The user data of a new server. It contains the keys of the cluster's CAs, so `Debug` prints only its size.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct UserData(String);

impl UserData {
    /// Checks the size, which may be at most 32 KiB.
    ///
    /// # Errors
    /// The size in bytes if it is too large.
    pub(crate) fn new(text: String) -> Result<Self, usize> {
        if text.len() <= USER_DATA_BYTES_MAX { Ok(Self(text)) } else { Err(text.len()) }
    }

    /// The text itself, which is secret.
    #[cfg(test)]
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for UserData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UserData({} bytes)", self.0.len())
    }
}

/// A server to create, with an IPv4 address and without SSH keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NewServer {
    /// Its name, which is its node's name.
    pub(crate) name: String,
    /// Its type: `cx23`.
    pub(crate) server_type: String,
    /// Its location: `fsn1`.
    pub(crate) location: String,
    /// Its image's id.
    pub(crate) image: i64,
    /// Its labels.
    pub(crate) labels: Labels,
    /// The firewall's id.
    pub(crate) firewall: i64,
    /// The placement group's id.
    pub(crate) placement_group: Option<i64>,
    /// Its user data.
    pub(crate) user_data: UserData,
}

impl NewServer {
    /// The request body. Its `Debug` would print the user data, so it exists only while it is sent.
    fn request(&self) -> CreateServerRequest {
        let mut net = CreateServerRequestPublicNet::new();
        net.enable_ipv4 = Some(true);
        net.enable_ipv6 = Some(false);
        CreateServerRequest {
            firewalls: Some(vec![CreateServerRequestFirewalls::new(self.firewall)]),
            labels: Some(self.labels.clone().into_iter().collect()),
            location: Some(self.location.clone()),
            placement_group: self.placement_group,
            public_net: Some(Box::new(net)),
            start_after_create: Some(true),
            user_data: Some(self.user_data.0.clone()),
            ..CreateServerRequest::new(self.image.to_string(), self.name.clone(), self.server_type.clone())
        }
    }
}

/// A created resource, and the actions that complete it.
#[derive(Debug)]
pub(crate) struct Creation<T> {
    /// The resource.
    pub(crate) resource: T,
    /// The actions that still run; see [`Client::wait_for_actions`].
    pub(crate) actions: Vec<Action>,
}

impl Client {
    /// Creates a server. The reply has its address; it boots while its actions run.
    ///
    /// # Errors
    /// If the API refuses it, for example for lack of capacity ([`Code::ResourceUnavailable`], [`Code::PlacementError`]).
    pub(crate) async fn create_server(&self, server: &NewServer) -> Result<Creation<Server>, ApiError> {
        self.create(Kind::Server, &server.name, &server.labels, &server.request()).await
    }

    /// Creates a firewall with these rules.
    ///
    /// # Errors
    /// If the API refuses it.
    pub(crate) async fn create_firewall(
        &self,
        name: &str,
        rules: Vec<Rule>,
        labels: &Labels,
    ) -> Result<Creation<Resource>, ApiError> {
        let mut request = CreateFirewallRequest::new(name.to_owned());
        request.rules = Some(rules);
        request.labels = Some(labels.clone().into_iter().collect());
        self.create(Kind::Firewall, name, labels, &request).await
    }

    /// Replaces a firewall's rules. The actions apply them to each server.
    ///
    /// # Errors
    /// If the API refuses it.
    pub(crate) async fn set_firewall_rules(&self, id: i64, rules: Vec<Rule>) -> Result<Vec<Action>, ApiError> {
        let path = format!("/firewalls/{id}/actions/set_rules");
        let reply: Value = self.post(&path, &SetRulesRequest::new(rules)).await?;
        actions_of(&format!("POST {path}"), &reply)
    }

    /// Creates a placement group of type spread.
    ///
    /// # Errors
    /// If the API refuses it.
    pub(crate) async fn create_placement_group(
        &self,
        name: &str,
        labels: &Labels,
    ) -> Result<Creation<Resource>, ApiError> {
        let spread = create_placementgroup_request::Type::Spread;
        let mut request = CreatePlacementgroupRequest::new(name.to_owned(), spread);
        request.labels = Some(labels.clone().into_iter().collect());
        self.create(Kind::PlacementGroup, name, labels, &request).await
    }

    async fn create<T: DeserializeOwned>(
        &self,
        kind: Kind,
        name: &str,
        labels: &Labels,
        body: &impl Serialize,
    ) -> Result<Creation<T>, ApiError> {
        let error = match self.post::<Value>(&kind.path(), body).await {
            Ok(reply) => {
                let shown = format!("POST {}", kind.path());
                return Ok(Creation {
                    actions: actions_of(&shown, &reply)?,
                    resource: part(&shown, &reply, kind.singular())?,
                });
            }
            Err(error) => error,
        };
        if error.code() != Some(&Code::UniquenessError) && !error.maybe_done() {
            return Err(error);
        }
        let Some(found) = self.find(kind, name).await? else { return Err(error) };
        if !is_same(&found.claim(), &Claim::of(labels)) {
            return Err(error);
        }
        let path = format!("{}/{}", kind.path(), found.id);
        let reply: Value = self.get(&path, &[]).await?;
        let resource = part(&format!("GET {path}"), &reply, kind.singular())?;
        let actions = match kind {
            // These have none.
            Kind::PlacementGroup | Kind::SshKey => Vec::new(),
            _ => self.list(&format!("{path}/actions"), "actions", &[("status", "running")]).await?,
        };
        Ok(Creation { resource, actions })
    }

    /// Finds the resource of that name, with any owner.
    ///
    /// # Errors
    /// If the API fails.
    pub(crate) async fn find(&self, kind: Kind, name: &str) -> Result<Option<Resource>, ApiError> {
        let all: Vec<Resource> = self.list(&kind.path(), kind.plural(), &[("name", name)]).await?;
        Ok(all.into_iter().find(|found| found.name == name))
    }

    /// Lists the resources of a kind that match a label selector.
    ///
    /// # Errors
    /// If the API fails.
    pub(crate) async fn resources(&self, kind: Kind, selector: &str) -> Result<Vec<Resource>, ApiError> {
        self.list(&kind.path(), kind.plural(), &[("label_selector", selector)]).await
    }

    /// Reads a resource by its id.
    ///
    /// # Errors
    /// If there is none ([`ApiError::is_not_found`]), or the API fails.
    pub(crate) async fn resource(&self, kind: Kind, id: i64) -> Result<Resource, ApiError> {
        let path = format!("{}/{id}", kind.path());
        let reply: Value = self.get(&path, &[]).await?;
        part(&format!("GET {path}"), &reply, kind.singular())
    }

    /// Lists the servers that match a label selector.
    ///
    /// # Errors
    /// If the API fails.
    pub(crate) async fn servers(&self, selector: &str) -> Result<Vec<Server>, ApiError> {
        self.list("/servers", "servers", &[("label_selector", selector)]).await
    }

    /// Lists the volumes that match a label selector.
    ///
    /// # Errors
    /// If the API fails.
    pub(crate) async fn volumes(&self, selector: &str) -> Result<Vec<Volume>, ApiError> {
        self.list("/volumes", "volumes", &[("label_selector", selector)]).await
    }

    /// Starts an action of a resource.
    ///
    /// # Errors
    /// If the API refuses it.
    pub(crate) async fn act(
        &self,
        kind: Kind,
        id: i64,
        action: &str,
        body: &impl Serialize,
    ) -> Result<Action, ApiError> {
        #[derive(Deserialize)]
        struct Reply {
            action: Action,
        }
        let reply: Reply = self.post(&format!("{}/{id}/actions/{action}", kind.path()), body).await?;
        Ok(reply.action)
    }

    /// Deletes a resource and waits for its action. A missing resource is not an error.
    ///
    /// # Errors
    /// If the API refuses it, or its action fails or exceeds the limit.
    pub(crate) async fn delete_resource(&self, kind: Kind, id: i64, limit: Duration) -> Result<(), ApiError> {
        match self.delete(&format!("{}/{id}", kind.path())).await {
            Ok(action) => self.wait_for_actions(action.into_iter().collect(), limit).await,
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Whether two claims name the same cluster and run.
fn is_same(a: &Claim, b: &Claim) -> bool {
    match (a, b) {
        (Claim::Ours(a), Claim::Ours(b)) => (&a.cluster, &a.run) == (&b.cluster, &b.run),
        _ => false,
    }
}

fn part<T: DeserializeOwned>(request: &str, reply: &Value, key: &str) -> Result<T, ApiError> {
    let unreadable = |why: String| ApiError::Unreadable { request: request.to_owned(), why };
    let value = reply.get(key).ok_or_else(|| unreadable(format!("it has no `{key}`")))?;
    T::deserialize(value).map_err(|error| unreadable(error.to_string()))
}

/// All actions of a reply, from its three possible fields.
fn actions_of(request: &str, reply: &Value) -> Result<Vec<Action>, ApiError> {
    let mut all = Vec::new();
    if reply.get("action").is_some_and(|action| !action.is_null()) {
        all.push(part(request, reply, "action")?);
    }
    for key in ["actions", "next_actions"] {
        if reply.get(key).is_some_and(|actions| !actions.is_null()) {
            all.extend(part::<Vec<Action>>(request, reply, key)?);
        }
    }
    Ok(all)
}
