//! The HTTP proxy between this machine and an API server, if there is one.
//!
//! `HTTPS_PROXY` and `NO_PROXY` are read as kubectl reads them (Go's `httpproxy`), and decided here once: the client of this
//! program and the kubectl and helm that it starts take the same way. Probes never take a proxy: they measure the service.

use http::Uri;
use std::ffi::OsString;
use std::net::IpAddr;

/// How requests reach an API server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Way {
    /// Straight.
    #[default]
    Direct,
    /// Through the proxy that the environment names.
    Environment { proxy: Uri, except: String },
    /// Through the proxy that the kubeconfig names, which programs read there as well.
    Kubeconfig { proxy: Uri },
}

impl Way {
    /// The way to `server`: the kubeconfig's own proxy, or that of the environment, which `variable` reads.
    ///
    /// # Errors
    /// Where it is a proxy of a kind that is not supported. The message holds no password.
    pub(crate) fn to(
        server: &Uri,
        in_kubeconfig: Option<&str>,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, String> {
        if let Some(text) = in_kubeconfig.filter(|text| !text.is_empty()) {
            return parse(text).map(|proxy| Way::Kubeconfig { proxy }).map_err(|why| format!("its proxy-url {why}"));
        }
        let named = |names: [&'static str; 2]| names.into_iter().find_map(|name| Some((name, variable(name)?)));
        let host = server.host().unwrap_or_default();
        let port = server.port_u16().unwrap_or(443);
        let Some((name, text)) = named(["HTTPS_PROXY", "https_proxy"]) else { return Ok(Way::Direct) };
        let except = named(["NO_PROXY", "no_proxy"]).map(|(_, text)| text).unwrap_or_default();
        if server.scheme_str() != Some("https") || is_loopback(host) || is_excepted(&except, host, port) {
            return Ok(Way::Direct);
        }
        parse(&text).map(|proxy| Way::Environment { proxy, except }).map_err(|why| format!("{name} {why}"))
    }

    /// The proxy, where there is one.
    pub(crate) fn proxy(&self) -> Option<&Uri> {
        match self {
            Way::Direct => None,
            Way::Environment { proxy, .. } | Way::Kubeconfig { proxy } => Some(proxy),
        }
    }

    /// What kubectl and helm are told, whose environment holds nothing else of proxies.
    pub(crate) fn variables(&self) -> Vec<(OsString, OsString)> {
        match self {
            Way::Direct | Way::Kubeconfig { .. } => Vec::new(),
            Way::Environment { proxy, except } => {
                let all = [("HTTPS_PROXY", proxy.to_string()), ("NO_PROXY", except.clone())];
                let all = all.into_iter().filter(|(_, text)| !text.is_empty());
                all.map(|(name, text)| (name.into(), text.into())).collect()
            }
        }
    }
}

/// A proxy's address. Without a scheme it is `http://`, as for Go.
fn parse(text: &str) -> Result<Uri, String> {
    let whole = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let bad = || "is not an address such as http://proxy.example:3128".to_owned();
    // The parser's message could quote a password.
    let uri: Uri = whole.parse().map_err(|_| bad())?;
    match uri.scheme_str() {
        Some("http") if uri.host().is_some_and(|host| !host.is_empty()) => Ok(uri),
        Some("http") => Err(bad()),
        scheme => {
            let scheme = scheme.unwrap_or_default();
            Err(format!("names a proxy of the kind {scheme}://, and only http:// ones are supported"))
        }
    }
}

fn address(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || address(host).is_some_and(|ip| ip.to_canonical().is_loopback())
}

/// Whether one of the entries of `NO_PROXY`, apart by commas, is about this host. One that cannot be read is about none.
fn is_excepted(except: &str, host: &str, port: u16) -> bool {
    except.split(',').map(str::trim).any(|entry| matches(entry, host, port))
}

fn matches(entry: &str, host: &str, port: u16) -> bool {
    if entry == "*" {
        return true;
    }
    if let Some((network, bits)) = entry.split_once('/') {
        let (network, bits) = (address(network), bits.parse().ok());
        return network.zip(bits).zip(address(host)).is_some_and(|((network, bits), ip)| is_in(network, bits, ip));
    }
    let (name, only_port) = match entry.rsplit_once(':') {
        // What has more colons and no brackets is an IPv6 address.
        Some((name, digits)) if name.ends_with(']') || !name.contains(':') => match digits.parse::<u16>() {
            Ok(port) => (name, Some(port)),
            Err(_) => return false,
        },
        _ => (entry, None),
    };
    if name.is_empty() || only_port.is_some_and(|only| only != port) {
        return false;
    }
    match (address(name), address(host)) {
        (Some(entry), Some(ip)) => entry.to_canonical() == ip.to_canonical(),
        (Some(_), None) | (None, Some(_)) => false,
        (None, None) => is_domain(name, host),
    }
}

/// `example.com` is about itself and what is below it, `.example.com` and `*.example.com` about what is below alone.
fn is_domain(name: &str, host: &str) -> bool {
    let (name, host) = (name.to_ascii_lowercase(), host.trim_end_matches('.').to_ascii_lowercase());
    let below = |domain: &str| host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.') && rest.len() > 1);
    match name.strip_prefix("*.").or_else(|| name.strip_prefix('.')) {
        Some(domain) => !domain.is_empty() && below(domain),
        None => host == name || below(&name),
    }
}

fn is_in(network: IpAddr, bits: u32, ip: IpAddr) -> bool {
    let same = |a: u128, b: u128, width: u32| bits <= width && (bits == 0 || (a ^ b) >> (width - bits) == 0);
    match (network.to_canonical(), ip.to_canonical()) {
        (IpAddr::V4(a), IpAddr::V4(b)) => same(a.to_bits().into(), b.to_bits().into(), 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => same(a.to_bits(), b.to_bits(), 128),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(server: &str, variables: &[(&str, &str)]) -> Result<Way, String> {
        let variable =
            |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        Way::to(&server.parse().unwrap(), None, variable)
    }

    #[test]
    fn the_environments_proxy_is_for_servers_that_are_elsewhere() {
        let proxy = ("HTTPS_PROXY", "http://user:secret@proxy.example:3128");
        let elsewhere = way("https://api.example:6443", &[proxy]).unwrap();
        assert_eq!(elsewhere.proxy().unwrap().to_string(), "http://user:secret@proxy.example:3128/");
        for direct in ["https://127.0.0.1:6443", "https://[::1]:6443", "https://localhost", "http://api.example:80"] {
            assert_eq!(way(direct, &[proxy]), Ok(Way::Direct), "{direct}");
        }
        assert_eq!(way("https://api.example", &[]), Ok(Way::Direct));
        assert_eq!(way("https://api.example", &[("HTTP_PROXY", "http://p:1")]), Ok(Way::Direct));
        let lower = way("https://api.example", &[("https_proxy", "proxy:3128")]).unwrap();
        assert_eq!(lower.proxy().unwrap().to_string(), "http://proxy:3128/");
    }

    #[test]
    fn programs_are_told_the_same() {
        let both = [("HTTPS_PROXY", "http://p:1"), ("NO_PROXY", "other.example")];
        let told = way("https://api.example", &both).unwrap().variables();
        let expected = [("HTTPS_PROXY", "http://p:1/"), ("NO_PROXY", "other.example")];
        assert_eq!(told, expected.map(|(name, value)| (OsString::from(name), OsString::from(value))));
        assert!(way("https://127.0.0.1:1", &both).unwrap().variables().is_empty());
        let own = Way::to(&"https://api.example".parse().unwrap(), Some("http://p:1"), |_| panic!("it is not asked"));
        assert!(own.unwrap().variables().is_empty(), "they read the kubeconfig themselves");
    }

    #[test]
    fn what_no_proxy_names_is_reached_straight() {
        let proxied = |server: &str, except: &str| {
            way(server, &[("HTTPS_PROXY", "http://p:1"), ("NO_PROXY", except)]).unwrap() != Way::Direct
        };
        for (except, host) in [
            ("*", "api.example"),
            ("a, api.example ,", "api.example"),
            ("API.example", "api.EXAMPLE"),
            ("example", "api.example"),
            (".example", "api.example"),
            ("*.example", "a.b.example"),
            ("api.example:6443", "api.example"),
            ("10.0.0.0/8", "10.9.8.7"),
            ("10.1.2.3", "10.1.2.3"),
            ("10.1.2.3:6443", "10.1.2.3"),
            ("fd00::/8", "[fd12::1]"),
            ("[fd12::1]:6443", "[fd12::1]"),
            ("fd12::1", "[fd12::1]"),
            ("0.0.0.0/0", "10.1.2.3"),
        ] {
            assert!(!proxied(&format!("https://{host}:6443"), except), "{except} is about {host}");
        }
        for (except, host) in [
            ("", "api.example"),
            (",,", "api.example"),
            (".api.example", "api.example"),
            ("*.api.example", "api.example"),
            ("i.example", "api.example"),
            ("api.example:443", "api.example"),
            ("api.example:x", "api.example"),
            ("10.0.0.0/8", "11.0.0.1"),
            ("10.0.0.0/33", "10.0.0.1"),
            ("10.0.0.0/x", "10.0.0.1"),
            ("10.1.2.3", "10.1.2.30"),
            ("1.2.3", "10.1.2.3"),
            ("::/0", "10.1.2.3"),
            (".", "api.example"),
        ] {
            assert!(proxied(&format!("https://{host}:6443"), except), "{except} is not about {host}");
        }
    }

    #[test]
    fn a_proxy_of_another_kind_is_one_clear_message_without_its_password() {
        for (value, expected) in [
            (
                "socks5://u:secret@p:1",
                "HTTPS_PROXY names a proxy of the kind socks5://, and only http:// ones are supported",
            ),
            (
                "https://u:secret@p:1",
                "HTTPS_PROXY names a proxy of the kind https://, and only http:// ones are supported",
            ),
            ("http://u:sec ret@p:1", "HTTPS_PROXY is not an address such as http://proxy.example:3128"),
            ("http://", "HTTPS_PROXY is not an address such as http://proxy.example:3128"),
        ] {
            assert_eq!(way("https://api.example", &[("HTTPS_PROXY", value)]).unwrap_err(), expected);
        }
        let own = Way::to(&"https://127.0.0.1:6443".parse().unwrap(), Some("socks5://localhost:1080"), |_| None);
        assert!(own.unwrap_err().starts_with("its proxy-url names a proxy of the kind socks5://"));
    }
}
