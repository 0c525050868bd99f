//! Member lists compared by a digest and exchanged where they differ: what no rumor brought, a
//! probe does (push-pull, Demers et al., "Epidemic Algorithms for Replicated Database Maintenance",
//! 1987, section 1.3).
//!
//! ```text
//! caller -- probe, digest -------------------> callee     equal: nothing follows
//! caller <-- answer, digest, its whole list -- callee     else, if its rate allows
//! caller -- what that list lacks ------------> callee     if there is any
//! ```
//!
//! In: changes of members, lists that are to be sent. Out: the digest of this node's list, and
//! whether the rate allows a list. Never: knows which member's list differs.

use std::collections::BTreeMap;
use std::time::Duration;

use super::member::{Member, State};
use crate::base::random::mix;
use crate::base::{Moment, NodeId, limits};

/// Updates of lists that a node sends in a probe interval for as long as lists differ: some 1.2 KB.
/// Where they never agree (one member reaches a node that another does not), this is what it costs.
pub(super) const UPDATES_PER_INTERVAL: u64 = 16;

/// Incarnation and state of each member, as another node sees it.
pub(super) type OtherList = BTreeMap<NodeId, (u64, State)>;

/// What one member adds to a digest. Digests are sums, so that a change costs no walk.
pub(super) fn entry(node: NodeId, incarnation: u64) -> u64 {
    let half = |bytes: &[u8]| bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    let (first, second) = node.0.split_at(8);
    mix(mix(mix(half(first)) ^ half(second)) ^ incarnation)
}

impl Member {
    /// What it adds to the digest. The gone add nothing: who came later never heard of them.
    pub(super) fn entry(&self) -> u64 {
        let news = &self.news;
        // Each node makes up the incarnation of one that says none.
        let incarnation = if self.is_plain { 0 } else { news.incarnation };
        if news.state.is_present() { entry(news.node, incarnation) } else { 0 }
    }
}

/// The digest of this node's list, and how much of lists it may send.
#[derive(Debug)]
pub(super) struct Lists {
    /// The sum of all entries.
    pub(super) digest: u64,
    /// What this node itself adds.
    pub(super) own: u64,
    /// The rate: each update of a list moves this on by its cost (generic cell rate algorithm).
    theoretical_arrival: Moment,
    /// Microseconds from one update to the next at the long-term rate.
    cost: u64,
}

impl Lists {
    pub(super) fn new(interval: Duration) -> Lists {
        let cost = interval.as_micros() as u64 / UPDATES_PER_INTERVAL;
        Lists { digest: 0, own: 0, theoretical_arrival: Moment::ZERO, cost }
    }

    /// Whether so many updates may be sent now. A node that sent none for long may send the longest
    /// list at once.
    pub(super) fn take(&mut self, now: Moment, updates: usize) -> bool {
        let next = self.theoretical_arrival.max(now).0 + updates as u64 * self.cost;
        let is_allowed = next <= now.0 + limits::MEMBERS_MAX as u64 * self.cost;
        if is_allowed {
            self.theoretical_arrival = Moment(next);
        }
        is_allowed
    }

    pub(super) fn change(&mut self, was: u64, is: u64) {
        self.digest = self.digest.wrapping_sub(was).wrapping_add(is);
    }
}
