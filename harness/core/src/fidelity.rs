//! How close a fault comes to a failure in production, by provider: what is real, what is emulated, and what no drill there can show.
//!
//! Each fault declares its own [`ByProvider`]: a fault or a provider without one does not compile. `docs/fidelity.md` is made from
//! this module.

use crate::scenario::{self, Fault};
use serde::{Deserialize, Serialize};
use std::fmt::{self, Write};

/// Where a cluster's nodes come from. The API double is told from Hetzner itself: its servers are containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProviderKind {
    /// kind: containers of one machine.
    Kind,
    /// A cluster that firedrill did not make.
    Existing,
    /// Hetzner Cloud.
    Hetzner,
    /// The double of Hetzner's API, with its machines.
    HetznerDouble,
}

impl ProviderKind {
    /// All of them, as pages have them.
    pub const ALL: [ProviderKind; 4] =
        [ProviderKind::Kind, ProviderKind::Existing, ProviderKind::Hetzner, ProviderKind::HetznerDouble];

    /// That of a provider's name. `is_double` says whether Hetzner's API is a double.
    pub fn of(provider: &str, is_double: bool) -> Option<Self> {
        match (provider, is_double) {
            ("kind", _) => Some(ProviderKind::Kind),
            ("existing", _) => Some(ProviderKind::Existing),
            ("hetzner", false) => Some(ProviderKind::Hetzner),
            ("hetzner", true) => Some(ProviderKind::HetznerDouble),
            _ => None,
        }
    }
}

impl fmt::Display for ProviderKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ProviderKind::Kind => "kind",
            ProviderKind::Existing => "existing",
            ProviderKind::Hetzner => "Hetzner",
            ProviderKind::HetznerDouble => "Hetzner's double",
        })
    }
}

/// How close something comes to production.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fidelity {
    /// It happens by the same mechanism as in production.
    Real,
    /// Something else has the same effect on the service.
    Emulated,
    /// A drill cannot have it there.
    Missing,
}

impl fmt::Display for Fidelity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fidelity::Real => "real",
            Fidelity::Emulated => "emulated",
            Fidelity::Missing => "missing",
        })
    }
}

/// How close something comes to production in one place, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Grade {
    /// How close.
    pub fidelity: Fidelity,
    /// A sentence without its full stop.
    pub why: &'static str,
}

/// A mechanism that is the one of production.
pub(crate) const fn real(why: &'static str) -> Grade {
    Grade { fidelity: Fidelity::Real, why }
}

/// Something with the same effect.
pub(crate) const fn emulated(why: &'static str) -> Grade {
    Grade { fidelity: Fidelity::Emulated, why }
}

/// Something that no drill there can have.
pub(crate) const fn missing(why: &'static str) -> Grade {
    Grade { fidelity: Fidelity::Missing, why }
}

/// A grade for each place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ByProvider {
    /// [`ProviderKind::Kind`]
    pub kind: Grade,
    /// [`ProviderKind::Existing`]
    pub existing: Grade,
    /// [`ProviderKind::Hetzner`]
    pub hetzner: Grade,
    /// [`ProviderKind::HetznerDouble`]
    pub hetzner_double: Grade,
}

impl ByProvider {
    /// The same grade everywhere.
    pub(crate) const fn everywhere(grade: Grade) -> Self {
        Self { kind: grade, existing: grade, hetzner: grade, hetzner_double: grade }
    }

    /// The grade in one place.
    pub fn at(&self, place: ProviderKind) -> Grade {
        match place {
            ProviderKind::Kind => self.kind,
            ProviderKind::Existing => self.existing,
            ProviderKind::Hetzner => self.hetzner,
            ProviderKind::HetznerDouble => self.hetzner_double,
        }
    }
}

/// What a cluster itself shows of production, whichever fault there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Aspect {
    /// Whether a loss of power loses writes that were not synced.
    PageCache,
    /// How long volumes take to be attached and detached.
    AttachTimes,
    /// How long a machine takes to boot and join.
    BootTimes,
    /// Latency, loss and limits of the network between nodes.
    Network,
}

impl Aspect {
    /// All of them, as pages have them.
    pub const ALL: [Aspect; 4] = [Aspect::PageCache, Aspect::AttachTimes, Aspect::BootTimes, Aspect::Network];

    /// What it is, for people.
    pub fn name(self) -> &'static str {
        match self {
            Aspect::PageCache => "page cache",
            Aspect::AttachTimes => "attach times",
            Aspect::BootTimes => "boot times",
            Aspect::Network => "network",
        }
    }

    /// How close it comes to production.
    pub fn fidelity(self) -> ByProvider {
        match self {
            Aspect::PageCache => ByProvider {
                kind: missing(
                    "the machine keeps the page cache of a node that is off, so a write that was acknowledged and not synced is \
                     never lost",
                ),
                existing: missing("firedrill has no power over the nodes, so no drill cuts their power"),
                hetzner: real("a server without power loses what was not synced"),
                hetzner_double: emulated(
                    "a volume with ext4 or XFS loses what was not synced; the root disk, and other file systems, lose nothing",
                ),
            },
            Aspect::AttachTimes => ByProvider {
                kind: missing("an attach is a mount on the same machine; `slow-attach` makes it longer"),
                existing: real("those of the cluster's own volume driver"),
                hetzner: real("those of Hetzner's API and volume driver"),
                hetzner_double: emulated(
                    "the double waits for as long as it was told (`--delay`); Hetzner publishes no figures",
                ),
            },
            Aspect::BootTimes => ByProvider {
                kind: missing("a node is a container, which starts within seconds"),
                existing: missing("firedrill makes no nodes there"),
                hetzner: real("a server is created, boots by cloud-init, and joins"),
                hetzner_double: emulated(
                    "systemd and cloud-init boot as on a server, without firmware and kernel: seconds instead of a minute or more",
                ),
            },
            Aspect::Network => ByProvider {
                kind: missing("a bridge of one machine: almost no latency, and no loss"),
                existing: real("the network of the cluster itself"),
                hetzner: real("Hetzner's own, with its latency and limits"),
                hetzner_double: emulated(
                    "bridges and firewalls of one machine: addresses, MTU and rules are as at Hetzner, latency and loss are not",
                ),
            },
        }
    }
}

