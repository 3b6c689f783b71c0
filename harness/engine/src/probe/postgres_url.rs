//! A PostgreSQL URL as libpq reads it, with several hosts. What is not supported is refused: a parameter that is dropped
//! silently would make another connection than the one that was asked for.

use percent_encoding::percent_decode_str;
use sqlx::postgres::PgSslMode;
use std::fmt;

const DEFAULT_PORT: u16 = 5432;
/// Hosts of one URL.
const HOSTS_MAX: usize = 16;

/// A database and who asks for it.
#[derive(Clone)]
pub(crate) struct Database {
    /// Hosts, or folders of Unix sockets, in the order in which they are tried.
    pub(super) hosts: Vec<(String, u16)>,
    pub(super) user: String,
    pub(super) password: Option<String>,
    pub(super) name: String,
    pub(super) application: Option<String>,
    pub(super) ssl_mode: PgSslMode,
    pub(super) ssl_root_cert: Option<String>,
    pub(super) ssl_cert: Option<String>,
    pub(super) ssl_key: Option<String>,
    /// Settings of the session.
    pub(super) options: Vec<(String, String)>,
    pub(super) wanted: SessionAttrs,
}

/// Which of several servers will do (`target_session_attrs`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SessionAttrs {
    Any,
    ReadWrite,
    ReadOnly,
    Primary,
    Standby,
}

impl fmt::Display for SessionAttrs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SessionAttrs::Any => "any",
            SessionAttrs::ReadWrite => "read-write",
            SessionAttrs::ReadOnly => "read-only",
            SessionAttrs::Primary => "primary",
            SessionAttrs::Standby => "standby",
        })
    }
}

impl Database {
    /// Reads `postgres://user:password@host:port,host:port/database?parameter=value`.
    ///
    /// # Errors
    /// Says what is wrong with it, as a lower-case fragment that quotes no login.
    pub(crate) fn parse(url: &str) -> Result<Self, String> {
        let rest = url.strip_prefix("postgres://").or_else(|| url.strip_prefix("postgresql://"));
        let rest = rest.ok_or("the URL must start with postgres://")?;
        if rest.contains('#') {
            return Err("`#` is written as %23".to_owned());
        }
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, name) = place.split_once('/').unwrap_or((place, ""));
        let (login, hosts) = match authority.rsplit_once('@') {
            Some((login, hosts)) => (login, hosts),
            None => ("", authority),
        };
        if login.contains('@') || name.contains('@') || query.contains('@') {
            return Err("`@` in a login, a name or a parameter is written as %40".to_owned());
        }
        let (user, password) = login.split_once(':').map_or((login, None), |(user, word)| (user, Some(word)));
        let mut read = Self {
            hosts: Vec::new(),
            user: decoded(user)?,
            password: password.map(decoded).transpose()?,
            name: decoded(name)?,
            application: None,
            ssl_mode: PgSslMode::Prefer,
            ssl_root_cert: None,
            ssl_cert: None,
            ssl_key: None,
            options: Vec::new(),
            wanted: SessionAttrs::Any,
        };
        let (mut names, mut ports) = (Vec::new(), Vec::new());
        for host in hosts.split(',').filter(|_| !hosts.is_empty()) {
            let (name, port) = host_and_port(host)?;
            names.push(name);
            ports.push(port);
        }
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            let (key, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let (key, value) = (decoded(key)?, decoded(value)?);
            match key.as_str() {
                "host" | "hostaddr" => names = value.split(',').map(str::to_owned).collect(),
                "port" => ports = value.split(',').map(port).collect::<Result<_, _>>()?,
                _ => read.set(&key, value)?,
            }
        }
        read.hosts = paired(names, &ports)?;
        if read.user.is_empty() {
            return Err("the URL names no user".to_owned());
        }
        if read.name.is_empty() {
            read.name = read.user.clone();
        }
        Ok(read)
    }

    fn set(&mut self, key: &str, value: String) -> Result<(), String> {
        match key {
            "user" => self.user = value,
            "password" => self.password = Some(value),
            "dbname" => self.name = value,
            "application_name" => self.application = Some(value),
            "sslmode" => self.ssl_mode = ssl_mode(&value)?,
            "sslrootcert" => self.ssl_root_cert = Some(value),
            "sslcert" => self.ssl_cert = Some(value),
            "sslkey" => self.ssl_key = Some(value),
            "options" => self.options = settings(&value)?,
            "target_session_attrs" => {
                self.wanted = match value.as_str() {
                    "any" => SessionAttrs::Any,
                    "read-write" => SessionAttrs::ReadWrite,
                    "read-only" => SessionAttrs::ReadOnly,
                    "primary" => SessionAttrs::Primary,
                    "standby" => SessionAttrs::Standby,
                    _ => {
                        let known = "any, read-write, read-only, primary, standby";
                        return Err(format!("target_session_attrs: this value is not supported; it may be {known}"));
                    }
                };
            }
            key => {
                let known = "host, hostaddr, port, user, password, dbname, application_name, sslmode, sslrootcert, sslcert, \
                             sslkey, options, target_session_attrs";
                return Err(format!(
                    "the parameter `{}` is not supported; those that are: {known}",
                    super::remarks::plain(key)
                ));
            }
        }
        Ok(())
    }
}

