//! A JetStream publish, acknowledged.

use super::{Declared, ProbeFormat};
use crate::scenario::format::{Kind, NAMESPACE, PORT, Shape, default, of_stack, required};
use crate::scenario::read::Tab;
use crate::scenario::text::Rule;
use crate::scenario::{ServiceRef, parts};
use serde::{Deserialize, Serialize};

pub(in crate::scenario) static DECLARED: Declared = Declared {
    about: "a JetStream publish, acknowledged",
    writes: true,
    example: r#"{ service = "ironflow-nats", namespace = "ironflow", port = 4222, stream = "EVENTS", subject = "ironflow.firedrill.drill.events" }"#,
    shape: Shape {
        keys: &[
            of_stack("service", "nats-service", Kind::Text(Rule::Kubernetes), "the Service for NATS clients"),
            NAMESPACE,
            default("port", "4222", PORT, "its port"),
            required("stream", Kind::Text(Rule::Word), "the stream that must acknowledge"),
            required(
                "subject",
                Kind::Text(Rule::Subject),
                "prefix of the subject; the run's id and the probe's name are appended",
            ),
        ],
    },
};

/// A JetStream publish, acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JetstreamProbe {
    /// The NATS client Service.
    pub service: ServiceRef,
    /// The stream that must acknowledge.
    pub stream: String,
    /// The subject's prefix; the run's id and the probe's name are appended.
    pub subject: String,
}

impl ProbeFormat for JetstreamProbe {
    fn read(tab: &Tab<'_>) -> Option<Self> {
        Some(Self {
            service: parts::service(tab)?,
            stream: tab.text("stream")?.value,
            subject: tab.text("subject")?.value,
        })
    }

    fn service(&self) -> ServiceRef {
        self.service.clone()
    }
}
