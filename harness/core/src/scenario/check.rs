//! What probes, the steady state and variants must be to each other.

use super::mistake::Mistakes;
use super::parse::{Parts, ProbePart, VariantPart};
use super::read::{Chosen, Placed, Tab};
use super::text;
use super::{CONTROL_WITHIN, Condition, Detector, Fault, PodSelector, Probe, check_faults, parts, probe};
use crate::sample::Connection;

/// Series of a scenario, at most.
const SERIES_MAX: usize = 32;
/// Attempts per second of all probes together, at most.
const ATTEMPTS_PER_S_MAX: f64 = 5_000.0;
/// Attempts of one series in flight at the same time, at most.
const IN_FLIGHT_MAX: u128 = 1_000;
/// The window that ends an outage is at least this many times the longest pause between two attempts.
const SUSTAINED_ATTEMPTS_MIN: u32 = 3;

pub(super) fn probes(parts: &Parts<'_>, mistakes: &mut Mistakes) {
    for part in &parts.probes {
        let kinds: Vec<_> = probe::NAMES.iter().copied().filter(|kind| part.tab.has(kind)).collect();
        if kinds.len() != 1 {
            let message = match kinds.len() {
                0 => "a probe that does nothing".to_owned(),
                _ => format!("one probe that does {} things", kinds.len()),
            };
            mistakes.add_hint(
                part.name.span.clone(),
                message,
                format!("one of {}", super::mistake::listed(probe::NAMES)),
            );
        }
        let Some(probe) = &part.probe else { continue };
        if !probe.kind.keeps_connections() && probe.connections.contains(&Connection::Reused) {
            mistakes.add_hint(
                part.tab.place("connections"),
                format!("a {} probe opens a connection each time", probe.kind.name()),
                "leave `connections` out, or say `[\"new\"]`",
            );
        }
        let in_flight = probe.timeout.as_micros() / probe.every.as_micros().max(1);
        if in_flight > IN_FLIGHT_MAX {
            mistakes.add_hint(
                part.tab.place("timeout"),
                format!("{in_flight} attempts could be under way at once, {IN_FLIGHT_MAX} at most"),
                "a shorter timeout, or a longer `every`",
            );
        }
    }
    for part in &parts.probes {
        places(part, mistakes);
        if let Some(probe) = &part.probe {
            kept_out(parts, part, probe, mistakes);
        }
    }
    let measured = || parts.probes.iter().filter_map(|part| part.probe.as_ref());
    let series: usize = measured().map(parts::series).sum();
    if series > SERIES_MAX {
        mistakes.add_hint(
            parts.root.place("probe"),
            format!("{series} series, {SERIES_MAX} at most"),
            "each kind of connection from each place is a series of its own",
        );
    }
    let attempts_per_s: f64 = measured().map(parts::attempts_per_s).sum();
    if attempts_per_s > ATTEMPTS_PER_S_MAX {
        mistakes.add_hint(
            parts.root.place("probe"),
            format!("{attempts_per_s:.0} attempts a second, {ATTEMPTS_PER_S_MAX:.0} at most"),
            "a longer `every` for some probes",
        );
    }
}

fn places(part: &ProbePart<'_>, mistakes: &mut Mistakes) {
    if part.tab.has("agent-namespace") && !part.tab.texts("from").iter().any(|place| place.value == "inside") {
        mistakes.add(part.tab.place("agent-namespace"), "this probe runs from no agent pod");
    }
}

/// A probe that must not come through proves nothing by failing where what it asks for is not there at all.
fn kept_out(parts: &Parts<'_>, part: &ProbePart<'_>, probe: &Probe, mistakes: &mut Mistakes) {
    let Some(name) = part.tab.text("blocked-while") else { return };
    let service = |probe: &Probe| probe.kind.knows_connections().then(|| probe.kind.service());
    let Some(kept_from) = service(probe) else {
        mistakes.add_hint(
            name.span,
            "this kind of probe does not know whether a connection was made",
            "`http` or `tcp`; any other one would write where it gets in",
        );
        return;
    };
    let Some(let_in) = known_probe(parts, mistakes, &name) else { return };
    if let_in.blocked_while.is_some() {
        mistakes.add_hint(
            name.span,
            "this probe must not come through either",
            "one of the same Service that is let in",
        );
        return;
    }
    if service(let_in) != Some(kept_from) {
        mistakes.add_hint(
            name.span,
            format!("`{}` asks another Service or port, or writes", name.value),
            "an `http` or `tcp` probe of the same Service and port, from a place that is let in",
        );
        return;
    }
    if let_in.every + let_in.timeout > CONTROL_WITHIN {
        mistakes.add_hint(
            name.span.clone(),
            format!("it answers too rarely: {} may pass", text::plain(let_in.every + let_in.timeout)),
            format!("its `every` and `timeout` together: {} at most", text::plain(CONTROL_WITHIN)),
        );
    }
    let steady = parts.root.table("steady-state").map(|tab| tab.texts("probes")).unwrap_or_default();
    let is_steady = |probe: &str| steady.iter().any(|steady| steady.value == probe);
    if is_steady(part.name.value) && !is_steady(&name.value) {
        mistakes.add(name.span, format!("`{}` is not part of the steady state, and this probe is", name.value));
    }
}

