//! GET over HTTP.

use super::{Declared, ProbeFormat};
use crate::scenario::format::{Kind, NAMESPACE, PORT, Shape, default, of_stack, optional, required};
use crate::scenario::read::Tab;
use crate::scenario::text::Rule;
use crate::scenario::{ServiceRef, parts};
use serde::{Deserialize, Serialize};

pub(in crate::scenario) static DECLARED: Declared = Declared {
    about: "GET over HTTP",
    writes: false,
    example: r#"{ service = "ironflow", namespace = "ironflow", port = 9123, path = "/ready", status = 200, body = "ok" }"#,
    shape: Shape {
        keys: &[
            required("service", Kind::Text(Rule::Kubernetes), "the Service asked"),
            NAMESPACE,
            of_stack("port", "port", PORT, "its port"),
            required("path", Kind::Text(Rule::Path), "path and query"),
            default("status", "200", Kind::Whole { min: 100, max: 599 }, "the status expected"),
            optional("body", Kind::Text(Rule::Output), "what the body must contain"),
        ],
    },
};

/// GET over HTTP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpProbe {
    /// The Service asked.
    pub service: ServiceRef,
    /// Path and query.
    pub path: String,
    /// The status expected.
    pub status: u16,
    /// What the body must contain.
    pub body: Option<String>,
}

impl ProbeFormat for HttpProbe {
    fn read(tab: &Tab<'_>) -> Option<Self> {
        Some(Self {
            service: parts::service(tab)?,
            path: tab.text("path")?.value,
            status: u16::try_from(tab.whole("status")?.value).ok()?,
            body: tab.text("body").map(|body| body.value),
        })
    }

    fn service(&self) -> ServiceRef {
        self.service.clone()
    }

    fn is_http(&self) -> bool {
        true
    }

    fn knows_connections(&self) -> bool {
        true
    }
}
