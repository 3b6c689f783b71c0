//! PostgreSQL: inserts that are committed, and plain reads.

use super::cause::{Failure, Sent, io_cause_within};
use super::pool::Pool;
use firedrill_core::sample::{Cause, Connection as Kind, SeriesId};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection};
use std::str::FromStr;

/// A series never holds more than these many connections, so that a hung server is not buried under its probes once it
/// wakes: PostgreSQL has a process, and a limit, for connections.
const CONNECTIONS_MAX: usize = 16;

/// Inserts, or reads.
pub(super) struct PostgresProbe {
    options: PgConnectOptions,
    statement: Statement,
    series: SeriesId,
    kept: Option<Pool<PgConnection>>,
}

enum Statement {
    Insert(String),
    Read,
}

impl PostgresProbe {
    pub(super) fn insert(
        url: &str,
        table: &str,
        series: SeriesId,
        connection: Kind,
        limit: usize,
    ) -> Result<Self, String> {
        check_table(table)?;
        let statement = Statement::Insert(format!("INSERT INTO {table} (series, seq) VALUES ($1, $2)"));
        Self::new(url, statement, series, connection, limit)
    }

    pub(super) fn read(url: &str, series: SeriesId, connection: Kind, limit: usize) -> Result<Self, String> {
        Self::new(url, Statement::Read, series, connection, limit)
    }

    fn new(url: &str, statement: Statement, series: SeriesId, connection: Kind, limit: usize) -> Result<Self, String> {
        let options = options(url)?;
        let kept = (connection == Kind::Reused).then(|| Pool::new(limit.min(CONNECTIONS_MAX)));
        Ok(Self { options, statement, series, kept })
    }

    pub(super) async fn attempt(&self, seq: u32, sent: &Sent) -> Result<(), Failure> {
        let (lease, kept) = match &self.kept {
            Some(pool) => {
                let (lease, kept) = pool.lease().await.take();
                (Some(lease), kept)
            }
            None => (None, None),
        };
        let mut connection = match kept {
            Some(connection) => connection,
            None => self.options.connect().await.map_err(|error| failure(&error).refused())?,
        };
        sent.mark();
        let done = match &self.statement {
            Statement::Insert(text) => sqlx::query(AssertSqlSafe(text.as_str()))
                .bind(i32::from(self.series))
                .bind(i64::from(seq))
                .persistent(lease.is_some())
                .execute(&mut connection)
                .await
                .map(|_| ()),
            Statement::Read => {
                sqlx::query("SELECT 1").persistent(lease.is_some()).execute(&mut connection).await.map(|_| ())
            }
        };
        done.map_err(|error| failure(&error))?;
        match lease {
            Some(lease) => lease.give_back(connection),
            // The answer counts; how the server takes the goodbye does not.
            None => drop(connection.close().await),
        }
        Ok(())
    }
}

/// Connection options of a URL, without the client's statement log.
///
/// # Errors
/// Says what is wrong with the URL, as a lower-case fragment.
pub(crate) fn options(url: &str) -> Result<PgConnectOptions, String> {
    if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
        return Err("the URL must start with postgres://".to_owned());
    }
    // The parser's message quotes no part of the URL, which holds a password.
    let options = PgConnectOptions::from_str(url).map_err(|error| format!("not a database URL: {error}"))?;
    // Where there is none, the client looks for one in the user's `~/.pgpass`.
    let options = if names_password(url) { options } else { options.password("") };
    Ok(options.application_name("firedrill").disable_statement_logging())
}

/// Whether a URL says a password, empty or not.
fn names_password(url: &str) -> bool {
    let (_, rest) = url.split_once("://").unwrap_or_default();
    let (address, query) = rest.split_once('?').unwrap_or((rest, ""));
    let authority = address.split('/').next().unwrap_or_default();
    let in_authority = authority.rsplit_once('@').is_some_and(|(user, _)| user.contains(':'));
    in_authority || query.split('&').any(|pair| pair.starts_with("password="))
}

/// Whether a table's name, with or without its schema, can stand in a statement unquoted.
///
/// # Errors
/// Where it cannot.
pub(crate) fn check_table(table: &str) -> Result<(), String> {
    let plain = |part: &str| {
        part.len() <= 63
            && part.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
            && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    let parts: Vec<_> = table.split('.').collect();
    if parts.len() <= 2 && parts.iter().all(|part| plain(part)) {
        Ok(())
    } else {
        Err(format!("`{table}` is not a plain table name"))
    }
}

fn failure(error: &sqlx::Error) -> Failure {
    match error {
        sqlx::Error::Database(error) => {
            let state = error.code().unwrap_or_default();
            let class = state.get(..2).unwrap_or_default();
            let code = class.parse().unwrap_or(0);
            match class {
                // Shutting down, crashed, connection lost inside the server, rolled back by it: the commit may have been
                // made just before.
                "57" | "08" | "58" | "XX" | "40" => Failure::coded(Cause::Unavailable, code),
                // Read-only: a former primary. Or out of a resource: connections, disk, memory.
                "25" | "53" => Failure::coded(Cause::Unavailable, code).refused(),
                "28" => Failure::coded(Cause::Protocol, code).refused(),
                _ => Failure::coded(Cause::Status, code).refused(),
            }
        }
        sqlx::Error::Io(error) => {
            // What `getaddrinfo` says has no kind of its own.
            let name = error.to_string().contains("failed to lookup address");
            Failure::of(if name { Cause::Name } else { io_cause_within(error).unwrap_or(Cause::Other) })
        }
        // To sqlx, a connection that ends where the server should say whether it speaks TLS is the answer zero.
        sqlx::Error::Protocol(text) if text.contains("response from SSLRequest: 0x00") => Failure::of(Cause::Reset),
        sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) => {
            Failure::of(io_cause_within(error).unwrap_or(Cause::Protocol))
        }
        sqlx::Error::WorkerCrashed => Failure::of(Cause::Reset),
        _ => Failure::of(Cause::Other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt as _;

    #[test]
    fn only_plain_table_names_reach_a_statement() {
        for good in ["firedrill_a3f", "public.firedrill_a3f", "_x"] {
            assert_eq!(check_table(good), Ok(()));
        }
        for bad in ["", "a;b", "a b", "a.b.c", "1a", "A", "\"a\"", "a--"] {
            assert!(check_table(bad).is_err(), "{bad}");
        }
    }

    #[tokio::test]
    async fn a_connection_that_ends_while_it_is_made_is_reset() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            // All of the request is read, so that the end is an orderly one.
            stream.read_exact(&mut [0; 8]).await.unwrap();
        });
        let url = format!("postgres://app@127.0.0.1:{port}/app?sslmode=prefer");
        let error = sqlx::PgConnection::connect(&url).await.map(|_| ()).unwrap_err();
        assert_eq!(failure(&error).cause, Cause::Reset, "{error:?}");
    }

    #[test]
    fn a_password_is_the_urls_own() {
        for with in ["postgres://u:p@h/d", "postgres://u:@h", "postgres://u@h/d?a=b&password=p"] {
            assert!(names_password(with), "{with}");
        }
        for without in ["postgres://u@h:5432/d", "postgres://h/d:x@y", "postgres://u@h/d?x=password=p"] {
            assert!(!names_password(without), "{without}");
        }
    }

    #[test]
    fn a_wrong_url_is_not_quoted() {
        let error = options("postgres://app:secret@db:port/app").map(|_| ()).unwrap_err();
        assert!(!error.contains("secret"), "{error}");
    }
}