/// Notes a probe that does not exist; the probe where it does.
pub(super) fn known_probe<'p>(
    parts: &'p Parts<'_>,
    mistakes: &mut Mistakes,
    name: &Placed<String>,
) -> Option<&'p Probe> {
    let names = parts.probe_names();
    if !names.contains(&name.value.as_str()) {
        mistakes.add_unknown(name.span.clone(), "probe", &name.value, names);
    }
    parts.probe(&name.value)
}

pub(super) fn steady_state(parts: &Parts<'_>, mistakes: &mut Mistakes) {
    let Some(tab) = parts.root.table("steady-state") else { return };
    let names = tab.texts("probes");
    let probes: Vec<_> = names.iter().filter_map(|name| known_probe(parts, mistakes, name)).collect();
    if let (Some(hold), Some(within)) = (tab.duration("hold"), tab.duration("within"))
        && hold.value > within.value
    {
        mistakes.add_hint(
            hold.span,
            format!("held for {}, but waited for only {}", text::plain(hold.value), text::plain(within.value)),
            "a longer `within`",
        );
    }
    let Some(load) = tab.text("load-min") else { return };
    let attempts_per_s: f64 = probes.iter().map(|probe| parts::attempts_per_s(probe)).sum();
    let all_known = probes.len() == names.len() && !names.is_empty();
    if let (true, Ok(demanded)) = (all_known, text::rate(&load.value))
        && demanded > attempts_per_s
    {
        mistakes.add_hint(
            load.span,
            format!("these probes make {attempts_per_s:.1} attempts a second at most"),
            "a smaller load, or a shorter `every`",
        );
    }
}

pub(super) fn variants(parts: &Parts<'_>, mistakes: &mut Mistakes) {
    for part in &parts.variants {
        if let Some(tab) = part.tab.table("effect") {
            effect(parts, part, &tab, mistakes);
        }
        times(parts, part, mistakes);
        targets(parts, part, mistakes);
        detector(part, mistakes);
        redundancy(parts, part, mistakes);
        alerts(part, mistakes);
    }
}

