//! What the user wants of a cluster, checked without a request.

use super::super::{CloudOptions, ClusterOptions, NAME_PREFIX, ProviderError};
use super::firewall::AllowFrom;
use super::machine_types::Need;
use super::price::Amount;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// How long a cluster lives where the user does not say.
const LIFETIME: Duration = Duration::from_secs(8 * 3600);
const LIFETIME_MIN: Duration = Duration::from_secs(600);
/// The cluster's certificates are valid for 90 days.
const LIFETIME_MAX: Duration = Duration::from_secs(30 * 24 * 3600);
/// With the longest suffix, a server's name has at most 63 characters.
const NAME_BYTES_MAX: usize = 40;
const WORKERS_MAX: u32 = 9;
/// Hetzner's image of the servers.
const IMAGE: &str = "debian-13";
/// The architecture of the stack's images.
pub(crate) const ARCHITECTURE: &str = "x86";
/// The smallest server that carries a part of the stack and a drill's load.
const CORES: u32 = 4;
const MEMORY_GB: f64 = 8.0;

/// The settings of a cluster, which are kept beside its secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Settings {
    /// The cluster's name.
    pub(crate) name: String,
    /// Nodes beside the control plane.
    pub(crate) workers: u32,
    /// Nodes of the control plane.
    pub(crate) control_planes: u32,
    /// Networks that may reach the API server and the node ports.
    pub(crate) allow_from: Vec<String>,
    /// The server type, if the user named one.
    pub(crate) server_type: Option<String>,
    /// The location, if the user named one.
    pub(crate) location: Option<String>,
    /// Hetzner's image.
    pub(crate) image: String,
    /// Who pays.
    pub(crate) owner: String,
    /// How long the cluster may live.
    pub(crate) lifetime: Duration,
    /// The most that it may cost until then.
    pub(crate) max_cost: Option<String>,
    /// A registry that nodes ask first.
    pub(crate) image_mirror: Option<String>,
}

impl Settings {
    /// Checks the user's options.
    ///
    /// # Errors
    /// Names the option that is missing or not valid.
    pub(crate) fn of(options: &ClusterOptions) -> Result<Self, ProviderError> {
        let ClusterOptions { name, workers, node_image, cloud, .. } = options;
        check_name(name)?;
        let CloudOptions { allow_from, server_type, location, owner, max_cost, image_mirror, .. } = cloud.clone();
        if allow_from.is_empty() {
            let message =
                "--allow-from is missing: it says who may reach the cluster's API server, and is never guessed";
            return Err(wrong(message, "give the network from which you connect: --allow-from 198.51.100.7/32"));
        }
        networks(&allow_from)?;
        let control_planes = cloud.control_planes.unwrap_or(1);
        if control_planes != 1 && control_planes != 3 {
            let message = format!("--control-planes {control_planes}: etcd needs 1 or 3");
            return Err(wrong(message, "give --control-planes 1 or --control-planes 3"));
        }
        if !(1..=WORKERS_MAX).contains(workers) {
            let message =
                format!("--workers {workers}: a placement group has room for {WORKERS_MAX} and a replacement");
            return Err(wrong(message, format!("give 1 to {WORKERS_MAX}")));
        }
        let lifetime = cloud.lifetime.unwrap_or(LIFETIME);
        if !(LIFETIME_MIN..=LIFETIME_MAX).contains(&lifetime) {
            return Err(wrong("--lifetime is not between 10 minutes and 30 days", "give --lifetime 4h"));
        }
        if let Some(max) = &max_cost {
            Amount::parse(max).map_err(|error| wrong(format!("--max-cost: {error}"), "give --max-cost 2.50"))?;
        }
        Ok(Self {
            name: name.clone(),
            workers: *workers,
            control_planes,
            allow_from,
            server_type,
            location,
            image: node_image.clone().unwrap_or_else(|| IMAGE.to_owned()),
            owner: owner.unwrap_or_else(user),
            lifetime,
            max_cost,
            image_mirror,
        })
    }

    /// What its servers must be.
    pub(crate) fn need(&self) -> Need {
        // A type that the user named is taken as it is.
        let (cores, memory_gb) = if self.server_type.is_some() { (0, 0.0) } else { (CORES, MEMORY_GB) };
        let (server_type, location) = (self.server_type.clone(), self.location.clone());
        Need { server_type, location, architecture: ARCHITECTURE.to_owned(), cores, memory_gb }
    }

