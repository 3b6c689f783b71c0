//! PostgreSQL: inserts that are committed, and plain reads.
//!
//! Statements go by the simple protocol, each a message of its own. A prepared one, named or not, takes two, between which a
//! pooler in transaction mode (PgBouncer) may change the server: the second then fails, and the service looks down.

use super::cause::{Failure, Sent, io_failure_within};
use super::client::Attempts;
use super::pool::Pool;
pub(crate) use super::postgres_url::Database;
use super::postgres_url::SessionAttrs;
use super::remarks::Notes;
use super::tcp;
use crate::env;
use async_trait::async_trait;
use firedrill_core::sample::{Cause, Connection as Kind, SeriesId};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection, Row};
use std::net::IpAddr;
use std::time::Duration;

/// A series never holds more than these many connections, so that a hung server is not buried under its probes once it
/// wakes: PostgreSQL has a process, and a limit, for connections.
const CONNECTIONS_MAX: usize = 16;

/// Inserts, or reads.
pub(super) struct PostgresAttempts {
    database: Database,
    statement: Statement,
    timeout: Duration,
    notes: Notes,
    kept: Option<Pool<PgConnection>>,
}

/// What an attempt does.
pub(super) enum Statement {
    /// Writes one row.
    Insert {
        /// The table, which needs no quotes.
        table: String,
        /// The row's first column.
        series: SeriesId,
    },
    /// Reads a constant.
    Read,
}

impl Statement {
    /// Inserts into a table.
    ///
    /// # Errors
    /// Where its name would need quotes.
    pub(super) fn insert(table: &str, series: SeriesId) -> Result<Self, String> {
        check_table(table)?;
        Ok(Self::Insert { table: table.to_owned(), series })
    }
}

impl PostgresAttempts {
    pub(super) fn new(
        url: &str,
        statement: Statement,
        connection: Kind,
        (limit, timeout): (usize, Duration),
        notes: Notes,
    ) -> Result<Self, String> {
        let database = Database::parse(url)?;
        check_environment(&database, |name| env::raw(name).is_some())?;
        let kept = (connection == Kind::Reused).then(|| Pool::new(limit.min(CONNECTIONS_MAX)));
        Ok(Self { database, statement, timeout, notes, kept })
    }

    /// Connects to the first host that accepts and is what was asked for. Each has its share of the attempt's time, so that one
    /// that is silent does not hide the others.
    async fn connect(&self) -> Result<PgConnection, Failure> {
        let hosts = &self.database.hosts;
        let share = self.timeout / u32::try_from(hosts.len()).unwrap_or(u32::MAX).max(1);
        let mut failed = None;
        for (host, port) in hosts {
            let timeout = Err(Failure::of(Cause::Timeout));
            match tokio::time::timeout(share, self.connect_to(host, *port)).await.unwrap_or(timeout) {
                Ok(connection) => return Ok(connection),
                Err(error) => failed = Some(Failure::or_later(failed, error)),
            }
        }
        Err(failed.unwrap_or(Failure::of(Cause::Name)))
    }

    async fn connect_to(&self, host: &str, port: u16) -> Result<PgConnection, Failure> {
        let address = self.address(host, port).await?;
        let options = connect_options(&self.database, &address, port);
        let mut connection = options.connect().await.map_err(|error| failure(&error))?;
        if is_wanted(self.database.wanted, &mut connection).await.map_err(|error| failure(&error))? {
            return Ok(connection);
        }
        drop(connection.close().await);
        // 25 is what a write into it would end with.
        let code = if self.database.wanted == SessionAttrs::ReadWrite { 25 } else { 0 };
        self.notes.remark(Cause::Unavailable, code, || format!("no host is {}", self.database.wanted));
        Err(Failure::coded(Cause::Unavailable, code))
    }

