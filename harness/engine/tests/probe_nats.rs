//! Probes and the ledger against a real NATS server.

mod probe_support;

use async_nats::jetstream;
use firedrill_core::judge::ledger::count;
use firedrill_core::judge::outage::SeriesTracker;
use firedrill_core::sample::{Cause, Connection, Outcome, Sample};
use firedrill_core::time::{At, millis};
use firedrill_core::verdict::Measured;
use firedrill_engine::ledger::{purge, read_back};
use firedrill_engine::probe::{Endpoint, JetstreamEndpoint, NatsEndpoint, ProbeSpec};
use probe_support::containers::Contained;
use probe_support::{MS, Probing, spec};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_millis(1_000);
const WITHIN: Duration = Duration::from_secs(20);

async fn stream(server: &Contained) -> jetstream::stream::Stream {
    let client = async_nats::connect(server.nats_url()).await.unwrap();
    let config = jetstream::stream::Config {
        name: "EVENTS".to_owned(),
        subjects: vec!["drill.>".to_owned()],
        ..Default::default()
    };
    jetstream::new(client).create_stream(config).await.unwrap()
}

fn publish(server: &Contained, series: u16, connection: Connection) -> ProbeSpec {
    let endpoint = Endpoint::Jetstream(JetstreamEndpoint {
        url: server.nats_url(),
        stream: "EVENTS".to_owned(),
        subject: "drill.a".to_owned(),
        inbox_prefix: None,
    });
    ProbeSpec { series, ..spec(endpoint, connection, 20 * MS, TIMEOUT) }
}

fn store(server: &Contained) -> Endpoint {
    Endpoint::Jetstream(JetstreamEndpoint {
        url: server.nats_url(),
        stream: "EVENTS".to_owned(),
        subject: "drill.a".to_owned(),
        inbox_prefix: None,
    })
}

