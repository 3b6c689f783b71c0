//! `firedrill watch`: the outages of any endpoint, measured with the drills' own probes and judge.

use super::common::each;
use super::run::CtrlC;
use crate::error::{CliError, exit};
use crate::escape::{self, one_line};
use crate::printer::Printer;
use clap::{Args, ValueEnum};
use firedrill_core::judge::outage::SeriesSummary;
use firedrill_core::sample::Connection;
use firedrill_core::time::{At, human, millis, parse_duration};
use firedrill_core::verdict::Outage;
use firedrill_engine::probe::{self, Endpoint, ProbeSpec, Watched};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::time::Duration;

/// What to watch, and how.
#[derive(Clone, Debug, Args)]
#[command(group(clap::ArgGroup::new("endpoint").required(true).multiple(true).args(["http", "tcp", "nats", "postgres"])))]
pub(crate) struct WatchArgs {
    /// GET this URL (plain http).
    #[arg(long, value_name = "URL")]
    http: Vec<String>,
    /// The HTTP status expected.
    #[arg(long, value_name = "CODE", default_value_t = 200, requires = "http")]
    status: u16,
    /// What the HTTP body must contain.
    #[arg(long, value_name = "TEXT", requires = "http")]
    body: Option<String>,
    /// Open a TCP connection.
    #[arg(long, value_name = "HOST:PORT")]
    tcp: Vec<String>,
    /// A round trip through this NATS server; with --stream and --subject, a publish that the stream acknowledges.
    #[arg(long, value_name = "URL")]
    nats: Option<String>,
    /// The stream that must acknowledge. The messages stay in it.
    #[arg(long, value_name = "NAME", requires_all = ["nats", "subject"])]
    stream: Option<String>,
    /// The subject to publish to.
    #[arg(long, value_name = "SUBJECT", requires_all = ["nats", "stream"])]
    subject: Option<String>,
    /// `SELECT 1` from this PostgreSQL database; with --table, an insert that is committed.
    #[arg(long, value_name = "URL")]
    postgres: Option<String>,
    /// A table with the columns `series integer` and `seq bigint`. The rows stay in it.
    #[arg(long, value_name = "NAME", requires = "postgres")]
    table: Option<String>,
    /// Time between two attempts, 1ms to 60s.
    #[arg(long, value_name = "TIME", default_value = "50ms", value_parser = parse_duration)]
    every: Duration,
    /// How long to watch; Ctrl-C or SIGTERM ends it early with what was measured.
    #[arg(long = "for", value_name = "TIME", default_value = "30s", value_parser = parse_duration)]
    time: Duration,
    /// Each attempt's own limit.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = parse_duration)]
    timeout: Duration,
    /// A new connection for each attempt, or one that is kept.
    #[arg(long, value_enum, default_value_t = ConnectionArg::New)]
    connection: ConnectionArg,
    /// The unbroken success that ends an outage.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = parse_duration)]
    sustained: Duration,
    /// How the result is written.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ConnectionArg {
    New,
    Reused,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    Json,
    Text,
}

impl WatchArgs {
    fn endpoints(&self) -> Result<Vec<Endpoint>, CliError> {
        let mut endpoints = Vec::new();
        for url in &self.http {
            endpoints.push(Endpoint::Http { url: url.clone(), status: self.status, body: self.body.clone() });
        }
        endpoints.extend(each(self.tcp.iter().map(|address| {
            let parts = address.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
            let (host, port) = parts.ok_or_else(|| CliError::input(format!("--tcp {address}: not HOST:PORT")))?;
            let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
            Ok(Endpoint::Tcp { host, port })
        }))?);
        if let Some(url) = self.nats.clone() {
            endpoints.push(match (self.stream.clone(), self.subject.clone()) {
                (Some(stream), Some(subject)) => Endpoint::Jetstream { url, stream, subject },
                _ => Endpoint::Nats { url },
            });
        }
        if let Some(url) = self.postgres.clone() {
            endpoints.push(match self.table.clone() {
                Some(table) => Endpoint::Postgres { url, table },
                None => Endpoint::PostgresRead { url },
            });
        }
        Ok(endpoints)
    }

    fn specs(&self) -> Result<Vec<ProbeSpec>, CliError> {
        let spec = |endpoint| ProbeSpec {
            series: 0,
            endpoint,
            every: self.every,
            timeout: self.timeout,
            connection: match self.connection {
                ConnectionArg::New => Connection::New,
                ConnectionArg::Reused => Connection::Reused,
            },
            in_flight_max: ProbeSpec::in_flight_for(self.every, self.timeout),
            blocked: false,
        };
        Ok(self.endpoints()?.into_iter().map(spec).collect())
    }