    /// The most that it may cost.
    ///
    /// # Errors
    /// If what was kept of it is not an amount.
    pub(crate) fn max_cost(&self) -> Result<Option<Amount>, ProviderError> {
        self.max_cost.as_deref().map(Amount::parse).transpose().map_err(super::account::other)
    }

    /// Names of the nodes of the control plane, the first one first.
    pub(crate) fn control_plane_names(&self) -> Vec<String> {
        (1..=self.control_planes).map(|number| format!("{}-control-plane-{number}", self.name)).collect()
    }

    /// Names of the other nodes.
    pub(crate) fn worker_names(&self) -> Vec<String> {
        (1..=self.workers).map(|number| format!("{}-worker-{number}", self.name)).collect()
    }
}

/// Parses the networks of `--allow-from`.
///
/// # Errors
/// Names the first one that is not valid.
pub(crate) fn networks(allow_from: &[String]) -> Result<Vec<AllowFrom>, ProviderError> {
    let parsed = allow_from.iter().map(|text| AllowFrom::parse(text));
    let parsed: Result<Vec<_>, _> = parsed.collect();
    parsed.map_err(|error| wrong(error, "give the network from which you connect: --allow-from 198.51.100.7/32"))
}

fn check_name(name: &str) -> Result<(), ProviderError> {
    let is_word = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    let has_prefix = name.starts_with(NAME_PREFIX) && name.len() > NAME_PREFIX.len();
    if has_prefix && is_word && !name.ends_with('-') && name.len() <= NAME_BYTES_MAX {
        return Ok(());
    }
    let message = format!("`{name}` cannot be the name of a cluster on Hetzner Cloud");
    let hint = format!(
        "it begins with {NAME_PREFIX} and has at most {NAME_BYTES_MAX} characters: lowercase letters, digits and dashes"
    );
    Err(wrong(message, hint))
}

/// The user of this program, as far as the environment says.
fn user() -> String {
    ["USER", "LOGNAME"].iter().find_map(|name| crate::env::text(name)).unwrap_or_else(|| "unknown".to_owned())
}

/// An option that is not valid.
pub(crate) fn wrong(message: impl fmt::Display, hint: impl fmt::Display) -> ProviderError {
    ProviderError::Option { message: message.to_string(), hint: hint.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> ClusterOptions {
        let cloud = CloudOptions { allow_from: vec!["198.51.100.7".to_owned()], ..CloudOptions::default() };
        ClusterOptions { name: "firedrill-a3f".to_owned(), workers: 3, node_image: None, volumes: None, cloud }
    }

    fn refusal(change: impl FnOnce(&mut ClusterOptions)) -> String {
        let mut options = options();
        change(&mut options);
        match Settings::of(&options) {
            Err(ProviderError::Option { message, hint }) => format!("{message}; {hint}"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_not_given_has_a_default_but_for_who_may_come_in() {
        let settings = Settings::of(&options()).unwrap();
        assert_eq!((settings.control_planes, settings.lifetime, settings.image.as_str()), (1, LIFETIME, "debian-13"));
        assert_eq!(settings.control_plane_names(), ["firedrill-a3f-control-plane-1"]);
        assert_eq!(settings.worker_names().len(), 3);
        assert!(refusal(|options| options.cloud.allow_from.clear()).contains("is never guessed"));
        assert!(refusal(|options| options.cloud.allow_from.push("0.0.0.0/0".to_owned())).contains("internet"));
        assert!(
            refusal(|options| options.cloud.allow_from.push("home".to_owned())).contains("`home` is not a network")
        );
    }

    #[test]
    fn options_that_cannot_work_are_refused() {
        assert!(refusal(|options| options.cloud.control_planes = Some(2)).contains("1 or 3"));
        assert!(refusal(|options| options.workers = 10).contains("room for 9"));
        assert!(refusal(|options| options.cloud.lifetime = Some(Duration::from_secs(1))).contains("10 minutes"));
        assert!(refusal(|options| options.cloud.max_cost = Some("2,50".to_owned())).contains("`2,50`"));
        for name in
            ["production", "firedrill-", "firedrill-A", "firedrill-a.b", "firedrill-a-", &"firedrill-".repeat(5)]
        {
            assert!(refusal(|options| options.name = name.to_owned()).contains("cannot be the name"), "{name}");
        }
    }

    #[test]
    fn a_type_that_the_user_names_may_be_small() {
        let mut options = options();
        assert_eq!(Settings::of(&options).unwrap().need().cores, CORES);
        options.cloud.server_type = Some("cx23".to_owned());
        assert_eq!(Settings::of(&options).unwrap().need().cores, 0);
    }
}
