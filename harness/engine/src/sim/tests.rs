//! The seeds.

use super::check::check;
use super::check::verdict_of;
use super::drive::{next_run, play, play_script, scenario};
use super::script::{Death, Script, SweepTrouble};
use super::store::JOURNAL;
use crate::planted::{ALL, Bug, plant};
use crate::run::RunError;
use firedrill_core::event::Event;
use firedrill_core::exit::ExitCode;
use firedrill_core::journal::Journal;
use firedrill_core::plan::Phase;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::Duration;

/// How many seeds are played.
const SEEDS: u64 = 1_000;
/// One of so many is played twice, to compare the journals.
const TWICE_EVERY: u64 = 10;

/// The environment variable that names one seed.
const ONE: &str = "FIREDRILL_SEED";

fn repeat(seed: u64) -> String {
    format!("{ONE}={seed} cargo test -p firedrill-engine --lib sim::")
}

/// A run ends when anything in its process panics: a seed that has a panic is played alone.
static ALONE: RwLock<()> = RwLock::new(());

/// Everything that is wrong with a seed.
fn wrong_with(seed: u64) -> Vec<String> {
    let panics = Script::of(seed).panics_in_request.is_some();
    let _alone = panics.then(|| ALONE.write().unwrap_or_else(PoisonError::into_inner));
    let _beside_others = (!panics).then(|| ALONE.read().unwrap_or_else(PoisonError::into_inner));
    let scenario = scenario();
    let outcome = play(seed, &scenario);
    let mut wrong = check(&outcome);
    if seed.is_multiple_of(TWICE_EVERY) {
        let again = play(seed, &scenario);
        let (one, other) = (outcome.journal().unwrap_or_default(), again.journal().unwrap_or_default());
        let differ = one.lines().zip(other.lines()).find(|(one, other)| one != other);
        if let Some((one, other)) = differ {
            wrong.push(format!("the journal differs when the seed is played again:\n    {one}\n    {other}"));
        }
    }
    wrong
}

/// The first seed that finds a bug.
fn first_failure(bug: Bug) -> Option<(u64, Vec<String>)> {
    play_all(SEEDS, Some(bug)).into_iter().next()
}

/// Plays seeds on all processors, with a bug until the first failure; returns the failures.
fn play_all(seeds: u64, bug: Option<Bug>) -> Vec<(u64, Vec<String>)> {
    let next = AtomicU64::new(0);
    let failures = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                plant(bug);
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds || (bug.is_some() && !failures.lock().unwrap().is_empty()) {
                        return;
                    }
                    let wrong = wrong_with(seed);
                    if !wrong.is_empty() {
                        failures.lock().unwrap().push((seed, wrong));
                    }
                }
            });
        }
    });
    let mut failures = failures.into_inner().unwrap();
    failures.sort();
    failures
}

#[test]
fn every_seed_ends_as_it_must() {
    if let Some(seed) = crate::env::text(ONE) {
        let seed = seed.parse().unwrap();
        let wrong = wrong_with(seed);
        let journal = play(seed, &scenario()).journal().unwrap_or_default();
        let script = Script::of(seed);
        assert!(wrong.is_empty(), "{script:#?}\n{journal}\nseed {seed}:\n  {}", wrong.join("\n  "));
        return;
    }
    let failures = play_all(SEEDS, None);
    let shown: Vec<String> = failures
        .iter()
        .take(12)
        .map(|(seed, wrong)| format!("seed {seed}:\n  {}\n  repeat it: {}", wrong.join("\n  "), repeat(*seed)))
        .collect();
    assert!(failures.is_empty(), "{} of {SEEDS} seeds fail\n{}", failures.len(), shown.join("\n"));
}

#[test]
fn every_planted_bug_is_found() {
    if crate::env::text(ONE).is_some() {
        return;
    }
    let mut missed = Vec::new();
    for bug in ALL {
        if first_failure(bug).is_none() {
            missed.push(format!("{bug:?}"));
        }
    }
    assert!(missed.is_empty(), "not found within {SEEDS} seeds: {}", missed.join(", "));
}

/// Dies at every record of a run, and in every request of it, with the run's folder at hand or not.
fn dies_everywhere(variant: &'static str, death: impl Fn(u64) -> Death, points: u64) {
    let scenario = scenario();
    let mut died = 0;
    for point in 1..points {
        for folder_lost in [false, true] {
            let script = Script { death: Some(death(point)), folder_lost, ..Script::calm(7, variant) };
            let outcome = play_script(7, script, &scenario);
            let wrong = check(&outcome);
            assert!(wrong.is_empty(), "{variant} dies at {point}, folder lost: {folder_lost}: {wrong:?}");
            died += u64::from(outcome.ran.is_none());
            let world = outcome.world.lock().unwrap();
            assert_eq!(world.leftovers(), Vec::<String>::new(), "{variant} dies at {point}: {:?}", outcome.swept);
        }
    }
    assert!(died > points, "{variant}: {died} of {points} died, the run is shorter than that");
}

