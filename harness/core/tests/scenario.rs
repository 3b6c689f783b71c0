//! The scenario format: what is read, and that the schema says the same.

use firedrill_core::sample::Connection;
use firedrill_core::scenario::{
    Accepted, Condition, ExpectedAlert, Fault, FreezeFault, HttpProbe, IronflowProbe, JetstreamProbe, Layout, Mistake,
    PodSelector, PostgresProbe, ProbeKind, Recovery, Scenario, Start, Vantage, parse, schema,
};
use firedrill_core::stack::{self, Stack};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::time::Duration;

const RUNBOOK: &str = "# Book\n\n## 1. Delete\n\n```sh variants=hung\nkubectl delete pod -n ironflow <target-pods>\n```\n\n\
     ```sh layout=separate\nkubectl delete pod -n other <target-pods>\n```\n";

/// Every key of the format, once at least.
const FULL: &str = include_str!("everything/scenario.toml");

/// The stack of the shipped scenarios.
const STACK: &str = include_str!("../../../fixtures/stack/ironflow/stack.toml");

fn stack() -> Stack {
    stack::parse("ironflow", ("stack.toml", STACK)).unwrap()
}

fn read(text: &str) -> Result<Scenario, Vec<Mistake>> {
    read_for(&stack(), text)
}

fn read_for(stack: &Stack, text: &str) -> Result<Scenario, Vec<Mistake>> {
    let runbook =
        |file: &str| (file == "runbook.md").then(|| RUNBOOK.to_owned()).ok_or_else(|| ErrorKind::NotFound.into());
    parse("everything", ("scenarios/everything/scenario.toml", text), runbook, stack)
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
    let ProbeKind::Http(HttpProbe { status, body, service, .. }) = &scenario.probes["ready"].kind else {
        panic!("not HTTP")
    };
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
        Fault::Freeze(FreezeFault {
            pods: pods.clone(),
            container: "nats".to_owned(),
            count: 2,
            lasts: Some(Duration::from_secs(8))
        })
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
    let names = [
        "hung",
        "dead",
        "node",
        "deleted",
        "values",
        "patch",
        "corrupt",
        "filled",
        "held",
        "slow",
        "messages",
        "ended",
        "elsewhere",
    ];
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
    assert!(scenario.data.lost_acked_oldest);
    assert!(scenario.objectives.iter().all(|objective| !objective.longest_outage));
}

#[test]
fn carriage_returns_change_nothing() {
    let windows = |text: &str| text.replace('\n', "\r\n");
    let of = |text: &str, runbook: &str| {
        let read =
            |file: &str| (file == "runbook.md").then(|| runbook.to_owned()).ok_or_else(|| ErrorKind::NotFound.into());
        parse("everything", ("scenarios/everything/scenario.toml", text), read, &stack())
    };
    // A text of several lines keeps no carriage return either.
    let one_line = "instead = \"kubectl delete pod -n ironflow --grace-period=1 <target-pods>\"";
    let several = "instead = \"\"\"kubectl delete pod -n ironflow <target-pods> &&\n  date\"\"\"";
    let full = FULL.replace(one_line, several);
    let scenario = of(&full, RUNBOOK).unwrap();
    assert!(scenario.corrections.iter().any(|correction| correction.instead.ends_with("&&\n  date")));
    assert_eq!(of(&windows(&full), &windows(RUNBOOK)).unwrap(), scenario);
    let scenario = of(FULL, RUNBOOK).unwrap();
    assert_eq!(of(&format!("\u{feff}{FULL}"), &format!("\u{feff}{RUNBOOK}")).unwrap(), scenario);
}

#[test]
fn a_runbook_that_is_no_text_is_refused_with_the_place() {
    let bad = |_: &str| {
        let error = firedrill_core::utf8::text(b"# Book\n\xe9\n".to_vec()).unwrap_err();
        Err(std::io::Error::new(ErrorKind::InvalidData, error))
    };
    let mistakes = parse("everything", ("scenarios/everything/scenario.toml", FULL), bad, &stack()).unwrap_err();
    let wanted = "scenarios/everything/runbook.md cannot be read: not UTF-8: byte 7 (line 2) is 0xe9";
    assert!(mistakes.iter().any(|mistake| mistake.message == wanted), "{mistakes:?}");
}

#[test]
fn only_a_section_that_is_run_can_be_left_out() {
    let by_hand = format!("{RUNBOOK}\n## 2. Console\n\n```sh manual=console\nhcloud server list\n```\n");
    let read = |_: &str| Ok(by_hand.clone());
    let scenario = parse("everything", ("scenarios/everything/scenario.toml", FULL), read, &stack()).unwrap();
    assert_eq!(scenario.runbooks["runbook.md"].steps.last().unwrap().section, "2. Console");
    assert_eq!(scenario.sections("hung"), ["1. Delete"]);
    let left_out = scenario.clone().without("hung", "2.").unwrap_err();
    assert!(left_out.ends_with("it has: 1. Delete"), "{left_out}");
    let without = scenario.without("hung", "1.").unwrap();
    assert!(without.variants["hung"].recovery.stays_broken());
}

