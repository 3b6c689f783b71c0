//! Probes and the judge against a server on the loopback that is broken at known times.

mod probe_support;

use firedrill_core::judge::outage::SeriesTracker;
use firedrill_core::sample::{Cause, Connection, Outcome, Sample};
use firedrill_core::time::{At, millis};
use firedrill_core::verdict::{Measured, Outage};
use firedrill_engine::clock::Clock;
use firedrill_engine::probe::{self, Endpoint, HttpEndpoint, ProbeSpec, TcpEndpoint};
use probe_support::server::{Mood, Server};
use probe_support::{MS, spec};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

const TIMEOUT: Duration = Duration::from_millis(400);

fn http(server: &Server, connection: Connection) -> ProbeSpec {
    let endpoint = Endpoint::Http(HttpEndpoint {
        url: format!("http://127.0.0.1:{}/ready", server.port()),
        status: 200,
        body: Some("ready".to_owned()),
    });
    spec(endpoint, connection, 10 * MS, TIMEOUT)
}

/// Measures while the server is well, in the given mood for a while, and well again; returns when it was in that
/// mood, the samples and the end.
async fn measure(connection: Connection, mood: Mood) -> (At, At, Vec<Sample>, At) {
    let server = Server::start().await;
    let clock = Clock::start();
    let (sink, mut samples) = mpsc::channel(10_000);
    let stop = CancellationToken::new();
    let probing = probe::start(vec![http(&server, connection)], clock, sink, stop.clone());
    let wait = async |for_ms: u32| tokio::time::sleep_until(clock.deadline(clock.now().plus(for_ms * MS))).await;
    wait(300).await;
    // Just before and just after: the true outage lies between.
    let broken = clock.now();
    server.set(mood).await;
    wait(600).await;
    server.set(Mood::Well).await;
    let mended = clock.now();
    wait(700).await;
    stop.cancel();
    probing.await.unwrap();
    let mut got = Vec::new();
    while let Some(sample) = samples.recv().await {
        got.push(sample);
    }
    (broken, mended, got, clock.now())
}

fn judged(samples: &[Sample], end: At) -> Vec<Outage> {
    let mut tracker = SeriesTracker::new(200 * MS);
    samples.iter().for_each(|sample| tracker.push(sample));
    tracker.finish(end).outages
}