#[test]
fn a_sweep_finishes_a_run_that_dies_after_any_record() {
    let _beside_others = ALONE.read().unwrap_or_else(PoisonError::into_inner);
    for variant in ["killed", "hung", "off", "patched"] {
        dies_everywhere(variant, Death::AfterRecord, 40);
    }
}

#[test]
fn a_sweep_finishes_a_run_that_dies_in_any_request() {
    let _beside_others = ALONE.read().unwrap_or_else(PoisonError::into_inner);
    dies_everywhere("hung", Death::InRequest, 160);
}

#[test]
fn a_sweep_that_cannot_read_the_journal_obeys_the_records_on_the_cluster() {
    let _beside_others = ALONE.read().unwrap_or_else(PoisonError::into_inner);
    for variant in ["hung", "off", "patched"] {
        let (death, journal_unreadable) = (Some(before_detection(variant)), true);
        let script = Script { death, journal_unreadable, ..Script::calm(7, variant) };
        let outcome = play_script(7, script, &scenario());
        assert!(outcome.faulty, "{variant}: the run is to die with its fault in");
        let swept = outcome.swept.as_ref().unwrap().as_ref().unwrap();
        assert!(swept.warnings.iter().any(|line| line.contains("input/output error")), "{variant}: {swept:#?}");
        assert_eq!(outcome.world.lock().unwrap().leftovers(), [""; 0], "{variant}: {swept:#?}");
    }
}

/// A death while the system has yet to notice the fault, in a run with seed 7.
fn before_detection(variant: &'static str) -> Death {
    let text = play_script(7, Script::calm(7, variant), &scenario()).journal().unwrap();
    let records = Journal::parse(&text).unwrap().records;
    let detects = |event: &Event| matches!(event, Event::PhaseStarted { phase: Phase::Detect, .. });
    let at = records.iter().position(|record| detects(&record.event)).unwrap();
    Death::AfterRecord(at as u64 + 1)
}

/// Sweeps a run that died with its fault in by a sweep that ends early, and by another one. How the first one ended.
fn swept_twice(
    variant: &'static str,
    death: Death,
    first_sweep: SweepTrouble,
    folder_lost: bool,
) -> Option<Vec<String>> {
    let text = format!("{variant}, {first_sweep:?}, folder lost: {folder_lost}");
    let script = Script { death: Some(death), first_sweep: Some(first_sweep), folder_lost, ..Script::calm(7, variant) };
    let outcome = play_script(7, script, &scenario());
    assert!(outcome.ran.is_none() && outcome.faulty, "{text}: the run is to die with its fault in");
    let wrong = check(&outcome);
    assert!(wrong.is_empty(), "{text}: {wrong:?}");
    let swept = outcome.swept.as_ref().unwrap().as_ref().unwrap();
    assert!(swept.left.is_empty() && swept.not_obeyed.is_empty(), "{text}: {swept:#?}");
    assert_eq!(outcome.world.lock().unwrap().leftovers(), [""; 0], "{text}: {swept:#?}");
    let (first, left) = outcome.first_sweep?;
    let said = first.unwrap().left;
    assert!(left.is_empty() || !said.is_empty(), "{text}: {left:?} is left and the first sweep does not say so");
    Some(said)
}

#[test]
fn a_sweep_that_dies_in_any_request_is_finished_by_the_next_one() {
    let _beside_others = ALONE.read().unwrap_or_else(PoisonError::into_inner);
    let mut died = 0;
    for variant in ["hung", "off"] {
        let death = before_detection(variant);
        for folder_lost in [false, true] {
            let points = (1..).take_while(|point| {
                *point < 500 && swept_twice(variant, death, SweepTrouble::Dies(*point), folder_lost).is_none()
            });
            died += points.count();
        }
    }
    assert!((80..1_900).contains(&died), "{died} sweeps died");
}

