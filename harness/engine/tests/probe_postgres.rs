//! Probes and the ledger against a real PostgreSQL.

mod probe_support;

use firedrill_core::judge::ledger::count;
use firedrill_core::judge::outage::SeriesTracker;
use firedrill_core::sample::{Cause, Connection, Outcome, Sample};
use firedrill_core::verdict::Measured;
use firedrill_engine::ledger::{LedgerError, create_table, drop_table, read_back};
use firedrill_engine::probe::{Endpoint, PostgresEndpoint, PostgresReadEndpoint, ProbeSpec};
use probe_support::containers::Contained;
use probe_support::{MS, Probing, spec};
use sqlx::{Connection as _, PgConnection};
use std::time::Duration;

const TABLE: &str = "firedrill_test";
const TIMEOUT: Duration = Duration::from_millis(500);
const WITHIN: Duration = Duration::from_secs(20);

async fn with_table(settings: &str) -> Contained {
    let server = Contained::postgres(settings).await;
    create_table(&server.postgres_url(), TABLE, WITHIN).await.unwrap();
    server
}

fn insert(server: &Contained, series: u16, connection: Connection) -> ProbeSpec {
    let endpoint = Endpoint::Postgres(PostgresEndpoint { url: server.postgres_url(), table: TABLE.to_owned() });
    ProbeSpec { series, ..spec(endpoint, connection, 20 * MS, TIMEOUT) }
}

fn store(server: &Contained) -> Endpoint {
    Endpoint::Postgres(PostgresEndpoint { url: server.postgres_url(), table: TABLE.to_owned() })
}

