//! Clients that claim, at nodes and through gateways, and ask gateways; what they may rely on.
//!
//! In: requests, what nodes make of them, answers. Out: the first promise that was broken. The
//! numbers of requests are the clients' own, so they outlive every node.

use std::collections::{BTreeMap, BTreeSet};

use stemedb_edge::base::{Digest, Moment, limits};

use super::{Event, SECOND, World};
use crate::node::gateway::{ClientAnswer, HttpReply, HttpRequest};

/// A request that has no answer yet.
struct Asked {
    gateway: usize,
    at: u64,
}

#[derive(Default)]
pub(crate) struct Clients {
    asked: BTreeMap<u64, Asked>,
    next: u64,
    asking_until: u64,
    /// What the claim of a request became, on whichever node.
    sealed: BTreeMap<u64, Digest>,
    /// What a node said it holds, when its disk kept it.
    vouched: BTreeSet<Digest>,
    /// Answers that nodes gave, and errors instead.
    pub(crate) replies: (u64, u64),
}

impl Clients {
    /// Clients see the connection end, or give up: each has its error.
    pub(super) fn gateway_stopped(&mut self, number: usize) {
        self.asked.retain(|_, asked| asked.gateway != number);
    }
}

impl World {
    /// Clients claim things until then.
    pub(crate) fn claim_until(&mut self, until: u64) {
        self.claiming_until = until;
        self.schedule(self.now, Event::Claim);
    }

    pub(super) fn claim(&mut self) {
        let of = self.random.below(self.members.len());
        self.claim_at(of);
        if self.now < self.claiming_until {
            let pause = self.random.below(400_000) as u64;
            self.schedule(self.now + pause, Event::Claim);
        }
    }

    /// A client claims something at this node.
    pub(crate) fn claim_at(&mut self, of: usize) {
        let number = self.claims;
        self.claims += 1;
        let now = Moment(self.now);
        let member = &mut self.members[of];
        if member.stalled_until <= self.now
            && let Some(node) = &mut member.node
        {
            let digest = node.claim(now, number, &member.disk).digest();
            self.sent.insert(digest);
            self.pending.insert(number, digest);
            self.serve(of);
        }
    }

    pub(super) fn add_colliding(&mut self, of: usize) {
        let number = self.claims;
        self.claims += 1;
        let now = Moment(self.now);
        let member = &mut self.members[of];
        if let Some(node) = &mut member.node {
            let mut digest = Digest([of as u8; 32]);
            digest.0[..8].copy_from_slice(b"the same");
            node.take_colliding(now, number, digest, &member.disk);
            self.sent.insert(digest);
            self.pending.insert(number, digest);
            self.serve(of);
        }
    }

    /// Clients ask gateways until then.
    pub(crate) fn ask_until(&mut self, until: u64) {
        self.clients.asking_until = until;
        self.schedule(self.now, Event::Ask);
    }

    /// Requests without an answer, and when the last of them has to have one.
    pub(crate) fn unanswered(&self) -> (usize, u64) {
        let asked = &self.clients.asked;
        let last = asked.values().map(|asked| self.bound(asked)).max();
        (asked.len(), last.unwrap_or(self.now))
    }

    /// When a request has to be answered. A gateway that stalls does it after that.
    fn bound(&self, asked: &Asked) -> u64 {
        let most = limits::GATEWAY_ANSWER_MAX.as_micros() as u64 + SECOND;
        (asked.at + most).max(self.members[asked.gateway].stalled_until + SECOND)
    }

    /// A client asks any gateway that runs.
    pub(super) fn ask(&mut self) {
        let of = self.random.below(self.members.len());
        let number = self.clients.next;
        self.clients.next += 1;
        let request = HttpRequest {
            number,
            subject: format!("subject {}", self.random.below(20)),
            is_claim: self.random.below(2) == 0,
            has_api_key: self.random.below(4) == 0,
            stamp: None,
        };
        let now = Moment(self.now);
        let member = &mut self.members[of];
        if member.stalled_until <= self.now
            && let Some(node) = &mut member.node
        {
            self.clients.asked.insert(number, Asked { gateway: of, at: self.now });
            node.ask_gateway(now, request);
            self.serve(of);
        }
        if self.now < self.clients.asking_until {
            let pause = self.random.below(800_000) as u64;
            self.schedule(self.now + pause, Event::Ask);
        }
    }

    /// A node made a claim of a request: two of them would be two claims where a client made one.
    pub(super) fn note_sealed(&mut self, request: u64, digest: Digest) {
        self.sent.insert(digest);
        if *self.clients.sealed.entry(request).or_insert(digest) != digest {
            self.broken = Some(format!("request {request} became two claims"));
        }
    }

    /// A node answers that it holds something.
    pub(super) fn note_vouched(&mut self, of: usize, digest: Digest) {
        if self.members[of].disk.keeps(&digest) {
            self.clients.vouched.insert(digest);
        }
    }

    /// The client of a gateway reads its answer.
    pub(super) fn replied(&mut self, from: usize, request: u64, answer: ClientAnswer) {
        self.note(8 + request, from);
        let Some(asked) = self.clients.asked.remove(&request) else {
            self.broken = Some(format!("a second answer to request {request}"));
            return;
        };
        let took = (self.now - asked.at) / SECOND;
        if self.now > self.bound(&asked) {
            self.broken = Some(format!("request {request} took {took} s"));
        }
        match answer {
            Ok(HttpReply::Taken(_) | HttpReply::Found) => self.clients.replies.0 += 1,
            _ => self.clients.replies.1 += 1,
        }
        match answer {
            Ok(HttpReply::Taken(digest)) => {
                self.acknowledged.insert(digest);
                let is_its_own = self.clients.sealed.get(&request) == Some(&digest);
                if !is_its_own || !self.clients.vouched.contains(&digest) {
                    self.broken = Some(format!("request {request}: 201, and no node holds it"));
                }
            }
            Ok(HttpReply::Found | HttpReply::Refused { .. }) => {}
            Err(None) => self.broken = Some(format!("request {request}: an answer of no node")),
            Err(Some(why)) => {
                println!("{:5.1} s, node {from}, after {took} s: {why:?}", self.now as f64 / 1e6);
            }
        }
    }
}
