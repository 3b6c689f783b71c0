//! A NATS server's URL, its login decoded and kept apart from its address.

use super::cause::Failure;
use super::tcp;
use async_nats::{ConnectOptions, ServerAddr};
use percent_encoding::percent_decode_str;
use std::net::IpAddr;

/// A NATS server.
pub(crate) struct Server {
    address: ServerAddr,
    login: Login,
}

enum Login {
    None,
    Token(String),
    User { name: String, password: String },
}

impl Server {
    /// Reads `nats://user:password@host:port`, or `nats://token@host:port`. The login is percent-encoded, as in any URL.
    ///
    /// # Errors
    /// Says what is wrong with it, as a lower-case fragment that quotes none of it.
    pub(crate) fn parse(url: &str) -> Result<Self, String> {
        let read: ServerAddr = url.parse().map_err(|error| format!("not a server's address: {error}"))?;
        if !matches!(read.scheme(), "nats" | "tls") {
            return Err("the URL must start with nats:// or tls://".to_owned());
        }
        let decoded = |text: &str| {
            let decoded = percent_decode_str(text).decode_utf8();
            decoded.map(|text| text.into_owned()).map_err(|_| "the login is not UTF-8".to_owned())
        };
        let login = match (read.username(), read.password()) {
            (None, None) => Login::None,
            (Some(token), None) => Login::Token(decoded(token)?),
            (name, password) => {
                let (name, password) = (name.unwrap_or_default(), password.unwrap_or_default());
                Login::User { name: decoded(name)?, password: decoded(password)? }
            }
        };
        let mut bare = read.into_inner();
        if !matches!(bare.path(), "" | "/") || bare.query().is_some() || bare.fragment().is_some() {
            let hint = "a login's special letters are written as %XX";
            return Err(format!("the URL must end after the port; {hint}"));
        }
        if bare.host_str().unwrap_or_default().is_empty() {
            return Err("the URL names no host".to_owned());
        }
        // The client would leave the login unused, and show it in its log.
        let cleared = bare.set_username("").and_then(|()| bare.set_password(None));
        cleared.map_err(|()| "the URL names no host".to_owned())?;
        let address = ServerAddr::from_url(bare).map_err(|error| error.to_string())?;
        Ok(Self { address, login })
    }

    /// Options of a connection, with the login.
    pub(crate) fn options(&self) -> ConnectOptions {
        match &self.login {
            Login::None => ConnectOptions::new(),
            Login::Token(token) => ConnectOptions::with_token(token.clone()),
            Login::User { name, password } => ConnectOptions::with_user_and_password(name.clone(), password.clone()),
        }
    }

    /// Its address without a login. Of a name with several addresses it is the one that accepts first: the client tries them
    /// one after the other, each for as long as the whole attempt may take. A name that a certificate must bear stays.
    pub(super) async fn address(&self) -> Result<ServerAddr, Failure> {
        let (host, port) = (self.address.host(), self.address.port());
        if host.parse::<IpAddr>().is_ok() || self.address.tls_required() {
            return Ok(self.address.clone());
        }
        let found = tcp::resolve(host, port).await?;
        if found.len() < 2 {
            return Ok(self.address.clone());
        }
        let accepting = tcp::race(&found).await?.peer_addr().map_err(|error| super::cause::io_failure(&error))?;
        Ok(format!("nats://{accepting}").parse().unwrap_or_else(|_| self.address.clone()))
    }

    /// Its address by name, without a login.
    pub(crate) fn named(&self) -> ServerAddr {
        self.address.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_decoded_and_leaves_the_address() {
        let server = Server::parse("nats://us%65r:p%23%40%3a@host:4222").unwrap();
        assert_eq!(server.named().as_url_str(), "nats://host:4222");
        assert!(matches!(server.login, Login::User { name, password } if name == "user" && password == "p#@:"));
        let token = Server::parse("nats://s3%2Fcret@host").unwrap();
        assert!(matches!(token.login, Login::Token(token) if token == "s3/cret"));
        assert!(matches!(Server::parse("host:4222").unwrap().login, Login::None));
    }

    #[test]
    fn what_cannot_be_read_is_refused_and_not_quoted() {
        for url in [
            "nats://user:se#cret@host:4222",
            "nats://user:se/cret@host:4222",
            "nats://host:4222/?secret=1",
            "ws://user:secret@host",
            "nats://user:%ffsecret@host",
            "nats://user:secret@",
        ] {
            let error = Server::parse(url).err().unwrap_or_else(|| panic!("{url}"));
            assert!(!error.contains("cret"), "{error}");
        }
    }
}
