//! The scenario format: what is read, and that the schema says the same.

use firedrill_core::sample::Connection;
use firedrill_core::scenario::{
    Accepted, Condition, ExpectedAlert, Fault, Layout, Mistake, PodSelector, ProbeKind, Recovery, Scenario, Start,
    Vantage, parse, schema,
};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

const RUNBOOK: &str = "# Book\n\n## 1. Delete\n\n```sh variants=hung\nkubectl delete pod -n ironflow <target-pods>\n```\n\n\
     ```sh layout=separate\nkubectl delete pod -n other <target-pods>\n```\n";

/// Every key of the format, once at least.
const FULL: &str = r#"
title = "everything"
needs = { template = "medium", layout = "bundled", nats-servers = 3, postgres-instances = 2 }

[steady-state]
hold = "10s"
within = "60s"
probes = ["publish", "write"]
load-min = "12.5/s"

[probe.publish]
jetstream = { service = "nats", namespace = "ironflow-system", port = 4222, stream = "EVENTS", subject = "a.b" }
every = "20ms"
timeout = "900ms"
connections = ["reused"]
from = ["outside", "inside"]

[probe.write]
postgres = { cluster = "db", namespace = "ironflow-system", database = "app" }

[probe.run]
ironflow = { service = "ironflow", namespace = "ironflow", port = 9123, event = "drill.tick", payload-kib = 8 }

[probe.ready]
http = { service = "ironflow", namespace = "ironflow", port = 80, path = "/ready?x=1", status = 204, body = "ok" }

[probe.tcp]
tcp = { service = "nats", namespace = "ironflow-system", port = 4222 }
from = ["inside", "outside"]

[probe.kept-out]
tcp = { service = "nats", namespace = "ironflow-system", port = 4222 }
agent-namespace = "tenant-acme"
blocked-while = "tcp"

[variant.hung]
about = "frozen"
expected = "5m"
fault.freeze = { pods = "app=nats", namespace = "ironflow-system", container = "nats", count = 2, lasts = "8s" }
effect = { down = "publish", within = "10s", control = "tcp" }
detect = "pod-not-ready"
recovery.runbook = { file = "runbook.md", start = "after 90s" }
redundancy = [
  "nodes-ready",
  { nats-current = { pods = "app=nats", namespace = "ironflow-system", servers = 3 } },
  { cnpg-healthy = { cluster = "db", namespace = "ironflow-system" } },
  { pods-ready = { pods = "app=x", namespace = "ironflow" } },
  { policies-as-before = { namespace = "ironflow" } },
  { alert-over = { name = "DiskSpaceLow" } },
]
deadline = "3m"
sustained = "4s"
alerts = [{ fires = "NATSDown", within = "150s", resolves = "40s" }, { fires = "IronflowDown", within = "3m" }]

[variant.dead]
about = "killed"
expected = "5m"
fault.signal = { pods = "app=nats", namespace = "ironflow", container = "nats", count = 1, signal = "TERM" }
effect = { down = "write", failing = "any", control = "tcp" }
detect.cnpg-phase = { cluster = "db", namespace = "ironflow-system" }
recovery = "unattended"
redundancy = ["nodes-ready"]
deadline = "3m"

[variant.values]
about = "values, then everything else"
expected = "5m"
fault.helm-values = { release = "ironflow", namespace = "ironflow", set = ["a.b=c"], set-json = ["d=[1]"] }
effect.seen.pods-failing = { pods = "app=nats", namespace = "ironflow", reason = "OOMKilled" }
detect.event = { reason = "FailedCreate", namespace = "ironflow", contains = "quota" }
recovery = "stays-broken"
redundancy = ["nodes-ready"]
deadline = "3m"
then = [
  { patch = { api-version = "apps/v1", kind = "Deployment", namespace = "ironflow", name = "d", merge = '{"spec":{}}' } },
  { helm-values = { release = "ironflow", namespace = "ironflow", set = ["a.b=c"], set-json = ["d=[1]"] } },
  { signal = { pods = "app=nats", namespace = "ironflow", container = "nats", count = 1, signal = "TERM" } },
  { delete-pods = { pods = "app=nats", namespace = "ironflow", count = 1 } },
]
then-after = "2s"

