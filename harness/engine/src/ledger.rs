//! What the stores hold of a drill's writes, read to the end, and the places that those writes go to.

use crate::probe::nats_server::Server;
use crate::probe::postgres::{self, Database, check_table};
use crate::probe::{Endpoint, HttpClient, LIST_RUNS};
use async_nats::jetstream;
use async_nats::jetstream::consumer::{DeliverPolicy, pull};
use async_nats::jetstream::stream::Stream;
use bytes::Bytes;
pub use firedrill_core::judge::ledger::Found;
use firedrill_core::judge::ledger::FoundWrite;
use firedrill_core::sample::{Cause, Connection as ConnectionKind, SeriesId};
use futures::{StreamExt, TryStreamExt};
use http::Method;
use serde::Deserialize;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};
use std::fmt;
use std::time::Duration;
use thiserror::Error;

/// The limit of one answer of a store while it is read.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// Writes that are read at most, so that a store that never ends cannot fill the memory.
const WRITES_MAX: usize = 20_000_000;
/// Runs on a page.
const PAGE: u32 = 200;

/// Why a store could not be read to its end, or prepared.
#[derive(Debug, Error)]
pub enum LedgerError {
    /// It could not be asked, or refused.
    #[error("{what}: {reason}")]
    Store {
        /// What was asked.
        what: &'static str,
        /// Why not.
        reason: String,
    },
    /// It ended before everything was read that it said it holds.
    #[error("read {read} of the {there} that the store holds")]
    Incomplete {
        /// Read.
        read: u64,
        /// There, by the store's own count.
        there: u64,
    },
    /// The limit passed.
    #[error("not read to the end within {} s", within.as_secs())]
    Deadline {
        /// The limit.
        within: Duration,
    },
}

fn cannot<E: fmt::Display>(what: &'static str) -> impl FnOnce(E) -> LedgerError {
    move |error| LedgerError::Store { what, reason: error.to_string() }
}

async fn limited<T>(within: Duration, work: impl Future<Output = Result<T, LedgerError>>) -> Result<T, LedgerError> {
    tokio::time::timeout(within, work).await.unwrap_or(Err(LedgerError::Deadline { within }))
}

/// Reads a store to its end. Nothing is tried twice: a store that cannot be read is reported as such.
///
/// # Errors
/// Where it cannot be read, ends before its own count of what it holds, or takes longer than `within`.
pub async fn read_back(store: &Endpoint, within: Duration) -> Result<Found, LedgerError> {
    limited(within, store.read_back()).await
}

/// JetStream through one server, on a connection that is not made again. `within` is the limit of each answer.
///
/// # Errors
/// Where the server does not take the connection.
pub(crate) async fn jetstream_of(url: &str, within: Duration) -> Result<jetstream::Context, LedgerError> {
    let server = Server::parse(url).map_err(cannot("reading the server's address"))?;
    let client = server
        .options()
        .connection_timeout(within)
        .request_timeout(Some(within))
        .max_reconnects(1)
        .ignore_discovered_servers()
        .connect(server.named())
        .await
        .map_err(cannot("connecting to NATS"))?;
    Ok(jetstream::ContextBuilder::new().timeout(within).build(client))
}

#[derive(Deserialize)]
struct Identity {
    series: SeriesId,
    seq: u32,
}

pub(crate) async fn read_jetstream(url: &str, stream: &str, subject: &str) -> Result<Found, LedgerError> {
    let stream =
        jetstream_of(url, ANSWER_MAX).await?.get_stream(stream).await.map_err(cannot("asking for the stream"))?;
    let there = count(&stream, subject).await?;
    if there == 0 {
        return Ok(Found::default());
    }
    let config = pull::OrderedConfig {
        filter_subject: subject.to_owned(),
        deliver_policy: DeliverPolicy::All,
        ..Default::default()
    };
    let consumer = stream.create_consumer(config).await.map_err(cannot("reading the stream"))?;
    let mut messages = consumer.messages().await.map_err(cannot("reading the stream"))?;
    let (mut keys, mut unreadable, mut read) = (Vec::new(), 0, 0_u64);
    loop {
        let next = tokio::time::timeout(ANSWER_MAX, messages.next()).await;
        let message = match next {
            Ok(Some(message)) => message.map_err(cannot("reading the stream"))?,
            Ok(None) | Err(_) => return Err(LedgerError::Incomplete { read, there }),
        };
        match serde_json::from_slice::<Identity>(&message.payload) {
            Ok(Identity { series, seq }) => keys.push((series, seq)),
            Err(_) => unreadable += 1,
        }
        read += 1;
        bounded(keys.len())?;
        let left = message.info().map_err(cannot("reading the stream"))?.pending;
        if left == 0 {
            break;
        }
    }
    // Nobody writes any more; where the stream discards by age, what it discarded meanwhile could not be read.
    if read < there {
        let there = count(&stream, subject).await?;
        if read < there {
            return Err(LedgerError::Incomplete { read, there });
        }
    }
    Ok(Found::new(keys).with_unreadable(unreadable))
}

