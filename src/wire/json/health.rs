//! What `GET /v1/health` and the routes below it answer.
//!
//! In: what the node says of itself. Out: objects of `docs/http.md`. Never: judges a reading but
//! for the one word `status`.

use nanoserde::SerJson;

use super::clock::Clock;
use super::text::{Hex, Nullable, Text, render};
use crate::base::{ClusterId, Digest, NodeId, limits};
use crate::cluster::clocks::ClockReading;
use crate::journal::Obstacle;
use crate::journal::damage::{Damage, Damages};

/// What a node says of itself.
#[derive(Clone, Copy, Debug)]
pub struct HealthReadings<'a> {
    /// The id by which members and logs name it.
    pub node: NodeId,
    /// Its cluster, once that is settled.
    pub cluster: Option<ClusterId>,
    /// Assertions that it has a row for.
    pub assertions: u64,
    /// Of these, how many this node cannot decode.
    pub opaque: u64,
    /// What of its log is damaged.
    pub damages: &'a Damages,
    /// Why its disk takes nothing.
    pub obstacle: Option<Obstacle>,
    /// Where another live node answers under this identity.
    pub duplicate: Option<&'a str>,
    /// The root over all assertions.
    pub root: Digest,
    /// Seconds since the start.
    pub uptime_seconds: u64,
    /// Whether another node was reached; without seeds there is none to reach.
    pub has_joined: bool,
    /// What it found out about its clock and those of its peers.
    pub clock: &'a ClockReading,
}

/// What `GET /v1/health` answers.
pub fn health(health: &HealthReadings<'_>) -> String {
    let damages = health.damages;
    let body = HealthBody {
        status: Text(match health.obstacle {
            _ if damages.open() > 0 => "damaged",
            Some(obstacle) => obstacle.name(),
            None if health.duplicate.is_some() => "duplicate_node_id",
            None => "ok",
        }),
        node_id: Hex(&health.node.0),
        cluster_id: health.cluster.as_ref().map(|id| Hex(&id.0)),
        version: Text(env!("CARGO_PKG_VERSION")),
        uptime_seconds: health.uptime_seconds,
        joined: health.has_joined,
        assertions_count: health.assertions,
        opaque_count: health.opaque,
        writes: Text(health.obstacle.map_or("ok", Obstacle::name)),
        damaged_count: damages.open(),
        repaired_count: damages.repaired(),
        damaged: damages.listed().take(limits::DAMAGES_LISTED_MAX).map(damaged).collect(),
        clock: Clock(health.clock),
        merkle_root: Hex(&health.root.0),
        duplicate_node_id: health.duplicate.map(Text),
    };
    render(&body, 512 + 160 * body.damaged.len())
}

/// What `GET /v1/health/live` answers, from the first second on.
pub const LIVE: &str = "{\"status\":\"live\"}";

/// What `GET /v1/health/ready` answers on a node that is ready, and why its disk takes nothing, if
/// it does not: reads are served all the same.
pub fn ready(obstacle: Option<Obstacle>) -> String {
    let writes = obstacle.map_or("ok", Obstacle::name);
    format!("{{\"status\":\"ready\",\"writes\":\"{writes}\"}}")
}

#[derive(SerJson)]
struct HealthBody<'a> {
    status: Text<'a>,
    node_id: Hex<'a>,
    cluster_id: Option<Hex<'a>>,
    version: Text<'a>,
    uptime_seconds: u64,
    joined: bool,
    assertions_count: u64,
    opaque_count: u64,
    writes: Text<'a>,
    damaged_count: u64,
    repaired_count: u64,
    damaged: Vec<DamageBody<'a>>,
    clock: Clock<'a>,
    merkle_root: Hex<'a>,
    duplicate_node_id: Option<Text<'a>>,
}

#[derive(SerJson)]
struct DamageBody<'a> {
    segment: u64,
    offset: u64,
    bytes: u64,
    hash: Nullable<Hex<'a>>,
}

fn damaged(damage: &Damage) -> DamageBody<'_> {
    DamageBody {
        segment: damage.at.segment(),
        offset: damage.at.offset(),
        bytes: damage.bytes,
        hash: Nullable(damage.digest.as_ref().map(|digest| Hex(&digest.0))),
    }
}
