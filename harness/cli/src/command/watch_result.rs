//! What `firedrill watch` prints.

use crate::escape::one_line;
use firedrill_core::judge::outage::{FailureCount, SeriesSummary};
use firedrill_core::sample::{Cause, NotSent, SeriesId};
use firedrill_core::time::{At, human, millis};
use firedrill_engine::probe::Watched;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

/// Whether any attempt says something of the endpoint.
pub(super) fn measured(series: &SeriesSummary) -> bool {
    series.samples > series.stalled
}

/// One object. At the top, `outages` and `gaps` are those of all series in the order of their starts, `samples`, `stalls`,
/// `not_sent` and `failures` the sums; where there are several series, `series` has each one's own, and every outage, gap and
/// failure names its series.
pub(super) fn as_json(names: &[String], watched: &Watched) -> Value {
    let several = names.len() > 1;
    let each: Vec<_> = (0..).zip(&watched.series).map(|(index, series)| Shown::of(index, series, watched)).collect();
    let all = |of: fn(&Shown) -> &Vec<(At, Value)>| {
        let of_each = each.iter().enumerate().flat_map(|(index, shown)| of(shown).iter().map(move |one| (index, one)));
        let mut all: Vec<_> = of_each.collect();
        all.sort_by_key(|(index, (at, _))| (*at, *index));
        let named = all.into_iter().map(|(index, (_, value))| {
            let mut value = value.clone();
            if several {
                value["series"] = Value::from(index);
            }
            value
        });
        Value::Array(named.collect())
    };
    let sum = |of: fn(&SeriesSummary) -> u64| watched.series.iter().map(of).sum::<u64>();
    let mut not_sent: BTreeMap<NotSent, u64> = BTreeMap::new();
    for (why, count) in watched.series.iter().flat_map(|series| &series.not_sent) {
        *not_sent.entry(*why).or_default() += count;
    }
    let mut object = json!({
        "outages": all(|shown| &shown.outages), "gaps": all(|shown| &shown.gaps),
        "failures": all(|shown| &shown.failures), "samples": sum(|series| series.samples),
        "stalls": sum(|series| series.stalled), "not_sent": not_sent,
    });
    if several {
        let values = |of: &[(At, Value)]| of.iter().map(|(_, value)| value.clone()).collect::<Vec<_>>();
        let each = names.iter().zip(&watched.series).zip(&each).map(|((name, series), shown)| {
            json!({
                "endpoint": name, "outages": values(&shown.outages), "gaps": values(&shown.gaps),
                "failures": values(&shown.failures), "samples": series.samples, "stalls": series.stalled,
                "not_sent": series.not_sent,
            })
        });
        object["series"] = each.collect();
    }
    object
}

/// What one series has to show, each with its moment.
struct Shown {
    outages: Vec<(At, Value)>,
    gaps: Vec<(At, Value)>,
    failures: Vec<(At, Value)>,
}

impl Shown {
    fn of(index: SeriesId, series: &SeriesSummary, watched: &Watched) -> Self {
        let since = |at: At| rounded(millis(at.since(watched.from)));
        let detail = |cause, code| described(cause, code, watched.remarks.on(index, cause, code));
        let outages = series.outages.iter().zip(&series.details).map(|(outage, detailed)| {
            let upper = outage.length.upper_ms();
            let shown = json!({
                "start_ms": since(outage.first_failure),
                "lower_ms": rounded(outage.length.lower_ms()),
                "upper_ms": upper.map(rounded),
                "open": upper.is_none(),
                "cause": outage.cause,
                "code": detailed.code,
                "detail": detail(outage.cause, detailed.code),
            });
            (outage.first_failure, shown)
        });
        let gaps = series.gaps.iter().map(|gap| {
            (gap.from, json!({ "start_ms": since(gap.from), "length_ms": rounded(millis(gap.until.since(gap.from))) }))
        });
        let failures = series.failures.iter().map(|&FailureCount { cause, code, count }| {
            (At(0), json!({ "cause": cause, "code": code, "count": count, "detail": detail(cause, code) }))
        });
        Self { outages: outages.collect(), gaps: gaps.collect(), failures: failures.collect() }
    }
}

