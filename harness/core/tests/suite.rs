//! Suites from file to merged result.

use firedrill_core::exit::ExitCode;
use firedrill_core::scenario::Layout;
use firedrill_core::suite::{
    Because, Catalog, Entry, Facts, ObjectiveSeen, Outcome, Part, Ran, RunResult, Shard, Slot, Suite, SuiteResult,
    merge, parse, schema,
};
use firedrill_core::verdict::{Measured, Value};
use proptest::prelude::*;
use std::time::Duration;

fn catalog() -> Catalog {
    let facts = |minutes: u64| Facts {
        expected: Duration::from_secs(60 * minutes),
        deadline: Duration::from_secs(300),
        layout: Layout::default(),
        irreversible: minutes == 9,
        sections: if minutes == 7 { vec!["1. Look".to_owned(), "2. Act".to_owned()] } else { Vec::new() },
        digest: String::new(),
    };
    let variants = |known: &[(&str, u64)]| known.iter().map(|(name, m)| ((*name).to_owned(), facts(*m))).collect();
    Catalog::from([
        ("nats-quorum-loss".to_owned(), variants(&[("killed", 4), ("hung", 7)])),
        ("volume-full".to_owned(), variants(&[("grown", 9)])),
    ])
}

#[test]
fn a_suite_is_read_as_it_is_written() {
    let text = r#"
title = "Nightly"
budget = "1h30m"

[[drill]]
run = "nats-quorum-loss/hung"
repeat = 3

[[drill]]
run = "volume-full/grown"

[[drill]]
run = "volume-full/grown"
fault = "noop"
expect = "unknown"

[[drill]]
run = "nats-quorum-loss/hung"
without = "2."
"#;
    let suite = parse("nightly", ("suites/nightly.toml", text), &catalog()).unwrap();
    let entry = |scenario: &str, variant: &str, minutes: u64, repeat, control, irreversible| Entry {
        scenario: scenario.to_owned(),
        variant: variant.to_owned(),
        repeat,
        control,
        without: None,
        expected: Duration::from_secs(60 * minutes),
        irreversible,
        digest: String::new(),
    };
    let drills = vec![
        entry("nats-quorum-loss", "hung", 7, 3, false, false),
        entry("volume-full", "grown", 9, 1, false, true),
        entry("volume-full", "grown", 9, 1, true, false),
        Entry { without: Some("2. Act".to_owned()), ..entry("nats-quorum-loss", "hung", 7 + 5, 1, false, false) },
    ];
    let budget = Some(Duration::from_secs(5_400));
    assert_eq!(suite, Suite { name: "nightly".to_owned(), title: "Nightly".to_owned(), budget, drills });
}

#[test]
fn the_schema_has_every_key() {
    insta::assert_json_snapshot!(schema());
}

/// A run that passed.
fn passed() -> Ran {
    let time = Measured::Interval { lower_ms: 6_000.0, upper_ms: 6_500.0 };
    Ran {
        run_id: "11220000-killed-0001".to_owned(),
        folder: "../11220000-killed-0001".to_owned(),
        started: "2026-11-22T20:30:54.869Z".to_owned(),
        took_ms: 76_000.0,
        cluster: "firedrill-a".to_owned(),
        headline: "RECOVERED".to_owned(),
        exit_code: ExitCode::Pass,
        injection: Value::Pass,
        recovery: Value::Pass,
        data: Value::Pass,
        cleanup: Value::Pass,
        time_to_recover_ms: Some(time),
        objectives: vec![ObjectiveSeen {
            name: "outage".to_owned(),
            measured: Some(time),
            accepted_ms: Some(30_000),
            value: Value::Pass,
        }],
        not_independent: None,
        no_effect_seen: false,
    }
}

/// A run that broke nothing and ended as it must.
fn controlled() -> Ran {
    let unknown = Value::Unknown;
    Ran { exit_code: ExitCode::Unknown, injection: unknown, recovery: unknown, no_effect_seen: true, ..passed() }
}

fn counted(control: bool, ran: Ran) -> (ExitCode, Value) {
    let entry = Entry { control, ..suite(&[1]).drills.remove(0) };
    let result = RunResult::new(Slot { round: 1, entry: 0 }, &entry, Outcome::Ran(Box::new(ran)));
    (result.exit_code, result.value)
}

#[test]
fn only_a_control_may_be_unknown_and_only_as_a_control_must() {
    assert_eq!(counted(true, controlled()), (ExitCode::Pass, Value::Pass));
    // What is unknown for anything but the missing fault is unknown.
    assert_eq!(counted(true, Ran { no_effect_seen: false, ..controlled() }), (ExitCode::Unknown, Value::Unknown));
    assert_eq!(counted(true, Ran { injection: Value::Pass, ..controlled() }), (ExitCode::Unknown, Value::Unknown));
    assert_eq!(counted(true, Ran { data: Value::Unknown, ..controlled() }), (ExitCode::Unknown, Value::Unknown));
    // A control that passes shows that a pass means nothing.
    assert_eq!(counted(true, passed()), (ExitCode::Failed, Value::Fail));
    for exit_code in [ExitCode::Failed, ExitCode::Environment, ExitCode::Dirty, ExitCode::Interrupted] {
        assert_eq!(counted(true, Ran { exit_code, ..controlled() }).0, exit_code, "a control hides nothing");
    }
    // No drill is excused for looking like one.
    assert_eq!(counted(false, controlled()), (ExitCode::Unknown, Value::Unknown));
}

