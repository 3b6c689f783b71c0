//! The ledger: every acknowledged write is looked for where it was written, and the file systems that the fault may have harmed
//! are checked.

use super::arm::Instruments;
use super::context::{Context, Stop};
use crate::planted::{self, Bug};
use firedrill_core::event::{Event, FileSystem, LedgerCount};
use firedrill_core::judge::ledger::{self, Found};
use firedrill_core::plan::Series;
use firedrill_core::sample::{Sample, SampleReader};
use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

/// How long one store may take to be read to its end.
const READ_WITHIN: Duration = Duration::from_secs(60);
/// How long a store that cannot be read is asked again: what crashed until the undo is started again only after the kubelet's
/// pause, which is 160 s by the fifth crash. Less than the phase's own limit by what one more reading takes.
const AGAIN_FOR: Duration = Duration::from_secs(200);
/// Time between two such questions.
const AGAIN_EVERY: Duration = Duration::from_secs(1);

/// Reads every store back and counts, series by series, then checks the file systems: each stands still for a moment. What
/// cannot be read is recorded as that, and counts for nothing.
///
/// # Errors
/// Where the samples file cannot be read.
pub(super) async fn count(context: &Context, armed: &Instruments) -> Result<((), String), Stop> {
    let stores: BTreeMap<String, &'static str> = armed.vantages.stores().into_iter().collect();
    let mut found: BTreeMap<&str, Result<Found, String>> = BTreeMap::new();
    let again_until = context.at().plus(AGAIN_FOR);
    for probe in stores.keys() {
        let mut tick = tokio::time::interval(AGAIN_EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let read = loop {
            tick.tick().await;
            context.doing(format!("reading back what {probe} wrote"));
            match armed.vantages.read_back(probe, READ_WITHIN).await {
                Err(error) if context.at() < again_until => context.doing(error.to_string()),
                read => break read.map_err(|error| error.to_string()),
            }
        };
        found.insert(probe, read);
    }
    let mut texts = Vec::new();
    for series in context.plan.series.iter().filter(|series| series.kind.writes()) {
        let store = stores.get(&series.probe);
        let (Some(store), Some(read)) = (store, found.get(series.probe.as_str())) else { continue };
        let count = match read {
            Ok(found) => {
                let attempts = attempts(context, series).map_err(Stop::failed)?;
                if planted::has(Bug::LedgerNotRead) {
                    let all = Found::new(attempts.iter().map(|attempt| (attempt.series, attempt.seq)));
                    context.recorder.record(Event::Ledger(ledger::count(series.id, store, attempts.into_iter(), &all)));
                    continue;
                }
                ledger::count(series.id, store, attempts.into_iter(), found)
            }
            Err(error) => ledger::unreadable(series.id, store, error.clone()),
        };
        texts.push(text(series, &count));
        context.recorder.record(Event::Ledger(count));
    }
    let mut whole = 0;
    for volume in &armed.at_risk {
        context.doing(format!("checking the file system of {}", volume.claim));
        let found = context.ports.observer.check_file_system(volume).await;
        whole += usize::from(found == FileSystem::Whole);
        context.recorder.record(Event::VolumeChecked { claim: volume.claim.clone(), found });
    }
    if !armed.at_risk.is_empty() {
        texts.push(format!("{whole} of {} file systems seen whole", armed.at_risk.len()));
    }
    Ok(((), texts.join("; ")))
}

fn text(series: &Series, count: &LedgerCount) -> String {
    match &count.error {
        Some(error) => format!("{}: {error}", series.probe),
        None => format!("{} {} acknowledged, {} lost", series.probe, count.acknowledged, count.lost),
    }
}

/// All attempts of one series. A drill's writes are some ten thousand at most, so they fit into memory.
fn attempts(context: &Context, series: &Series) -> io::Result<Vec<Sample>> {
    let mut reader = SampleReader::new(context.ports.store.open(&context.folder.join("samples.bin"))?)?;
    let mut attempts = Vec::new();
    while let Some(sample) = reader.next_sample()? {
        if sample.series == series.id {
            attempts.push(sample);
        }
    }
    Ok(attempts)
}
