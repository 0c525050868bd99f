//! What the text of a setting means: durations, sizes, addresses, lists.
//!
//! In: one value's text. Out: the value, or what would have been right. Never: resolves a name,
//! opens a file.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use super::takes::Takes;
use crate::base::{ClusterId, Digest, NodeId, limits};
use crate::model::{RootAgents, signature};

/// A host, by name or address, and a port; a name is not looked up here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Endpoint {
    /// A DNS name or an IP address, the latter without brackets.
    pub host: String,
    /// The port; never 0.
    pub port: u16,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(out, "[{}]:{}", self.host, self.port)
        } else {
            write!(out, "{}:{}", self.host, self.port)
        }
    }
}

/// A value, or what would have been right.
pub(super) type Parsed<T> = Result<T, Takes>;

pub(super) fn boolean(text: &str) -> Parsed<bool> {
    is_true(text).ok_or(Takes::Boolean)
}

/// Whether the text says yes or no; `None` if it says neither.
pub(super) fn is_true(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Some(true),
        "false" | "0" | "no" | "off" => Some(false),
        _ => None,
    }
}

pub(super) fn count(text: &str, range: RangeInclusive<u32>) -> Parsed<u32> {
    text.parse()
        .ok()
        .filter(|number| range.contains(number))
        .ok_or(Takes::Count { min: *range.start(), max: *range.end() })
}

pub(super) fn duration(text: &str, range: RangeInclusive<Duration>) -> Parsed<Duration> {
    let (number, unit) = split_unit(text);
    let number: u64 = number.parse().map_err(|_| Takes::Span)?;
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(Takes::Span),
    };
    let span = Duration::from_millis(number.saturating_mul(milliseconds));
    if range.contains(&span) {
        return Ok(span);
    }
    Err(Takes::SpanBetween(*range.start(), *range.end()))
}

pub(super) fn bytes(text: &str, min: u64) -> Parsed<u64> {
    let (number, unit) = split_unit(text);
    let number: u64 = number.parse().map_err(|_| Takes::Bytes)?;
    let shift = match unit.to_ascii_uppercase().as_str() {
        "" | "B" => 0,
        "K" | "KIB" => 10,
        "M" | "MIB" => 20,
        "G" | "GIB" => 30,
        "T" | "TIB" => 40,
        _ => return Err(Takes::Bytes),
    };
    let size = number.checked_mul(1 << shift).ok_or(Takes::Bytes)?;
    if size < min {
        return Err(Takes::BytesFrom(min));
    }
    Ok(size)
}

fn split_unit(text: &str) -> (&str, &str) {
    text.split_at(text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len()))
}

/// An address to listen at; port 0 lets the system choose one.
pub(super) fn listen_address(text: &str) -> Parsed<SocketAddr> {
    text.parse().map_err(|_| Takes::ListenAddress)
}

/// An address that peers can dial.
pub(super) fn advertised(text: &str) -> Parsed<Endpoint> {
    let endpoint = endpoint(text)?;
    match endpoint.host.parse::<IpAddr>() {
        Ok(address) if address.is_unspecified() => Err(Takes::OneMachine),
        _ => Ok(endpoint),
    }
}

/// The API of the node on this machine that listens at `bind`.
pub(super) fn local_api(bind: SocketAddr) -> Endpoint {
    let host = match bind.ip() {
        IpAddr::V4(address) if address.is_unspecified() => IpAddr::from(Ipv4Addr::LOCALHOST),
        IpAddr::V6(address) if address.is_unspecified() => IpAddr::from(Ipv6Addr::LOCALHOST),
        address => address,
    };
    Endpoint { host: host.to_string(), port: bind.port() }
}

/// `http://HOST:PORT`, with or without the scheme.
pub(super) fn api_address(text: &str) -> Parsed<Endpoint> {
    if text.starts_with("https://") {
        return Err(Takes::PlainHttp);
    }
    let bare = text.strip_prefix("http://").unwrap_or(text);
    endpoint(bare.strip_suffix('/').unwrap_or(bare)).map_err(|_| Takes::ApiAddress)
}