fn suite(repeats: &[u32]) -> Suite {
    let facts = Facts {
        expected: Duration::from_secs(60),
        deadline: Duration::from_secs(60),
        layout: Layout::default(),
        irreversible: false,
        sections: Vec::new(),
        digest: String::new(),
    };
    let entry = |(at, repeat): (usize, &u32)| Entry {
        scenario: "drill".to_owned(),
        variant: format!("v{at}"),
        repeat: *repeat,
        control: false,
        without: None,
        expected: facts.expected * (1 + at as u32 % 5),
        irreversible: false,
        digest: "a".to_owned(),
    };
    let drills = repeats.iter().enumerate().map(entry).collect();
    Suite { name: "s".to_owned(), title: "s".to_owned(), budget: None, drills }
}

/// The result of a shard, or of the whole, with the outcome of each slot.
fn result(suite: &Suite, shard: Option<Shard>, outcome: impl Fn(Slot) -> Outcome) -> SuiteResult {
    let mut result = SuiteResult::new(suite, shard, "2026-11-22T20:00:00Z".to_owned());
    for index in 0..result.results.len() {
        let slot = result.results[index].slot;
        result.put(index, outcome(slot), 1_000.0);
    }
    result
}

fn parts(suite: &Suite, of: u32, outcome: impl Fn(Slot) -> Outcome + Copy) -> Vec<Part> {
    let part =
        |index| Part { from: format!("shard-{index}"), result: result(suite, Some(Shard { index, of }), outcome) };
    (1..=of).map(part).collect()
}

#[test]
fn what_was_not_reached_is_unknown() {
    let begun = SuiteResult::new(&suite(&[1, 2]), None, String::new());
    assert_eq!((begun.exit_code, begun.count(Value::Unknown)), (ExitCode::Unknown, 3));
    let not_run = |because: Because| result(&suite(&[1]), None, |_| Outcome::NotRun(because.clone())).exit_code;
    let by = "a/b".to_owned();
    assert_eq!(not_run(Because::LeftDirty { by: by.clone() }), ExitCode::Unknown);
    assert_eq!(not_run(Because::Changed { by }), ExitCode::Unknown);
    assert_eq!(not_run(Because::Interrupted), ExitCode::Interrupted);
    assert_eq!(
        not_run(Because::NoCluster { message: String::new(), exit_code: ExitCode::Environment }),
        ExitCode::Environment
    );
    let dirty = Outcome::NotRun(Because::NoCluster { message: String::new(), exit_code: ExitCode::Dirty });
    let dirty = result(&suite(&[1]), None, |_| dirty.clone());
    assert_eq!(
        (dirty.exit_code, dirty.count(Value::Unknown)),
        (ExitCode::Dirty, 1),
        "what is left is no word on the drill"
    );
}