fn decoded(text: &str) -> Result<String, String> {
    let text = percent_decode_str(text).decode_utf8().map_err(|_| "the URL is not UTF-8".to_owned())?;
    if text.contains('\0') {
        return Err("the URL holds a zero byte".to_owned());
    }
    Ok(text.into_owned())
}

fn host_and_port(text: &str) -> Result<(String, Option<u16>), String> {
    let (host, after) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or("a host lacks its closing bracket")?;
            match rest.strip_prefix(':') {
                None if rest.is_empty() => (host, None),
                None => return Err("the text after a host is not a port".to_owned()),
                port => (host, port),
            }
        }
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    Ok((decoded(host)?, after.map(port).transpose()?.flatten()))
}

/// A port; nothing is the usual one.
fn port(text: &str) -> Result<Option<u16>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    // What is taken for a port may be a part of a password.
    let port = text.parse::<u16>().ok().filter(|port| *port > 0);
    port.map(Some).ok_or_else(|| "a port is not a number from 1 to 65535".to_owned())
}

fn paired(hosts: Vec<String>, ports: &[Option<u16>]) -> Result<Vec<(String, u16)>, String> {
    if hosts.is_empty() || hosts.iter().any(String::is_empty) {
        return Err("the URL names no host".to_owned());
    }
    if hosts.len() > HOSTS_MAX {
        return Err(format!("the URL names more than {HOSTS_MAX} hosts"));
    }
    if hosts.iter().any(|host| host.contains(|c: char| c.is_whitespace() || c.is_control())) {
        return Err("a host holds a space".to_owned());
    }
    let port_of = |index: usize| match ports {
        [one] => Ok(*one),
        [] => Ok(None),
        many if many.len() == hosts.len() => Ok(many[index]),
        _ => Err("there must be one port for all hosts, or one for each".to_owned()),
    };
    let port = |index: usize| port_of(index).map(|port: Option<u16>| port.unwrap_or(DEFAULT_PORT));
    hosts.iter().enumerate().map(|(index, host)| Ok((host.clone(), port(index)?))).collect()
}

fn ssl_mode(value: &str) -> Result<PgSslMode, String> {
    match value {
        "disable" => Ok(PgSslMode::Disable),
        "prefer" => Ok(PgSslMode::Prefer),
        "require" => Ok(PgSslMode::Require),
        "verify-ca" => Ok(PgSslMode::VerifyCa),
        "verify-full" => Ok(PgSslMode::VerifyFull),
        _ => Err("sslmode: this value is not supported; it may be disable, prefer, require, verify-ca, verify-full"
            .to_owned()),
    }
}

