//! An Ironflow run, triggered and completed end to end.

use super::{Declared, ProbeFormat};
use crate::scenario::format::{Kind, NAMESPACE, PORT, Shape, default, of_stack, required};
use crate::scenario::read::Tab;
use crate::scenario::text::Rule;
use crate::scenario::{ServiceRef, parts};
use serde::{Deserialize, Serialize};

pub(in crate::scenario) static DECLARED: Declared = Declared {
    about: "an Ironflow run, triggered and completed end to end",
    writes: true,
    example: r#"{ service = "ironflow", namespace = "ironflow", port = 9123, event = "firedrill.drill", payload-kib = 0 }"#,
    shape: Shape {
        keys: &[
            of_stack("service", "service", Kind::Text(Rule::Kubernetes), "the Ironflow Service"),
            NAMESPACE,
            of_stack("port", "port", PORT, "its port"),
            required("event", Kind::Text(Rule::Word), "the event that triggers the run"),
            default(
                "payload-kib",
                "0",
                Kind::Whole { min: 0, max: 700 },
                "KiB of filler in the event's data, which a server holds in memory while the run is active",
            ),
        ],
    },
};

/// An Ironflow run, triggered and completed end to end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IronflowProbe {
    /// The Ironflow Service.
    pub service: ServiceRef,
    /// The event that triggers it.
    pub event: String,
    /// Filler in the event's data, in KiB.
    pub payload_kib: u32,
}

impl ProbeFormat for IronflowProbe {
    fn read(tab: &Tab<'_>) -> Option<Self> {
        Some(Self {
            service: parts::service(tab)?,
            event: tab.text("event")?.value,
            payload_kib: u32::try_from(tab.whole("payload-kib")?.value).ok()?,
        })
    }

    fn service(&self) -> ServiceRef {
        self.service.clone()
    }

    fn is_http(&self) -> bool {
        true
    }
}
