//! Events of the membership: pings, their ends, addresses.
//!
//! In: what peers ask and answer, connections that end. Out: answers; what the cluster concludes
//! goes to the outbox. Never: judges a member.

use super::Replica;
use crate::base::{Moment, NodeId};
use crate::cluster::identity::Tag;
use crate::swim::{Ack, CallNumber, Failure, Swim, Update};

impl Replica {
    /// Addresses to find other nodes at; `are_all_found`: every seed's name has some.
    pub fn handle_seeds(&mut self, now: Moment, addresses: Vec<String>, are_all_found: bool) {
        self.with_swim(now, |swim| swim.handle_seeds(now, addresses));
        self.cluster.handle_seeds_found(are_all_found);
    }

    /// A node pings this one, with news, and with the digest of its member list if it wants lists
    /// compared. Out: news for the answer.
    pub fn handle_ping(
        &mut self,
        now: Moment,
        news: Vec<Update>,
        digest: Option<u64>,
    ) -> Vec<Update> {
        self.with_swim(now, |swim| swim.handle_ping(now, news, digest))
    }

    /// A ping of this node was answered at `address`, by a node that says `tag` of its cluster.
    /// False if it is of another one: that counts as if no node of ours were there.
    pub fn handle_ack(
        &mut self,
        now: Moment,
        number: CallNumber,
        (address, ack, set_digest): (&str, Ack, Option<u64>),
        tag: Option<Tag>,
    ) -> bool {
        let is_ours = self.cluster.handle_tag(now, (ack.node, address), tag);
        if is_ours {
            self.handle_set_digest(now, ack.node, set_digest);
        }
        self.with_swim(now, |swim| match is_ours {
            true => swim.handle_ack(now, number, ack),
            false => swim.handle_failed(now, number, Failure::Refused),
        });
        is_ours
    }

    /// A ping of this node had no ack; see [`crate::cluster::ping`].
    pub fn handle_probe_failed(&mut self, now: Moment, number: CallNumber, failure: Failure) {
        self.with_swim(now, |swim| swim.handle_failed(now, number, failure));
    }

    /// Another member answered whether it reached the target of a request to probe for this node.
    pub fn handle_probed(
        &mut self,
        now: Moment,
        number: CallNumber,
        acked: bool,
        news: Vec<Update>,
    ) {
        self.with_swim(now, |swim| swim.handle_probed(now, number, acked, news));
    }

    /// The member at `via` did not answer such a request; `is_unknown`: it does not know the call.
    pub fn handle_unprobed(
        &mut self,
        now: Moment,
        number: CallNumber,
        (via, is_unknown): (&str, bool),
    ) {
        self.cluster.handle_unprobed(now, number, (via, is_unknown));
        self.pump_cluster();
    }

    /// Another member asks this node to probe `target`. Out: news for a ping to it; `None` if none
    /// is needed, as it calls this node and cannot be called.
    pub fn handle_relay(&mut self, now: Moment, target: NodeId) -> Option<Vec<Update>> {
        self.with_swim(now, |swim| {
            (!swim.is_calling(now, target)).then(|| swim.news_for(Some(target)))
        })
    }

    /// A ping on another member's behalf was answered at the target's address. Out: whether a node
    /// of this cluster answered, and whether it was the target.
    pub fn handle_relayed(
        &mut self,
        now: Moment,
        (target, address): (NodeId, &str),
        (ack, set_digest): (Ack, Option<u64>),
        tag: Option<Tag>,
    ) -> (bool, bool) {
        let is_it = ack.node == target;
        let is_ours = self.cluster.handle_tag(now, (ack.node, address), tag);
        if is_ours {
            self.handle_set_digest(now, ack.node, set_digest);
        }
        // The ack is news for this node, too; of another cluster there is none to take.
        self.with_swim(now, |swim| {
            if is_ours {
                swim.handle_answer(now, address, ack);
            }
        });
        (is_ours, is_ours && is_it)
    }

    /// A connection to this address ended.
    pub fn handle_lost(&mut self, now: Moment, address: &str) {
        self.with_swim(now, |swim| swim.handle_lost(now, address));
    }

    /// Others reach this node at these addresses from now on: gRPC, HTTP API. Empty is unknown.
    pub fn handle_addresses(&mut self, now: Moment, addresses: (String, String)) {
        self.with_swim(now, |swim| swim.handle_addresses(now, addresses));
    }

    /// A peer sent so many addresses that this node could not dial.
    pub fn handle_refused_addresses(&mut self, now: Moment, count: u64) {
        self.with_swim(now, |swim| swim.count_refused(count));
    }

    /// This node leaves the cluster.
    pub fn handle_leave(&mut self, now: Moment) {
        self.with_swim(now, |swim| swim.handle_leave(now));
    }

    /// Before the membership hears of the ack: a node that becomes a member by it is known as one
    /// that passes assertions on, or does not.
    fn handle_set_digest(&mut self, now: Moment, node: NodeId, theirs: Option<u64>) {
        self.cluster.handle_set(now, self.store.sketch().digest());
        if node != self.node {
            self.cluster.handle_set_digest(now, node, theirs);
            self.pump_cluster();
        }
    }

    fn with_swim<T>(&mut self, now: Moment, event: impl FnOnce(&mut Swim) -> T) -> T {
        let answer = self.cluster.with_swim(now, event);
        self.pump_cluster();
        self.check();
        answer
    }
}
