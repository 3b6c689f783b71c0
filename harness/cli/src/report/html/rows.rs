//! Rows of the tables on outages, series and acknowledged writes.

use super::axis::Axis;
use crate::report::text::{count, latency, one_line};
use firedrill_core::sample::Cause;
use firedrill_core::verdict::{SeriesResult, Verdict};

/// Rows of a table, each with its cells.
pub(super) type Rows = Vec<Vec<String>>;

/// A series' name for people.
pub(super) fn series_name(verdict: &Verdict, id: u16) -> String {
    let series = verdict.series.iter().find(|series| series.id == id);
    series.map_or_else(|| format!("series {id}"), |series| one_line(&series.name))
}

/// Every outage.
pub(super) fn outages(verdict: &Verdict, axis: &Axis) -> Rows {
    let mut rows = Vec::new();
    for series in &verdict.series {
        for outage in &series.outages {
            let until =
                outage.first_ok_after.map_or_else(|| "not over".to_owned(), |at| format!("{} s", axis.seconds(at)));
            rows.push(vec![
                one_line(&series.name),
                format!("{} s", axis.seconds(outage.first_failure)),
                until,
                outage.length.to_string(),
                count(outage.failed),
                count(outage.flaps),
                cause(outage.cause),
            ]);
        }
    }
    rows
}

fn cause(cause: Cause) -> String {
    match cause {
        Cause::Timeout => "timeout",
        Cause::Refused => "refused",
        Cause::Reset => "reset",
        Cause::Unreachable => "unreachable",
        Cause::Name => "name not resolved",
        Cause::Status => "status",
        Cause::Body => "body",
        Cause::Unavailable => "unavailable",
        Cause::Protocol => "protocol",
        Cause::Other => "other",
        Cause::Reached => "came through",
        Cause::Denied => "permission denied",
    }
    .to_owned()
}

/// What a series saw.
pub(super) fn series_row(series: &SeriesResult) -> Vec<String> {
    let ms = |figure: Option<f64>| figure.map_or_else(|| "–".to_owned(), latency);
    let causes: Vec<String> = series.causes.iter().map(|(why, n)| format!("{} {}", count(*n), cause(*why))).collect();
    vec![
        one_line(&series.name),
        count(series.samples),
        count(series.failed),
        count(series.stalled),
        ms(series.steady_p50_ms),
        ms(series.steady_p99_ms),
        ms(series.degraded_p99_ms),
        series.degraded_error_ratio.map_or_else(|| "–".to_owned(), |ratio| format!("{:.1} %", ratio * 100.0)),
        if causes.is_empty() { "–".to_owned() } else { causes.join(", ") },
    ]
}

/// What became of acknowledged writes. A store that could not be read has one cell for all figures.
pub(super) fn ledger(verdict: &Verdict) -> Rows {
    let rows = verdict.ledger.iter().map(|ledger| {
        let mut row = vec![series_name(verdict, ledger.series), one_line(&ledger.store)];
        match &ledger.error {
            Some(error) => row.push(format!("cannot be read: {}", one_line(error))),
            None => {
                let ranges: Vec<String> = ledger
                    .lost_ranges
                    .iter()
                    .take(20)
                    .map(|(first, last)| if first == last { first.to_string() } else { format!("{first}–{last}") })
                    .collect();
                let lost = if ranges.is_empty() {
                    count(ledger.lost)
                } else {
                    format!(
                        "{} (numbers {}{})",
                        count(ledger.lost),
                        ranges.join(", "),
                        if ledger.lost_ranges.len() > 20 { ", …" } else { "" }
                    )
                };
                row.extend([
                    count(ledger.acknowledged),
                    lost,
                    count(ledger.duplicated),
                    format!("{} ({} found)", count(ledger.indeterminate), count(ledger.indeterminate_found)),
                    count(ledger.refused_found),
                    count(ledger.foreign),
                ]);
            }
        }
        row
    });
    rows.collect()
}
