//! What a new cluster is to be.

use super::{ProviderError, knowing};
use std::path::PathBuf;
use std::time::Duration;

/// A cluster to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterOptions {
    /// Its name, which begins with [`super::NAME_PREFIX`].
    pub name: String,
    /// Nodes beside the control plane.
    pub workers: u32,
    /// The image of every node; the provider's default where it is not given.
    pub node_image: Option<String>,
    /// The driver of volumes with a size, where there is to be one.
    pub volumes: Option<VolumesDriver>,
    /// What providers of rented machines need to know.
    pub cloud: CloudOptions,
}

/// The driver of volumes with a size (`fixtures/volumes`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumesDriver {
    /// Its image.
    pub image: String,
    /// Its manifest, in which `firedrill.local/volumes` stands for the image.
    pub manifest: PathBuf,
}

/// Options of clusters whose machines are rented. `None` and an empty list mean that the user did not give the option.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CloudOptions {
    /// Networks that may reach the API server and the node ports: `198.51.100.0/24`.
    pub allow_from: Vec<String>,
    /// The type of every server.
    pub server_type: Option<String>,
    /// Where the servers are.
    pub location: Option<String>,
    /// Nodes of the control plane: 1 or 3.
    pub control_planes: Option<u32>,
    /// Who pays; a label on every resource.
    pub owner: Option<String>,
    /// How long the cluster may live. Afterwards `sweep --expired` deletes it.
    pub lifetime: Option<Duration>,
    /// The most that it may cost until then, in the account's currency: `2.50`.
    pub max_cost: Option<String>,
    /// Whether a cluster that could not be finished is kept.
    pub keep: bool,
    /// A registry that nodes ask first for every image: `http://192.0.2.1:5000`.
    pub image_mirror: Option<String>,
}

impl CloudOptions {
    /// The options that were given, as the command line has them.
    fn given(&self) -> Vec<&'static str> {
        let all = [
            ("--allow-from", !self.allow_from.is_empty()),
            ("--server-type", self.server_type.is_some()),
            ("--location", self.location.is_some()),
            ("--control-planes", self.control_planes.is_some()),
            ("--owner", self.owner.is_some()),
            ("--lifetime", self.lifetime.is_some()),
            ("--max-cost", self.max_cost.is_some()),
            ("--keep", self.keep),
            ("--image-mirror", self.image_mirror.is_some()),
        ];
        all.into_iter().filter(|(_, given)| *given).map(|(name, _)| name).collect()
    }

    /// For providers that rent no machines.
    ///
    /// # Errors
    /// Names the options that were given.
    pub(super) fn refuse(&self, provider: &str) -> Result<(), ProviderError> {
        match self.given().as_slice() {
            [] => Ok(()),
            given => Err(ProviderError::Option {
                message: format!("provider {provider} does not know {}", given.join(", ")),
                hint: format!("leave it out, or name another provider: --provider {}", knowing()),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_that_a_provider_does_not_know_is_named() {
        assert!(CloudOptions::default().refuse("kind").is_ok());
        let options = CloudOptions { location: Some("fsn1".to_owned()), keep: true, ..CloudOptions::default() };
        let Err(ProviderError::Option { message, hint }) = options.refuse("kind") else { panic!("{options:?}") };
        assert_eq!(message, "provider kind does not know --location, --keep");
        assert_eq!(hint, "leave it out, or name another provider: --provider hetzner");
    }
}
