//! `stemedb.edge.v1.EdgeService`: what nodes of this kind call beyond the standard.
//!
//! In: values to send, or messages of another node. Out: the other form. Never: reads a field as
//! something else than `proto/edge.proto` says.

use bytes::Bytes;
use prost::Message;

use super::{ForeignBody, OutgoingCall, decode, encode, invalid, read_stamp};
use crate::base::{Digest, Hlc, NodeId};
use crate::model::Sealed;
use crate::sketch::{Part, ShortId};
use crate::swim::Update;
use crate::sync::{Records, RowCursor, RowRange, SketchReply, SketchRequest, Span};
use crate::wire::foreign;
use crate::wire::membership::{self, Sender};
use crate::wire::pb::edge as pb;
use crate::wire::sketches;
use crate::wire::status::Status;

/// The full name of the service.
pub const SERVICE: &str = "stemedb.edge.v1.EdgeService";
/// The methods of `EdgeService`.
pub const METHODS: [&str; 7] =
    ["ProbeFor", "Sketch", "Digests", "LeavesOf", "Records", "FetchShort", "Give"];

const PROBE_FOR: &str = "/stemedb.edge.v1.EdgeService/ProbeFor";
const SKETCH: &str = "/stemedb.edge.v1.EdgeService/Sketch";
const DIGESTS: &str = "/stemedb.edge.v1.EdgeService/Digests";
const LEAVES_OF: &str = "/stemedb.edge.v1.EdgeService/LeavesOf";
const RECORDS: &str = "/stemedb.edge.v1.EdgeService/Records";
const FETCH_SHORT: &str = "/stemedb.edge.v1.EdgeService/FetchShort";
const GIVE: &str = "/stemedb.edge.v1.EdgeService/Give";

/// Tag and length in front of one assertion.
pub const ENTRY_BYTES: usize = 5;
/// What a bucket's digest takes in an answer at most.
pub const DIGEST_BYTES: usize = 10;

/// A member that is to be probed, with its address, and news.
pub type ProbeOrder = ((NodeId, String), Vec<Update>);

/// Has a peer ping another: whether that one answered, and news.
pub fn probe_for(
    node: NodeId,
    target: &(NodeId, String),
    news: Vec<Update>,
) -> OutgoingCall<(bool, Vec<Update>)> {
    let request = pb::ProbeForRequest {
        node_id: Bytes::copy_from_slice(&node.0),
        target_id: Bytes::copy_from_slice(&target.0.0),
        target_rpc_addr: target.1.clone(),
        updates: membership::updates(news),
    };
    OutgoingCall::new(PROBE_FOR, &request, |answer| {
        let answer = pb::ProbeForResponse::decode(answer)?;
        Ok((answer.acked, membership::read_updates(answer.updates)?))
    })
}

/// Whom a peer wants probed, and its news.
pub fn read_probe_for(message: &Bytes, sender: Sender) -> Result<ProbeOrder, Status> {
    let request: pb::ProbeForRequest = decode(message)?;
    let target = membership::read_target(&request, sender).map_err(invalid)?;
    Ok((target, membership::read_updates(request.updates).map_err(invalid)?))
}

/// Whether the probed member answered, and news.
pub fn probe_for_response(acked: bool, news: Vec<Update>) -> Bytes {
    encode(&pb::ProbeForResponse { acked, updates: membership::updates(news) })
}

/// Asks a peer for cells of its sketch.
pub fn sketch(request: SketchRequest) -> OutgoingCall<SketchReply> {
    OutgoingCall::new(SKETCH, &sketches::sketch_request(request), |answer| {
        Ok(sketches::read_sketch_response(&pb::SketchResponse::decode(answer)?)?)
    })
}

/// Which cells a peer wants.
pub fn read_sketch(message: &Bytes) -> Result<SketchRequest, Status> {
    sketches::read_sketch_request(decode(message)?).map_err(invalid)
}

/// The cells of this node's sketch.
pub fn sketch_response(reply: &SketchReply) -> Bytes {
    encode(&sketches::sketch_response(reply))
}

/// Asks a peer for the digests of its buckets.
pub fn digests() -> OutgoingCall<Vec<ShortId>> {
    OutgoingCall::new(DIGESTS, &pb::DigestsRequest {}, |answer| {
        Ok(sketches::read_digests(&pb::DigestsResponse::decode(answer)?.digests)?)
    })
}

/// The digests of this node's buckets.
pub fn digests_response(digests: &[ShortId]) -> Bytes {
    encode(&pb::DigestsResponse { digests: sketches::short_ids(digests) })
}

