//! Where a Service is reached from outside of the cluster.

use firedrill_core::scenario::ServiceRef;

/// A Service that is to be reached from outside of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ExternalNeed {
    /// The Service.
    pub service: ServiceRef,
    /// Whether it is asked by plain HTTP alone, which an Ingress forwards too.
    pub http: bool,
}

/// An address by which a Service is reached from this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalEndpoint {
    /// The Service.
    pub service: ServiceRef,
    /// The host, by name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// What leads from there to the Service.
    pub route: Route,
}

/// What leads from an external address to a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// A NodePort Service, which the run makes and takes away.
    New {
        /// Its port on the cluster's nodes.
        node_port: u16,
    },
    /// Something that the cluster's owner made, and that the run leaves alone.
    Existing {
        /// What it is: `NodePort of service n/web`.
        through: String,
    },
}