/// How many messages of a subject a stream holds.
///
/// # Errors
/// Where it does not say.
pub(crate) async fn count(stream: &Stream, subject: &str) -> Result<u64, LedgerError> {
    let mut subjects = stream.info_with_subjects(subject).await.map_err(cannot("counting the messages"))?;
    let mut there = 0;
    while let Some((_, count)) = subjects.try_next().await.map_err(cannot("counting the messages"))? {
        there += count as u64;
    }
    Ok(there)
}

async fn postgres_of(url: &str) -> Result<PgConnection, LedgerError> {
    let database = Database::parse(url).map_err(cannot("reading the database's address"))?;
    postgres::check_environment(&database, |name| crate::env::raw(name).is_some())
        .map_err(cannot("reading the database's address"))?;
    postgres::connect(&database).await.map_err(cannot("connecting to PostgreSQL"))
}

pub(crate) async fn read_postgres(url: &str, table: &str) -> Result<Found, LedgerError> {
    check_table(table).map_err(cannot("naming the table"))?;
    let mut connection = postgres_of(url).await?;
    // Both statements see the same state of the table.
    sqlx::query("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        .execute(&mut connection)
        .await
        .map_err(cannot("reading the table"))?;
    let there: i64 = sqlx::query(AssertSqlSafe(format!("SELECT count(*) FROM {table}")))
        .fetch_one(&mut connection)
        .await
        .and_then(|row| row.try_get(0))
        .map_err(cannot("counting the rows"))?;
    let there = there.unsigned_abs();
    let text = format!("SELECT series, seq, count(*) FROM {table} GROUP BY series, seq ORDER BY series, seq");
    let (mut writes, mut unreadable, mut read) = (Vec::new(), 0_u64, 0_u64);
    {
        let mut rows = sqlx::query(AssertSqlSafe(text)).fetch(&mut connection);
        while let Some(row) = rows.try_next().await.map_err(cannot("reading the table"))? {
            let series: Option<i32> = row.try_get(0).map_err(cannot("reading the table"))?;
            let seq: Option<i64> = row.try_get(1).map_err(cannot("reading the table"))?;
            let count: i64 = row.try_get(2).map_err(cannot("reading the table"))?;
            let count = count.unsigned_abs();
            read += count;
            let key = series.zip(seq).and_then(|(series, seq)| Some((series.try_into().ok()?, seq.try_into().ok()?)));
            match key {
                Some((series, seq)) => {
                    writes.push(FoundWrite { series, seq, count: u32::try_from(count).unwrap_or(u32::MAX) });
                }
                None => unreadable += count,
            }
            bounded(writes.len())?;
        }
    }
    let _ = connection.close().await;
    if read != there {
        return Err(LedgerError::Incomplete { read, there });
    }
    Ok(Found::counted(writes).with_unreadable(unreadable))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    runs: Vec<Run>,
    next_cursor: Option<serde_json::Value>,
    total_count: u64,
}

#[derive(Deserialize)]
struct Run {
    status: String,
    #[serde(default, alias = "data")]
    input: serde_json::Value,
}

#[derive(Deserialize)]
struct RunInput {
    drill: String,
    series: SeriesId,
    seq: u32,
}

pub(crate) async fn read_ironflow(base_url: &str, key_prefix: &str) -> Result<Found, LedgerError> {
    let (client, base) =
        HttpClient::new(base_url, ConnectionKind::New, 1).map_err(cannot("reading the server's address"))?;
    let path =
        format!("{}{LIST_RUNS}", base.path().trim_end_matches('/'))
            .parse()
            .map_err(cannot::<http::uri::InvalidUri>("reading the server's address"))?;
    let mut session = client.session().await;
    let (mut done, mut unfinished, mut read, mut there) = (Vec::new(), Vec::new(), 0_u64, 0_u64);
    let mut cursor: Option<serde_json::Value> = None;
    let mut limit = PAGE;
    loop {
        let mut ask = serde_json::json!({ "limit": limit });
        if let Some(cursor) = &cursor {
            ask["cursor"] = cursor.clone();
        }
        let sent = Default::default();
        let asked = session.ask(Method::POST, &path, Some(Bytes::from(ask.to_string())), &sent);
        let asked = tokio::time::timeout(ANSWER_MAX, asked).await.map_err(cannot("listing the runs"))?;
        let reply = match asked {
            Ok(reply) => reply,
            // Runs with a large payload: fewer of them at a time.
            Err(failure) if failure.cause == Cause::Body && limit > 1 => {
                limit = (limit / 8).max(1);
                session = client.session().await;
                continue;
            }
            Err(failure) => {
                let reason = format!("{:?}", failure.cause);
                return Err(LedgerError::Store { what: "listing the runs", reason });
            }
        };
        if !reply.status.is_success() {
            return Err(LedgerError::Store { what: "listing the runs", reason: format!("status {}", reply.status) });
        }
        let page: Page = serde_json::from_slice(&reply.body).map_err(cannot("listing the runs"))?;
        // Runs are listed newest first: those that come while the list is read stand before what is read.
        there = if read == 0 { page.total_count } else { there };
        let empty = page.runs.is_empty();
        for run in page.runs {
            read += 1;
            let Ok(input) = serde_json::from_value::<RunInput>(run.input) else { continue };
            if input.drill == key_prefix {
                let list = if run.status == "completed" { &mut done } else { &mut unfinished };
                list.push((input.series, input.seq));
            }
        }
        bounded(done.len() + unfinished.len())?;
        cursor = page.next_cursor.filter(|cursor| !cursor.is_null() && cursor.as_str() != Some(""));
        if cursor.is_none() || empty {
            break;
        }
    }
    if read < there {
        return Err(LedgerError::Incomplete { read, there });
    }
    Ok(Found::new(done).with_unfinished(unfinished))
}

fn bounded(writes: usize) -> Result<(), LedgerError> {
    if writes > WRITES_MAX {
        return Err(LedgerError::Store { what: "reading", reason: format!("more than {WRITES_MAX} writes") });
    }
    Ok(())
}

/// Makes the table that a PostgreSQL probe writes into: columns `series` and `seq`, no key, so that duplicates show.
///
/// # Errors
/// Where it cannot be made, exists, or takes longer than `within`.
pub async fn create_table(url: &str, table: &str, within: Duration) -> Result<(), LedgerError> {
    check_table(table).map_err(cannot("naming the table"))?;
    let text = format!("CREATE TABLE {table} (series integer NOT NULL, seq bigint NOT NULL)");
    statement(url, text, "making the table", within).await
}

/// Drops the table; one that is not there is no error.
///
/// # Errors
/// Where it cannot be dropped within `within`.
pub async fn drop_table(url: &str, table: &str, within: Duration) -> Result<(), LedgerError> {
    check_table(table).map_err(cannot("naming the table"))?;
    statement(url, format!("DROP TABLE IF EXISTS {table}"), "dropping the table", within).await
}

async fn statement(url: &str, text: String, what: &'static str, within: Duration) -> Result<(), LedgerError> {
    let work = async {
        let mut connection = postgres_of(url).await?;
        sqlx::query(AssertSqlSafe(text)).execute(&mut connection).await.map_err(cannot(what))?;
        let _ = connection.close().await;
        Ok(())
    };
    limited(within, work).await
}

/// Takes the messages of a subject out of a stream and returns how many they were.
///
/// # Errors
/// Where the stream is not there, refuses, or takes longer than `within`.
pub async fn purge(url: &str, stream: &str, subject: &str, within: Duration) -> Result<u64, LedgerError> {
    let work = async {
        let stream =
            jetstream_of(url, ANSWER_MAX).await?.get_stream(stream).await.map_err(cannot("asking for the stream"))?;
        let done = stream.purge().filter(subject).await.map_err(cannot("purging the subject"))?;
        Ok(done.purged)
    };
    limited(within, work).await
}