/// The one outage is seen where it was, with the cause given, and its interval holds its true length.
fn holds((broken, mended, samples, end): (At, At, Vec<Sample>, At), cause: Cause) -> Vec<Sample> {
    assert!(samples.iter().enumerate().all(|(at, sample)| sample.seq as usize == at), "in order, without gaps");
    assert!(samples.iter().all(|sample| sample.ended.since(sample.started) < TIMEOUT + 100 * MS));
    let outages = judged(&samples, end);
    assert_eq!(outages.len(), 1, "{outages:#?}");
    let outage = &outages[0];
    assert_eq!(outage.cause, cause, "{outage:#?}");
    let Measured::Interval { lower_ms, upper_ms } = outage.length else { panic!("still open: {outage:#?}") };
    let true_ms = millis(mended.since(broken));
    // A request that is under way when the server changes its mind meets the mood at its answer.
    let edge_ms = 15.0;
    assert!(lower_ms <= true_ms + edge_ms, "{lower_ms} <= {true_ms}");
    assert!(upper_ms >= true_ms - edge_ms, "{upper_ms} >= {true_ms}");
    assert!(upper_ms - lower_ms < 150.0 + 2.0 * millis(TIMEOUT), "{lower_ms} to {upper_ms}");
    let before = outage.last_ok_before.unwrap();
    assert!(before <= broken.plus(20 * MS) && outage.first_ok_after.unwrap().plus(20 * MS) >= mended);
    samples
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_refuses() {
    let _alone = probe_support::alone().await;
    for connection in [Connection::New, Connection::Reused] {
        let samples = holds(measure(connection, Mood::Refusing).await, Cause::Refused);
        let maybe = |sample: &&Sample| matches!(sample.outcome, Outcome::Failed { maybe_applied: true, .. });
        assert_eq!(samples.iter().filter(maybe).count(), 0, "a GET applies nothing");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_hangs() {
    let _alone = probe_support::alone().await;
    for connection in [Connection::New, Connection::Reused] {
        let (broken, mended, samples, end) = measure(connection, Mood::Hanging).await;
        // Open loop: no attempt was held back by those that hang, and none was given up by this side.
        let during = samples.iter().filter(|s| s.intended >= broken && s.intended <= mended).count();
        assert!((55..=75).contains(&during), "{during}");
        // On a machine that has other work to do, this side is late now and then.
        let stalled = samples.iter().filter(|sample| sample.outcome == Outcome::Stalled).count();
        assert!(stalled * 10 < samples.len(), "{stalled} of {}", samples.len());
        holds((broken, mended, samples, end), Cause::Timeout);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_resets() {
    let _alone = probe_support::alone().await;
    for connection in [Connection::New, Connection::Reused] {
        holds(measure(connection, Mood::Resetting).await, Cause::Reset);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_answers_wrongly() {
    let _alone = probe_support::alone().await;
    for connection in [Connection::New, Connection::Reused] {
        let samples = holds(measure(connection, Mood::Status(503)).await, Cause::Status);
        let coded = |sample: &&Sample| {
            matches!(sample.outcome, Outcome::Failed { cause: Cause::Status, code: 503, maybe_applied: false })
        };
        assert!(samples.iter().filter(coded).count() >= 40);
        holds(measure(connection, Mood::Body).await, Cause::Body);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_new_or_kept_as_asked() {
    let _alone = probe_support::alone().await;
    for (connection, kept) in [(Connection::New, false), (Connection::Reused, true)] {
        let server = Server::start().await;
        let (sink, mut samples) = mpsc::channel(10_000);
        let stop = CancellationToken::new();
        let clock = Clock::start();
        let probing = probe::start(vec![http(&server, connection)], clock, sink, stop.clone());
        let first = samples.recv().await.unwrap();
        assert!(first.started <= At::from_ms(30), "start to first sample: {:?}", first.started);
        tokio::time::sleep_until(clock.deadline(At::from_ms(500))).await;
        stop.cancel();
        probing.await.unwrap();
        let mut count = 1;
        while let Some(sample) = samples.recv().await {
            assert_eq!(sample.outcome, Outcome::Ok);
            count += 1;
        }
        let accepted = server.accepted();
        if kept {
            assert!(accepted <= 3, "{accepted} connections for {count} attempts");
        } else {
            assert_eq!(accepted, count);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_and_ports_that_are_not_there() {
    let closed = Server::start().await;
    closed.set(Mood::Refusing).await;
    let port = closed.port();
    let tcp = |host: &str| Endpoint::Tcp(TcpEndpoint { host: host.to_owned(), port });
    for (endpoint, wanted) in [(tcp("127.0.0.1"), Cause::Refused), (tcp("nobody.invalid"), Cause::Name)] {
        let (sink, mut samples) = mpsc::channel(100);
        let stop = CancellationToken::new();
        let probing = probe::start(
            vec![spec(endpoint, Connection::New, 50 * MS, 5_000 * MS)],
            Clock::start(),
            sink,
            stop.clone(),
        );
        let first = samples.recv().await.unwrap();
        assert!(
            matches!(first.outcome, Outcome::Failed { cause, maybe_applied: false, .. } if cause == wanted),
            "{first:?}"
        );
        stop.cancel();
        probing.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_sleeps_costs_stalls_and_not_order() {
    let _alone = probe_support::alone().await;
    let server = Server::start().await;
    let clock = Clock::start();
    let (sink, mut samples) = mpsc::channel(1);
    let stop = CancellationToken::new();
    let endpoint = Endpoint::Tcp(TcpEndpoint { host: "127.0.0.1".to_owned(), port: server.port() });
    let mut tight = spec(endpoint, Connection::New, 10 * MS, 100 * MS);
    // A hang explains ten attempts in flight, and no more.
    tight.in_flight_max = 5;
    assert!(tight.check().is_err(), "a bound that a hang reaches is refused");
    tight.in_flight_max = ProbeSpec::in_flight_for(tight.every, tight.timeout);
    let probing = probe::start(vec![tight], clock, sink, stop.clone());
    tokio::time::sleep_until(clock.deadline(At::from_ms(400))).await;
    stop.cancel();
    let mut next = 0;
    while let Some(sample) = samples.recv().await {
        assert_eq!(sample.seq, next);
        next += 1;
    }
    assert!((38..=42).contains(&next), "{next}");
    probing.await.unwrap();
}