pub(super) fn endpoint(text: &str) -> Parsed<Endpoint> {
    let wrong = || Takes::HostAndPort;
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let port: u16 = port.parse().ok().filter(|&port| port != 0).ok_or_else(wrong)?;
    if let Some(inner) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        let address: Ipv6Addr = inner.parse().map_err(|_| wrong())?;
        return Ok(Endpoint { host: address.to_string(), port });
    }
    if !is_host(host) {
        return Err(wrong());
    }
    Ok(Endpoint { host: host.to_string(), port })
}

pub(super) fn seeds(text: &str) -> Parsed<Vec<Endpoint>> {
    let seeds = list(text).map(endpoint).collect::<Parsed<Vec<_>>>()?;
    if seeds.len() > limits::SEEDS_MAX {
        return Err(Takes::FewerSeeds);
    }
    Ok(seeds)
}

/// Origins as browsers send them; `None` (from `*`) lets every page call.
pub(super) fn origins(text: &str) -> Parsed<Option<Vec<String>>> {
    if text.trim() == "*" {
        return Ok(None);
    }
    let origins: Vec<String> = list(text).map(origin).collect::<Parsed<_>>()?;
    if origins.len() > limits::ORIGINS_MAX {
        return Err(Takes::FewerOrigins);
    }
    Ok(Some(origins))
}

fn origin(text: &str) -> Parsed<String> {
    let is_origin = text.split_once("://").is_some_and(|(scheme, authority)| {
        let is_authority = |letter: u8| letter.is_ascii_graphic() && !b"/?#@*,".contains(&letter);
        scheme.starts_with(|letter: char| letter.is_ascii_alphabetic())
            && scheme
                .bytes()
                .all(|letter| letter.is_ascii_alphanumeric() || b"+-.".contains(&letter))
            && !authority.is_empty()
            && authority.bytes().all(is_authority)
    });
    if !is_origin {
        return Err(Takes::Origins);
    }
    Ok(text.to_ascii_lowercase())
}

/// Names that a request may ask for.
pub(super) fn hosts(text: &str) -> Parsed<Vec<String>> {
    let hosts: Vec<String> = list(text).map(str::to_ascii_lowercase).collect();
    if hosts.is_empty() || !hosts.iter().all(|host| is_host(host)) {
        return Err(Takes::Hosts);
    }
    if hosts.len() > limits::HOSTS_MAX {
        return Err(Takes::FewerHosts);
    }
    Ok(hosts)
}

/// Agents by their public keys.
pub(super) fn agents(text: &str) -> Parsed<RootAgents> {
    let key = |text| Digest::parse(text).map(|key| key.0).filter(signature::is_agent);
    let keys: Vec<[u8; 32]> = list(text).map(key).collect::<Option<_>>().ok_or(Takes::Agents)?;
    if keys.is_empty() {
        return Err(Takes::Agents);
    }
    if keys.len() > limits::ROOT_AGENTS_MAX {
        return Err(Takes::FewerAgents);
    }
    Ok(RootAgents::new(keys))
}

/// Whether the text is a name that DNS could have.
fn is_host(text: &str) -> bool {
    let is_name = |letter: u8| letter.is_ascii_alphanumeric() || b"-._".contains(&letter);
    !text.is_empty() && text.len() <= limits::HOST_BYTES_MAX && text.bytes().all(is_name)
}

fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}

pub(super) fn node_id(text: &str) -> Parsed<NodeId> {
    NodeId::parse(text).filter(|&id| id != NodeId::NONE).ok_or(Takes::Id)
}