[variant.patch]
about = "a patch, then the rest"
expected = "5m"
fault.patch = { api-version = "apps/v1", kind = "Deployment", namespace = "ironflow", name = "d", merge = '{"spec":{}}' }
effect.seen.event = { reason = "FailedCreate", namespace = "ironflow", contains = "quota" }
detect.pods-failing = { pods = "app=nats", namespace = "ironflow", reason = "OOMKilled" }
recovery = "stays-broken"
redundancy = ["nodes-ready"]
deadline = "3m"
then = [
  { freeze = { pods = "app=nats", namespace = "ironflow", container = "nats", count = 1, lasts = "8s" } },
  { corrupt = { pods = "app=nats", namespace = "ironflow", container = "nats", count = 1, directory = "/data" } },
  { node-off = { pods = "app=nats", namespace = "ironflow", count = 1, with = { pods = "app=x", namespace = "other" } } },
  { end-connections = { pods = "app=nats", namespace = "ironflow", peers = "app=x", peers-namespace = "other" } },
]

[variant.corrupt]
about = "files flipped, rows seen"
expected = "5m"
fault.corrupt = { pods = "app=nats", namespace = "ironflow", container = "nats", count = 1, directory = "/data" }
effect.seen.rows = { cluster = "db", namespace = "ironflow", database = "app", select = "SELECT 1", what = "a row" }
detect.rows = { cluster = "db", namespace = "ironflow", database = "app", select = "SELECT 1", what = "a row" }
recovery = "unattended"
redundancy = [{ no-rows = { cluster = "db", namespace = "ironflow", database = "app", select = "SELECT 1", what = "a row" } }]
deadline = "3m"

[variant.filled]
about = "a volume filled, its alert seen"
expected = "5m"
fault.fill = { pods = "app=nats", namespace = "ironflow", container = "nats", count = 1, path = "/data", leave-mib = 8 }
effect.seen.alert = { name = "DiskSpaceLow" }
detect = "nothing"
recovery = "unattended"
redundancy = ["nodes-ready"]
deadline = "3m"
irreversible = "volumes-grow"
then = [
  { fill = { pods = "app=nats", namespace = "ironflow", container = "nats", count = 1, path = "/data", leave-mib = 8 } },
]

[variant.held]
about = "a volume not detached"
expected = "5m"
fault.hold-detach = { pods = "app=nats", namespace = "ironflow", container = "nats", count = 1, path = "/data", lasts = "5m" }
effect = { down = "write", control = "tcp" }
detect = "nothing"
recovery = "unattended"
redundancy = ["nodes-ready"]
deadline = "3m"
then = [
  { hold-detach = { pods = "app=nats", namespace = "ironflow", container = "nats", count = 1, path = "/data", lasts = "5m" } },
]

[variant.ended]
about = "connections ended"
expected = "5m"
fault.end-connections = { pods = "app=nats", namespace = "ironflow", peers = "app=x", peers-namespace = "other" }
effect = { down = "write", control = "tcp" }
detect = "pod-not-ready"
recovery = "unattended"
redundancy = ["nodes-ready"]
deadline = "3m"

[variant.node]
about = "off"
expected = "5m"
fault.node-off = { pods = "app=nats", namespace = "ironflow", count = 1, with = { pods = "app=x", namespace = "other" } }
effect = { down = "write", control = "tcp" }
detect = "node-not-ready"
recovery = "unattended"
redundancy = []
deadline = "3m"

[variant.deleted]
about = "gone"
expected = "5m"
fault.delete-pods = { pods = "app=nats", namespace = "ironflow", count = 1 }
effect = { down = "write", control = "tcp" }
detect.nats-quorum = { pods = "app=nats", namespace = "ironflow" }
recovery = "unattended"
redundancy = ["nodes-ready"]
deadline = "3m"

[variant.elsewhere]
like = "hung"
layout = "separate"
about = "frozen in another namespace"
deadline = "4m"

[layout.separate]
nats = "other/message-bus"
db = "other/db"
"app=nats" = "other/app=bus"

[[objective]]
name = "outage"
probe = "write"
from = "effect"
to = "sustained-ok"
documented = "30s"
accepted = { hung = "60s", dead = "20s", because = "measured" }