fn effect(parts: &Parts<'_>, part: &VariantPart<'_>, tab: &Tab<'_>, mistakes: &mut Mistakes) {
    let (down, control, seen) = (tab.has("down"), tab.has("control"), tab.has("seen"));
    if let Some(extra) = ["down", "control", "failing"].into_iter().find(|key| seen && tab.has(key)) {
        mistakes.add_hint(tab.place(extra), "beside `seen`", "either `seen`, or `down` with its `control`");
    } else if !seen && down != control {
        let missing = if down { "control" } else { "down" };
        mistakes.add(tab.span.clone(), format!("`{missing}` is missing"));
    } else if !seen && !down {
        let hint = "`down` with its `control`, or `seen` where the service goes on";
        mistakes.add_hint(tab.span.clone(), "nothing shows the effect", hint);
    }
    let steady: Vec<_> = parts.root.table("steady-state").map(|tab| tab.texts("probes")).unwrap_or_default();
    let down = tab.text("down").map(|name| (known_probe(parts, mistakes, &name), name));
    let control = tab.text("control").map(|name| (known_probe(parts, mistakes, &name), name));
    if let Some((Some(_), name)) = &down
        && !steady.is_empty()
        && !steady.iter().any(|probe| probe.value == name.value)
    {
        mistakes.add_hint(
            name.span.clone(),
            format!("`{}` is not part of the steady state", name.value),
            "a probe that never worked proves nothing by failing: add it to `steady-state.probes`",
        );
    }
    if let (Some((_, down)), Some((_, control))) = (&down, &control)
        && down.value == control.value
    {
        mistakes.add_hint(
            control.span.clone(),
            "the control probe is the probe that must fail",
            "a probe from the same place that the fault leaves alone",
        );
        return;
    }
    if let (Some((Some(down), _)), Some((Some(control), name))) = (&down, &control) {
        if let Some(vantage) = down.vantages.iter().find(|vantage| !control.vantages.contains(vantage)) {
            let place = match vantage {
                super::Vantage::Inside => "inside",
                super::Vantage::Outside => "outside",
            };
            mistakes.add_hint(
                name.span.clone(),
                format!("the control does not run from {place}, where the failing probe does"),
                format!("add \"{place}\" to the control's `from`"),
            );
        } else if down.agent_namespace != control.agent_namespace {
            mistakes.add_hint(
                name.span.clone(),
                "the control's agent is in another namespace than the failing probe's",
                "the same `agent-namespace`",
            );
        }
        if control.every + control.timeout > CONTROL_WITHIN {
            mistakes.add_hint(
                name.span.clone(),
                format!("the control answers too rarely: {} may pass", text::plain(control.every + control.timeout)),
                format!("its `every` and `timeout` together: {} at most", text::plain(CONTROL_WITHIN)),
            );
        }
    }
    if let (Some(within), Some(deadline)) = (tab.duration("within"), part.tab.duration("deadline"))
        && within.value > deadline.value
    {
        mistakes.add(within.span, format!("longer than the variant's deadline of {}", text::plain(deadline.value)));
    }
}

fn times(parts: &Parts<'_>, part: &VariantPart<'_>, mistakes: &mut Mistakes) {
    let Some(sustained) = part.tab.duration("sustained") else { return };
    let longest = parts
        .probes
        .iter()
        .filter_map(|part| Some((part.name.value, part.probe.as_ref()?)))
        .max_by_key(|(_, p)| p.every);
    if let Some((name, probe)) = longest
        && sustained.value < probe.every * SUSTAINED_ATTEMPTS_MIN
    {
        mistakes.add_hint(
            sustained.span.clone(),
            format!("too short to see {SUSTAINED_ATTEMPTS_MIN} attempts of `{name}`"),
            format!("{} at least", text::plain(probe.every * SUSTAINED_ATTEMPTS_MIN)),
        );
    }
    if let Some(deadline) = part.tab.duration("deadline")
        && sustained.value >= deadline.value
    {
        mistakes
            .add(sustained.span, format!("not shorter than the variant's deadline of {}", text::plain(deadline.value)));
    }
}

fn targets(parts: &Parts<'_>, part: &VariantPart<'_>, mistakes: &mut Mistakes) {
    check_faults::in_a_row(part, mistakes);
    if let (Some(Fault::Noop), Some(then)) = (part.fault(), part.then.first()) {
        mistakes.add(then.span.clone(), "after a noop nothing is done");
    }
    for (fault, chosen) in part.faults() {
        if let (Some(pods), Some(count)) = (fault.pods(), parts::count_place(&chosen.value)) {
            enough(parts, part, &fault, pods, count, mistakes);
        }
    }
}

fn enough(
    parts: &Parts<'_>,
    part: &VariantPart<'_>,
    fault: &Fault,
    pods: &PodSelector,
    count: Placed<u64>,
    mistakes: &mut Mistakes,
) {
    match population(parts, part, pods) {
        Some((servers, what)) if count.value > u64::from(servers) => {
            mistakes.add(count.span, format!("this template has {servers} {what}"));
        }
        Some((servers, what)) if count.value == u64::from(servers) && what != PRIMARY && !fault.may_hit_all() => {
            mistakes.add_hint(
                count.span,
                format!("all {servers} {what}: nothing would be left to recover from"),
                format!("{} at most", servers.saturating_sub(1)),
            );
        }
        _ => {}
    }
}

const PRIMARY: &str = "primary";

