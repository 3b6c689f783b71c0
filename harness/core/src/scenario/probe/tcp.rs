//! A TCP connection, opened and closed.

use super::{Declared, ProbeFormat};
use crate::scenario::format::{Kind, NAMESPACE, PORT, Shape, required};
use crate::scenario::read::Tab;
use crate::scenario::text::Rule;
use crate::scenario::{ServiceRef, parts};
use serde::{Deserialize, Serialize};

pub(in crate::scenario) static DECLARED: Declared = Declared {
    about: "a TCP connection, opened and closed",
    writes: false,
    example: r#"{ service = "ironflow-nats", namespace = "ironflow", port = 4222 }"#,
    shape: Shape {
        keys: &[
            required("service", Kind::Text(Rule::Kubernetes), "the Service asked"),
            NAMESPACE,
            required("port", PORT, "its port"),
        ],
    },
};

/// A TCP connection, opened and closed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TcpProbe {
    /// The Service asked.
    pub service: ServiceRef,
}

impl ProbeFormat for TcpProbe {
    fn read(tab: &Tab<'_>) -> Option<Self> {
        Some(Self { service: parts::service(tab)? })
    }

    fn service(&self) -> ServiceRef {
        self.service.clone()
    }

    fn keeps_connections(&self) -> bool {
        false
    }

    fn knows_connections(&self) -> bool {
        true
    }
}
