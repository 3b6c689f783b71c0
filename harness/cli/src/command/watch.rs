//! `firedrill watch`: the outages of any endpoint, measured with the drills' own probes and judge.

use super::common::each;
use super::run::CtrlC;
use super::watch_result::{as_json, as_text, measured};
use crate::error::CliError;
use crate::escape;
use crate::printer::Printer;
use clap::{Args, ValueEnum};
use firedrill_core::exit::ExitCode;
use firedrill_core::judge::outage::SeriesSummary;
use firedrill_core::sample::Connection;
use firedrill_core::time::{human, parse_duration};
use firedrill_engine::probe::{
    self, Endpoint, HttpEndpoint, JetstreamEndpoint, NatsEndpoint, PostgresEndpoint, PostgresReadEndpoint, ProbeSpec,
    TcpEndpoint, redacted,
};
use std::time::Duration;

/// What to watch, and how.
#[derive(Clone, Debug, Args)]
#[command(group(clap::ArgGroup::new("endpoint").required(true).multiple(true).args(["http", "tcp", "nats", "postgres"])))]
pub(crate) struct WatchArgs {
    /// Send GET to this URL (plain http). Credentials in the URL are sent as Basic authentication. Redirects are not followed. Without
    /// --body only the status counts, so a response that never ends is fine.
    #[arg(long, value_name = "URL")]
    http: Vec<String>,
    /// The expected HTTP status.
    #[arg(long, value_name = "CODE", default_value_t = 200, requires = "http")]
    status: u16,
    /// A text that the first MiB of the HTTP body must contain.
    #[arg(long, value_name = "TEXT", requires = "http")]
    body: Option<String>,
    /// Open a TCP connection to this address.
    #[arg(long, value_name = "HOST:PORT")]
    tcp: Vec<String>,
    /// The inbox prefix of NATS replies, if the user may not subscribe to `_INBOX.>`.
    #[arg(long, value_name = "PREFIX", requires = "nats")]
    inbox_prefix: Option<String>,
    /// Make a round trip through this NATS server. With --stream and --subject, publish a message that the stream acknowledges.
    #[arg(long, value_name = "URL")]
    nats: Option<String>,
    /// The stream that must acknowledge the messages. They are not deleted.
    #[arg(long, value_name = "NAME", requires_all = ["nats", "subject"])]
    stream: Option<String>,
    /// The subject to publish to.
    #[arg(long, value_name = "SUBJECT", requires_all = ["nats", "stream"])]
    subject: Option<String>,
    /// Run `SELECT 1` on this PostgreSQL database. With --table, commit an insert. Several hosts are tried in order
    /// (postgres://USER:PASSWORD@A,B/NAME?target_session_attrs=read-write).
    #[arg(long, value_name = "URL")]
    postgres: Option<String>,
    /// A table with the columns `series integer` and `seq bigint`. The rows are not deleted.
    #[arg(long, value_name = "NAME", requires = "postgres")]
    table: Option<String>,
    /// The time between two attempts, 1ms to 60s.
    #[arg(long, value_name = "TIME", default_value = "50ms", value_parser = parse_duration)]
    every: Duration,
    /// How long to watch. Ctrl-C or SIGTERM stops early and prints what was measured.
    #[arg(long = "for", value_name = "TIME", default_value = "30s", value_parser = parse_duration)]
    time: Duration,
    /// The timeout of one attempt.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = parse_duration)]
    timeout: Duration,
    /// Open a new connection for each attempt, or reuse one.
    #[arg(long, value_enum, default_value_t = ConnectionArg::New)]
    connection: ConnectionArg,
    /// How long every attempt must succeed until an outage counts as over.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = parse_duration)]
    sustained: Duration,
    /// Exit with 1 if an outage was seen. Exit with 2 if none was seen but some time was not watched.
    #[arg(long, value_enum, value_name = "WHAT")]
    fail_on: Option<FailOn>,
    /// The output format.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// A reason to exit with code 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FailOn {
    /// An outage of any endpoint.
    Outage,
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
            endpoints.push(Endpoint::Http(HttpEndpoint {
                url: url.clone(),
                status: self.status,
                body: self.body.clone(),
            }));
        }
        endpoints.extend(each(self.tcp.iter().map(|address| {
            let parts = address.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
            let wrong = || CliError::input(format!("--tcp {}: not HOST:PORT", redacted(address)));
            let (host, port): (&str, u16) = parts.ok_or_else(wrong)?;
            if host.contains(['/', '@']) {
                return Err(wrong());
            }
            let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
            Ok(Endpoint::Tcp(TcpEndpoint { host, port }))
        }))?);
        if let Some(url) = self.nats.clone() {
            let inbox_prefix = self.inbox_prefix.clone();
            endpoints.push(match (self.stream.clone(), self.subject.clone()) {
                (Some(stream), Some(subject)) => {
                    Endpoint::Jetstream(JetstreamEndpoint { url, stream, subject, inbox_prefix })
                }
                _ => Endpoint::Nats(NatsEndpoint { url, inbox_prefix }),
            });
        }
        if let Some(url) = self.postgres.clone() {
            endpoints.push(match self.table.clone() {
                Some(table) => Endpoint::Postgres(PostgresEndpoint { url, table }),
                None => Endpoint::PostgresRead(PostgresReadEndpoint { url }),
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

/// Watches, prints the result and returns the exit code.
///
/// # Errors
/// Where the arguments cannot be used, or the result cannot be written.
pub(crate) async fn watch(args: WatchArgs, printer: &mut Printer) -> Result<ExitCode, CliError> {
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
    Ok(exit_code(args.fail_on, &watched.series))
}

/// 0 where every endpoint was measured, 2 where one was not. With `--fail-on outage`, 1 where an outage was seen; where none was
/// seen, 2 if one may have been missed.
fn exit_code(fail_on: Option<FailOn>, series: &[SeriesSummary]) -> ExitCode {
    let measured = series.iter().all(measured);
    let whole = series.iter().all(|series| series.gaps.is_empty() && series.gaps_dropped == 0);
    match fail_on {
        Some(FailOn::Outage) if series.iter().any(|series| !series.outages.is_empty()) => ExitCode::Failed,
        Some(FailOn::Outage) if !whole => ExitCode::Unknown,
        _ if measured => ExitCode::Pass,
        _ => ExitCode::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::super::watch_result::tests::{DOWN, summary};
    use super::*;
    use clap::Parser;
    use firedrill_core::sample::{NotSent, Outcome};

    #[derive(Parser)]
    struct Wrapped {
        #[command(flatten)]
        args: WatchArgs,
    }

    fn parsed(text: &str) -> Result<WatchArgs, clap::Error> {
        Wrapped::try_parse_from(std::iter::once("watch").chain(text.split(' '))).map(|wrapped| wrapped.args)
    }

    #[test]
    fn an_outage_ends_with_1_only_where_that_is_asked_for() {
        let up: Vec<_> = (0..20).map(|n| (n * 50, Outcome::Ok)).collect();
        let (up, down) = (summary(&up), summary(&[(0, Outcome::Ok), (50, DOWN)]));
        let gap = summary(&[(0, Outcome::Ok), (5_000, Outcome::Ok)]);
        let nothing = summary(&[(0, Outcome::NotSent { why: NotSent::NoFileDescriptor })]);
        let code = |fail_on, series: &[&SeriesSummary]| {
            exit_code(fail_on, &series.iter().map(|series| (*series).clone()).collect::<Vec<_>>())
        };
        use ExitCode::{Failed, Pass, Unknown};
        let asked = Some(FailOn::Outage);
        assert_eq!(
            [code(None, &[&down]), code(None, &[&up, &gap]), code(None, &[&up, &nothing])],
            [Pass, Pass, Unknown]
        );
        assert_eq!(
            [code(asked, &[&up, &down]), code(asked, &[&up]), code(asked, &[&nothing, &down])],
            [Failed, Pass, Failed]
        );
        assert_eq!(
            [code(asked, &[&up, &gap]), code(asked, &[&nothing])],
            [Unknown; 2],
            "an outage may have been missed"
        );
    }

    #[test]
    fn a_login_is_shown_nowhere() {
        for text in [
            "--tcp http://user:secret@host:80",
            "--tcp user:secret@host",
            "--http http://user:secret@host/ --every 0s",
            "--http http://user:se#cret@host/",
            "--nats nats://user:se#cret@host",
            "--nats nats://user:secret@host/x",
            "--postgres postgres://user:secret@host/x?connect_timeout=3",
            "--postgres postgres://user:se@cret@a,b/x",
        ] {
            let error = parsed(text).unwrap().checked().unwrap_err();
            let shown = format!(
                "{error} {:?} {}",
                error.hint(),
                parsed(text).unwrap().endpoints().map_or(String::new(), |all| format!("{all:?} {}", all[0]))
            );
            assert!(!shown.contains("cret"), "{shown}");
            assert_eq!(error.exit_code(), ExitCode::Input);
        }
        let several =
            parsed("--postgres postgres://u:p@a,b/db?target_session_attrs=read-write").unwrap().checked().unwrap();
        assert_eq!(several[0].endpoint.to_string(), "postgres://***@a,b/db?***");
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
        assert_eq!(specs[1].endpoint, Endpoint::Tcp(TcpEndpoint { host: "::1".to_owned(), port: 80 }));
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
