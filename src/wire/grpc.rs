//! The parts of gRPC that are text: method paths, content types, timeouts.
//!
//! In: header values of a foreign program, or values of our own. Out: the other form.
//!
//! Never: panics on foreign text, accepts a compression.

use std::fmt;
use std::time::Duration;

pub use super::status::{Code, Status};
use crate::base::{ClusterId, NodeId};
use crate::cluster::identity::Tag;

/// The content type of every request and answer.
pub const CONTENT_TYPE: &str = "application/grpc";

/// The metadata by which nodes of one cluster know each other.
pub const CLUSTER_KEY: &str = "x-stemedb-cluster-key";

/// The metadata by which a node says of which cluster it is.
pub const CLUSTER_ID: &str = "stemedb-cluster-id";

/// The metadata that names one process of a node, so that it knows its own calls.
pub const INSTANCE: &str = "stemedb-instance";

/// What follows the id of a cluster that is not settled.
const PROPOSED: &str = ";proposed";

/// The cluster that a node says it belongs to, as metadata.
pub fn format_tag(tag: Tag) -> String {
    match tag {
        Tag::Settled(id) => id.to_string(),
        Tag::Proposed(id) => format!("{id}{PROPOSED}"),
    }
}

/// The cluster that a node's metadata names; `None` if the text is no such value.
pub fn parse_tag(text: &[u8]) -> Option<Tag> {
    let text = std::str::from_utf8(text).ok()?;
    match text.strip_suffix(PROPOSED) {
        Some(id) => ClusterId::parse(id).map(Tag::Proposed),
        None => ClusterId::parse(text).map(Tag::Settled),
    }
}

/// The metadata by which a node says on each new connection how it is set, see [`SharedSettings`].
pub const SETTINGS: &str = "x-stemedb-settings";

/// Settings that have to be the same on all nodes, and whose they are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SharedSettings {
    /// The node that is set so, for the line that warns of it.
    pub node: NodeId,
    /// Shards that subjects are assigned to.
    pub shards: u32,
    /// Nodes that hold a shard.
    pub replication_factor: u32,
}

impl SharedSettings {
    /// What a node said; `None` if that is something else. Names that are not known are passed
    /// over, as a later version may have more of them.
    pub fn read(value: &[u8]) -> Option<SharedSettings> {
        let (mut node, mut shards, mut replication_factor) = (None, None, None);
        for pair in std::str::from_utf8(value).ok()?.split(';') {
            match pair.trim().split_once('=')? {
                ("node_id", text) => node = NodeId::parse(text),
                ("shards", text) => shards = text.parse().ok(),
                ("replication_factor", text) => replication_factor = text.parse().ok(),
                _ => {}
            }
        }
        Some(SharedSettings {
            node: node?,
            shards: shards?,
            replication_factor: replication_factor?,
        })
    }
}

impl fmt::Display for SharedSettings {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SharedSettings { node, shards, replication_factor } = self;
        write!(out, "node_id={node};shards={shards};replication_factor={replication_factor}")
    }
}

/// The service and the method of a request path, `/package.Service/Method`.
pub fn parse_path(path: &str) -> Option<(&str, &str)> {
    let (service, method) = path.strip_prefix('/')?.split_once('/')?;
    (!service.is_empty() && !method.is_empty() && !method.contains('/'))
        .then_some((service, method))
}

/// Refuses a content type that is not gRPC (`INVALID_ARGUMENT`; HTTP says 415 to it), or is gRPC
/// with messages that are not protobuf (`UNIMPLEMENTED`). The case of letters does not matter (RFC
/// 9110, section 8.3.1).
pub fn check_content_type(content_type: &[u8]) -> Result<(), Status> {
    if content_type == CONTENT_TYPE.as_bytes() {
        return Ok(());
    }
    let essence = content_type.split(|byte| matches!(byte, b';' | b' ')).next().unwrap_or(&[]);
    let is = |name: &str| essence.eq_ignore_ascii_case(name.as_bytes());
    if is(CONTENT_TYPE) || is("application/grpc+proto") {
        return Ok(());
    }
    let text = String::from_utf8_lossy(content_type);
    let front = essence.get(..CONTENT_TYPE.len());
    let is_grpc = front.is_some_and(|front| front.eq_ignore_ascii_case(CONTENT_TYPE.as_bytes()))
        && essence.get(CONTENT_TYPE.len()) == Some(&b'+');
    Err(match is_grpc {
        true => Status::new(
            Code::Unimplemented,
            format!("messages of {text:?} are not known here, application/grpc+proto is"),
        ),
        false => Status::new(
            Code::InvalidArgument,
            format!("the content-type is {text:?}, not application/grpc"),
        ),
    })
}

/// Refuses a `grpc-encoding` (a compression of messages) other than `identity`.
pub fn check_encoding(encoding: &[u8]) -> Result<(), Status> {
    if encoding == b"identity" {
        return Ok(());
    }
    let name = String::from_utf8_lossy(encoding);
    let message = format!("grpc-encoding is {name:?}, only \"identity\" is known here");
    Err(Status::new(Code::Unimplemented, message))
}