#[test]
fn an_interrupted_sweep_says_what_is_left() {
    let _beside_others = ALONE.read().unwrap_or_else(PoisonError::into_inner);
    let (mut early, death) = (0, before_detection("hung"));
    for after in (0..40).map(|step| Duration::from_millis(step * 50)) {
        for times in [vec![after], vec![after, after + Duration::from_millis(1)]] {
            for folder_lost in [false, true] {
                let said = swept_twice("hung", death, SweepTrouble::Interrupted(times.clone()), folder_lost).unwrap();
                early += u32::from(said.iter().any(|line| line.contains("interrupted")));
            }
        }
    }
    assert!(early > 20, "{early} sweeps were cut short");
}

/// What is said of a dirty end.
const NOT_SEEN: &str = "was not proven to leave the cluster unchanged";

/// A run that ends dirty keeps away the runs of machines that have not its files, until somebody accepts that.
#[test]
fn a_dirty_end_is_known_on_every_machine() {
    let _beside_others = ALONE.read().unwrap_or_else(PoisonError::into_inner);
    for folder_lost in [false, true] {
        let script = Script { leaves_a_change: true, folder_lost, ..Script::calm(7, "patched") };
        let outcome = play_script(7, script, &scenario());
        assert!(matches!(&outcome.ran, Some(Ok(ran)) if !ran.clean), "{:?}", outcome.ran);
        let swept = outcome.swept.as_ref().unwrap().as_ref().unwrap();
        let said = swept.left.join("\n");
        assert!(said.contains(if folder_lost { NOT_SEEN } else { "differs from the snapshot" }), "{said}");
        assert_eq!(outcome.world.lock().unwrap().dirty_ends.len(), 1);
        let elsewhere = Path::new("/another-machine/runs");
        let refused = next_run(&outcome, elsewhere, false).unwrap_err();
        let RunError::Environment { message, hint, dirty } = &refused;
        assert!(message.contains(NOT_SEEN) && !dirty, "{refused:?}");
        assert!(hint.as_ref().unwrap().contains("--accept-current-state"), "{refused:?}");
        let ran = next_run(&outcome, elsewhere, true).unwrap();
        assert!(ran.clean, "{ran:?}");
        let disk = outcome.world.lock().unwrap().disk.clone();
        let journal = String::from_utf8_lossy(disk.bytes(&ran.folder.join(JOURNAL)).unwrap()).into_owned();
        assert!(journal.contains("state_accepted") && journal.contains("its files are on"), "{journal}");
        assert!(outcome.world.lock().unwrap().dirty_ends.is_empty());
    }
}

#[test]
fn an_interrupted_sweep_names_the_dirty_ends_of_other_machines() {
    let _beside_others = ALONE.read().unwrap_or_else(PoisonError::into_inner);
    for times in [vec![Duration::ZERO], vec![Duration::ZERO, Duration::from_millis(1)]] {
        let script = Script {
            leaves_a_change: true,
            folder_lost: true,
            first_sweep: Some(SweepTrouble::Interrupted(times.clone())),
            ..Script::calm(7, "patched")
        };
        let outcome = play_script(7, script, &scenario());
        let (swept, _) = outcome.first_sweep.unwrap();
        let said = swept.unwrap().left.join("\n");
        assert!(said.contains("interrupted") && said.contains(NOT_SEEN), "{times:?}: {said}");
    }
}

#[test]
fn a_run_without_trouble_passes() {
    let scenario = scenario();
    let mut passed = 0;
    for seed in 0..40 {
        let script = Script::of(seed);
        if script != Script::calm(seed, script.variant) {
            continue;
        }
        let outcome = play(seed, &scenario);
        let Some(Ok(ran)) = &outcome.ran else { continue };
        let verdict = verdict_of(&outcome).unwrap();
        assert!(ran.clean && verdict.exit_code == ExitCode::Pass, "seed {seed}: {}: {verdict:#?}", verdict.headline);
        passed += 1;
    }
    assert!(passed >= 5, "{passed} seeds are without trouble");
}

/// The phases of a journal, in the order in which they began.
fn phases(text: &str) -> Vec<Phase> {
    let journal = Journal::parse(text).unwrap();
    let started = journal.records.into_iter().filter_map(|record| match record.event {
        Event::PhaseStarted { phase, .. } => Some(phase),
        _ => None,
    });
    started.collect()
}

#[test]
fn a_simulated_run_has_the_phases_of_a_real_one() {
    let _beside_others = ALONE.read().unwrap_or_else(PoisonError::into_inner);
    let saved = Path::new(env!("CARGO_MANIFEST_DIR")).join("../core/tests/saved/v2-killed/events.jsonl");
    let real = std::fs::read_to_string(saved).unwrap();
    let outcome = play_script(7, Script::calm(7, "killed"), &scenario());
    assert_eq!(phases(&outcome.journal().unwrap()), phases(&real));
}
