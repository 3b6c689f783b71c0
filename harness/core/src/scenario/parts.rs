//! Takes the parts of a scenario out of its tables, once their form was checked. What is not well formed is `None`: its
//! mistake is already noted.

use super::read::{Chosen, Placed, Tab};
use super::{
    Condition, Detector, Effect, ExpectedAlert, Failing, Layout, Needs, PodSelector, Probe, ProbeKind, Query, Recovery,
    ServiceRef, Shown, SteadyState, Symptom, Vantage,
};
use super::{probe, text};
use crate::sample::Connection;
use std::time::Duration;

pub(super) fn needs(tab: &Tab<'_>) -> Option<Needs> {
    let count = |name| if tab.has(name) { Some(Some(u32::try_from(tab.whole(name)?.value).ok()?)) } else { Some(None) };
    Some(Needs {
        template: tab.text("template")?.value,
        layout: layout(tab)?.value,
        nats_servers: count("nats-servers")?,
        postgres_instances: count("postgres-instances")?,
    })
}

/// The layout of the stack that a table names.
pub(super) fn layout(tab: &Tab<'_>) -> Option<Placed<Layout>> {
    let named = tab.text("layout")?;
    let layout = tab.stack()?.layout(&Layout::named(&named.value))?;
    Some(Placed { value: layout.name.clone(), span: named.span })
}

pub(super) fn steady_state(tab: &Tab<'_>) -> Option<SteadyState> {
    Some(SteadyState {
        hold: tab.duration("hold")?.value,
        within: tab.duration("within")?.value,
        probes: tab.texts("probes").into_iter().map(|probe| probe.value).collect(),
        load_min_per_s: text::rate(&tab.text("load-min")?.value).ok()?,
    })
}

pub(super) fn service(tab: &Tab<'_>) -> Option<ServiceRef> {
    let (namespace, name) = tab.named_in_layout("service")?;
    Some(ServiceRef { namespace, name, port: u16::try_from(tab.whole("port")?.value).ok()? })
}

pub(super) fn probe(tab: &Tab<'_>) -> Option<Probe> {
    let (name, kind_tab) = probe::NAMES.iter().find_map(|name| Some((*name, tab.table(name)?)))?;
    let kind = ProbeKind::read(name, &kind_tab)?;
    let connections = match tab.has("connections") {
        true => tab.texts("connections").iter().filter_map(|word| connection(&word.value)).collect(),
        false if kind.keeps_connections() => vec![Connection::New, Connection::Reused],
        false => vec![Connection::New],
    };
    let vantages = tab.texts("from").iter().filter_map(|word| vantage(&word.value)).collect();
    Some(Probe {
        kind,
        every: tab.duration("every")?.value,
        timeout: tab.duration("timeout")?.value,
        connections,
        vantages,
        agent_namespace: tab.text("agent-namespace").map(|namespace| namespace.value),
        blocked_while: tab.text("blocked-while").map(|probe| probe.value),
    })
}

fn connection(word: &str) -> Option<Connection> {
    match word {
        "new" => Some(Connection::New),
        "reused" => Some(Connection::Reused),
        _ => None,
    }
}

fn vantage(word: &str) -> Option<Vantage> {
    match word {
        "inside" => Some(Vantage::Inside),
        "outside" => Some(Vantage::Outside),
        _ => None,
    }
}

pub(super) fn pods(tab: &Tab<'_>) -> Option<PodSelector> {
    let (namespace, labels) = tab.named_in_layout("pods")?;
    Some(PodSelector { namespace, labels })
}

pub(super) fn count(tab: &Tab<'_>) -> Option<u32> {
    u32::try_from(tab.whole("count")?.value).ok()
}

/// Where the fault says how many targets it wants.
pub(super) fn count_place(chosen: &Chosen<'_>) -> Option<Placed<u64>> {
    match chosen {
        Chosen::Word(_) => None,
        Chosen::Table(_, tab) if tab.knows("count") => tab.whole("count"),
        Chosen::Table(..) => None,
    }
}

pub(super) fn effect(tab: &Tab<'_>) -> Option<Effect> {
    let shown = match tab.choice("seen") {
        Some(chosen) => Shown::Seen(symptom(&chosen.value)?),
        None => {
            let failing = match tab.text("failing").as_ref().map(|failing| failing.value.as_str()) {
                Some("any") => Failing::Any,
                _ => Failing::All,
            };
            Shown::Down { probe: tab.text("down")?.value, control: tab.text("control")?.value, failing }
        }
    };
    Some(Effect { shown, within: tab.duration("within")?.value })
}