/// A grade for each fault by its name in scenario files, in the order of their registry.
pub fn of_faults() -> impl Iterator<Item = (&'static str, &'static ByProvider)> {
    scenario::fidelity_of_faults()
}

impl Fault {
    /// How close it comes to a failure in production.
    pub fn fidelity(&self) -> &'static ByProvider {
        self.declared_fidelity()
    }
}

/// `docs/fidelity.md`.
pub fn page() -> String {
    let mut page = "# What a drill shows on each provider\n\n\
        <!-- Made from harness/core/src/fidelity.rs: UPDATE_DOCS=1 cargo test -p firedrill-core --test docs -->\n\n\
        - **real**: it happens by the same mechanism as in production.\n\
        - **emulated**: something else has the same effect on the service.\n\
        - **missing**: no drill there can have it. A plan that needs a missing fault is refused before anything is broken.\n\n\
        *existing* is a cluster that firedrill did not make. *Hetzner's double* is [fixtures/hetzner](../fixtures/hetzner/README.md) with its\n\
        machines: servers are containers that boot Debian's cloud-init, volumes are disks. Drills have run\n\
        on the double ([results](results.md)). Nothing in the column *Hetzner* was tried on the real service.\n\n\
        ## Faults\n\n"
        .to_owned();
    overview(&mut page, "fault", of_faults().map(|(name, grades)| (format!("`{name}`"), *grades)));
    page.push_str("\n## Clusters\n\n");
    overview(&mut page, "what", Aspect::ALL.into_iter().map(|aspect| (aspect.name().to_owned(), aspect.fidelity())));
    page.push_str("\n## Each fault\n\n");
    reasons(&mut page, "fault", of_faults().map(|(name, grades)| (format!("`{name}`"), *grades)));
    page.push_str("\n## Each property of a cluster\n\n");
    reasons(&mut page, "what", Aspect::ALL.into_iter().map(|aspect| (aspect.name().to_owned(), aspect.fidelity())));
    page.push_str("\n[What kind cannot show](kind.md) has more about kind.\n");
    page
}

/// A table of grades without their reasons.
fn overview(page: &mut String, head: &str, rows: impl Iterator<Item = (String, ByProvider)>) {
    let names: Vec<String> = ProviderKind::ALL.iter().map(ToString::to_string).collect();
    let _ = writeln!(page, "| {head} | {} |\n|---|{}", names.join(" | "), "---|".repeat(names.len()));
    for (name, grades) in rows {
        let cells: Vec<String> = ProviderKind::ALL.iter().map(|place| grades.at(*place).fidelity.to_string()).collect();
        let _ = writeln!(page, "| {name} | {} |", cells.join(" | "));
    }
}

/// A table with a row for each grade. Places with the same one share a row.
fn reasons(page: &mut String, head: &str, rows: impl Iterator<Item = (String, ByProvider)>) {
    let _ = writeln!(page, "| {head} | where | | what it is |\n|---|---|---|---|");
    for (name, grades) in rows {
        let mut groups: Vec<(Grade, Vec<String>)> = Vec::new();
        for place in ProviderKind::ALL {
            let grade = grades.at(place);
            match groups.iter_mut().find(|(of, _)| *of == grade) {
                Some((_, places)) => places.push(place.to_string()),
                None => groups.push((grade, vec![place.to_string()])),
            }
        }
        for (Grade { fidelity, why }, places) in groups {
            let places =
                if places.len() == ProviderKind::ALL.len() { "everywhere".to_owned() } else { places.join(", ") };
            let _ = writeln!(page, "| {name} | {places} | {fidelity} | {why} |");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_fault_has_a_sentence_for_every_place() {
        let names: BTreeSet<_> = of_faults().map(|(name, _)| name).collect();
        assert!(
            names.contains("node-off") && names.contains("noop") && names.len() == of_faults().count(),
            "{names:?}"
        );
        let faults = of_faults().map(|(name, grades)| (name, *grades));
        let aspects = Aspect::ALL.map(|aspect| (aspect.name(), aspect.fidelity()));
        for (name, grades) in faults.chain(aspects) {
            for place in ProviderKind::ALL {
                let why = grades.at(place).why;
                assert!(
                    why.len() > 20 && !why.ends_with('.') && !why.contains(['|', '\n']),
                    "{name} at {place}: {why}"
                );
            }
        }
    }

    #[test]
    fn a_providers_name_is_a_place() {
        let names = ["kind", "existing", "hetzner", "hetzner"];
        let places: Vec<_> = names
            .iter()
            .zip([false, false, false, true])
            .map(|(name, is_double)| ProviderKind::of(name, is_double))
            .collect();
        assert_eq!(places, ProviderKind::ALL.map(Some));
        assert_eq!(ProviderKind::of("docker", false), None);
    }

    #[test]
    fn a_fault_without_effect_is_graded_as_any_other() {
        assert_eq!(Fault::Noop.fidelity().at(ProviderKind::Kind).fidelity, Fidelity::Real);
    }
}