[[objective]]
name = "all"
from = "inject"
to = "clean"
accepted = "100s"
because = "it is so"

[[objective]]
name = "rollout"
from = "runbook-start"
to = "redundancy"
accepted = "90s"
because = "it is so"

[data]
lost-acked-max = { dead = 7, hung = 0 }
duplicated-max = 1
because = "asynchronous"

[[correction]]
section = "1. Delete"
documented = "kubectl delete pod -n ironflow <target-pods>"
instead = "kubectl delete pod -n ironflow --grace-period=1 <target-pods>"
expect = "deleted"
needed = "at-times"
because = "it waits"

[[correction]]
section = "1. Delete"
documented = "kubectl delete pod -n other <target-pods>"
provider = "replace-node"
because = "it cannot"
"#;

fn read(text: &str) -> Result<Scenario, Vec<Mistake>> {
    parse("everything", ("scenarios/everything/scenario.toml", text), |file| {
        (file == "runbook.md").then(|| RUNBOOK.to_owned())
    })
}

#[test]
fn every_key_is_read() {
    let scenario = read(FULL).unwrap();
    assert_eq!(scenario.name, "everything");
    assert_eq!(scenario.default_variant, "hung");
    assert_eq!(scenario.needs.postgres_instances, Some(2));
    assert_eq!(scenario.steady_state.load_min_per_s, 12.5);
    let publish = &scenario.probes["publish"];
    assert_eq!(publish.vantages, [Vantage::Outside, Vantage::Inside]);
    assert_eq!(publish.connections, [Connection::Reused]);
    assert_eq!((publish.every, publish.timeout), (Duration::from_millis(20), Duration::from_millis(900)));
    assert_eq!(scenario.probes["tcp"].connections, [Connection::New]);
    assert_eq!(scenario.probes["run"].connections, [Connection::New, Connection::Reused]);
    let ProbeKind::Http { status, body, service, .. } = &scenario.probes["ready"].kind else { panic!("not HTTP") };
    assert_eq!((*status, body.as_deref(), service.port), (204, Some("ok"), 80));

    let kept_out = &scenario.probes["kept-out"];
    assert_eq!(
        (kept_out.agent_namespace.as_deref(), kept_out.blocked_while.as_deref()),
        (Some("tenant-acme"), Some("tcp"))
    );

    let hung = &scenario.variants["hung"];
    let pods = PodSelector { namespace: "ironflow-system".to_owned(), labels: "app=nats".to_owned() };
    assert_eq!(
        hung.fault,
        Fault::Freeze {
            pods: pods.clone(),
            container: "nats".to_owned(),
            count: 2,
            lasts: Some(Duration::from_secs(8))
        }
    );
    assert_eq!(
        hung.recovery,
        Recovery::Runbook {
            file: "runbook.md".to_owned(),
            start: Start::After(Duration::from_secs(90)),
            without: None
        }
    );
    assert_eq!(hung.redundancy[1], Condition::NatsCurrent { pods, servers: 3 });
    assert_eq!(hung.redundancy[2], Condition::CnpgHealthy { cluster: "ironflow-system/db".to_owned() });

    let expected = |fires: &str, within, resolves| ExpectedAlert {
        fires: fires.to_owned(),
        within: Duration::from_secs(within),
        resolves: Duration::from_secs(resolves),
    };
    assert_eq!(hung.alerts, [expected("NATSDown", 150, 40), expected("IronflowDown", 180, 60)]);

    let seconds = |s| Accepted(Duration::from_secs(s));
    let accepted = |figures: &[(&str, u64)]| -> BTreeMap<String, Accepted> {
        figures.iter().map(|(name, s)| ((*name).to_owned(), seconds(*s))).collect()
    };
    assert_eq!(scenario.objectives[0].accepted, accepted(&[("hung", 60), ("dead", 20)]));
    assert_eq!(scenario.objectives[0].because, "measured");
    let names =
        ["hung", "dead", "node", "deleted", "values", "patch", "corrupt", "filled", "held", "ended", "elsewhere"];
    let all = accepted(&names.map(|name| (name, 100)));
    assert_eq!(scenario.objectives[1].accepted, all);
    assert_eq!(
        scenario.objectives[2].accepted,
        accepted(&[("hung", 90), ("elsewhere", 90)]),
        "only two have a runbook"
    );
    let shown = |variant: &str| scenario.variants[variant].effect.shown.to_string();
    assert_eq!(shown("hung"), "publish fails while tcp works");
    assert_eq!(shown("dead"), "write fails on one connection while tcp works");
    assert_eq!(scenario.data.lost_acked_max, BTreeMap::from([("dead".to_owned(), 7)]));
    assert_eq!(scenario.data.duplicated_max.len(), names.len());
    assert_eq!(scenario.runbooks["runbook.md"].steps[0].line, 6);
    assert_eq!(scenario.corrections[0].expect.as_deref(), Some("deleted"));
}

