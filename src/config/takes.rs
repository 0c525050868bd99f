//! What the values of settings have to be, for those that are not.
//!
//! In: the bounds that a value missed. Out: [`Takes`], whose text says what would be right.
//! Never: repeats the value, which may be a secret.

use std::fmt;
use std::time::Duration;

use crate::base::limits;

/// Why a value cannot be used: what its setting takes. The operator has to change it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Takes {
    /// Text in UTF-8, which this is not.
    Utf8,
    /// A word for yes or for no.
    Boolean,
    /// A whole number within bounds.
    Count {
        /// The least number that it takes.
        min: u32,
        /// The greatest number that it takes.
        max: u32,
    },
    /// A span of time, which this is not.
    Span,
    /// A span of time within bounds.
    SpanBetween(Duration, Duration),
    /// A number of bytes, which this is not.
    Bytes,
    /// At least so many bytes.
    BytesFrom(u64),
    /// What another setting of this kind takes, or `off`.
    OrOff(Box<Takes>),
    /// An address of this machine with a port.
    ListenAddress,
    /// An address that is one machine's.
    OneMachine,
    /// A host and a port.
    HostAndPort,
    /// The HTTP API of a node.
    ApiAddress,
    /// A URL of plain HTTP, not of HTTPS.
    PlainHttp,
    /// At most [`limits::SEEDS_MAX`] seeds.
    FewerSeeds,
    /// Origins of web pages, `scheme://host[:port]`.
    Origins,
    /// At most [`limits::ORIGINS_MAX`] origins.
    FewerOrigins,
    /// Names of hosts, without scheme and port.
    Hosts,
    /// At most [`limits::HOSTS_MAX`] names of hosts.
    FewerHosts,
    /// Public keys of agents.
    Agents,
    /// At most [`limits::ROOT_AGENTS_MAX`] of them.
    FewerAgents,
    /// An id of 16 bytes.
    Id,
    /// A number as JSON writes it.
    Number,
    /// The type of an object.
    ObjectKind,
    /// The name of a durability.
    Durability,
    /// The format of log lines.
    LogFormat,
    /// The level of the log.
    LogLevel,
}

impl fmt::Display for Takes {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Takes::Utf8 => "takes UTF-8",
            Takes::Boolean => "takes true or false",
            Takes::Count { min, max } => {
                return write!(out, "takes a whole number from {min} to {max}");
            }
            Takes::Span => "takes a whole number with its unit, such as 250ms, 1s or 2m",
            Takes::SpanBetween(min, max) if min.is_zero() => {
                return write!(out, "takes 0s to {max:?}");
            }
            Takes::SpanBetween(min, max) => return write!(out, "takes {min:?} to {max:?}"),
            Takes::Bytes => "takes a number of bytes, such as 67108864 or 64M (K, M, G, T)",
            Takes::BytesFrom(min) => return write!(out, "takes at least {min} bytes"),
            Takes::OrOff(takes) => return write!(out, "{takes}, or off"),
            Takes::ListenAddress => {
                "takes an IP address and a port, such as 127.0.0.1:18180, 0.0.0.0:18180 or \
                 [::1]:18180"
            }
            Takes::OneMachine => {
                "takes an address that peers can reach, not the one that means all of them"
            }
            Takes::HostAndPort => {
                "takes host:port, such as node1:18182, 10.0.0.7:18182 or [::1]:18182"
            }
            Takes::ApiAddress => "takes http://HOST:PORT, such as http://127.0.0.1:18180",
            Takes::PlainHttp => "takes http://, this node speaks no TLS",
            Takes::FewerSeeds => return write!(out, "takes at most {} seeds", limits::SEEDS_MAX),
            Takes::Origins => "takes origins without a path, such as https://app.example.org, or *",
            Takes::FewerOrigins => {
                return write!(out, "takes at most {} origins", limits::ORIGINS_MAX);
            }
            Takes::Hosts => "takes names without scheme and port, such as db.example.org,node1",
            Takes::FewerHosts => return write!(out, "takes at most {} names", limits::HOSTS_MAX),
            Takes::Agents => {
                "takes public keys of agents with commas between them, 64 hex digits each, by \
                 which only their owners can sign"
            }
            Takes::FewerAgents => {
                return write!(out, "takes at most {} agents", limits::ROOT_AGENTS_MAX);
            }
            Takes::Id => "takes 32 hex digits or a UUID, not all zeros",
            Takes::Number => "takes a number, such as 5 or 0.5",
            Takes::ObjectKind => "takes text, number, boolean or reference",
            Takes::Durability => "takes immediate, batched or eventual",
            Takes::LogFormat => "takes text or json",
            Takes::LogLevel => "takes error, warn, info, debug, trace or off",
        })
    }
}

impl std::error::Error for Takes {}
