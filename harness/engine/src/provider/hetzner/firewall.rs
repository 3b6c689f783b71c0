//! Firewall rules of a cluster: the user's networks reach the API server and the ports of drills, and nodes reach each other. All other
//! incoming packets are dropped, including SSH.

use super::cloud_init::API_SERVER_PORT;
use hcloud::models::Rule;
use hcloud::models::rule::{Direction, Protocol};
use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;
use thiserror::Error;

/// Hetzner's maximum number of sources in a rule.
const SOURCES_MAX: usize = 100;

/// The NodePorts by which drills ask Services from outside.
pub(crate) const NODE_PORTS: RangeInclusive<u16> = 31_900..=31_931;

/// A network that may reach the API server: `198.51.100.0/24` or a single address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AllowFrom(String);

/// The rules cannot be created.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum FirewallError {
    /// It is not a network.
    #[error("--allow-from `{0}` is not a network such as 198.51.100.0/24")]
    Network(String),
    /// It is the whole internet.
    #[error("--allow-from {0} would open the API server to the internet: give the network from which you connect")]
    Everyone(String),
    /// There are too many sources.
    #[error("{0} sources exceed Hetzner's limit of {SOURCES_MAX} per firewall rule")]
    TooMany(usize),
}

impl AllowFrom {
    /// Parses a network. The whole internet is refused.
    ///
    /// # Errors
    /// If it is not a network, or is the whole internet.
    pub(crate) fn parse(text: &str) -> Result<Self, FirewallError> {
        let bad = || FirewallError::Network(text.to_owned());
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| bad())?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let bits: u32 = match bits {
            None => width,
            Some(bits) => bits.parse().ok().filter(|_| is_digits(bits)).ok_or_else(bad)?,
        };
        match bits {
            0 => Err(FirewallError::Everyone(text.to_owned())),
            bits if bits > width => Err(bad()),
            bits => Ok(Self(format!("{}/{bits}", network(address, bits)))),
        }
    }
}

/// The network address: Hetzner refuses networks with host bits.
fn network(address: IpAddr, bits: u32) -> IpAddr {
    match address {
        IpAddr::V4(ip) => Ipv4Addr::from_bits(ip.to_bits() & (u32::MAX << (32 - bits))).into(),
        IpAddr::V6(ip) => std::net::Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << (128 - bits))).into(),
    }
}

/// Creates the rules for these nodes. Call it again after adding a server, because sources are addresses.
///
/// # Errors
/// If there are too many sources.
pub(crate) fn rules(allow_from: &[AllowFrom], nodes: &[Ipv4Addr]) -> Result<Vec<Rule>, FirewallError> {
    let nodes: Vec<_> = nodes.iter().map(|node| format!("{node}/32")).collect();
    let api: Vec<_> = allow_from.iter().map(|network| network.0.clone()).collect();
    if let Some(count) = [nodes.len(), api.len()].into_iter().find(|count| *count > SOURCES_MAX) {
        return Err(FirewallError::TooMany(count));
    }
    let rule = |protocol, port: Option<String>, sources: &Vec<String>| {
        let mut rule = Rule::new(Direction::In, protocol);
        rule.port = port.map(Some);
        rule.source_ips = Some(sources.clone());
        rule
    };
    let any_port = || Some("1-65535".to_owned());
    let node_ports = format!("{}-{}", NODE_PORTS.start(), NODE_PORTS.end());
    let mut rules =
        vec![rule(Protocol::Tcp, Some(API_SERVER_PORT.to_string()), &api), rule(Protocol::Tcp, Some(node_ports), &api)];
    // A rule without sources would be one for everyone.
    if !nodes.is_empty() {
        rules.push(rule(Protocol::Tcp, any_port(), &nodes));
        rules.push(rule(Protocol::Udp, any_port(), &nodes));
        rules.push(rule(Protocol::Icmp, None, &nodes));
    }
    rules.retain(|rule| rule.source_ips.as_ref().is_some_and(|sources| !sources.is_empty()));
    Ok(rules)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_network_is_named_and_never_everyone() {
        for (text, network) in [
            ("198.51.100.7", "198.51.100.7/32"),
            ("198.51.100.7/24", "198.51.100.0/24"),
            ("2001:db8::1/32", "2001:db8::/32"),
            ("2001:db8::1", "2001:db8::1/128"),
        ] {
            assert_eq!(AllowFrom::parse(text), Ok(AllowFrom(network.to_owned())));
        }
        for text in ["0.0.0.0/0", "::/0", "10.0.0.0/0"] {
            assert_eq!(AllowFrom::parse(text), Err(FirewallError::Everyone(text.to_owned())));
        }
        for text in ["", "home", "10.0.0.0/33", "10.0.0/8", "10.0.0.0/", "10.0.0.0/+8", "::/129", "1.2.3.4/8/8"] {
            assert_eq!(AllowFrom::parse(text), Err(FirewallError::Network(text.to_owned())));
        }
    }

    #[test]
    fn only_the_api_server_and_the_ports_of_drills_are_reached_from_outside() {
        let from = [AllowFrom::parse("198.51.100.0/24").unwrap()];
        let rules = rules(&from, &["192.0.2.7".parse().unwrap(), "192.0.2.8".parse().unwrap()]).unwrap();
        let nodes = json!(["192.0.2.7/32", "192.0.2.8/32"]);
        let expected = json!([
            {"direction": "in", "protocol": "tcp", "port": "6443", "source_ips": ["198.51.100.0/24"]},
            {"direction": "in", "protocol": "tcp", "port": "31900-31931", "source_ips": ["198.51.100.0/24"]},
            {"direction": "in", "protocol": "tcp", "port": "1-65535", "source_ips": nodes},
            {"direction": "in", "protocol": "udp", "port": "1-65535", "source_ips": nodes},
            {"direction": "in", "protocol": "icmp", "source_ips": nodes},
        ]);
        assert_eq!(serde_json::to_value(rules).unwrap(), expected);
    }

    #[test]
    fn no_rule_is_without_sources() {
        let from = [AllowFrom::parse("198.51.100.0/24").unwrap()];
        assert_eq!(rules(&from, &[]).unwrap().len(), 2);
        assert_eq!(rules(&[], &[]).unwrap().len(), 0);
        let many = vec![Ipv4Addr::LOCALHOST; 101];
        assert_eq!(rules(&from, &many), Err(FirewallError::TooMany(101)));
    }
}