/// How many pods a selector can find, where that is known without a cluster.
fn population(parts: &Parts<'_>, part: &VariantPart<'_>, pods: &PodSelector) -> Option<(u32, &'static str)> {
    let needs = parts.needs.as_ref()?;
    let layout = &part.layout.value;
    let is_needed = *layout == needs.layout;
    let template = if is_needed { Some(needs.template.as_str()) } else { parts.stack.usual_template(layout) };
    let template = template.and_then(|template| parts.stack.templates.get(template));
    let labels: Vec<&str> = pods.labels.split(',').map(str::trim).collect();
    if parts.stack.watch.nats.as_deref().is_some_and(|nats| labels.contains(&nats)) {
        Some((needs.nats_servers.or(template?.nats_servers)?, "NATS servers"))
    } else if labels.contains(&"cnpg.io/instanceRole=primary") {
        Some((1, PRIMARY))
    } else if labels.iter().any(|label| label.starts_with("cnpg.io/cluster=")) {
        Some((needs.postgres_instances.or(template?.postgres_instances)?, "PostgreSQL instances"))
    } else {
        None
    }
}

fn detector(part: &VariantPart<'_>, mistakes: &mut Mistakes) {
    let (Some(chosen), Some(fault)) = (part.tab.choice("detect"), part.fault()) else { return };
    let detector = parts::detector(&chosen.value);
    let of = |wanted: fn(&Fault) -> bool| part.faults().any(|(fault, _)| wanted(&fault));
    if detector == Some(Detector::NodeNotReady) && !of(|fault| fault.powers_nodes_off() || *fault == Fault::Noop) {
        mistakes.add_hint(
            chosen.span,
            "this fault leaves every node Ready",
            "`pod-not-ready`, `cnpg-phase` or `nats-quorum`",
        );
    } else if detector == Some(Detector::PodNotReady) && !of(|fault| fault.pods().is_some()) {
        let what = if fault == Fault::Noop { "a noop has" } else { "these faults have" };
        mistakes.add_hint(
            chosen.span,
            format!("{what} no pods to watch"),
            "`pods-failing`, `cnpg-phase` or `nats-quorum`",
        );
    } else if let (Some(Detector::Nothing), Some(Chosen::Table(_, runbook))) =
        (detector, part.tab.choice("recovery").map(|chosen| chosen.value))
        && let Some(start) = runbook.text("start").filter(|start| start.value == "detected")
    {
        mistakes.add_hint(
            start.span,
            "`detect = \"nothing\"`, and the runbook waits for it",
            "`after 30s`, or `alert`",
        );
    }
}

fn redundancy(parts: &Parts<'_>, part: &VariantPart<'_>, mistakes: &mut Mistakes) {
    let conditions = part.tab.choices("redundancy");
    let is_node_off = part.fault().is_none() || part.faults().any(|(fault, _)| fault.powers_nodes_off());
    if conditions.is_empty() && part.tab.has("redundancy") && !is_node_off {
        mistakes.add_hint(
            part.tab.place("redundancy"),
            "nothing says when redundancy is back",
            "empty only for `node-off`, where the node stays off until the undo",
        );
    }
    for chosen in conditions {
        let Some(Condition::NatsCurrent { pods, servers }) = parts::condition(&chosen.value) else { continue };
        if let Some((there, what)) = population(parts, part, &pods)
            && there != servers
        {
            mistakes.add(chosen.span, format!("this template has {there} {what}, not {servers}"));
        }
    }
}

fn alerts(part: &VariantPart<'_>, mistakes: &mut Mistakes) {
    let mut names: Vec<String> = Vec::new();
    for tab in part.tab.tables("alerts") {
        if let Some(name) = tab.text("fires") {
            if names.contains(&name.value) {
                mistakes.add(name.span, "an alert named twice");
            }
            names.push(name.value);
        }
        if let (Some(within), Some(deadline)) = (tab.duration("within"), part.tab.duration("deadline"))
            && within.value > deadline.value
        {
            let hint = "a longer `deadline`; a rule's own time (`for`) comes before it fires";
            let deadline = text::plain(deadline.value);
            mistakes.add_hint(within.span, format!("longer than the variant's deadline of {deadline}"), hint);
        }
    }
    let Some(Chosen::Table(_, runbook)) = part.tab.choice("recovery").map(|chosen| chosen.value) else { return };
    if let Some(start) = runbook.text("start")
        && start.value == "alert"
        && !part.expects_an_alert()
    {
        mistakes.add_hint(start.span, format!("`{}` expects no alert to start at", part.name.value), ALERTS_HINT);
    }
}

/// How an alert is named.
pub(super) const ALERTS_HINT: &str = "name it: `alerts = [{ fires = \"PostgreSQLDown\", within = \"180s\" }]`";