    /// All that is wrong, before anything is asked of an endpoint.
    fn checked(&self) -> Result<Vec<ProbeSpec>, CliError> {
        let mut wrong = Vec::new();
        if self.time.is_zero() {
            wrong.push(CliError::input("--for 0s: nothing would be measured"));
        } else if self.sustained > self.time {
            let (sustained, time) = (human(self.sustained), human(self.time));
            let error = CliError::input(format!("--sustained {sustained} is longer than --for {time}"));
            wrong.push(error.with_hint("no outage could be seen to end"));
        }
        let specs = self.specs().unwrap_or_else(|error| {
            wrong.push(error);
            Vec::new()
        });
        wrong.extend(specs.iter().filter_map(|spec| spec.check().err()).map(CliError::input));
        CliError::together(wrong).map_or(Ok(specs), Err)
    }
}

/// Watches, prints the result and returns the exit code: 0 where every endpoint was measured, 2 where one was not.
///
/// # Errors
/// Where the arguments cannot be used, or the result cannot be written.
pub(crate) async fn watch(args: WatchArgs, printer: &mut Printer) -> Result<u8, CliError> {
    let specs = args.checked()?;
    let names: Vec<_> = specs.iter().map(|spec| spec.endpoint.to_string()).collect();
    let ctrl_c = CtrlC::listen();
    let interrupted = ctrl_c.interrupts.at_least(1);
    let watched = probe::watch(specs, args.sustained, args.time, interrupted).await.map_err(CliError::input)?;
    let result = match args.output {
        Output::Json => escape::json(&as_json(&names, &watched).to_string()),
        Output::Text => as_text(&names, &watched),
    };
    printer.result(&result).map_err(CliError::environment)?;
    Ok(if watched.series.iter().all(measured) { exit::PASS } else { exit::UNKNOWN })
}

fn measured(series: &SeriesSummary) -> bool {
    series.samples > series.stalled
}

/// One object. At the top, `outages` are those of all series in the order of their starts, `samples` and `stalls` the sums;
/// where there are several series, `series` has each one's own and every outage names its series.
fn as_json(names: &[String], watched: &Watched) -> Value {
    let several = names.len() > 1;
    let mut outages: Vec<_> =
        (0..).zip(&watched.series).flat_map(|(index, series)| series.outages.iter().map(move |o| (index, o))).collect();
    outages.sort_by_key(|(index, outage)| (outage.first_failure, *index));
    let outages: Vec<_> = outages
        .into_iter()
        .map(|(index, outage)| {
            let mut shown = outage_json(outage, watched.from);
            if several {
                shown["series"] = Value::from(index);
            }
            shown
        })
        .collect();
    let sum = |of: fn(&SeriesSummary) -> u64| watched.series.iter().map(of).sum::<u64>();
    let mut object = json!({
        "outages": outages, "samples": sum(|series| series.samples), "stalls": sum(|series| series.stalled),
    });
    if several {
        let each = names.iter().zip(&watched.series).map(|(name, series)| {
            let outages: Vec<_> = series.outages.iter().map(|outage| outage_json(outage, watched.from)).collect();
            json!({ "endpoint": name, "outages": outages, "samples": series.samples, "stalls": series.stalled })
        });
        object["series"] = each.collect();
    }
    object
}

fn outage_json(outage: &Outage, from: At) -> Value {
    let upper = outage.length.upper_ms();
    json!({
        "start_ms": rounded(millis(outage.first_failure.since(from))),
        "lower_ms": rounded(outage.length.lower_ms()),
        "upper_ms": upper.map(rounded),
        "open": upper.is_none(),
        "cause": outage.cause,
    })
}

/// Milliseconds to the microsecond, which is what the clock has.
fn rounded(ms: f64) -> f64 {
    (ms * 1_000.0).round() / 1_000.0
}

