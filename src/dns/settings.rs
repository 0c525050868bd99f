//! The resolver's files: resolv.conf(5), a line of hosts(5), and the names that need neither.
//!
//! In: their text. Out: name servers, search list and times within bounds. A line that cannot be
//! read is passed over, as the C library does; one bad line must not cost the others.
//!
//! Never: fails.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use crate::base::limits;

/// The largest `ndots`, `timeout` in seconds and `attempts`, as in the C library.
const NDOTS_MAX: usize = 15;
const TIMEOUT_MAX: u64 = 30;
const ATTEMPTS_MAX: usize = 5;

/// A name server, and the interface it is reached by if its address is link-local.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NameServer {
    /// The address that its `nameserver` line names.
    pub ip: IpAddr,
    /// Name or number of the interface; empty: any.
    pub zone: String,
}

impl fmt::Display for NameServer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.zone.is_empty() { "" } else { "%" };
        write!(out, "{}{mark}{}", self.ip, self.zone)
    }
}

/// What resolv.conf says, within the bounds of the C library.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ResolverSettings {
    /// Asked in this order; without any, this machine is.
    pub servers: Vec<NameServer>,
    /// Suffixes of names that are not complete.
    pub search: Vec<String>,
    /// A name of so many dots is asked for as it is first.
    pub ndots: usize,
    /// How long one server may take.
    pub timeout: Duration,
    /// How often each server is asked.
    pub attempts: usize,
}

impl ResolverSettings {
    /// Reads resolv.conf. Without `search` and `domain`, the domain of this machine's name is the
    /// search list.
    pub fn read(text: &str, host: &str) -> ResolverSettings {
        let mut settings = ResolverSettings {
            servers: Vec::new(),
            search: host.split_once('.').map(|(_, domain)| domain.to_owned()).into_iter().collect(),
            ndots: 1,
            timeout: Duration::from_secs(5),
            attempts: 2,
        };
        for line in text.lines().filter(|line| !line.starts_with(['#', ';'])) {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => settings.servers.extend(words.next().and_then(server)),
                // The later of these lines wins.
                Some("domain") => settings.search = words.take(1).map(str::to_owned).collect(),
                Some("search") => settings.search = words.map(str::to_owned).collect(),
                Some("options") => words.for_each(|word| settings.take_option(word)),
                _ => {}
            }
        }
        settings.servers.truncate(limits::NAME_SERVERS_MAX);
        settings.search.truncate(limits::SEARCH_MAX);
        if settings.servers.is_empty() {
            let ip = Ipv4Addr::LOCALHOST.into();
            settings.servers.push(NameServer { ip, zone: String::new() });
        }
        settings
    }

    fn take_option(&mut self, word: &str) {
        let Some((name, number)) = word.split_once(':') else { return };
        let Ok(number) = number.parse::<u32>() else { return };
        match name {
            "ndots" => self.ndots = (number as usize).min(NDOTS_MAX),
            "timeout" => {
                self.timeout = Duration::from_secs(u64::from(number).clamp(1, TIMEOUT_MAX))
            }
            "attempts" => self.attempts = (number as usize).clamp(1, ATTEMPTS_MAX),
            _ => {}
        }
    }

    /// The full names that `name` may mean, in the order in which they are asked for. A
    /// trailing dot says that the name is complete.
    pub(super) fn candidates(&self, name: &str) -> Vec<String> {
        if let Some(complete) = name.strip_suffix('.') {
            return vec![complete.to_owned()];
        }
        let suffixes = self.search.iter().map(|suffix| suffix.trim_matches('.'));
        let full = suffixes.filter(|suffix| !suffix.is_empty()).map(|it| format!("{name}.{it}"));
        let mut candidates: Vec<String> = full.collect();
        let has_dots = name.bytes().filter(|byte| *byte == b'.').count() >= self.ndots;
        let position = if has_dots { 0 } else { candidates.len() };
        candidates.insert(position, name.to_owned());
        candidates
    }
}

fn server(word: &str) -> Option<NameServer> {
    let (ip, zone) = word.split_once('%').unwrap_or((word, ""));
    Some(NameServer { ip: ip.parse().ok()?, zone: zone.to_owned() })
}

/// The address in a line of the hosts file, if `name` is one of its names.
pub fn hosts_line(line: &str, name: &str) -> Option<IpAddr> {
    let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
    let ip = words.next()?.parse().ok()?;
    let name = name.strip_suffix('.').unwrap_or(name);
    words.any(|word| word.eq_ignore_ascii_case(name)).then_some(ip)
}

/// The addresses of `localhost` and of names below it, which no name server is asked for (RFC 6761,
/// section 6.3); none for another name.
pub fn loopback(name: &str) -> Vec<IpAddr> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let last = name.rsplit('.').next().unwrap_or_default();
    match last.eq_ignore_ascii_case("localhost") {
        true => vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
        false => Vec::new(),
    }
}