#[test]
fn everything_that_keeps_shards_apart_is_said() {
    let ok = |_| Outcome::Ran(Box::new(passed()));
    let (one, other) = (suite(&[1, 1, 1, 1]), suite(&[1, 1, 1, 2]));
    let mut several = parts(&one, 3, ok);
    several[2].result = several[0].result.clone();
    let whole = Part { from: "whole".to_owned(), result: result(&one, None, ok) };
    let strange = Part { from: "strange".to_owned(), result: parts(&other, 3, ok).remove(2).result };
    let mut cut = parts(&one, 3, ok).remove(2);
    cut.result.results.clear();
    several.extend([whole, strange, Part { from: "cut".to_owned(), ..cut }]);
    let wrong = merge(several).unwrap_err();
    insta::assert_snapshot!(wrong.join("\n"), @"
    shard-3 and shard-1 are both shard 1/3
    whole is not a valid shard: it is a whole suite
    strange and shard-1 are not of one suite: their drills or budgets differ
    cut and strange are both shard 3/3
    cut: its runs are not those of shard 3/3
    ");
    let mut missing = parts(&one, 3, ok);
    missing.remove(1);
    assert_eq!(merge(missing).unwrap_err(), ["shard 2/3 is missing"]);
    let mixed = vec![parts(&one, 2, ok).remove(0), parts(&one, 3, ok).remove(1)];
    assert_eq!(merge(mixed).unwrap_err(), ["shard-2 and shard-1 are not of one suite: 3 and 2 shards"]);
    let mut changed = parts(&one, 2, ok);
    changed[1].result.planned[2].digest = "b".to_owned();
    let wrong = merge(changed).unwrap_err();
    assert_eq!(wrong, ["shard-2 and shard-1 are not of one suite: scenario drill was changed between them"]);
    let merged = merge(parts(&one, 2, ok)).unwrap();
    let again = merge(vec![Part { from: "m".to_owned(), result: merged }]).unwrap_err();
    assert_eq!(again, ["m is not a valid shard: it is merged already"]);
    assert!(merge(Vec::new()).is_err());
}

#[test]
fn repeats_say_together_what_one_run_cannot() {
    let outcome = |slot: Slot| match slot.round {
        1..=22 => Outcome::Ran(Box::new(passed())),
        _ => Outcome::NotRun(Because::NotReached),
    };
    let broken_off = |slot: Slot| match slot.round {
        23 => Outcome::Failed { exit_code: ExitCode::Environment, message: "the journal cannot be written".to_owned() },
        _ => outcome(slot),
    };
    let unknown = result(&suite(&[23]), None, broken_off).repeated.remove(0);
    let held = unknown.measures[0].held.unwrap();
    assert_eq!((unknown.runs, held.unknown, unknown.measures[0].p90_confidence), (23, 1, None), "begun, and not known");
    let result = result(&suite(&[23, 1]), None, outcome);
    assert_eq!(result.repeated.len(), 1, "a drill that runs once has no statistics");
    let (repeated, outage) = (&result.repeated[0], &result.repeated[0].measures[0]);
    assert_eq!((repeated.planned, repeated.runs, outage.measured), (23, 22, 22));
    assert!((outage.p90_confidence.unwrap() - 0.9015).abs() < 1e-4);
    let held = outage.held.unwrap();
    assert_eq!((held.violated, held.unknown), (0, 0));
    assert!((held.violation_probability_max - (1.0 - 0.05_f64.powf(1.0 / 22.0))).abs() < 1e-9);
    assert_eq!(repeated.measures[1].name, "time to recover");
}

#[test]
fn a_run_that_is_not_independent_is_not_pooled_and_that_is_said() {
    let because = "the run began within the restart back-off of nats of n/nats-0 (2 restarts, the last 35 s before)";
    let outcome = |slot: Slot| {
        let mut ran = passed();
        if slot.round == 2 {
            ran.not_independent = Some(because.to_owned());
            ran.objectives[0].measured = Some(Measured::Interval { lower_ms: 90_000.0, upper_ms: 91_000.0 });
            ran.objectives[0].value = Value::Fail;
            ran.exit_code = ExitCode::Failed;
        }
        Outcome::Ran(Box::new(ran))
    };
    let result = result(&suite(&[3]), None, outcome);
    assert_eq!(result.exit_code, ExitCode::Failed, "its own verdict counts all the same");
    let repeated = &result.repeated[0];
    assert_eq!((repeated.runs, repeated.pooled(), repeated.left_out.len()), (3, 2, 1));
    assert_eq!((repeated.left_out[0].round, repeated.left_out[0].because.as_str()), (2, because));
    for measure in &repeated.measures {
        assert_eq!((measure.measured, measure.longest_ms), (2, passed().time_to_recover_ms), "{}", measure.name);
        assert!((measure.p90_confidence.unwrap() - (1.0 - 0.81)).abs() < 1e-9);
    }
    assert_eq!(repeated.measures[0].held.unwrap().violated, 0);
    let none = |_| Outcome::Ran(Box::new(Ran { not_independent: Some(because.to_owned()), ..passed() }));
    let none = self::result(&suite(&[2]), None, none).repeated.remove(0);
    assert_eq!((none.pooled(), none.measures[0].p90_confidence, none.measures[0].held), (0, None, None));
}

proptest! {
    /// However a suite is cut, the shards together are the whole.
    #[test]
    fn shards_merged_in_any_order_are_the_whole(
        repeats in prop::collection::vec(1_u32..4, 1..12),
        of in 1_u32..6,
        codes in prop::collection::vec(prop::sample::select(vec![ExitCode::Pass, ExitCode::Failed, ExitCode::Unknown, ExitCode::Dirty, ExitCode::Interrupted]), 40),
        seed in any::<u64>(),
    ) {
        let suite = suite(&repeats);
        let outcome = |slot: Slot| {
            let exit_code = codes[(slot.entry * 3 + slot.round as usize) % codes.len()];
            Outcome::Ran(Box::new(Ran { exit_code, ..passed() }))
        };
        let whole = result(&suite, None, outcome);
        let mut parts = parts(&suite, of, outcome);
        let turn = seed as usize % parts.len();
        parts.rotate_left(turn);
        let merged = merge(parts).unwrap();
        prop_assert_eq!(&merged.results, &whole.results);
        prop_assert_eq!(&merged.repeated, &whole.repeated);
        prop_assert_eq!(merged.exit_code, whole.exit_code);
        let kept: SuiteResult = serde_json::from_str(&serde_json::to_string(&merged).unwrap()).unwrap();
        prop_assert_eq!((kept.results, kept.planned), (merged.results, merged.planned));
    }
}