/// `-c key=value` and `--key=value`, as many as there are.
fn settings(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut words = text.split_whitespace();
    let mut all = Vec::new();
    while let Some(word) = words.next() {
        let setting = match word.strip_prefix("--").or_else(|| word.strip_prefix("-c")) {
            Some("") => words.next().unwrap_or_default(),
            Some(setting) => setting,
            None => return Err("options: only `-c name=value` is supported".to_owned()),
        };
        let (key, value) = setting.split_once('=').ok_or("options: only `-c name=value` is supported")?;
        all.push((key.to_owned(), value.to_owned()));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(url: &str) -> Vec<(String, u16)> {
        Database::parse(url).map(|database| database.hosts).unwrap_or_else(|error| panic!("{url}: {error}"))
    }

    #[test]
    fn hosts_are_read_as_libpq_reads_them() {
        let host = |host: &str, port| (host.to_owned(), port);
        assert_eq!(hosts("postgres://u:p@a,b/db?target_session_attrs=read-write"), [host("a", 5432), host("b", 5432)]);
        assert_eq!(hosts("postgres://u@a:1,[::1]:2/db"), [host("a", 1), host("::1", 2)]);
        assert_eq!(hosts("postgresql://u@a,b:2/db"), [host("a", 5432), host("b", 2)]);
        assert_eq!(hosts("postgres://u@/db?host=a,b&port=1,2"), [host("a", 1), host("b", 2)]);
        assert_eq!(hosts("postgres://u@/db?host=a,b&port=7"), [host("a", 7), host("b", 7)]);
        assert_eq!(hosts("postgres://u@%2Fvar%2Frun/db"), [host("/var/run", 5432)]);
    }

    #[test]
    fn everything_else_is_read_as_well() {
        let url = "postgres://u%40x:p%3a%23%40@h/d%20b?sslmode=disable&application_name=x&options=-c%20a%3db%20--c%3dd";
        let read = Database::parse(url).unwrap();
        assert_eq!((read.user.as_str(), read.password.as_deref()), ("u@x", Some("p:#@")));
        assert_eq!((read.name.as_str(), read.application.as_deref()), ("d b", Some("x")));
        let setting = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(read.options, [setting("a", "b"), setting("c", "d")]);
        assert!(matches!(read.ssl_mode, PgSslMode::Disable));
        assert_eq!(Database::parse("postgres://u@h").unwrap().name, "u", "as libpq: the user's");
        let standby = Database::parse("postgres://u@h/d?target_session_attrs=standby").unwrap();
        assert_eq!(standby.wanted, SessionAttrs::Standby);
    }

    #[test]
    fn what_is_not_supported_is_refused_by_name_and_no_login_is_shown() {
        let refused = |url: &str| Database::parse(url).err().unwrap_or_else(|| panic!("{url} was accepted"));
        for parameter in ["connect_timeout=3", "channel_binding=require", "service=x", "statement-cache-capacity=0"] {
            let name = parameter.split('=').next().unwrap();
            let error = refused(&format!("postgres://u:secret@h/d?{parameter}"));
            assert!(error.contains(&format!("`{name}`")), "{error}");
        }
        for url in [
            "postgres://u:se#cret@h/d",
            "postgres://u:se/cret@h/d",
            "postgres://u:se@cret@h/d",
            "postgres://u:se?cret@h/d",
            "postgres://u:secret@h:secret/d",
            "postgres://u:secret@/d",
            "postgres://u:secret@a,/d",
            "postgres://:secret@h/d",
            "postgres://u:secret@h/d?sslmode=allow",
            "postgres://u:secret@h/d?sslmode=secret",
            "postgres://u:secret@a,b,c/d?port=1,2",
            "postgres://u:secret@h/d?target_session_attrs=prefer-standby",
            "postgres://u:secret@h/d?options=-x",
            "postgres://u:secret%ff@h/d",
            "secret",
        ] {
            let error = refused(url);
            assert!(!error.contains("cret"), "{url}: {error}");
        }
    }
}
