//! Where a Service is reached from outside of the cluster.

use firedrill_core::scenario::ServiceRef;

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
}
