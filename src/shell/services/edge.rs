//! `stemedb.edge.v1.EdgeService`: what nodes of this kind call beyond the standard.
//!
//! In: decoded frames from the gRPC server. Out: answers. What each call promises stands in
//! `proto/edge.proto` and `docs/wire.md`.
//!
//! Never: trusts a length, answers more than a default client takes.

use std::rc::Rc;

use crate::base::limits;
use crate::shell::driver::Driver;
use crate::shell::driver::bulk::BulkReads;
use crate::shell::driver::verify::Body;
use crate::shell::grpc::{Answer, Call, Service};
use crate::shell::peers::addresses::note_refused;
use crate::shell::peers::membership::Membership;
use crate::shell::services::sync::{
    LEAF_BYTES, decode, encode, invalid, large, observe_clock, read_stamp,
};
use crate::sync::{RowCursor, RowRange};
use crate::wire::grpc::EDGE_SERVICE;
use crate::wire::membership::{Sender, read_target, read_updates, screen, updates};
use crate::wire::pb::edge as pb;
use crate::wire::sketches;
use crate::wire::status::Status;

/// Tag and length in front of one assertion.
const ENTRY_FRAME_BYTES: usize = 5;
/// What a bucket's digest takes at most.
const DIGEST_BYTES: usize = 10;

/// The service over one node.
pub struct EdgeService {
    driver: Rc<Driver>,
    reads: Rc<BulkReads>,
    membership: Rc<Membership>,
}

impl EdgeService {
    /// Serves the node behind `driver`, whose longer reads are `reads`.
    pub fn new(
        driver: Rc<Driver>,
        reads: Rc<BulkReads>,
        membership: Rc<Membership>,
    ) -> EdgeService {
        EdgeService { driver, reads, membership }
    }
}

impl Service for EdgeService {
    fn name(&self) -> &'static str {
        EDGE_SERVICE
    }

    fn methods(&self) -> &'static [&'static str] {
        &["ProbeFor", "Sketch", "Digests", "LeavesOf", "Records", "FetchShort", "Give"]
    }

    fn call(&self, method: &'static str, call: &Call) -> Answer {
        match method {
            "ProbeFor" => self.probe_for(call),
            "Sketch" => self.sketch(call),
            "Digests" => self.digests(),
            "LeavesOf" => now_if_wrong(self.leaves_of(call)),
            "Records" => now_if_wrong(self.records(call)),
            "FetchShort" => now_if_wrong(self.fetch_short(call)),
            "Give" => self.give(call),
            _ => unreachable!("the server calls only what `methods` lists"),
        }
    }
}

fn now_if_wrong(answer: Result<Answer, Status>) -> Answer {
    answer.unwrap_or_else(|status| Answer::Now(Err(status)))
}

impl EdgeService {
    fn probe_for(&self, call: &Call) -> Answer {
        let read = decode::<pb::ProbeForRequest>(call).and_then(|request| {
            let sender = Sender::at(call.is_near());
            let target = read_target(&request, sender).map_err(invalid)?;
            let mut news = read_updates(request.updates).map_err(invalid)?;
            note_refused(&self.driver, &call.caller(), screen(&mut news, sender));
            Ok((target, news))
        });
        let (target, news) = match read {
            Ok(read) => read,
            Err(status) => return Answer::Now(Err(status)),
        };
        let timeout = call.timeout.unwrap_or(limits::CALL_MAX).min(limits::CALL_MAX);
        let (driver, membership) = (self.driver.clone(), self.membership.clone());
        Answer::Later(Box::pin(async move {
            let news = driver.update(|replica, now, _| replica.handle_ping(now, news));
            let acked = membership.relay(&target, timeout).await;
            Ok(encode(&pb::ProbeForResponse { acked, updates: updates(news) }))
        }))
    }

