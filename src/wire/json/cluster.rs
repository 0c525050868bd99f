//! What the HTTP API answers about the cluster, as JSON text.
//!
//! In: the cluster as this node sees it. Out: text. Names and shapes are those of `docs/http.md`.
//!
//! Never: knows a status.

use nanoserde::SerJson;

use super::text::{Hex, Text, render};
use crate::base::NodeId;
use crate::cluster::Cluster;
use crate::cluster::shard::ShardMap;
use crate::swim::Update;
use crate::sync::Progress;

/// What a node holds, whatever the replication factor is.
const STORAGE: &str = "whole_set";
/// What the factor decides, for those who read the map of shards and nothing else.
const MEANING: &str =
    "every node holds the whole set; gateways write to the replicas of a shard and ask them";

#[derive(SerJson)]
struct StatusBody<'a> {
    node_id: Hex<'a>,
    cluster_id: Option<Hex<'a>>,
    members: Vec<MemberBody<'a>>,
    shards: u32,
    replication_factor: u32,
    storage: Text<'a>,
    shard_moves: u64,
    gossip: GossipBody,
    syncs: Vec<Sync<'a>>,
}

#[derive(SerJson)]
struct Sync<'a> {
    node_id: Hex<'a>,
    phase: Text<'a>,
    received: u64,
    sent: u64,
    to_receive: u64,
    to_send: u64,
    bytes_in: u64,
    bytes_out: u64,
}

#[derive(SerJson)]
struct MemberBody<'a> {
    node_id: Hex<'a>,
    state: Text<'a>,
    reachable: bool,
    rpc_addr: Text<'a>,
    api_addr: Text<'a>,
    incarnation: u64,
    lamport_time: u64,
}

#[derive(SerJson)]
struct GossipBody {
    pushed: u64,
    failed: u64,
    dropped: u64,
    waiting: u64,
}

#[derive(SerJson)]
struct RangesBody<'a> {
    storage: Text<'a>,
    meaning: Text<'a>,
    ranges: Vec<Range<'a>>,
}

#[derive(SerJson)]
struct Range<'a> {
    shard: u32,
    replicas: Vec<Hex<'a>>,
}

/// All members, this node among them, by id, and anti-entropy under way.
pub fn status(cluster: &Cluster, syncs: impl Iterator<Item = (NodeId, Progress)>) -> String {
    let syncs: Vec<(NodeId, Progress)> = syncs.collect();
    let me = cluster.swim().me();
    let id = cluster.identity().tag().settled();
    let others = cluster.swim().members().map(|member| (&member.news, member.is_reachable));
    let mut members: Vec<(&Update, bool)> = others.collect();
    let own = members.partition_point(|(news, _)| news.node < me.node);
    members.insert(own, (me, true));
    let gossip = cluster.gossip();
    let stats = gossip.stats();
    let status = StatusBody {
        node_id: Hex(&me.node.0),
        cluster_id: id.as_ref().map(|id| Hex(&id.0)),
        members: members.into_iter().map(member).collect(),
        shards: cluster.map().shards(),
        replication_factor: cluster.map().factor(),
        storage: Text(STORAGE),
        shard_moves: cluster.moves(),
        gossip: GossipBody {
            pushed: stats.pushed,
            failed: stats.failed,
            dropped: stats.dropped,
            waiting: gossip.waiting() as u64,
        },
        syncs: syncs.iter().map(sync).collect(),
    };
    render(&status, 256 + 256 * status.members.len())
}

fn sync((node, progress): &(NodeId, Progress)) -> Sync<'_> {
    Sync {
        node_id: Hex(&node.0),
        phase: Text(progress.phase),
        received: progress.received,
        sent: progress.sent,
        to_receive: progress.to_receive,
        to_send: progress.to_send,
        bytes_in: progress.bytes_in,
        bytes_out: progress.bytes_out,
    }
}

fn member((news, reachable): (&Update, bool)) -> MemberBody<'_> {
    MemberBody {
        node_id: Hex(&news.node.0),
        state: Text(news.state.name()),
        reachable,
        rpc_addr: Text(&news.rpc_addr),
        api_addr: Text(&news.api_addr),
        incarnation: news.incarnation,
        lamport_time: news.lamport,
    }
}

/// All shards and the nodes that gateways ask about them.
pub fn ranges(map: &ShardMap) -> String {
    let held: Vec<_> =
        (0..map.shards()).map(|shard| map.replicas(shard).collect::<Vec<_>>()).collect();
    let ranges = (0..).zip(&held).map(|(shard, nodes)| {
        let replicas = nodes.iter().map(|node| Hex(&node.0)).collect();
        Range { shard, replicas }
    });
    let (storage, meaning) = (Text(STORAGE), Text(MEANING));
    render(&RangesBody { storage, meaning, ranges: ranges.collect() }, 256 + 128 * held.len())
}

/// One shard and the nodes that gateways ask about it; `None` if there are not so many.
pub fn shard(map: &ShardMap, shard: u32) -> Option<String> {
    let nodes: Vec<_> = (shard < map.shards()).then(|| map.replicas(shard).collect())?;
    let replicas = nodes.iter().map(|node| Hex(&node.0)).collect();
    Some(render(&Range { shard, replicas }, 128))
}