pub(super) fn cluster_id(text: &str) -> Parsed<ClusterId> {
    ClusterId::parse(text).ok_or(Takes::Id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_want_a_number_and_a_unit() {
        let read = |text| duration(text, Duration::from_millis(10)..=Duration::from_secs(3600));
        assert_eq!(read("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(read("1s"), Ok(Duration::from_secs(1)));
        assert_eq!(read("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(read("1h"), Ok(Duration::from_secs(3600)));
        for bad in ["", "1", "s", "1.5s", "-1s", "1 s", "1S", "1d", "99999999999999999999s"] {
            assert!(read(bad).is_err_and(|takes| takes == Takes::Span), "{bad:?}");
        }
        for far in ["9ms", "18446744073709551615h"] {
            assert_eq!(read(far).expect_err(far).to_string(), "takes 10ms to 3600s");
        }
    }

    #[test]
    fn sizes_are_bytes_with_or_without_a_binary_unit() {
        for (text, size) in [
            ("65536", 65536),
            ("64K", 65536),
            ("64M", 64 << 20),
            ("64MiB", 64 << 20),
            ("2g", 2 << 30),
            ("1T", 1 << 40),
        ] {
            assert_eq!(bytes(text, 65536), Ok(size), "{text:?}");
        }
        for bad in ["", "M", "1.5G", "-1", "64MB", "16777216T", "0x10000"] {
            assert!(bytes(bad, 65536).is_err(), "{bad:?}");
        }
        assert_eq!(bytes("64", 65536), Err(Takes::BytesFrom(65536)));
    }

    #[test]
    fn endpoints_are_names_or_addresses_with_a_port() {
        for good in ["node1:18182", "10.0.0.7:1", "[::1]:18182", "a-b.example_c.org:65535"] {
            assert_eq!(endpoint(good).map(|end| end.to_string()).as_deref(), Ok(good));
        }
        for bad in
            ["", ":1", "node1", "node1:", "node1:0", "node1:65536", "http://a:1", "::1:5", "a b:1"]
        {
            assert!(endpoint(bad).is_err(), "{bad:?}");
        }
        assert!(endpoint(&format!("{}:1", "a".repeat(254))).is_err());
        assert!(advertised("0.0.0.0:18182").is_err());
        assert!(advertised("[::]:18182").is_err());
        assert!(advertised("10.0.0.7:18182").is_ok());
    }

    #[test]
    fn lists_forgive_blanks_and_are_bounded() {
        assert_eq!(seeds(" a:1, b:2 ,").map(|list| list.len()), Ok(2));
        assert_eq!(seeds("").map(|list| list.len()), Ok(0));
        assert!(seeds("a:1,b").is_err());
        assert!(seeds(&"a:1,".repeat(limits::SEEDS_MAX)).is_ok());
        assert!(seeds(&"a:1,".repeat(limits::SEEDS_MAX + 1)).is_err());
        assert!(origins(&"http://a,".repeat(limits::ORIGINS_MAX + 1)).is_err());
    }

    #[test]
    fn hosts_are_names_alone() {
        let expected = vec!["db.example.org".to_string(), "node_1".into(), "10.0.0.7".into()];
        assert_eq!(hosts("DB.example.org, node_1,10.0.0.7"), Ok(expected));
        assert!(hosts(&"a,".repeat(limits::HOSTS_MAX + 1)).is_err());
        for bad in ["", ",", "*", "a:1", "http://a", "a b", "[::1]"] {
            assert!(hosts(bad).is_err_and(|takes| takes == Takes::Hosts), "{bad:?}");
        }
    }

    #[test]
    fn origins_are_what_a_browser_sends() {
        let expected = vec!["https://app.example.org".to_string(), "http://localhost:3000".into()];
        let read = origins("https://App.example.org,http://localhost:3000");
        assert_eq!(read, Ok(Some(expected)));
        assert_eq!(origins("*"), Ok(None));
        for bad in
            ["app.example.org", "https://a/", "https://", "://a", "https://*.a", "https://a b"]
        {
            assert!(origins(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn yes_and_no_have_several_names() {
        for (text, expected) in [("TRUE", Some(true)), ("0", Some(false)), ("maybe", None)] {
            assert_eq!(is_true(text), expected);
        }
        assert!(node_id("00000000000000000000000000000000").is_err());
    }
}
