//! Replies of the API. The types contain only the fields that are used, so other fields may change, and enums accept unknown values.
//! No type contains the root password of a new server, so it is never kept.

use super::super::labels::{Claim, Labels};
use serde::{Deserialize, Deserializer};

/// Reads null as the default value.
fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// The protection of a resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct Protection {
    /// The resource cannot be deleted.
    #[serde(default)]
    pub(crate) delete: bool,
}

/// A resource of any kind, with the fields that all kinds share.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Resource {
    /// Its id, unique within its kind.
    pub(crate) id: i64,
    /// Its name.
    pub(crate) name: String,
    /// Its labels.
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) labels: Labels,
    /// Its protection.
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) protection: Protection,
    /// The server to which a volume is attached.
    #[serde(default)]
    pub(crate) server: Option<i64>,
    /// The server to which a Primary IP is assigned.
    #[serde(default)]
    pub(crate) assignee_id: Option<i64>,
}

impl Resource {
    /// Reads its labels.
    pub(crate) fn claim(&self) -> Claim {
        Claim::of(&self.labels)
    }
}

/// A nested object of which only the name is used.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Named {
    /// The name.
    pub(crate) name: String,
}

/// A server.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Server {
    /// Its id.
    pub(crate) id: i64,
    /// Its name, which is its node's name.
    pub(crate) name: String,
    /// Its status.
    pub(crate) status: ServerStatus,
    /// Its labels.
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) labels: Labels,
    /// Whether an action of the server runs.
    #[serde(default)]
    pub(crate) locked: bool,
    /// Its creation time (RFC 3339).
    pub(crate) created: String,
    /// Its type.
    pub(crate) server_type: Named,
    /// Its location.
    pub(crate) location: Named,
    /// Its addresses.
    pub(crate) public_net: PublicNet,
    /// The ids of its volumes.
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) volumes: Vec<i64>,
    /// Its protection.
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) protection: Protection,
}

/// The status of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ServerStatus {
    /// It is on.
    Running,
    /// It is being created.
    Initializing,
    /// It is being powered on.
    Starting,
    /// It is being shut down.
    Stopping,
    /// It is off.
    Off,
    /// It is being deleted.
    Deleting,
    /// It moves to another host.
    Migrating,
    /// Its disk is being replaced.
    Rebuilding,
    /// A status that this version does not know.
    #[serde(other)]
    Unknown,
}

/// A server's addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct PublicNet {
    /// Its IPv4 address.
    #[serde(default)]
    pub(crate) ipv4: Option<PublicAddress>,
    /// Its IPv6 network.
    #[serde(default)]
    pub(crate) ipv6: Option<PublicAddress>,
}

/// An address of a server.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct PublicAddress {
    /// The id of its Primary IP.
    #[serde(default)]
    pub(crate) id: Option<i64>,
    /// The address, or the network.
    pub(crate) ip: String,
}

impl Server {
    /// Its IPv4 address, if any.
    pub(crate) fn ipv4(&self) -> Option<&str> {
        self.public_net.ipv4.as_ref().map(|address| address.ip.as_str())
    }

    /// The ids of its Primary IPs.
    pub(crate) fn primary_ips(&self) -> Vec<i64> {
        let PublicNet { ipv4, ipv6 } = &self.public_net;
        [ipv4, ipv6].into_iter().flatten().filter_map(|address| address.id).collect()
    }
}

/// A volume.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Volume {
    /// Its id.
    pub(crate) id: i64,
    /// Its name: `pvc-…` if Kubernetes created it.
    pub(crate) name: String,
    /// Its labels.
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) labels: Labels,
    /// The server to which it is attached.
    #[serde(default)]
    pub(crate) server: Option<i64>,
    /// Its size in GB.
    pub(crate) size: u64,
    /// Its creation time (RFC 3339).
    pub(crate) created: String,
    /// The path of its device in the server.
    #[serde(default)]
    pub(crate) linux_device: Option<String>,
}

/// A Primary IP.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct PrimaryIp {
    /// Its id.
    pub(crate) id: i64,
    /// Its name.
    pub(crate) name: String,
    /// `ipv4` or `ipv6`.
    #[serde(rename = "type")]
    pub(crate) family: String,
    /// The address.
    pub(crate) ip: String,
    /// Its labels.
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) labels: Labels,
    /// The server to which it is assigned.
    #[serde(default)]
    pub(crate) assignee_id: Option<i64>,
    /// Whether it is deleted with its server.
    #[serde(default)]
    pub(crate) auto_delete: bool,
    /// Its creation time (RFC 3339).
    pub(crate) created: String,
    /// Its location.
    pub(crate) location: Named,
}

/// A server image.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Image {
    /// Its id.
    pub(crate) id: i64,
    /// Its name; snapshots have none.
    #[serde(default)]
    pub(crate) name: Option<String>,
    /// `x86` or `arm`.
    pub(crate) architecture: String,
    /// Its status: `available`.
    pub(crate) status: String,
    /// The time of its deprecation (RFC 3339).
    #[serde(default)]
    pub(crate) deprecated: Option<String>,
}

/// A server type.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ServerType {
    /// Its name: `cx23`.
    pub(crate) name: String,
    /// `x86` or `arm`.
    pub(crate) architecture: String,
    /// CPU cores.
    pub(crate) cores: u32,
    /// Memory in GB.
    pub(crate) memory: f64,
    /// Disk in GB.
    pub(crate) disk: f64,
    /// Its deprecation in all locations.
    #[serde(default)]
    pub(crate) deprecation: Option<serde_json::Value>,
    /// Its locations.
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) locations: Vec<TypeLocation>,
    /// Its prices per location.
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) prices: Vec<super::super::price::LocationPrice>,
}

/// A location of a server type.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct TypeLocation {
    /// Its name.
    pub(crate) name: String,
    /// Whether it is available now.
    #[serde(default)]
    pub(crate) available: bool,
    /// Its deprecation at this location.
    #[serde(default)]
    pub(crate) deprecation: Option<serde_json::Value>,
}