/// Reads `grpc-timeout`: up to 8 digits and one of `H M S m u n`.
pub fn parse_timeout(value: &[u8]) -> Result<Duration, Status> {
    let malformed = || {
        let value = String::from_utf8_lossy(value);
        let message = format!("grpc-timeout is {value:?}, not 1 to 8 digits and one of HMSmun");
        Status::new(Code::Internal, message)
    };
    let (unit, digits) = value.split_last().ok_or_else(malformed)?;
    if !(1..=8).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return Err(malformed());
    }
    let count = digits.iter().fold(0, |count, digit| count * 10 + u64::from(digit - b'0'));
    Ok(match unit {
        b'H' => Duration::from_secs(count * 3600),
        b'M' => Duration::from_secs(count * 60),
        b'S' => Duration::from_secs(count),
        b'm' => Duration::from_millis(count),
        b'u' => Duration::from_micros(count),
        b'n' => Duration::from_nanos(count),
        _ => return Err(malformed()),
    })
}

/// Writes `grpc-timeout` in the finest unit whose 8 digits suffice, rounded up; at least one
/// nanosecond.
pub fn format_timeout(timeout: Duration) -> String {
    const COUNT_MAX: u128 = 99_999_999;
    let nanoseconds = timeout.as_nanos().max(1);
    let units = [(1, 'n'), (1_000, 'u'), (1_000_000, 'm'), (1_000_000_000, 'S')];
    for (size, unit) in units {
        let count = nanoseconds.div_ceil(size);
        if count <= COUNT_MAX {
            return format!("{count}{unit}");
        }
    }
    let hours = nanoseconds.div_ceil(3_600_000_000_000).min(COUNT_MAX);
    format!("{hours}H")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_have_a_service_and_a_method() {
        assert_eq!(parse_path("/a.b.C/D"), Some(("a.b.C", "D")));
        for path in ["", "/", "*", "/a", "a/b", "/a/", "//b", "/a/b/", "/a/b/c"] {
            assert_eq!(parse_path(path), None, "{path}");
        }
    }

    #[test]
    fn settings_come_back_as_they_went_and_nothing_else_is_taken() {
        let settings = SharedSettings { node: NodeId([7; 16]), shards: 64, replication_factor: 3 };
        let text = settings.to_string();
        assert_eq!(SharedSettings::read(text.as_bytes()), Some(settings));
        assert_eq!(SharedSettings::read(format!("{text}; later=x").as_bytes()), Some(settings));
        for bad in ["", "x", "shards=64;replication_factor=3", &text.replace('6', "-6")] {
            assert_eq!(SharedSettings::read(bad.as_bytes()), None, "{bad:?}");
        }
    }

    #[test]
    fn content_types() {
        for good in [
            "application/grpc",
            "Application/GRPC",
            "application/grpc+proto",
            "application/grpc+PROTO; x=y",
            "application/grpc;charset=utf-8",
        ] {
            assert_eq!(check_content_type(good.as_bytes()), Ok(()), "{good}");
        }
        let code = |text: &str| check_content_type(text.as_bytes()).map_err(|status| status.code);
        for other in ["application/grpc+json", "APPLICATION/GRPC+thrift", "application/grpc+"] {
            assert_eq!(code(other), Err(Code::Unimplemented), "{other}");
        }
        for bad in ["", "application/json", "application/grpc-web", "application/grpcx", "text/x"] {
            assert_eq!(code(bad), Err(Code::InvalidArgument), "{bad}");
        }
    }

    #[test]
    fn timeouts_are_written_and_read() {
        let rows = [
            (Duration::from_nanos(1), "1n"),
            (Duration::from_millis(5), "5000000n"),
            (Duration::from_millis(250), "250000u"),
            (Duration::from_secs(30), "30000000u"),
            (Duration::from_secs(3600), "3600000m"),
            (Duration::from_secs(99_999_999), "99999999S"),
            (Duration::from_secs(360_000_000), "100000H"),
        ];
        for (timeout, text) in rows {
            assert_eq!(format_timeout(timeout), text);
            assert_eq!(parse_timeout(text.as_bytes()), Ok(timeout));
        }
        assert_eq!(format_timeout(Duration::ZERO), "1n");
        assert_eq!(format_timeout(Duration::MAX), "99999999H");
        assert_eq!(parse_timeout(b"99999999H"), Ok(Duration::from_secs(99_999_999 * 3600)));
        assert_eq!(parse_timeout(b"2M"), Ok(Duration::from_secs(120)));
        assert_eq!(parse_timeout(b"0S"), Ok(Duration::ZERO));
        for bad in ["", "S", "1", "123456789S", "1s", "-1S", "1.5S", "+1S", " 1S", "1S ", "1\u{b5}"]
        {
            let refused = parse_timeout(bad.as_bytes()).map_err(|status| status.code);
            assert_eq!(refused, Err(Code::Internal), "{bad}");
        }
    }

    #[test]
    fn any_compression_but_none_is_refused() {
        assert_eq!(check_encoding(b"identity"), Ok(()));
        for name in ["gzip", "deflate", "Identity", ""] {
            let refused = check_encoding(name.as_bytes()).map_err(|status| status.code);
            assert_eq!(refused, Err(Code::Unimplemented), "{name}");
        }
    }
}
