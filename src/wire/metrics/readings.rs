//! What a scrape of the metrics looks up.
//!
//! In: the modules that count. Out: plain numbers. Never: names a metric.

use crate::base::{Moment, NodeId, limits};
use crate::cluster::clocks::ClockReading;
use crate::cluster::{Cluster, gossip};
use crate::journal::Obstacle;
use crate::journal::damage::{Damage, Damages};
use crate::scan;
use crate::swim::{self, State};
use crate::sync::{Progress, SessionCounts};

/// How often calls of a gRPC method ended with a status code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GrpcCount {
    /// The method's name, without its service; empty for calls of no method.
    pub method: &'static str,
    /// The status code's name.
    pub code: &'static str,
    /// Calls that ended so since the start.
    pub count: u64,
}

/// What a scrape looks up.
#[derive(Clone, Debug, Default)]
pub struct Readings {
    /// Assertions in the index.
    pub assertions: u64,
    /// Of these, how many this node cannot decode.
    pub opaque: u64,
    /// Bytes of the log.
    pub log_bytes: u64,
    /// How many it may have.
    pub log_bytes_max: Option<u64>,
    /// What of the log is damaged.
    pub damages: DamageReadings,
    /// Queries that wait for their answers.
    pub queries_waiting: u64,
    /// What became of queries since the start.
    pub scans: scan::Stats,
    /// Why the disk takes nothing.
    pub obstacle: Option<Obstacle>,
    /// Bytes, passes and unreadable records of the scrubber.
    pub scrubbed: [u64; 3],
    /// Bytes of the process that are in RAM.
    pub resident_bytes: u64,
    /// Memory that the bounds follow.
    pub memory_bytes: u64,
    /// Open connections of the HTTP API.
    pub http_connections: u64,
    /// Open connections of the gateway.
    pub gateway_connections: u64,
    /// Open connections of gRPC.
    pub grpc_connections: u64,
    /// Connections that the server ended of its own accord: listener, reason, how many.
    pub ended: Vec<(&'static str, &'static str, u64)>,
    /// Log lines that were not written.
    pub log_lines_dropped: u64,
    /// Seconds since the start.
    pub uptime_seconds: u64,
    /// Runs of anti-entropy that ended, by peer.
    pub sync_cycles: Vec<(NodeId, SessionCounts)>,
    /// Calls that the gRPC server ended, by method and code.
    pub grpc: Vec<GrpcCount>,
    /// Open connections to other nodes.
    pub peer_connections: u64,
    /// Members, failure detection and gossip.
    pub cluster: ClusterReadings,
    /// The HLC and the clocks of peers; none while the log is read.
    pub clock: Option<ClockReading>,
}

/// Damage of the log.
#[derive(Clone, Debug, Default)]
pub struct DamageReadings {
    pub(super) open: u64,
    pub(super) found: u64,
    pub(super) repaired: u64,
    pub(super) listed: Vec<Damage>,
}

impl DamageReadings {
    /// Counts the damage, and lists the first [`limits::DAMAGES_LISTED_MAX`].
    pub fn of(damages: &Damages) -> DamageReadings {
        DamageReadings {
            open: damages.open(),
            found: damages.found(),
            repaired: damages.repaired(),
            listed: damages.listed().take(limits::DAMAGES_LISTED_MAX).copied().collect(),
        }
    }
}

/// What the cluster's modules count.
#[derive(Clone, Debug, Default)]
pub struct ClusterReadings {
    pub(super) members: Vec<(&'static str, u64)>,
    pub(super) swim: swim::Stats,
    pub(super) gossip: gossip::Stats,
    pub(super) gossip_waiting: u64,
    pub(super) differences: u64,
    pub(super) moves: u64,
    pub(super) duplicates: u64,
    pub(super) backed_off: u64,
    pub(super) syncs: Vec<Progress>,
}

impl ClusterReadings {
    /// Of this cluster and its anti-entropy under way.
    pub fn of(cluster: &Cluster, syncs: Vec<Progress>, now: Moment) -> ClusterReadings {
        let swim = cluster.swim();
        let count = |state: State| {
            let others = swim.members().filter(|member| member.news.state == state).count();
            (state.name(), others as u64 + u64::from(state == swim.me().state))
        };
        ClusterReadings {
            members: State::ALL.map(count).to_vec(),
            swim: swim.stats(),
            gossip: cluster.gossip().stats(),
            gossip_waiting: cluster.gossip().waiting() as u64,
            differences: cluster.differences(),
            moves: cluster.moves(),
            duplicates: u64::from(swim.duplicate().is_some()),
            backed_off: cluster.backed_off(now) as u64,
            syncs,
        }
    }
}