fn as_text(names: &[String], watched: &Watched) -> String {
    let mut text = String::new();
    let ms = |ms: f64| human(Duration::from_secs_f64(ms.max(0.0) / 1_000.0));
    for (name, series) in names.iter().zip(&watched.series) {
        let SeriesSummary { samples, failed, stalled, .. } = series;
        let _ = writeln!(text, "{}", one_line(name));
        let _ = writeln!(text, "  {samples} attempts, {failed} failed, {stalled} not sent by this side");
        if !measured(series) {
            let _ = writeln!(text, "  unknown: nothing was measured");
        } else if series.outages.is_empty() {
            let _ = writeln!(text, "  no outage in {}", human(watched.until.since(watched.from)));
        }
        for outage in &series.outages {
            let start = human(outage.first_failure.since(watched.from));
            let length = match outage.length.upper_ms() {
                Some(upper) => format!("{} to {}", ms(outage.length.lower_ms()), ms(upper)),
                None => format!("at least {}, not over", ms(outage.length.lower_ms())),
            };
            let cause = serde_json::to_value(outage.cause).unwrap_or_default();
            let _ = writeln!(text, "  down after {start} for {length}: {}", cause.as_str().unwrap_or("other"));
        }
        for gap in &series.gaps {
            let (from, length) = (human(gap.from.since(watched.from)), human(gap.until.since(gap.from)));
            let _ = writeln!(text, "  not measured after {from} for {length}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use firedrill_core::judge::outage::SeriesTracker;
    use firedrill_core::sample::{Cause, Outcome, Sample};

    #[derive(Parser)]
    struct Wrapped {
        #[command(flatten)]
        args: WatchArgs,
    }

    fn parsed(text: &str) -> Result<WatchArgs, clap::Error> {
        Wrapped::try_parse_from(std::iter::once("watch").chain(text.split(' '))).map(|wrapped| wrapped.args)
    }

    fn summary(outcomes: &[(u64, Outcome)]) -> SeriesSummary {
        let mut tracker = SeriesTracker::new(Duration::from_millis(100));
        for (seq, (ms, outcome)) in (0..).zip(outcomes) {
            let at = At::from_ms(*ms);
            let ended = at.plus(Duration::from_millis(2));
            tracker.push(&Sample { series: 0, seq, intended: at, started: at, ended, outcome: *outcome });
        }
        tracker.finish(At::from_ms(outcomes.last().map_or(0, |(ms, _)| *ms)))
    }

    const DOWN: Outcome = Outcome::Failed { cause: Cause::Refused, code: 0, maybe_applied: false };

    #[test]
    fn the_object_is_the_documented_one() {
        let ended = summary(&[(10, Outcome::Ok), (60, DOWN), (110, DOWN), (160, Outcome::Ok), (310, Outcome::Ok)]);
        let watched = Watched { from: At::from_ms(10), until: At::from_ms(310), series: vec![ended.clone()] };
        let names = ["tcp://a:1".to_owned(), "tcp://b:2".to_owned()];
        let first = json!({"start_ms": 50.0, "lower_ms": 52.0, "upper_ms": 152.0, "open": false, "cause": "refused"});
        assert_eq!(as_json(&names[..1], &watched), json!({"outages": [first], "samples": 5, "stalls": 0}));

        let open = summary(&[(20, DOWN), (70, Outcome::Stalled)]);
        let watched = Watched { series: vec![ended, open], ..watched };
        let both = as_json(&names, &watched);
        assert_eq!((&both["samples"], &both["stalls"]), (&json!(7), &json!(1)));
        assert_eq!(both["outages"][0]["series"], 1, "in the order of their starts: {both}");
        assert_eq!(both["outages"][0]["upper_ms"], Value::Null);
        assert_eq!(both["series"][1]["outages"][0]["open"], true);
        assert_eq!(both["series"][0]["outages"][0], first);
        assert!(as_text(&names, &watched).contains("down after 50.0 ms for 52.0 ms to 0.15 s: refused"));
    }

    #[test]
    fn nothing_sent_is_not_measured() {
        assert!(!measured(&summary(&[(0, Outcome::Stalled)])));
        assert!(!measured(&summary(&[])));
    }

    #[test]
    fn arguments_that_belong_together() {
        assert!(parsed("--every 10ms").is_err(), "something to watch is needed");
        assert!(parsed("--nats nats://a --stream S").is_err());
        assert!(parsed("--stream S --subject x").is_err());
        assert!(parsed("--http http://a/ --every 10").is_err(), "a unit is needed");
        let args = parsed("--http http://a/ --tcp [::1]:80 --nats nats://a --for 1m30s --connection reused").unwrap();
        assert_eq!(args.time, Duration::from_secs(90));
        let specs = args.specs().unwrap();
        assert_eq!(specs.len(), 3);
        assert_eq!(specs[1].endpoint, Endpoint::Tcp { host: "::1".to_owned(), port: 80 });
        assert!(specs.iter().all(|spec| spec.connection == Connection::Reused));
        let wrong = "--tcp nowhere --tcp neither --every 0s --timeout 0s --for 0s --http http://";
        let wrong = parsed(wrong).unwrap().checked().unwrap_err().to_string();
        assert!(["--for 0s", "nowhere", "neither"].iter().all(|what| wrong.contains(what)), "{wrong}");
        let wrong = parsed("--http http:// --every 0s --timeout 0s --sustained 2m").unwrap().checked().unwrap_err();
        let wrong = wrong.to_string();
        let all = ["--sustained", "between attempts", "the timeout must"];
        assert!(all.iter().all(|what| wrong.contains(what)), "{wrong}");
        assert!(parsed("--tcp a:1 --sustained 2m --for 3m").unwrap().checked().is_ok());
    }
}