/// The one outage of a series holds the true time, and ends no later than `slack` after it.
fn holds(samples: &[Sample], series: u16, end: At, broken: (At, At), mended: (At, At), slack: Duration) -> Vec<Cause> {
    let own: Vec<_> = samples.iter().filter(|sample| sample.series == series).copied().collect();
    assert!(own.iter().enumerate().all(|(at, sample)| sample.seq as usize == at));
    let mut tracker = SeriesTracker::new(500 * MS);
    own.iter().for_each(|sample| tracker.push(sample));
    let summary = tracker.finish(end);
    assert_eq!(summary.outages.len(), 1, "{:#?}", summary.outages);
    let outage = &summary.outages[0];
    let Measured::Interval { lower_ms, upper_ms } = outage.length else { panic!("still open: {outage:#?}") };
    // The engine's call takes effect at some moment while it lasts.
    let (least_ms, most_ms) = (millis(mended.0.since(broken.1)), millis(mended.1.since(broken.0)));
    assert!(lower_ms <= most_ms + millis(slack), "{lower_ms} <= {most_ms}");
    assert!(upper_ms >= least_ms, "{upper_ms} >= {least_ms}");
    assert!(upper_ms <= most_ms + millis(slack), "{upper_ms} <= {most_ms} + slack");
    summary.causes.keys().copied().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_server_is_seen_and_no_acknowledged_write_is_lost() {
    let _alone = probe_support::alone().await;
    let server = Contained::nats().await;
    stream(&server).await;
    let probing = Probing::start(vec![publish(&server, 0, Connection::New), publish(&server, 1, Connection::Reused)]);
    let clock = probing.clock;
    probing.wait(700 * MS).await;
    let before = clock.now();
    server.freeze().await;
    let broken = (before, clock.now());
    probing.wait(2_500 * MS).await;
    let before = clock.now();
    server.thaw().await;
    let mended = (before, clock.now());
    probing.wait(2_500 * MS).await;
    let samples = probing.end().await;

    for series in [0, 1] {
        let causes = holds(&samples, series, clock.now(), broken, mended, TIMEOUT + 300 * MS);
        assert!(causes.contains(&Cause::Timeout), "{causes:?}");
    }
    let found = read_back(&store(&server), WITHIN).await.unwrap();
    let ledger = count(1, "nats", samples.iter().copied(), &found);
    assert!(ledger.acknowledged > 60, "{ledger:?}");
    assert_eq!((ledger.lost, ledger.duplicated, ledger.foreign, ledger.refused_found), (0, 0, 0, 0), "{ledger:?}");
    // What lay in the connection of the frozen server may have been applied when it went on.
    assert!(ledger.indeterminate > 0, "{ledger:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_is_seen_and_reconnected_to() {
    let _alone = probe_support::alone().await;
    let server = Contained::nats().await;
    stream(&server).await;
    let probing = Probing::start(vec![publish(&server, 0, Connection::New), publish(&server, 1, Connection::Reused)]);
    let clock = probing.clock;
    probing.wait(700 * MS).await;
    let before = clock.now();
    server.kill().await;
    let broken = (before, clock.now());
    probing.wait(500 * MS).await;
    let before = clock.now();
    server.revive().await;
    let mended = (before, clock.now());
    probing.wait(3_000 * MS).await;
    let samples = probing.end().await;
    for series in [0, 1] {
        let causes = holds(&samples, series, clock.now(), broken, mended, 2_500 * MS);
        assert!(causes.iter().any(|cause| matches!(cause, Cause::Refused | Cause::Reset)), "{causes:?}");
        let found = read_back(&store(&server), WITHIN).await.unwrap();
        let ledger = count(series, "nats", samples.iter().copied(), &found);
        assert_eq!((ledger.lost, ledger.duplicated, ledger.refused_found), (0, 0, 0), "{ledger:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_and_doubled_messages_are_counted() {
    let _alone = probe_support::alone().await;
    let server = Contained::nats().await;
    let stream = stream(&server).await;
    let patient = ProbeSpec { timeout: 5_000 * MS, in_flight_max: 300, ..publish(&server, 7, Connection::Reused) };
    let probing = Probing::start(vec![patient]);
    probing.wait(800 * MS).await;
    let samples: Vec<_> = probing.end().await.into_iter().filter(|sample| sample.outcome != Outcome::Stalled).collect();
    assert!(samples.len() >= 20 && samples.iter().all(Sample::is_ok));
    let mut deleted = Vec::new();
    for sequence in [1, 2, 10] {
        let message = stream.get_raw_message(sequence).await.unwrap();
        let identity: serde_json::Value = serde_json::from_slice(&message.payload).unwrap();
        deleted.push(u32::try_from(identity["seq"].as_u64().unwrap()).unwrap());
        assert!(stream.delete_message(sequence).await.unwrap());
    }
    deleted.sort_unstable();
    let twice = samples.iter().map(|sample| sample.seq).find(|seq| !deleted.contains(seq)).unwrap();
    let client = async_nats::connect(server.nats_url()).await.unwrap();
    let context = jetstream::new(client);
    let again = format!(r#"{{"series":7,"seq":{twice}}}"#);
    for payload in [&again, r#"{"series":7,"seq":4000}"#, "something else"] {
        context.publish("drill.a", payload.to_owned().into()).await.unwrap().await.unwrap();
    }
    context.publish("drill.b", r#"{"series":7,"seq":6}"#.into()).await.unwrap().await.unwrap();

    let found = read_back(&store(&server), WITHIN).await.unwrap();
    let ledger = count(7, "nats", samples.iter().copied(), &found);
    let lost: Vec<u32> = ledger.lost_ranges.iter().flat_map(|(from, until)| *from..=*until).collect();
    assert_eq!((ledger.lost, lost), (3, deleted));
    assert_eq!((ledger.duplicated, ledger.foreign, ledger.acknowledged), (1, 2, samples.len() as u64));

    let gone = purge(&server.nats_url(), "EVENTS", "drill.a", WITHIN).await.unwrap();
    assert_eq!(gone, samples.len() as u64);
    assert!(read_back(&store(&server), WITHIN).await.unwrap().writes().is_empty());
    assert_eq!(stream.get_info().await.unwrap().state.messages, 1, "the other subject is left alone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_not_there_or_another_one_is_unavailable() {
    let server = Contained::nats().await;
    let first = async |endpoint: Endpoint| {
        let probing = Probing::start(vec![spec(endpoint, Connection::Reused, 50 * MS, 2_000 * MS)]);
        probing.wait(200 * MS).await;
        probing.end().await[0].outcome
    };
    let url = server.nats_url();
    let to = |stream: &str| {
        Endpoint::Jetstream(JetstreamEndpoint {
            url: url.clone(),
            stream: stream.to_owned(),
            subject: "drill.a".to_owned(),
            inbox_prefix: None,
        })
    };
    let nobody = first(to("EVENTS")).await;
    assert_eq!(nobody, Outcome::Failed { cause: Cause::Unavailable, code: 503, maybe_applied: false });
    stream(&server).await;
    let other = first(to("OTHER")).await;
    assert_eq!(other, Outcome::Failed { cause: Cause::Unavailable, code: 0, maybe_applied: true });
    assert_eq!(first(Endpoint::Nats(NatsEndpoint { url: url.clone(), inbox_prefix: None })).await, Outcome::Ok);
    let gone = Endpoint::Jetstream(JetstreamEndpoint {
        url: url.clone(),
        stream: "NONE".to_owned(),
        subject: "x".to_owned(),
        inbox_prefix: None,
    });
    assert!(read_back(&gone, WITHIN).await.is_err());
}
