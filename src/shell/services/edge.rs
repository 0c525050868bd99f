//! `stemedb.edge.v1.EdgeService`: what nodes of this kind call beyond the standard.
//!
//! In: requests from the gRPC server. Out: answers. What each call promises stands in
//! `proto/edge.proto` and `docs/wire.md`.
//!
//! Never: reads a message itself, answers more than a default client takes.

use std::rc::Rc;

use crate::base::limits;
use crate::shell::driver::Driver;
use crate::shell::driver::bulk::BulkReads;
use crate::shell::grpc::{Answer, Call, Service};
use crate::shell::peers::addresses::note_refused;
use crate::shell::peers::membership::Membership;
use crate::shell::services::sync::observe_clock;
use crate::wire::membership::{Sender, screen};
use crate::wire::rpc::{edge, sync};
use crate::wire::status::{Code, Status};

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
        edge::SERVICE
    }

    fn methods(&self) -> &'static [&'static str] {
        &edge::METHODS
    }

    fn call(&self, method: &'static str, call: &Call) -> Answer {
        match method {
            "ProbeFor" => self.probe_for(call),
            "Sketch" => self.sketch(call),
            "Digests" => Ok(self.digests()),
            "LeavesOf" => self.leaves_of(call),
            "Records" => self.records(call),
            "FetchShort" => self.fetch_short(call),
            "Give" => self.give(call),
            _ => Err(Status::new(Code::Unimplemented, format!("no method {method}"))),
        }
        .unwrap_or_else(|status| Answer::Now(Err(status)))
    }
}

impl EdgeService {
    fn probe_for(&self, call: &Call) -> Result<Answer, Status> {
        let sender = Sender::at(call.is_near());
        let (target, mut news) = edge::read_probe_for(&call.message, sender)?;
        note_refused(&self.driver, &call.caller(), screen(&mut news, sender));
        let timeout = call.timeout.unwrap_or(limits::CALL_MAX).min(limits::CALL_MAX);
        let (driver, membership) = (self.driver.clone(), self.membership.clone());
        Ok(Answer::Later(Box::pin(async move {
            let news = driver.update(|replica, now, _| replica.handle_ping(now, news, None));
            let acked = membership.relay(&target, timeout).await;
            Ok(edge::probe_for_response(acked, news))
        })))
    }

    fn sketch(&self, call: &Call) -> Result<Answer, Status> {
        let request = edge::read_sketch(&call.message)?;
        let driver = self.driver.clone();
        Ok(Answer::large(limits::SKETCH_ANSWER_BYTES_MAX, move |_| async move {
            Ok(edge::sketch_response(&driver.answer_sketch(request).await))
        }))
    }

    fn digests(&self) -> Answer {
        let driver = self.driver.clone();
        Answer::large(limits::BUCKETS * edge::DIGEST_BYTES, move |_| async move {
            Ok(edge::digests_response(&driver.digests().await))
        })
    }

    fn leaves_of(&self, call: &Call) -> Result<Answer, Status> {
        let part = edge::read_leaves_of(&call.message)?;
        let reads = self.reads.clone();
        Ok(Answer::large(limits::LEAVES_MAX * sync::LEAF_BYTES, move |_| async move {
            Ok(edge::leaves_of_response(&reads.leaves_of(part).await))
        }))
    }

    fn records(&self, call: &Call) -> Result<Answer, Status> {
        let wanted = edge::read_records(&call.message)?;
        let reads = self.reads.clone();
        Ok(Answer::large(limits::GRPC_MESSAGE_BYTES_MAX, move |granted| async move {
            Ok(edge::records_response(&reads.records(wanted, granted).await))
        }))
    }

    fn fetch_short(&self, call: &Call) -> Result<Answer, Status> {
        let ids = edge::read_fetch_short(&call.message)?;
        let reads = self.reads.clone();
        Ok(Answer::large(limits::GRPC_MESSAGE_BYTES_MAX, move |granted| async move {
            let found = reads.find_all(ids, granted, edge::ENTRY_BYTES).await;
            Ok(edge::fetch_short_response(&found))
        }))
    }

    /// What cannot be taken is an answer, not a failed call; the rest is taken all the same.
    fn give(&self, call: &Call) -> Result<Answer, Status> {
        let (bodies, stamp) = edge::read_give(&call.message)?;
        stamp.into_iter().for_each(|stamp| observe_clock(&self.driver, stamp));
        let driver = self.driver.clone();
        Ok(Answer::Later(Box::pin(async move {
            let opened = driver.open_all(bodies).await;
            let (taken, refusal) = driver.offer_all(opened.good).await;
            let malformed = opened.why.map(|why| why.to_string());
            let signed = format!("{} carry a signature that is not theirs", opened.falsely_signed);
            let signed = (opened.falsely_signed > 0).then_some(signed);
            let error = malformed.or(signed).or(refusal.map(|refusal| refusal.to_string()));
            Ok(edge::give_response(taken, error))
        })))
    }
}