#[test]
fn a_variant_in_another_layout_has_the_names_of_that() {
    let scenario = read(FULL).unwrap();
    let pods =
        |namespace: &str, labels: &str| PodSelector { namespace: namespace.to_owned(), labels: labels.to_owned() };
    let there = scenario.clone().for_variant("elsewhere");
    assert_eq!((there.needs.layout, there.needs.template.as_str()), (Layout::Separate, "large"));
    assert_eq!(there.variants.keys().collect::<Vec<_>>(), ["elsewhere"]);
    let elsewhere = &there.variants["elsewhere"];
    assert_eq!(elsewhere.deadline, Duration::from_secs(240));
    assert_eq!(elsewhere.sustained, Duration::from_secs(4), "what is left out is as in the other");
    let Fault::Freeze { pods: hit, count: 2, .. } = &elsewhere.fault else { panic!("not frozen") };
    assert_eq!(*hit, pods("other", "app=bus"));
    assert_eq!(elsewhere.redundancy[2], Condition::CnpgHealthy { cluster: "other/db".to_owned() });
    assert_eq!(elsewhere.redundancy[3], Condition::PodsReady { pods: pods("ironflow", "app=x") });
    let ProbeKind::Jetstream { service, .. } = &there.probes["publish"].kind else { panic!("not NATS") };
    assert_eq!((service.namespace.as_str(), service.name.as_str(), service.port), ("other", "message-bus", 4222));
    let ProbeKind::Ironflow { service, .. } = &there.probes["run"].kind else { panic!("not Ironflow") };
    assert_eq!(service.namespace, "ironflow");
    let steps = there.runbooks["runbook.md"].steps.iter();
    let own: Vec<_> = steps.filter(|step| step.is_for("elsewhere", Layout::Separate)).map(|step| step.line).collect();
    assert_eq!(own, [10]);

    let here = scenario.clone().for_variant("hung");
    assert_eq!((here.needs, here.probes), (scenario.needs.clone(), scenario.probes.clone()));
    assert!(here.probes_in.is_empty() && !here.variants.contains_key("elsewhere"));
    let Fault::Freeze { pods: hit, .. } = &scenario.variants["hung"].fault else { panic!("not frozen") };
    assert_eq!(*hit, pods("ironflow-system", "app=nats"), "the other variant keeps its own names");
}

#[test]
fn an_objective_on_an_alert_is_of_the_variants_that_expect_one() {
    let alert = FULL.replace("from = \"runbook-start\"\nto = \"redundancy\"", "from = \"effect\"\nto = \"alert\"");
    let scenario = read(&alert.replace("start = \"after 90s\"", "start = \"alert\"")).unwrap();
    assert_eq!(scenario.objectives[2].accepted.keys().collect::<Vec<_>>(), ["elsewhere", "hung"]);
    let Recovery::Runbook { start, .. } = &scenario.variants["hung"].recovery else { panic!("no runbook") };
    assert_eq!(*start, Start::Alert);
}

#[test]
fn what_is_left_out_is_as_documented() {
    let text = FULL.replace("sustained = \"4s\"\n", "").replace("hold = \"10s\"\n", "").replace(", count = 2,", ",");
    let scenario = read(&text).unwrap();
    assert_eq!(scenario.variants["hung"].sustained, Duration::from_secs(5));
    assert_eq!(scenario.steady_state.hold, Duration::from_secs(30));
    assert!(matches!(scenario.variants["hung"].fault, Fault::Freeze { count: 1, .. }));
}