    fn sketch(&self, call: &Call) -> Answer {
        let read = decode::<pb::SketchRequest>(call)
            .and_then(|request| sketches::read_sketch_request(request).map_err(invalid));
        let request = match read {
            Ok(read) => read,
            Err(status) => return Answer::Now(Err(status)),
        };
        let driver = self.driver.clone();
        large(limits::SKETCH_ANSWER_BYTES_MAX, move |_| async move {
            let reply = driver.answer_sketch(request).await;
            Ok(encode(&sketches::sketch_response(&reply)))
        })
    }

    fn digests(&self) -> Answer {
        let driver = self.driver.clone();
        large(limits::BUCKETS * DIGEST_BYTES, move |_| async move {
            let digests = sketches::short_ids(&driver.digests().await);
            Ok(encode(&pb::DigestsResponse { digests }))
        })
    }

    fn leaves_of(&self, call: &Call) -> Result<Answer, Status> {
        let part = sketches::read_leaves_of(&decode(call)?).map_err(invalid)?;
        let reads = self.reads.clone();
        Ok(large(limits::LEAVES_MAX * LEAF_BYTES, move |_| async move {
            let leaves = sketches::leaves(&reads.leaves_of(part).await);
            Ok(encode(&pb::LeavesOfResponse { leaves }))
        }))
    }

    fn records(&self, call: &Call) -> Result<Answer, Status> {
        let request: pb::RecordsRequest = decode(call)?;
        let from = RowCursor { numbering: request.numbering, row: request.from };
        // 0 is what a caller says that knows of no end.
        let until = Some(request.until).filter(|until| *until > 0);
        let wanted = RowRange { from, until };
        let reads = self.reads.clone();
        Ok(large(limits::GRPC_MESSAGE_BYTES_MAX, move |room| async move {
            let records = reads.records(wanted, room).await;
            let span = records.span;
            Ok(encode(&pb::RecordsResponse {
                numbering: span.from.numbering,
                from: span.from.row,
                next: span.next,
                rows: span.rows,
                assertions: records.good.iter().map(|sealed| sealed.bytes().clone()).collect(),
            }))
        }))
    }

    fn fetch_short(&self, call: &Call) -> Result<Answer, Status> {
        let request: pb::FetchShortRequest = decode(call)?;
        let ids = sketches::read_short_ids(&request.ids).map_err(invalid)?;
        let reads = self.reads.clone();
        Ok(large(limits::GRPC_MESSAGE_BYTES_MAX, move |room| async move {
            let found = reads.find_all(ids, room, ENTRY_FRAME_BYTES).await;
            let assertions = found.iter().map(|sealed| sealed.bytes().clone()).collect();
            Ok(encode(&pb::FetchShortResponse { assertions }))
        }))
    }

    /// What cannot be taken is an answer, not a failed call; the rest is taken all the same.
    fn give(&self, call: &Call) -> Answer {
        let given = decode::<pb::GiveRequest>(call).and_then(|request| {
            let stamp = read_stamp(request.hlc_time, request.hlc_counter, &request.hlc_node_id);
            stamp
                .map_err(invalid)?
                .into_iter()
                .for_each(|stamp| observe_clock(&self.driver, stamp));
            Ok(request.assertions)
        });
        let given = match given {
            Ok(given) => given,
            Err(status) => return Answer::Now(Err(status)),
        };
        let driver = self.driver.clone();
        Answer::Later(Box::pin(async move {
            let bodies = given.into_iter().map(|bytes| Body { claimed: None, bytes });
            let opened = driver.open_all(bodies.collect()).await;
            let (taken, refusal) = driver.offer_all(opened.good).await;
            let malformed = opened.why.map(|why| why.to_string());
            let signed = format!("{} carry a signature that is not theirs", opened.falsely_signed);
            let signed = (opened.falsely_signed > 0).then_some(signed);
            let error = malformed.or(signed).or(refusal.map(|refusal| refusal.to_string()));
            Ok(encode(&pb::GiveResponse { taken, error: error.unwrap_or_default() }))
        }))
    }
}
