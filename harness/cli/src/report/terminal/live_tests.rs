use super::*;
use crate::report::tests::drill::drill;
use firedrill_core::event::{LedgerCount, PowerOnUndo};

const PLAIN: Style = Style { color: false, width: 100 };

fn all(records: &[Record], style: Style) -> String {
    let mut lines = Lines::new(style);
    records.iter().map(|record| lines.record(record)).collect()
}

/// Everything that is shown of a run whose records are these and whose live states say this.
pub(crate) fn poisoned_run_lines(records: &[Record], evil: &str, style: Style) -> String {
    let mut lines = Lines::new(style);
    let mut text: String = records.iter().map(|record| lines.record(record)).collect();
    let mut live = Live { doing: evil.to_owned(), ..live() };
    live.probes.iter_mut().for_each(|probe| probe.name.push_str(evil));
    text.push_str(&lines.frame(&live).join("\n"));
    text.push('\n');
    text.push_str(&Lines { progress_at: Some(At(0)), ..Lines::new(style) }.progress(&live).unwrap());
    let more = [
        Event::PodsMadeAnew { pods: vec![evil.to_owned()], failed: vec![evil.to_owned()] },
        Event::InjectReturned {
            target: firedrill_core::plan::Target::Node {
                node: evil.to_owned(),
                uid: evil.to_owned(),
                because_of: evil.to_owned(),
            },
            error: Some(evil.to_owned()),
        },
        Event::Lost { what: evil.to_owned() },
        Event::Undone { id: 9, error: Some(evil.to_owned()), finish_with: Some(evil.to_owned()) },
        Event::BundleKept { path: evil.to_owned(), missing: vec![evil.to_owned()] },
        Event::VolumeChecked { claim: evil.to_owned(), found: FileSystem::Damaged { said: evil.to_owned() } },
    ];
    text.push('\n');
    text.extend(more.map(|event| lines.record(&record(event))));
    text
}

fn record(event: Event) -> Record {
    Record { seq: 0, at: At::from_ms(50_000), wall: String::new(), event }
}

fn live() -> Live {
    let probe = |name: &str, down_since: Option<u64>, up: usize, down: usize| LiveProbe {
        name: name.to_owned(),
        down_since: down_since.map(At::from_ms),
        recent: [vec![Some(1.0); up], vec![Some(0.5)], vec![Some(0.0); down]].concat(),
    };
    Live {
        at: At::from_ms(56_300),
        phase: Phase::Recover,
        since: At::from_ms(44_302),
        deadline: Duration::from_secs(120),
        doing: "step 3 of 6: kubectl delete pod -n ironflow ironflow-nats-0 ironflow-nats-2".to_owned(),
        probes: vec![
            probe("publish", Some(42_100), 16, 14),
            LiveProbe { name: "agent".to_owned(), down_since: None, recent: vec![None; 9] },
            probe("ready", None, 70, 0),
        ],
    }
}

#[test]
fn a_run_reads_from_top_to_bottom() {
    insta::assert_snapshot!(all(&drill("").journal.records, PLAIN));
}

#[test]
fn colour_changes_no_text() {
    let records = drill("").journal.records;
    let coloured = all(&records, Style { color: true, width: 100 });
    let shown = crate::report::text::render(&coloured);
    assert!(shown.contains('\u{1b}') && !coloured.contains('\u{1b}'));
    assert_eq!(crate::report::text::uncoloured(&shown), all(&records, PLAIN));
}

#[test]
fn what_goes_wrong_is_shown_with_what_to_do() {
    let ledger = LedgerCount {
        series: 0,
        store: "nats".to_owned(),
        error: None,
        acknowledged: 1_204,
        lost: 2,
        lost_ranges: vec![(7, 8)],
        duplicated: 0,
        indeterminate: 0,
        indeterminate_found: 0,
        refused_found: 0,
        foreign: 0,
    };
    let end = |end| Event::PhaseEnded { phase: Phase::Effect, end, detail: "publish never failed".to_owned() };
    let events = [
        Event::PhaseStarted { phase: Phase::Effect, deadline: Duration::from_secs(20) },
        end(PhaseEnd::DeadlinePassed),
        end(PhaseEnd::Skipped),
        Event::Load { achieved_per_s: 3.0, demanded_per_s: 10.0 },
        Event::Proof { targets: Vec::new(), subject: "nats".to_owned(), evidence: "state S".to_owned(), held: false },
        Event::UndoRecorded { id: 4, undo: Undo::PowerOn(PowerOnUndo { node: "worker2".to_owned(), container: None }) },
        Event::Undone {
            id: 4,
            error: Some("the engine does not answer".to_owned()),
            finish_with: Some("docker start worker2".to_owned()),
        },
        Event::Ledger(ledger),
        Event::Interrupted { count: 1 },
        Event::CleanChecked {
            made: 18,
            gone: 17,
            differences: vec!["pod firedrill/agent is there".to_owned()],
            still_faulty: vec!["worker2 is off".to_owned()],
            residue: Vec::new(),
        },
    ];
    insta::assert_snapshot!(all(&events.map(record), PLAIN));
}

#[test]
fn a_frame_has_the_phase_its_limit_and_every_probe() {
    let frame = Lines::new(PLAIN).frame(&live());
    for line in &frame {
        assert!(line.chars().count() <= 100, "{line}");
    }
    insta::assert_snapshot!(frame.join("\n"));
}

#[test]
fn progress_is_a_line_every_ten_seconds() {
    let mut lines = Lines::new(PLAIN);
    lines.record(&Record {
        at: At::from_ms(44_302),
        ..record(Event::PhaseStarted { phase: Phase::Recover, deadline: Duration::from_secs(120) })
    });
    let shown: Vec<u64> = (0..300)
        .map(|tick| 44_302 + tick * 100)
        .filter(|at| lines.progress(&Live { at: At::from_ms(*at), ..live() }).is_some())
        .collect();
    assert_eq!(shown, [54_302, 64_302]);
    let line = Lines { progress_at: Some(At(0)), ..Lines::new(PLAIN) }.progress(&live()).unwrap();
    insta::assert_snapshot!(line);
}