/// The keys of a table of the schema, with their paths.
fn keys_of(schema: &Value, path: &str, found: &mut Vec<String>) {
    if let Some(properties) = schema["properties"].as_object() {
        for (key, inner) in properties {
            let path = format!("{path}{key}");
            keys_of(inner, &format!("{path}."), found);
            found.push(path);
        }
    }
    for inner in ["additionalProperties", "items"] {
        if schema[inner].is_object() {
            keys_of(&schema[inner], path, found);
        }
    }
    for inner in schema["oneOf"].as_array().into_iter().flatten() {
        keys_of(inner, path, found);
    }
}

/// The keys of a document, with their paths as the schema has them.
fn keys_in(document: &toml::Value, path: &str, found: &mut Vec<String>) {
    match document {
        toml::Value::Table(table) => {
            for (key, inner) in table {
                let path = format!("{path}{key}.");
                found.push(path.trim_end_matches('.').to_owned());
                match (path.as_str(), inner) {
                    ("probe." | "variant.", toml::Value::Table(by_name)) => {
                        by_name.values().for_each(|inner| keys_in(inner, &path, found));
                    }
                    _ => keys_in(inner, &path, found),
                }
            }
        }
        toml::Value::Array(items) => items.iter().for_each(|item| keys_in(item, path, found)),
        _ => {}
    }
}

#[test]
fn the_schema_has_every_key_that_is_read_and_no_other() {
    let mut in_schema = Vec::new();
    keys_of(&schema(), "", &mut in_schema);
    in_schema.sort();
    in_schema.dedup();
    let mut in_document = Vec::new();
    keys_in(&toml::from_str(FULL).unwrap(), "", &mut in_document);
    // Figures by variant are named by the variants.
    in_document.retain(|key| {
        // And what is named otherwise in a layout, by layouts and names.
        !key.starts_with("layout.")
            && !["hung", "dead"].iter().any(|variant| {
                key.ends_with(&format!("accepted.{variant}")) || key.ends_with(&format!("max.{variant}"))
            })
    });
    in_document.sort();
    in_document.dedup();
    assert_eq!(in_schema, in_document);
}

#[test]
fn the_schema_is_what_it_was() {
    insta::assert_json_snapshot!(schema());
}

#[test]
fn mistakes_have_their_places() {
    let text = FULL.replace("\"runbook-start\"", "\"runbok-start\"");
    let mistakes = read(&text).unwrap_err();
    assert_eq!(mistakes.len(), 1);
    assert_eq!(&text[mistakes[0].span.clone()], "\"runbok-start\"");
    assert_eq!(mistakes[0].hint.as_deref(), Some("did you mean `runbook-start`?"));
    assert_eq!(mistakes[0].file, "scenarios/everything/scenario.toml");
}

#[test]
fn a_volume_is_named_only_where_the_fault_hits_one() {
    let message = |text: &str, runbook: &str| {
        let read = |file: &str| (file == "runbook.md").then(|| runbook.to_owned());
        let mistakes = parse("everything", ("scenarios/everything/scenario.toml", text), read).unwrap_err();
        assert_eq!(mistakes.len(), 1, "{mistakes:?}");
        mistakes[0].message.clone()
    };
    let instead = FULL.replace("--grace-period=1 <target-pods>", "<target-volume>");
    assert_eq!(message(&instead, RUNBOOK), "the fault of `hung` hits no volume");
    let detached = FULL.replace("replace-node", "detach-volume");
    assert_eq!(message(&detached, RUNBOOK), "no fault of `elsewhere` holds a volume");
    let runbook = format!("{RUNBOOK}\n\n```sh variants=elsewhere\nkubectl get pv <target-volume>\n```\n");
    assert_eq!(message(FULL, &runbook), "the fault of `elsewhere` hits no volume");
}

#[test]
fn cutting_a_file_anywhere_never_panics() {
    for end in (0..FULL.len()).step_by(7).filter(|end| FULL.is_char_boundary(*end)) {
        let text = &FULL[..end];
        if let Err(mistakes) = read(text) {
            assert!(
                mistakes
                    .iter()
                    .all(|mistake| text.get(mistake.span.clone()).is_some() || mistake.file.ends_with(".md"))
            );
        }
    }
}
