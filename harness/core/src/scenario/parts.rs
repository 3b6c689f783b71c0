//! Takes the parts of a scenario out of its tables, once their form was checked. What is not well formed is `None`: its
//! mistake is already noted.

use super::read::{Chosen, Placed, Tab};
use super::text;
use super::{
    Condition, Detector, Effect, ExpectedAlert, Failing, Fault, Layout, Needs, ObjectRef, PodSelector, Probe,
    ProbeKind, Query, Recovery, ServiceRef, Shown, Signal, SteadyState, Symptom, Vantage,
};
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

fn service(tab: &Tab<'_>) -> Option<ServiceRef> {
    let (namespace, name) = tab.named_in_layout("service")?;
    Some(ServiceRef { namespace, name, port: u16::try_from(tab.whole("port")?.value).ok()? })
}

pub(super) fn probe_kind(name: &str, tab: &Tab<'_>) -> Option<ProbeKind> {
    let kind = match name {
        "http" => ProbeKind::Http {
            service: service(tab)?,
            path: tab.text("path")?.value,
            status: u16::try_from(tab.whole("status")?.value).ok()?,
            body: tab.text("body").map(|body| body.value),
        },
        "jetstream" => ProbeKind::Jetstream {
            service: service(tab)?,
            stream: tab.text("stream")?.value,
            subject: tab.text("subject")?.value,
        },
        "postgres" => {
            let (namespace, cluster) = tab.named_in_layout("cluster")?;
            ProbeKind::Postgres { cluster, namespace, database: tab.text("database")?.value }
        }
        "ironflow" => ProbeKind::Ironflow {
            service: service(tab)?,
            event: tab.text("event")?.value,
            payload_kib: u32::try_from(tab.whole("payload-kib")?.value).ok()?,
        },
        "tcp" => ProbeKind::Tcp { service: service(tab)? },
        _ => return None,
    };
    Some(kind)
}

pub(super) fn probe(tab: &Tab<'_>) -> Option<Probe> {
    let (name, kind_tab) = super::format::PROBE_KINDS.iter().find_map(|name| Some((*name, tab.table(name)?)))?;
    let kind = probe_kind(name, &kind_tab)?;
    let connections = match tab.has("connections") {
        true => tab.texts("connections").iter().filter_map(|word| connection(&word.value)).collect(),
        false if matches!(kind, ProbeKind::Tcp { .. }) => vec![Connection::New],
        false => vec![Connection::New, Connection::Reused],
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

fn pods(tab: &Tab<'_>) -> Option<PodSelector> {
    let (namespace, labels) = tab.named_in_layout("pods")?;
    Some(PodSelector { namespace, labels })
}

/// The pods that must be on the node as well; `Some(None)` where none are named.
fn with(tab: &Tab<'_>) -> Option<Option<PodSelector>> {
    if tab.has("with") { pods(&tab.table("with")?).map(Some) } else { Some(None) }
}

fn count(tab: &Tab<'_>) -> Option<u32> {
    u32::try_from(tab.whole("count")?.value).ok()
}

/// The word for a node that is made for the drill.
pub(super) const NEW_NODE: &str = "new";

pub(super) fn fault(chosen: &Chosen<'_>) -> Option<Fault> {
    let (name, tab) = match chosen {
        Chosen::Word("noop") => return Some(Fault::Noop),
        Chosen::Word(_) => return None,
        Chosen::Table(name, tab) => (*name, tab),
    };
    let text = |key| Some(tab.text(key)?.value);
    match name {
        "helm-values" => {
            let texts = |key| tab.texts(key).into_iter().map(|set| set.value).collect();
            let (namespace, release) = (text("namespace")?, text("release")?);
            return Some(Fault::HelmValues { namespace, release, set: texts("set"), set_json: texts("set-json") });
        }
        "patch" => {
            let (api_version, kind) = (text("api-version")?, text("kind")?);
            let object = ObjectRef { api_version, kind, namespace: text("namespace")?, name: text("name")? };
            return Some(Fault::Patch { object, merge: text("merge")? });
        }
        "end-connections" => {
            let (namespace, labels) = tab.placed_in_layout("peers-namespace", "peers")?;
            return Some(Fault::EndConnections { pods: pods(tab)?, peers: PodSelector { namespace, labels } });
        }
        _ => {}
    }
    let (pods, count) = (pods(tab)?, count(tab)?);
    let container = || text("container");
    match name {
        "signal" => {
            let signal = match tab.text("signal")?.value.as_str() {
                "KILL" => Signal::Kill,
                "TERM" => Signal::Term,
                "QUIT" => Signal::Quit,
                "INT" => Signal::Int,
                "HUP" => Signal::Hup,
                _ => return None,
            };
            Some(Fault::Signal { pods, container: container()?, count, signal })
        }
        "freeze" => {
            let lasts = tab.duration("lasts").map(|lasts| lasts.value);
            Some(Fault::Freeze { pods, container: container()?, count, lasts })
        }
        "corrupt" => Some(Fault::Corrupt { pods, container: container()?, count, directory: text("directory")? }),
        "fill" => {
            let leave_mib = u32::try_from(tab.whole("leave-mib")?.value).ok()?;
            Some(Fault::Fill { pods, container: container()?, count, path: text("path")?, leave_mib })
        }
        "fill-stream" => {
            let (leave_mib, path) = (u32::try_from(tab.whole("leave-mib")?.value).ok()?, text("path")?);
            let (container, stream, subject) = (container()?, text("stream")?, text("subject")?);
            Some(Fault::FillStream { pods, container, count, path, leave_mib, stream, subject })
        }
        "hold-detach" => {
            let lasts = tab.duration("lasts")?.value;
            Some(Fault::HoldDetach { pods, container: container()?, count, path: text("path")?, lasts })
        }
        "slow-attach" => {
            let (takes, lasts) = (tab.duration("takes")?.value, tab.duration("lasts")?.value);
            Some(Fault::SlowAttach { pods, container: container()?, count, path: text("path")?, takes, lasts })
        }
        "delete-pods" => Some(Fault::DeletePods { pods, count }),
        "node-off" => {
            let new = tab.text("node")?.value == NEW_NODE;
            Some(Fault::NodeOff { pods, new, count, with: with(tab)? })
        }
        _ => None,
    }
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
