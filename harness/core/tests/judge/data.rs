//! What became of acknowledged writes, and of the file systems under them.

use crate::builder::Run;
use firedrill_core::event::{Event, FileSystem, PageCache};
use firedrill_core::exit::ExitCode;
use firedrill_core::scenario::{Fault, NodeOffFault, PodSelector};
use firedrill_core::verdict::Value;

#[test]
fn where_the_oldest_may_be_lost_a_newer_one_may_not() {
    let judged = |lost_ranges: Vec<(u32, u32)>| {
        let mut run = Run::recovered(62_000);
        let lost = lost_ranges.iter().map(|(first, last)| u64::from(last - first) + 1).sum();
        run.drop_events(|event| matches!(event, Event::Ledger(_))).ledger(72_000, lost, 0);
        run.change_events(|event| {
            if let Event::Ledger(count) = event {
                count.lost_ranges.clone_from(&lost_ranges);
            }
        });
        let policy = &mut run.start.scenario.data;
        policy.lost_acked_max.insert("hung".into(), 100_000);
        policy.lost_acked_oldest = true;
        let data = run.judge().data;
        (data.value, data.reasons.first().cloned().unwrap_or_default())
    };
    assert_eq!(judged(vec![(0, 99)]).0, Value::Pass);
    // As many of the newest: nothing that was announced discards those.
    let (value, why) = judged(vec![(0, 99), (500, 501)]);
    assert_eq!(value, Value::Fail);
    assert!(why.ends_with("2 of the lost writes are newer than one that is still there"), "{why}");
    let (value, why) = judged(vec![(0, 90_000)]);
    assert_eq!(value, Value::Unknown);
    assert!(why.ends_with("none of its writes was found, so none is proven to be kept"), "{why}");
}

#[test]
fn writes_not_looked_for() {
    let mut run = Run::recovered(62_000);
    run.drop_events(|event| matches!(event, Event::Ledger(_)));
    let verdict = run.judge();
    assert_eq!((verdict.data.value, verdict.exit_code), (Value::Unknown, ExitCode::Unknown));
    assert_eq!(verdict.headline, "UNKNOWN: publish (outside, reused connections): its writes were not read back");
}

#[test]
fn a_file_system_that_the_fault_reached_is_part_of_the_data() {
    let judged = |found: Option<FileSystem>| {
        let mut run = Run::recovered(62_000);
        let claim = "ironflow/data-0".to_owned();
        run.event(20_000, Event::VolumesAtRisk { claims: vec![claim.clone()], of_other_drivers: Vec::new() });
        if let Some(found) = found {
            run.event(63_000, Event::VolumeChecked { claim, found });
        }
        let verdict = run.judge();
        (verdict.data.value, verdict.data.reasons.last().cloned().unwrap_or_default())
    };
    assert_eq!(judged(Some(FileSystem::Whole)), (Value::Pass, "file system of ironflow/data-0: whole".to_owned()));
    assert_eq!(judged(Some(FileSystem::Gone)).0, Value::Pass);
    let damaged = FileSystem::Damaged { said: "bad magic".to_owned() };
    assert_eq!(judged(Some(damaged)), (Value::Fail, "file system of ironflow/data-0: damaged: bad magic".to_owned()));
    assert_eq!(judged(Some(FileSystem::Unknown { why: "no driver".to_owned() })).0, Value::Unknown);
    assert_eq!(judged(None), (Value::Unknown, "file system of ironflow/data-0: not checked".to_owned()));
    let mut others = Run::recovered(62_000);
    let of_other_drivers = vec!["ironflow/data-1".to_owned()];
    others.event(20_000, Event::VolumesAtRisk { claims: Vec::new(), of_other_drivers });
    let others = others.judge();
    let said = "not checked, because the volume driver does not support it: file systems of ironflow/data-1";
    assert_eq!((others.data.value, others.data.reasons.last().unwrap().as_str()), (Value::Pass, said));
}

#[test]
fn a_node_that_is_off_and_keeps_its_page_cache_puts_no_unsynced_write_at_risk() {
    let judged = |page_cache: Option<PageCache>, off: bool, lost: u64| {
        let mut run = Run::recovered(62_000);
        run.drop_events(|event| matches!(event, Event::Ledger(_))).ledger(72_000, lost, 0);
        run.start.page_cache = page_cache;
        if off {
            let pods = PodSelector { namespace: "ironflow".into(), labels: "a=b".into() };
            run.start.plan.faults[0].fault = Fault::NodeOff(NodeOffFault { pods, new: false, count: 1, with: None });
        }
        let data = run.judge().data;
        let said = data.reasons.iter().any(|reason| reason.contains("not fsynced were not put at risk"));
        (data.value, said)
    };
    let kept = Some(PageCache::Kept);
    assert_eq!(judged(kept, true, 0), (Value::Pass, true));
    assert_eq!(judged(kept, true, 1), (Value::Fail, true));
    assert_eq!(judged(kept, false, 0), (Value::Pass, false), "a container that is frozen or killed");
    assert_eq!(judged(Some(PageCache::Lost), true, 0), (Value::Pass, false), "a machine that loses its power");
    assert_eq!(judged(None, true, 0), (Value::Pass, false), "the provider does not say");
}
