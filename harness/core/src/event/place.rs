//! Where everything runs that could spoil the measurement.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Where something runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// What.
    pub what: PlaceKind,
    /// Its name.
    pub name: String,
    /// Its node.
    pub node: String,
    /// Whether it is on a victim's node.
    pub on_victim: bool,
}

/// What runs somewhere, in the order in which places are listed. On the wire it is the words for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum PlaceKind {
    /// The operator of CloudNativePG.
    #[serde(rename = "CNPG operator")]
    CnpgOperator,
    /// The cluster's DNS.
    #[serde(rename = "CoreDNS")]
    CoreDns,
    /// The agent that acts on a victim's node, where it belongs.
    #[serde(rename = "node agent")]
    NodeAgent,
    /// A pod of the stack: it is there to be hit.
    #[serde(rename = "pod of the stack")]
    StackPod,
    /// The agent that probes from inside the cluster.
    #[serde(rename = "probe agent")]
    ProbeAgent,
}

impl PlaceKind {
    /// Whether the measurement or the recovery rests on it: where it is hit too, its own end looks like the fault's effect.
    pub fn must_be_spared(self) -> bool {
        match self {
            PlaceKind::CnpgOperator | PlaceKind::CoreDns | PlaceKind::NodeAgent | PlaceKind::ProbeAgent => true,
            PlaceKind::StackPod => false,
        }
    }
}

impl fmt::Display for PlaceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PlaceKind::CnpgOperator => "CNPG operator",
            PlaceKind::CoreDns => "CoreDNS",
            PlaceKind::NodeAgent => "node agent",
            PlaceKind::StackPod => "pod of the stack",
            PlaceKind::ProbeAgent => "probe agent",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_has_the_same_words_on_the_wire_as_for_people_and_is_listed_by_them() {
        let in_order = [
            PlaceKind::CnpgOperator,
            PlaceKind::CoreDns,
            PlaceKind::NodeAgent,
            PlaceKind::StackPod,
            PlaceKind::ProbeAgent,
        ];
        for kind in in_order {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.to_string());
        }
        assert!(in_order.is_sorted() && in_order.map(|kind| kind.to_string()).is_sorted());
    }
}