    /// Where to connect to: of a name with several addresses, the one that accepts first. Where TLS is demanded the name stays,
    /// since certificates bear it and proxies choose by it; the client then tries the addresses one after the other.
    async fn address(&self, host: &str, port: u16) -> Result<String, Failure> {
        if host.starts_with('/') || host.parse::<IpAddr>().is_ok() {
            return Ok(host.to_owned());
        }
        let found = tcp::resolve(host, port).await?;
        let by_name = !matches!(self.database.ssl_mode, PgSslMode::Disable | PgSslMode::Prefer);
        if let [one] = found.as_slice() {
            return Ok(if by_name { host.to_owned() } else { one.ip().to_string() });
        }
        let stream = tcp::race(&found).await?;
        let accepting = stream.peer_addr().map_err(|error| super::cause::io_failure(&error))?.ip();
        if !by_name {
            return Ok(accepting.to_string());
        }
        let first = found[0].ip();
        if accepting != first {
            self.notes.remark(Cause::Timeout, 0, || {
                format!("{first}, the first of {} addresses, is silent; {accepting} accepts connections", found.len())
            });
        }
        Ok(host.to_owned())
    }
}

#[async_trait]
impl Attempts for PostgresAttempts {
    async fn attempt(&self, seq: u32, sent: &Sent) -> Result<(), Failure> {
        let (lease, kept) = match &self.kept {
            Some(pool) => {
                let (lease, kept) = pool.lease().await.take();
                (Some(lease), kept)
            }
            None => (None, None),
        };
        let mut connection = match kept {
            Some(connection) => connection,
            None => self.connect().await.map_err(Failure::refused)?,
        };
        sent.mark();
        let done = match &self.statement {
            // Numbers and a plain name: nothing to escape.
            Statement::Insert { table, series } => {
                let text = format!("INSERT INTO {table} (series, seq) VALUES ({series}, {seq})");
                sqlx::raw_sql(AssertSqlSafe(text)).execute(&mut connection).await
            }
            Statement::Read => sqlx::raw_sql("SELECT 1").execute(&mut connection).await,
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

async fn is_wanted(wanted: SessionAttrs, connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let (question, answer) = match wanted {
        SessionAttrs::Any => return Ok(true),
        SessionAttrs::ReadWrite => ("SHOW transaction_read_only", "off"),
        SessionAttrs::ReadOnly => ("SHOW transaction_read_only", "on"),
        SessionAttrs::Primary => ("SELECT pg_catalog.pg_is_in_recovery()::text", "false"),
        SessionAttrs::Standby => ("SELECT pg_catalog.pg_is_in_recovery()::text", "true"),
    };
    let row = sqlx::raw_sql(question).fetch_one(connection).await?;
    Ok(row.try_get::<String, _>(0)? == answer)
}

/// Connects to the first host of a database that accepts, as the ledger does. The caller limits it.
///
/// # Errors
/// As the client.
pub(crate) async fn connect(database: &Database) -> Result<PgConnection, sqlx::Error> {
    let mut failed = sqlx::Error::Configuration("no host".into());
    for (host, port) in &database.hosts {
        match connect_options(database, host, *port).connect().await {
            Ok(mut connection) => match is_wanted(database.wanted, &mut connection).await {
                Ok(true) => return Ok(connection),
                Ok(false) => failed = sqlx::Error::Configuration("no host has the session attributes wanted".into()),
                Err(error) => failed = error,
            },
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

/// Options of a connection to one host. Every field is set here: the client fills those that are not from variables of the
/// environment, and from a password file. [`check_environment`] refuses the variables that it would keep all the same.
pub(crate) fn connect_options(database: &Database, host: &str, port: u16) -> PgConnectOptions {
    let mut options = PgConnectOptions::new_without_pgpass()
        .port(port)
        .username(&database.user)
        .password(database.password.as_deref().unwrap_or_default())
        .database(&database.name)
        .ssl_mode(database.ssl_mode)
        .application_name(database.application.as_deref().unwrap_or("firedrill"))
        .statement_cache_capacity(0)
        // A pooler refuses connections that ask for what it does not know.
        .extra_float_digits(None)
        .disable_statement_logging();
    options = if host.starts_with('/') { options.socket(host) } else { options.host(host) };
    if let Some(file) = &database.ssl_root_cert {
        options = options.ssl_root_cert(file);
    }
    if let Some(file) = &database.ssl_cert {
        options = options.ssl_client_cert(file);
    }
    if let Some(file) = &database.ssl_key {
        options = options.ssl_client_key(file);
    }
    if database.options.is_empty() { options } else { options.options(database.options.iter().map(|(k, v)| (k, v))) }
}

/// Refuses the variables of the environment that would reach a connection: the client reads them and nothing unsets them.
///
/// # Errors
/// Names the variable.
pub(crate) fn check_environment(database: &Database, is_set: impl Fn(&str) -> bool) -> Result<(), String> {
    let verifies = matches!(database.ssl_mode, PgSslMode::VerifyCa | PgSslMode::VerifyFull);
    let encrypts = !matches!(database.ssl_mode, PgSslMode::Disable);
    let reach = [
        ("PGOPTIONS", true),
        ("PGSSLROOTCERT", verifies && database.ssl_root_cert.is_none()),
        ("PGSSLCERT", encrypts && database.ssl_cert.is_none()),
        ("PGSSLKEY", encrypts && database.ssl_key.is_none()),
    ];
    match reach.into_iter().find(|(name, reaches)| *reaches && is_set(name)) {
        Some((name, _)) => Err(format!("the environment variable {name} would change the connection: unset it")),
        None => Ok(()),
    }
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
            if error.to_string().contains("failed to lookup address") {
                return Failure::of(Cause::Name);
            }
            io_failure_within(error).unwrap_or(Failure::of(Cause::Other))
        }
        // To sqlx, a connection that ends where the server should say whether it speaks TLS is the answer zero.
        sqlx::Error::Protocol(text) if text.contains("response from SSLRequest: 0x00") => Failure::of(Cause::Reset),
        sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) => {
            io_failure_within(error).unwrap_or(Failure::of(Cause::Protocol))
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
    fn every_field_of_a_connection_is_the_urls_own() {
        let database = Database::parse("postgres://u:p@h:5433/d?sslmode=disable").unwrap();
        let options = connect_options(&database, "h", 5433);
        assert_eq!((options.get_host(), options.get_port(), options.get_username()), ("h", 5433, "u"));
        assert_eq!((options.get_database(), options.get_application_name()), (Some("d"), Some("firedrill")));
        assert!(matches!(options.get_ssl_mode(), PgSslMode::Disable));
        assert_eq!(options.get_options(), None);
        let socket = connect_options(&database, "/run/x", 5433);
        assert_eq!(socket.get_socket().map(|path| path.display().to_string()).as_deref(), Some("/run/x"));
    }

    #[test]
    fn variables_of_the_environment_that_would_reach_a_connection_are_refused() {
        let check = |url: &str, set: &str| check_environment(&Database::parse(url).unwrap(), |name| name == set);
        for variable in ["PGOPTIONS", "PGSSLCERT", "PGSSLKEY"] {
            let error = check("postgres://u@h/d", variable).unwrap_err();
            assert!(error.contains(variable), "{error}");
        }
        assert!(check("postgres://u@h/d?sslmode=verify-full", "PGSSLROOTCERT").is_err());
        assert!(check("postgres://u@h/d?sslmode=verify-full&sslrootcert=x", "PGSSLROOTCERT").is_ok());
        for variable in
            ["PGHOST", "PGPASSWORD", "PGUSER", "PGPORT", "PGDATABASE", "PGSSLMODE", "PGAPPNAME", "PGPASSFILE"]
        {
            assert_eq!(check("postgres://u@h/d", variable), Ok(()), "set by this program in any case");
        }
        assert_eq!(check("postgres://u@h/d?sslmode=disable", "PGSSLCERT"), Ok(()));
    }
}
