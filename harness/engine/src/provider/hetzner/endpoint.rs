//! The API's address and the proxy on the way to it.

use crate::proxy::Way;
use http::Uri;
use std::net::IpAddr;
use thiserror::Error;

/// Overrides the endpoint, including `/v1`; Hetzner's own tools read the same variable.
const VARIABLE: &str = "HCLOUD_ENDPOINT";
/// Hetzner's own endpoint.
const DEFAULT: &str = "https://api.hetzner.cloud/v1";

/// The address of the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// Without a trailing slash.
    base: String,
    /// Whether the host is a loopback address.
    is_loopback: bool,
    /// The proxy, if any.
    way: Way,
}

/// The endpoint or its proxy cannot be used. No message quotes the address, because it could contain a password.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum EndpointError {
    /// It is not a URL.
    #[error("{VARIABLE} is not an address such as {DEFAULT}")]
    Malformed,
    /// The token would cross a network unencrypted.
    #[error("{VARIABLE} must begin with https:// unless its host is 127.0.0.1 or localhost")]
    NotEncrypted,
    /// The proxy cannot be used.
    #[error("{0}")]
    Proxy(String),
}

impl Endpoint {
    /// Hetzner's endpoint, or the one in `HCLOUD_ENDPOINT`. `HTTPS_PROXY` and `NO_PROXY` apply as for API servers, and never to a
    /// loopback address.
    ///
    /// # Errors
    /// If one of the variables is not valid.
    pub(crate) fn from_environment() -> Result<Self, EndpointError> {
        Self::read(crate::env::text)
    }

    fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, EndpointError> {
        let base = variable(VARIABLE).unwrap_or_else(|| DEFAULT.to_owned());
        let base = base.trim_end_matches('/').to_owned();
        let uri: Uri = base.parse().map_err(|_| EndpointError::Malformed)?;
        let host = uri.host().filter(|host| !host.is_empty()).ok_or(EndpointError::Malformed)?;
        let has_more = uri.query().is_some() || uri.authority().is_some_and(|name| name.as_str().contains('@'));
        if has_more || base.contains('#') {
            return Err(EndpointError::Malformed);
        }
        let is_loopback = is_loopback(host);
        match uri.scheme_str() {
            Some("https") => {}
            Some("http") if is_loopback => {}
            Some("http") => return Err(EndpointError::NotEncrypted),
            _ => return Err(EndpointError::Malformed),
        }
        let way = Way::to(&uri, None, variable).map_err(EndpointError::Proxy)?;
        Ok(Self { base, is_loopback, way })
    }

    /// An endpoint for tests, with the value of `HTTPS_PROXY`.
    #[cfg(test)]
    pub(crate) fn of_test(base: &str, proxy: Option<&str>) -> Self {
        let variables = [(VARIABLE, Some(base)), ("HTTPS_PROXY", proxy)];
        let value = |name: &str| variables.iter().find(|(key, _)| *key == name)?.1.map(str::to_owned);
        Self::read(value).unwrap()
    }

    /// The URL of a path, which begins with a slash.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// The base URL.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// Whether this is Hetzner's own endpoint, where resources cost money.
    pub(crate) fn is_hetzner(&self) -> bool {
        self.base == DEFAULT
    }

    /// The proxy, if any.
    pub(crate) fn proxy(&self) -> Option<&Uri> {
        if self.is_loopback { None } else { self.way.proxy() }
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|ip| ip.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Endpoint, EndpointError> {
        Endpoint::read(|name| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn it_is_hetzners_unless_the_environment_names_another() {
        let default = read(&[]).unwrap();
        assert!(default.is_hetzner());
        assert_eq!(default.url("/servers"), "https://api.hetzner.cloud/v1/servers");
        let double = read(&[(VARIABLE, "http://127.0.0.1:8080/v1/")]).unwrap();
        assert!(!double.is_hetzner());
        assert_eq!(double.url("/servers"), "http://127.0.0.1:8080/v1/servers");
    }

    #[test]
    fn a_token_never_crosses_a_network_in_the_clear() {
        assert_eq!(read(&[(VARIABLE, "http://api.example/v1")]), Err(EndpointError::NotEncrypted));
        assert_eq!(read(&[(VARIABLE, "http://10.0.0.1/v1")]), Err(EndpointError::NotEncrypted));
        for good in ["http://localhost:1/v1", "http://[::1]:1/v1", "https://api.example/v1"] {
            assert!(read(&[(VARIABLE, good)]).is_ok(), "{good}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_without_being_quoted() {
        for bad in
            ["", "https://", "api.example", "ftp://x/v1", "https://u:secret@x/v1", "https://x/v1?a=b", "https://x y"]
        {
            let error = read(&[(VARIABLE, bad)]).unwrap_err().to_string();
            assert_eq!(error, "HCLOUD_ENDPOINT is not an address such as https://api.hetzner.cloud/v1", "{bad}");
        }
    }

    #[test]
    fn a_proxy_is_taken_as_for_api_servers() {
        let proxy = ("HTTPS_PROXY", "http://p.example:3128");
        assert_eq!(read(&[proxy]).unwrap().proxy().unwrap().to_string(), "http://p.example:3128/");
        assert_eq!(read(&[proxy, ("NO_PROXY", "hetzner.cloud")]).unwrap().proxy(), None);
        for direct in ["http://127.0.0.1:1/v1", "https://127.0.0.1:1/v1", "http://localhost:1/v1"] {
            assert_eq!(read(&[proxy, (VARIABLE, direct)]).unwrap().proxy(), None, "{direct}");
        }
        let error = read(&[("HTTPS_PROXY", "socks5://p:1")]).unwrap_err().to_string();
        assert!(error.starts_with("HTTPS_PROXY names a proxy of the kind socks5://"), "{error}");
    }
}