/// Milliseconds to the microsecond, which is what the clock has.
fn rounded(ms: f64) -> f64 {
    (ms * 1_000.0).round() / 1_000.0
}

/// A cause, with what was seen.
fn described(cause: Cause, code: u16, remark: Option<String>) -> String {
    let name = serde_json::to_value(cause).ok().and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default();
    match (cause, code, remark) {
        (Cause::Status | Cause::Denied, _, Some(remark)) => remark,
        (_, _, Some(remark)) => format!("{name}: {remark}"),
        (Cause::Status, 300..=399, None) => format!("status {code}, a redirect (not followed)"),
        (Cause::Status, 100.., None) => format!("status {code}"),
        (Cause::Body, _, None) => format!("body without the text (status {code})"),
        (_, 0, None) => name,
        // Two digits are all that is kept of a SQLSTATE.
        (_, 1..=99, None) => format!("{name} (SQLSTATE class {code:02})"),
        (_, _, None) => format!("{name} (code {code})"),
    }
}

fn not_sent(why: NotSent) -> &'static str {
    match why {
        NotSent::NoLocalPort => "no local address or port was free",
        NotSent::NoFileDescriptor => "no file descriptor was free",
        NotSent::NoMemory => "this machine had no memory for a connection",
        NotSent::Suspended => "this process did not run meanwhile",
    }
}

