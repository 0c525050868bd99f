//! What `status --json` prints: the table, as an object for programs.
//!
//! In: texts that are fit to be shown. Out: JSON. Never: judges what it is given.

use nanoserde::{DeJson, SerJson};

/// The cluster as one node sees it.
#[derive(SerJson)]
pub struct StatusBody {
    pub(super) node_id: String,
    pub(super) cluster_id: Option<String>,
    pub(super) is_well: bool,
    /// `None` where fewer than two nodes answered.
    pub(super) are_roots_equal: Option<bool>,
    pub(super) shards: u32,
    pub(super) replication_factor: u32,
    pub(super) shard_moves: u64,
    pub(super) members: Vec<StatusMember>,
    pub(super) gossip: Gossip,
    pub(super) syncs: Vec<Sync>,
}

/// A member, and what it says of itself.
#[derive(SerJson)]
pub struct StatusMember {
    pub(super) node_id: String,
    pub(super) state: String,
    pub(super) reachable: bool,
    pub(super) rpc_addr: String,
    pub(super) api_addr: String,
    pub(super) shards: u64,
    pub(super) replicas: u64,
    pub(super) version: Option<String>,
    pub(super) assertions_count: Option<u64>,
    pub(super) merkle_root: Option<String>,
    pub(super) troubles: Vec<String>,
    pub(super) error: Option<String>,
}

/// A run of anti-entropy, as the node names it too.
#[derive(DeJson, SerJson)]
pub struct Sync {
    pub(super) node_id: String,
    pub(super) phase: String,
    pub(super) received: u64,
    pub(super) sent: u64,
    pub(super) to_receive: u64,
    pub(super) to_send: u64,
}

/// Assertions pushed to members, as the node counts them.
#[derive(Clone, DeJson, SerJson)]
pub struct Gossip {
    pub(super) pushed: u64,
    pub(super) failed: u64,
    pub(super) dropped: u64,
    pub(super) waiting: u64,
}