fn of(samples: &[Sample], series: u16) -> Vec<Sample> {
    samples.iter().filter(|sample| sample.series == series).copied().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_server_is_seen_and_no_committed_row_is_lost() {
    let _alone = probe_support::alone().await;
    let server = with_table("").await;
    // Over kept connections alone: a server that forks for each new one is hard to freeze.
    let mut probing = Probing::start(vec![insert(&server, 1, Connection::Reused)]);
    let clock = probing.clock;
    probing.wait(1_000 * MS).await;
    let before = clock.now();
    server.freeze().await;
    let frozen = clock.now();
    probing.wait(1_500 * MS).await;
    let thawing = clock.now();
    server.thaw().await;
    let after = clock.now();
    probing.until_back(&[1], 1_000 * MS).await;
    let samples = probing.end().await;
    let found = read_back(&store(&server), WITHIN).await.unwrap();
    let own = of(&samples, 1);
    assert!(own.iter().enumerate().all(|(at, sample)| sample.seq as usize == at));
    let mut tracker = SeriesTracker::new(500 * MS);
    own.iter().for_each(|sample| tracker.push(sample));
    let summary = tracker.finish(clock.now());
    assert_eq!(summary.outages.len(), 1, "{:#?}", summary.outages);
    let Measured::Interval { lower_ms, upper_ms } = summary.outages[0].length else { panic!("still open") };
    let (least, most) = (thawing.since(frozen), after.since(before));
    let ms = firedrill_core::time::millis;
    assert!(lower_ms <= ms(most + TIMEOUT) && upper_ms >= ms(least), "{lower_ms} to {upper_ms}: {least:?} {most:?}");
    assert!(upper_ms <= ms(most) + 1_500.0, "{upper_ms}: {most:?}");
    assert_eq!(summary.outages[0].cause, Cause::Timeout);
    let ledger = count(1, "postgres", samples.iter().copied(), &found);
    assert!(ledger.acknowledged > 60, "{ledger:?}");
    // What was sent over the kept connection just before is in doubt.
    assert!(ledger.indeterminate > 0, "{ledger:?}");
    assert_eq!((ledger.lost, ledger.duplicated, ledger.foreign, ledger.refused_found), (0, 0, 0, 0), "{ledger:?}");
}

/// A server that acknowledges before it writes, killed: the last acknowledged rows are really gone, and are counted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_lost_in_a_crash_are_counted() {
    let _alone = probe_support::alone().await;
    let server = with_table("-c synchronous_commit=off -c wal_writer_delay=10s -c wal_writer_flush_after=1GB").await;
    let mut session = PgConnection::connect(&server.postgres_url()).await.unwrap();
    // The table itself must survive.
    sqlx::query("CHECKPOINT").execute(&mut session).await.unwrap();
    let mut probing = Probing::start(vec![insert(&server, 2, Connection::Reused), insert(&server, 3, Connection::New)]);
    probing.wait(1_500 * MS).await;
    let killed = probing.clock.now();
    server.kill().await;
    probing.wait(200 * MS).await;
    server.revive().await;
    probing.until_back(&[2, 3], 1_000 * MS).await;
    let samples = probing.end().await;
    let found = read_back(&store(&server), WITHIN).await.unwrap();
    for series in [2, 3] {
        let own = of(&samples, series);
        // A machine that does not keep up may have let an attempt time out before, or have missed one.
        let failed = |sample: &&Sample| matches!(sample.outcome, Outcome::Failed { .. }) && sample.ended >= killed;
        let first_failed = own.iter().find(failed).unwrap();
        // A backend may still say that its postmaster is gone before it is ended itself.
        let at_the_kill = |cause| matches!(cause, Cause::Reset | Cause::Refused | Cause::Unavailable);
        assert!(
            matches!(first_failed.outcome, Outcome::Failed { cause, .. } if at_the_kill(cause)),
            "{first_failed:?}"
        );
        let ledger = count(series, "postgres", samples.iter().copied(), &found);
        assert!(ledger.lost > 0, "{ledger:?}");
        // What is lost is what was acknowledged last before the crash. What lies between was not acknowledged, on a machine that
        // does not keep up; attempts that overlapped may have swapped places.
        let (_, last) = ledger.lost_ranges.last().unwrap();
        let between: Vec<u32> = ledger.lost_ranges.windows(2).flat_map(|two| two[0].1 + 1..two[1].0).collect();
        let kept = own.iter().filter(|sample| sample.is_ok() && between.contains(&sample.seq));
        assert!(kept.count() <= 2 && last.abs_diff(first_failed.seq) <= 3, "{ledger:?} {first_failed:?}");
        assert_eq!((ledger.duplicated, ledger.foreign, ledger.refused_found), (0, 0, 0), "{ledger:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_are_told_from_doubts_and_the_table_is_read_whole() {
    let _alone = probe_support::alone().await;
    let server = with_table("").await;
    let url = server.postgres_url();
    let mut session = PgConnection::connect(&url).await.unwrap();
    sqlx::query("INSERT INTO firedrill_test VALUES (3, 0), (3, 0), (3, 900), (-1, 5), (4, 1)")
        .execute(&mut session)
        .await
        .unwrap();
    sqlx::query("ALTER SYSTEM SET default_transaction_read_only = on").execute(&mut session).await.unwrap();
    sqlx::query("SELECT pg_reload_conf()").execute(&mut session).await.unwrap();
    let probing = Probing::start(vec![insert(&server, 3, Connection::New)]);
    probing.wait(400 * MS).await;
    let samples = probing.end().await;
    let refused = Outcome::Failed { cause: Cause::Unavailable, code: 25, maybe_applied: false };
    assert_eq!(samples.last().unwrap().outcome, refused, "{samples:?}");

    let found = read_back(&store(&server), WITHIN).await.unwrap();
    assert_eq!(found.unreadable(), 1);
    let ledger = count(3, "postgres", samples.iter().copied(), &found);
    assert_eq!((ledger.acknowledged, ledger.refused_found, ledger.duplicated), (0, 1, 1), "{ledger:?}");
    assert_eq!(ledger.foreign, 2, "row 900 and the one without an identity: {ledger:?}");

    sqlx::query("SET default_transaction_read_only = off").execute(&mut session).await.unwrap();
    sqlx::query("ALTER SYSTEM RESET default_transaction_read_only").execute(&mut session).await.unwrap();
    sqlx::query("SELECT pg_reload_conf()").execute(&mut session).await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    drop_table(&url, TABLE, WITHIN).await.unwrap();
    drop_table(&url, TABLE, WITHIN).await.unwrap();
    let gone = read_back(&store(&server), WITHIN).await;
    assert!(matches!(gone, Err(LedgerError::Store { .. })), "{gone:?}");
    let read = spec(Endpoint::PostgresRead(PostgresReadEndpoint { url }), Connection::Reused, 20 * MS, TIMEOUT);
    let probing = Probing::start(vec![read]);
    probing.wait(300 * MS).await;
    assert!(probing.end().await.iter().all(Sample::is_ok));
}