pub(super) fn as_text(names: &[String], watched: &Watched) -> String {
    let mut text = String::new();
    let ms = |ms: f64| human(Duration::from_secs_f64(ms.max(0.0) / 1_000.0));
    for (index, (name, series)) in (0..).zip(names.iter().zip(&watched.series)) {
        let SeriesSummary { samples, failed, stalled, .. } = series;
        let detail = |cause, code| one_line(&described(cause, code, watched.remarks.on(index, cause, code)));
        let _ = writeln!(text, "{}", one_line(name));
        let _ = writeln!(text, "  {samples} attempts, {failed} failed, {stalled} not sent by this side");
        for (why, count) in &series.not_sent {
            let _ = writeln!(text, "  {count} not sent: {}", not_sent(*why));
        }
        for &FailureCount { cause, code, count } in &series.failures {
            let _ = writeln!(text, "  {count} failed: {}", detail(cause, code));
        }
        if !measured(series) {
            let _ = writeln!(text, "  unknown: nothing was measured");
        } else if series.outages.is_empty() && series.gaps.is_empty() {
            let _ = writeln!(text, "  no outage in {}", human(watched.until.since(watched.from)));
        } else if series.outages.is_empty() {
            let _ = writeln!(text, "  no outage in the time that was watched");
        }
        for (outage, detailed) in series.outages.iter().zip(&series.details) {
            let start = human(outage.first_failure.since(watched.from));
            let length = match outage.length.upper_ms() {
                Some(upper) => format!("{} to {}", ms(outage.length.lower_ms()), ms(upper)),
                None => format!("at least {}, not over", ms(outage.length.lower_ms())),
            };
            let _ = writeln!(text, "  down after {start} for {length}: {}", detail(outage.cause, detailed.code));
        }
        for gap in &series.gaps {
            let (from, length) = (human(gap.from.since(watched.from)), human(gap.until.since(gap.from)));
            let _ = writeln!(text, "  not watched for {length}, from {from} on");
        }
    }
    text
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use firedrill_core::judge::outage::SeriesTracker;
    use firedrill_core::sample::{Outcome, Sample};
    use firedrill_engine::probe::Remarks;

    pub(in super::super) fn summary(outcomes: &[(u64, Outcome)]) -> SeriesSummary {
        let mut tracker = SeriesTracker::new(Duration::from_millis(100));
        for (seq, (ms, outcome)) in (0..).zip(outcomes) {
            let at = At::from_ms(*ms);
            let ended = at.plus(Duration::from_millis(2));
            tracker.push(&Sample { series: 0, seq, intended: at, started: at, ended, outcome: *outcome });
        }
        tracker.finish(At::from_ms(outcomes.last().map_or(0, |(ms, _)| *ms)))
    }

    pub(in super::super) const DOWN: Outcome = Outcome::Failed { cause: Cause::Refused, code: 0, maybe_applied: false };

    #[test]
    fn the_object_is_the_documented_one() {
        let ended = summary(&[(10, Outcome::Ok), (60, DOWN), (110, DOWN), (160, Outcome::Ok), (310, Outcome::Ok)]);
        let series = vec![ended.clone()];
        let remarks = Remarks::default();
        let watched = Watched { from: At::from_ms(10), until: At::from_ms(310), series, remarks };
        let names = ["tcp://a:1".to_owned(), "tcp://b:2".to_owned()];
        let first = json!({"start_ms": 50.0, "lower_ms": 52.0, "upper_ms": 152.0, "open": false, "cause": "refused",
            "code": 0, "detail": "refused"});
        let failures = json!([{"cause": "refused", "code": 0, "count": 2, "detail": "refused"}]);
        let whole =
            json!({"outages": [first], "gaps": [], "failures": failures, "samples": 5, "stalls": 0, "not_sent": {}});
        assert_eq!(as_json(&names[..1], &watched), whole);

        let no_port = Outcome::NotSent { why: NotSent::NoLocalPort };
        let open = summary(&[(20, DOWN), (70, no_port), (5_020, DOWN)]);
        let watched = Watched { series: vec![ended, open], ..watched };
        let both = as_json(&names, &watched);
        assert_eq!((&both["samples"], &both["stalls"]), (&json!(8), &json!(1)));
        assert_eq!((&both["not_sent"], &both["series"][0]["not_sent"]), (&json!({"no-local-port": 1}), &json!({})));
        assert_eq!(both["outages"][0]["series"], 1, "in the order of their starts: {both}");
        assert_eq!(both["outages"][0]["upper_ms"], Value::Null);
        assert_eq!(both["series"][1]["outages"][0]["open"], true);
        assert_eq!(both["series"][0]["outages"][0], first);
        let gap = json!({"start_ms": 12.0, "length_ms": 4_998.0});
        assert_eq!((&both["series"][0]["gaps"], &both["series"][1]["gaps"]), (&json!([]), &json!([gap])));
        assert_eq!(both["gaps"], json!([{"start_ms": 12.0, "length_ms": 4_998.0, "series": 1}]));
        let text = as_text(&names, &watched);
        assert!(text.contains("down after 50.0 ms for 52.0 ms to 0.15 s: refused"), "{text}");
        assert!(text.contains("1 not sent: no local address or port was free"), "{text}");
        assert!(text.contains("not watched for 5.00 s, from 12.0 ms on"), "{text}");
    }

    #[test]
    fn what_was_seen_is_named() {
        let remark = |text: &str| Some(text.to_owned());
        for (cause, code, said, shown) in [
            (Cause::Status, 429, None, "status 429"),
            (Cause::Status, 304, None, "status 304, a redirect (not followed)"),
            (
                Cause::Status,
                302,
                remark("redirect 302 to https://x/ (not followed)"),
                "redirect 302 to https://x/ (not followed)",
            ),
            (Cause::Status, 42, None, "status (SQLSTATE class 42)"),
            (Cause::Unavailable, 8, None, "unavailable (SQLSTATE class 08)"),
            (Cause::Unavailable, 503, None, "unavailable (code 503)"),
            (Cause::Body, 200, None, "body without the text (status 200)"),
            (Cause::Timeout, 0, None, "timeout"),
            (Cause::Protocol, 0, remark("login refused"), "protocol: login refused"),
        ] {
            assert_eq!(described(cause, code, said), shown);
        }
    }
}