/// Asks a peer for the hashes of a part of its set.
pub fn leaves_of(part: Part) -> OutgoingCall<Vec<Digest>> {
    let request = pb::LeavesOfRequest { part_bits: part.bits, part: part.number };
    OutgoingCall::new(LEAVES_OF, &request, |answer| {
        Ok(sketches::read_leaves(&pb::LeavesOfResponse::decode(answer)?.leaves)?)
    })
}

/// Of which part a peer wants the hashes.
pub fn read_leaves_of(message: &Bytes) -> Result<Part, Status> {
    sketches::read_leaves_of(&decode(message)?).map_err(invalid)
}

/// The hashes of a part of this node's set.
pub fn leaves_of_response(leaves: &[Digest]) -> Bytes {
    encode(&pb::LeavesOfResponse { leaves: sketches::leaves(leaves) })
}

/// Asks a peer for rows of its log: which they are, and their assertions.
pub fn records(RowRange { from, until }: RowRange) -> OutgoingCall<(Span, Vec<ForeignBody>)> {
    // An open range ends behind the last row there can be.
    let until = until.unwrap_or(u64::MAX);
    let request = pb::RecordsRequest { from: from.row, numbering: from.numbering, until };
    OutgoingCall::new(RECORDS, &request, |answer| {
        let answer = pb::RecordsResponse::decode(answer)?;
        let from = RowCursor { numbering: answer.numbering, row: answer.from };
        let span = Span { from, next: answer.next, rows: answer.rows };
        Ok((span, answer.assertions.into_iter().map(ForeignBody::unnamed).collect()))
    })
}

/// Which rows a peer wants.
pub fn read_records(message: &Bytes) -> Result<RowRange, Status> {
    let request: pb::RecordsRequest = decode(message)?;
    let from = RowCursor { numbering: request.numbering, row: request.from };
    // A caller that knows of no end leaves it out: 0.
    Ok(RowRange { from, until: Some(request.until).filter(|until| *until > 0) })
}

/// Rows of this node's log.
pub fn records_response(records: &Records) -> Bytes {
    let span = records.span;
    encode(&pb::RecordsResponse {
        numbering: span.from.numbering,
        from: span.from.row,
        next: span.next,
        rows: span.rows,
        assertions: bodies(&records.good),
    })
}

/// Asks a peer for assertions by their short ids.
pub fn fetch_short(wanted: &[ShortId]) -> OutgoingCall<Vec<ForeignBody>> {
    let request = pb::FetchShortRequest { ids: sketches::short_ids(wanted) };
    OutgoingCall::new(FETCH_SHORT, &request, |answer| {
        let bodies = pb::FetchShortResponse::decode(answer)?.assertions.into_iter();
        Ok(bodies.map(ForeignBody::unnamed).collect())
    })
}

/// Which short ids a peer names.
pub fn read_fetch_short(message: &Bytes) -> Result<Vec<ShortId>, Status> {
    sketches::read_short_ids(&decode::<pb::FetchShortRequest>(message)?.ids).map_err(invalid)
}

/// The assertions of these short ids that are here.
pub fn fetch_short_response(found: &[Sealed]) -> Bytes {
    encode(&pb::FetchShortResponse { assertions: bodies(found) })
}

/// Gives a peer assertions: how many it took, and why not all of them (empty if it took all).
pub fn give(given: &[Sealed], stamp: Hlc) -> OutgoingCall<(u64, String)> {
    let request = pb::GiveRequest {
        assertions: bodies(given),
        hlc_time: stamp.time,
        hlc_counter: stamp.counter,
        hlc_node_id: Bytes::copy_from_slice(&stamp.node.0),
    };
    OutgoingCall::new(GIVE, &request, |answer| {
        let answer = pb::GiveResponse::decode(answer)?;
        Ok((answer.taken, foreign::shown(&answer.error)))
    })
}

/// What a peer gives, and its clock.
pub fn read_give(message: &Bytes) -> Result<(Vec<ForeignBody>, Option<Hlc>), Status> {
    let request: pb::GiveRequest = decode(message)?;
    let stamp = read_stamp(request.hlc_time, request.hlc_counter, &request.hlc_node_id);
    let stamp = stamp.map_err(invalid)?;
    Ok((request.assertions.into_iter().map(ForeignBody::unnamed).collect(), stamp))
}

/// How many assertions this node took, and why not all of them.
pub fn give_response(taken: u64, refusal: Option<String>) -> Bytes {
    encode(&pb::GiveResponse { taken, error: refusal.unwrap_or_default() })
}

fn bodies(sealed: &[Sealed]) -> Vec<Bytes> {
    sealed.iter().map(|sealed| sealed.bytes().clone()).collect()
}
