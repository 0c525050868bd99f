//! What other nodes ask of this one.
//!
//! In: requests. Out: answers, at once or when the disk has what they bring. Never: calls another
//! node, but for the probes that it is asked for.

use std::time::Duration;

use stemedb_edge::base::{Moment, limits};
use stemedb_edge::cluster::gossip::Origin;
use stemedb_edge::journal::{self, Bodies};
use stemedb_edge::model::Sealed;
use stemedb_edge::store::BucketScan;
use stemedb_edge::swim::Ack;
use stemedb_edge::sync::{Reply, Request, answer_records};

use super::gateway::HttpCaller;
use super::{Answer, Effect, Message, Node, Purpose, Waiting, wall};
use crate::disk::Disk;

impl Node {
    /// Another node asks; its answer is of use for `timeout`.
    pub(crate) fn request(
        &mut self,
        now: Moment,
        (number, timeout): (u64, Duration),
        message: Message,
        disk: &Disk,
    ) {
        match message {
            Message::Ping(updates, digest) => {
                let updates = self.replica.handle_ping(now, updates, digest);
                let swim = self.replica.cluster().swim();
                let (me, digest) = (swim.me(), digest.and_then(|_| swim.digest()));
                let addresses = (me.rpc_addr.clone(), me.api_addr.clone());
                let ack = Ack { node: me.node, addresses, updates, digest };
                let set = self.replica.store().sketch().digest();
                let set = (!self.is_plain).then_some(set);
                self.effects.push(Effect::Answer(number, Answer::Ack(ack, set)));
            }
            // Unknown to it: no answer is as good as UNIMPLEMENTED.
            Message::ProbeFor(..) if self.is_plain => {}
            Message::ProbeFor(target, updates) => {
                let news = self.replica.handle_ping(now, updates, None);
                let Some(own) = self.replica.handle_relay(now, target.0) else {
                    let answer = Answer::Probed(true, news);
                    return self.effects.push(Effect::Answer(number, answer));
                };
                let purpose = Purpose::Relay(number, target.0, news);
                self.call(purpose, target.1, Message::Ping(own, None), timeout);
            }
            Message::Push(sealed, stamp) => {
                self.replica.handle_stamp(now, stamp, wall(now, self.wall_skew));
                let origin = match self.is_plain {
                    true => Origin::AntiEntropy,
                    false => Origin::Gossip(Some(stamp.node)),
                };
                self.offer(sealed, origin, Waiting::Push(number), disk);
            }
            Message::Sync(request) => self.answer_sync(number, request, disk),
            Message::Connect => self.effects.push(Effect::Answer(number, Answer::Connected)),
            Message::Http(request) => {
                self.answer_http(now, HttpCaller::Call(number), request, disk);
            }
        }
    }

    pub(super) fn answer_sync(&mut self, number: u64, request: Request, disk: &Disk) {
        let store = self.replica.store();
        let body = |at: Option<journal::Position>| disk.sealed_at(at?);
        let reply = match request {
            Request::Sketch(_) | Request::Digests | Request::Records(_) if self.is_plain => {
                Reply::Unsupported
            }
            Request::Roots { root, count } => {
                let own = self.root();
                Reply::Roots { matched: own.is_matched_by(Some((root, count))), count: own.count }
            }
            Request::Leaves => {
                let mut page = self.replica.begin_leaves(number, 0);
                while !page.step(1000, self.replica.store()) {}
                let (leaves, truncated) = self.replica.end_leaves(number, page);
                Reply::Leaves { leaves, truncated }
            }
            Request::Sketch(request) => {
                let answer = self.replica.answer_sketch(request);
                Reply::Sketch(answer.unwrap_or_else(|mut answering| {
                    answering.step(usize::MAX, store).expect("one step does all")
                }))
            }
            Request::Digests => {
                let mut scan = BucketScan::default();
                while !scan.step(1000, store) {}
                Reply::Digests(scan.digests().to_vec())
            }
            Request::LeavesOf(part) => {
                let leaves = store.leaves_of(part, limits::LEAVES_MAX);
                Reply::Leaves { leaves, truncated: false }
            }
            Request::Records(wanted) => Reply::Records(answer_records(store, wanted, disk)),
            Request::Fetch(wanted) => {
                let good = wanted.iter().filter_map(|hash| body(store.find(hash, disk)));
                Reply::Fetched { good: good.collect(), bad: 0 }
            }
            Request::FetchShort(wanted) => {
                let at = |id| store.position(store.find_short(id)?);
                let good = wanted.into_iter().filter_map(|id| body(at(id)));
                Reply::Fetched { good: good.collect(), bad: 0 }
            }
            Request::Gossip(sealed) => {
                let waiting = Waiting::Gossip(number);
                return self.offer(sealed, Origin::AntiEntropy, waiting, disk);
            }
            Request::Give(given) => return self.give(number, given, disk),
        };
        self.effects.push(Effect::Answer(number, Answer::Sync(reply)));
    }

    pub(super) fn give(&mut self, number: u64, given: Vec<Sealed>, disk: &Disk) {
        self.gives.insert(number, (0, given.len()));
        for sealed in given {
            self.offer(sealed, Origin::AntiEntropy, Waiting::Give(number), disk);
        }
    }
}