#[test]
fn a_variant_in_another_layout_has_the_names_of_that() {
    let scenario = read(FULL).unwrap();
    let pods =
        |namespace: &str, labels: &str| PodSelector { namespace: namespace.to_owned(), labels: labels.to_owned() };
    let there = scenario.clone().for_variant("elsewhere");
    assert_eq!((there.needs.layout.name(), there.needs.template.as_str()), ("separate", "large"));
    assert_eq!(there.variants.keys().collect::<Vec<_>>(), ["elsewhere"]);
    let elsewhere = &there.variants["elsewhere"];
    assert_eq!(elsewhere.deadline, Duration::from_secs(240));
    assert_eq!(elsewhere.sustained, Duration::from_secs(4), "what is left out is as in the other");
    let Fault::Freeze(FreezeFault { pods: hit, count: 2, .. }) = &elsewhere.fault else { panic!("not frozen") };
    assert_eq!(*hit, pods("other", "app=bus"));
    assert_eq!(elsewhere.redundancy[2], Condition::CnpgHealthy { cluster: "other/db".to_owned() });
    assert_eq!(elsewhere.redundancy[3], Condition::PodsReady { pods: pods("ironflow", "app=x") });
    let ProbeKind::Jetstream(JetstreamProbe { service, .. }) = &there.probes["publish"].kind else {
        panic!("not NATS")
    };
    assert_eq!((service.namespace.as_str(), service.name.as_str(), service.port), ("other", "message-bus", 4222));
    let ProbeKind::Ironflow(IronflowProbe { service, .. }) = &there.probes["run"].kind else { panic!("not Ironflow") };
    assert_eq!(service.namespace, "ironflow");
    let steps = there.runbooks["runbook.md"].steps.iter();
    let separate = Layout::named("separate");
    let own: Vec<_> = steps.filter(|step| step.is_for("elsewhere", &separate)).map(|step| step.line).collect();
    assert_eq!(own, [10]);

    let here = scenario.clone().for_variant("hung");
    assert_eq!((here.needs, here.probes), (scenario.needs.clone(), scenario.probes.clone()));
    assert!(here.probes_in.is_empty() && !here.variants.contains_key("elsewhere"));
    let Fault::Freeze(FreezeFault { pods: hit, .. }) = &scenario.variants["hung"].fault else { panic!("not frozen") };
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
    assert!(matches!(scenario.variants["hung"].fault, Fault::Freeze(FreezeFault { count: 1, .. })));
}

#[test]
fn a_key_that_is_left_out_is_as_in_the_stack() {
    let other = STACK.replace("database = \"ironflow\"", "database = \"orders\"").replace("port = 9123", "port = 80");
    let other = stack::parse("other", ("stack.toml", &other)).unwrap();
    let text = FULL.replace(", database = \"app\" }\n\n[probe.run]", " }\n\n[probe.run]");
    let ProbeKind::Postgres(PostgresProbe { database, .. }) = &read(&text).unwrap().probes["write"].kind else {
        panic!("not SQL")
    };
    let scenario = read_for(&other, &text).unwrap();
    let ProbeKind::Postgres(PostgresProbe { database: theirs, .. }) = &scenario.probes["write"].kind else {
        panic!("not SQL")
    };
    assert_eq!((database.as_str(), theirs.as_str()), ("ironflow", "orders"));
    assert_eq!(scenario.watch, other.watch);
    let without = stack::parse("other", ("stack.toml", &STACK.replace("database = \"ironflow\"\n", ""))).unwrap();
    let messages: Vec<_> = read_for(&without, &text).unwrap_err().into_iter().map(|mistake| mistake.message).collect();
    assert_eq!(messages, ["`database` is missing"]);
}

#[test]
fn a_layout_that_the_stack_lacks_is_unknown() {
    let mut stack = stack();
    stack.layouts.retain(|layout| layout.name.name() != "separate");
    let mistakes = read_for(&stack, FULL).unwrap_err();
    let message = |mistake: &Mistake| mistake.message == "unknown layout `separate`";
    assert_eq!(mistakes.iter().filter(|mistake| message(mistake)).count(), 3, "{mistakes:?}");
}

#[test]
fn of_another_format_nothing_else_is_read() {
    let text = FULL.replace("format = 1", "format = 2").replace("\"runbook-start\"", "\"runbok-start\"");
    let mistakes = read(&text).unwrap_err();
    assert_eq!(mistakes.len(), 1, "{mistakes:?}");
    assert_eq!((&text[mistakes[0].span.clone()], mistakes[0].message.as_str()), ("2", "format 2 is not known"));
    let without = FULL.replace("format = 1\n", "");
    assert_eq!(read(&without).unwrap(), read(FULL).unwrap(), "a file without a number has format 1");
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
    // Each kind of fault and of probe has an example with every key, and a test of it beside the kind.
    let kinds: Vec<String> =
        in_schema.iter().filter_map(|key| Some(key.strip_prefix("probe.")?.split_once('.')?.0.to_owned())).collect();
    let is_of_a_kind = |key: &String| {
        let of_probe = key.strip_prefix("probe.").map(|key| key.split('.').next().unwrap_or_default().to_owned());
        key.starts_with("variant.fault.")
            || key.starts_with("variant.then.")
            || of_probe.is_some_and(|kind| kinds.contains(&kind))
    };
    in_schema.retain(|key| !is_of_a_kind(key));
    in_document.retain(|key| !is_of_a_kind(key));
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
fn a_runbook_that_cannot_be_read_is_not_one_that_is_missing() {
    let message = |kind: ErrorKind| {
        let read = |_: &str| Err(kind.into());
        let mistakes = parse("everything", ("scenarios/everything/scenario.toml", FULL), read, &stack()).unwrap_err();
        mistakes[0].message.clone()
    };
    assert_eq!(message(ErrorKind::NotFound), "there is no scenarios/everything/runbook.md");
    assert!(message(ErrorKind::PermissionDenied).contains("runbook.md cannot be read: permission denied"));
}

#[test]
fn a_volume_is_named_only_where_the_fault_hits_one() {
    let message = |text: &str, runbook: &str| {
        let read = |_: &str| Ok(runbook.to_owned());
        let mistakes = parse("everything", ("scenarios/everything/scenario.toml", text), read, &stack()).unwrap_err();
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