fn symptom(chosen: &Chosen<'_>) -> Option<Symptom> {
    match chosen {
        Chosen::Table("pods-failing", tab) => {
            Some(Symptom::PodsFailing { pods: pods(tab)?, reason: tab.text("reason")?.value })
        }
        Chosen::Table("event", tab) => Some(Symptom::Event {
            namespace: tab.text("namespace")?.value,
            reason: tab.text("reason")?.value,
            contains: tab.text("contains").map(|text| text.value),
        }),
        Chosen::Table("rows", tab) => query(tab).map(Symptom::Rows),
        Chosen::Table("alert", tab) => Some(Symptom::Alert { name: tab.text("name")?.value }),
        Chosen::Word(_) | Chosen::Table(..) => None,
    }
}

fn query(tab: &Tab<'_>) -> Option<Query> {
    Some(Query {
        cluster: cluster(tab)?,
        database: tab.text("database")?.value,
        select: tab.text("select")?.value,
        what: tab.text("what")?.value,
    })
}

pub(super) fn alert(tab: &Tab<'_>) -> Option<ExpectedAlert> {
    Some(ExpectedAlert {
        fires: tab.text("fires")?.value,
        within: tab.duration("within")?.value,
        resolves: tab.duration("resolves")?.value,
    })
}

fn cluster(tab: &Tab<'_>) -> Option<String> {
    let (namespace, name) = tab.named_in_layout("cluster")?;
    Some(format!("{namespace}/{name}"))
}

pub(super) fn detector(chosen: &Chosen<'_>) -> Option<Detector> {
    match chosen {
        Chosen::Word("pod-not-ready") => Some(Detector::PodNotReady),
        Chosen::Word("node-not-ready") => Some(Detector::NodeNotReady),
        Chosen::Word("nothing") => Some(Detector::Nothing),
        Chosen::Table("cnpg-phase", tab) => Some(Detector::CnpgPhase { cluster: cluster(tab)? }),
        Chosen::Table("nats-quorum", tab) => Some(Detector::NatsQuorum { pods: pods(tab)? }),
        Chosen::Word(_) | Chosen::Table(..) => symptom(chosen).map(Detector::Symptom),
    }
}

pub(super) fn condition(chosen: &Chosen<'_>) -> Option<Condition> {
    match chosen {
        Chosen::Word("nodes-ready") => Some(Condition::NodesReady),
        Chosen::Table("cnpg-healthy", tab) => Some(Condition::CnpgHealthy { cluster: cluster(tab)? }),
        Chosen::Table("pods-ready", tab) => Some(Condition::PodsReady { pods: pods(tab)? }),
        Chosen::Table("no-rows", tab) => query(tab).map(Condition::NoRows),
        Chosen::Table("alert-over", tab) => Some(Condition::AlertOver { name: tab.text("name")?.value }),
        Chosen::Table("policies-as-before", tab) => {
            Some(Condition::PoliciesAsBefore { namespace: tab.text("namespace")?.value })
        }
        Chosen::Table("nats-current", tab) => {
            let servers = u32::try_from(tab.whole("servers")?.value).ok()?;
            Some(Condition::NatsCurrent { pods: pods(tab)?, servers })
        }
        Chosen::Word(_) | Chosen::Table(..) => None,
    }
}

pub(super) fn recovery(chosen: &Chosen<'_>) -> Option<Recovery> {
    match chosen {
        Chosen::Word("unattended") => Some(Recovery::Unattended),
        Chosen::Word("stays-broken") => Some(Recovery::StaysBroken),
        Chosen::Table("runbook", tab) => Some(Recovery::Runbook {
            file: tab.text("file")?.value,
            start: text::start(&tab.text("start")?.value).ok()?,
            without: None,
        }),
        Chosen::Word(_) | Chosen::Table(..) => None,
    }
}

/// Attempts per second of a probe, all of its series together.
pub(super) fn attempts_per_s(probe: &Probe) -> f64 {
    series(probe) as f64 / probe.every.max(Duration::from_millis(1)).as_secs_f64()
}

/// How many series a probe makes.
pub(super) fn series(probe: &Probe) -> usize {
    probe.connections.len() * probe.vantages.len()
}
