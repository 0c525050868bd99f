//! Which member holds another set than this node: what the trees of gossip missed is found within
//! about a second, by digests that answers to pings carry.
//!
//! ```text
//! equal --an answer differs--> seen --this node's set was quiet for 0.3 s--> session
//!   ^                           | the set changes: the quiet begins anew, for 5 s at most
//!   +----- the sets agree ------+
//! ```
//!
//! In: this node's digest when its set changes, those of members as they answer. Out: members to
//! reconcile with. Never: names a member twice for one difference, names one that this node is
//! pushing to.

use std::time::Duration;

use litemap::LiteMap;

use crate::base::{Moment, NodeId, limits};

/// What is on its way comes within this: some hops of a few flushes. A session that begins earlier
/// brings second copies.
const QUIET: Duration = Duration::from_millis(300);
/// Where writes never pause, a difference is looked at after this: nearly all of it is on its way.
const PATIENCE: Duration = Duration::from_secs(5);

/// A member whose digest was another one.
#[derive(Clone, Copy, Debug)]
struct Seen {
    node: NodeId,
    theirs: u64,
    since: Moment,
    /// When the session begins, unless the set changes before.
    due: Moment,
}

/// The watch over the members' digests.
#[derive(Debug)]
pub(super) struct Differences {
    /// Without it sets are compared on request alone.
    is_on: bool,
    /// Of this node's set.
    own: u64,
    /// The difference that is waited out. One at a time: the session with that member may end the
    /// others.
    seen: Option<Seen>,
    /// Digests of this node and of a member when a session between them began. The same two again
    /// are a difference that the session left, such as colliding short ids; rounds see to it.
    looked_at: LiteMap<NodeId, (u64, u64)>,
    /// Sessions asked for since the start, for `/metrics`.
    sessions: u64,
}

impl Differences {
    pub(super) fn new(is_on: bool) -> Differences {
        Differences { is_on, own: 0, seen: None, looked_at: LiteMap::new_vec(), sessions: 0 }
    }

    /// This node's set has this digest now.
    pub(super) fn handle_own(&mut self, now: Moment, own: u64) {
        if own == self.own {
            return;
        }
        self.own = own;
        if let Some(seen) = &mut self.seen {
            seen.due = (now + QUIET).min(seen.since + PATIENCE);
        }
    }

    /// A member answered with this digest.
    pub(super) fn handle_answer(&mut self, now: Moment, node: NodeId, theirs: u64) {
        if theirs == self.own {
            // Its set is this node's now, whatever it was.
            self.seen.take_if(|seen| seen.node == node);
            self.looked_at.remove(&node);
        } else if self.is_on
            && self.seen.is_none()
            && self.looked_at.get(&node) != Some(&(self.own, theirs))
        {
            self.seen = Some(Seen { node, theirs, since: now, due: now + QUIET });
        }
        self.check();
    }

    /// A member is gone.
    pub(super) fn handle_gone(&mut self, node: NodeId) {
        self.looked_at.remove(&node);
        self.seen.take_if(|seen| seen.node == node);
    }

    /// The member to reconcile with now; `is_busy` says that pushes to it or sessions are under
    /// way.
    pub(super) fn handle_timeout(
        &mut self,
        now: Moment,
        is_busy: impl Fn(NodeId) -> bool,
    ) -> Option<NodeId> {
        let seen = self.seen.as_mut().filter(|seen| seen.due <= now)?;
        if seen.theirs != self.own && is_busy(seen.node) {
            seen.due = now + QUIET;
            return None;
        }
        let Seen { node, theirs, .. } = self.seen.take()?;
        if theirs == self.own {
            // What was on its way has come.
            return None;
        }
        if self.looked_at.len() >= limits::MEMBERS_MAX {
            let evicted = self.looked_at.first().map(|(node, _)| *node);
            evicted.map(|node| self.looked_at.remove(&node));
        }
        self.looked_at.insert(node, (self.own, theirs));
        self.sessions += 1;
        self.check();
        Some(node)
    }

    /// When [`Differences::handle_timeout`] wants to be called next.
    pub(super) fn next_deadline(&self) -> Option<Moment> {
        self.seen.map(|seen| seen.due)
    }

    /// Sessions asked for since the start.
    pub(super) fn sessions(&self) -> u64 {
        self.sessions
    }

    /// The invariants.
    fn check(&self) {
        let count = self.looked_at.len();
        debug_assert!(count <= limits::MEMBERS_MAX, "{count} members were looked at");
        debug_assert!(self.is_on || self.seen.is_none(), "a session that the operator turned off");
        debug_assert!(self.seen.is_none_or(|seen| seen.since < seen.due));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn node(number: u128) -> NodeId {
        NodeId(number.to_be_bytes())
    }

    fn asked(differences: &mut Differences, now: Moment) -> Option<NodeId> {
        differences.handle_timeout(now, |_| false)
    }

    #[test]
    fn a_difference_that_stays_is_looked_at_once() {
        let (mut differences, now) = (Differences::new(true), Moment(7));
        differences.handle_own(now, 1);
        differences.handle_answer(now, node(1), 1);
        assert_eq!(differences.next_deadline(), None, "they agree");
        differences.handle_answer(now, node(1), 2);
        differences.handle_answer(now, node(2), 3);
        assert_eq!(asked(&mut differences, now), None, "it may be on its way");
        assert_eq!(asked(&mut differences, now + QUIET), Some(node(1)));
        differences.handle_answer(now + SECOND, node(1), 2);
        assert_eq!(differences.next_deadline(), None, "the session left it");
        differences.handle_own(now + SECOND, 4);
        differences.handle_answer(now + SECOND, node(1), 2);
        assert_eq!(asked(&mut differences, now + SECOND + QUIET), Some(node(1)), "another one");
        assert_eq!(differences.sessions(), 2);
    }

    #[test]
    fn what_is_on_its_way_is_waited_for_but_not_for_ever() {
        let (mut differences, start) = (Differences::new(true), Moment(0));
        differences.handle_answer(start, node(1), 9);
        differences.handle_own(start + QUIET / 2, 9);
        assert_eq!(asked(&mut differences, start + 2 * QUIET), None, "it has come");
        assert_eq!(differences.next_deadline(), None);
        differences.handle_answer(start, node(1), 10);
        let mut now = start;
        let mut own = 100;
        let found = loop {
            now = now + QUIET / 2;
            own += 1;
            differences.handle_own(now, own);
            if let Some(found) = asked(&mut differences, now) {
                break found;
            }
        };
        assert!(found == node(1) && (start + PATIENCE..start + PATIENCE + QUIET).contains(&now));
    }

    #[test]
    fn one_that_is_pushed_to_or_gone_is_not_looked_at() {
        let (mut differences, now) = (Differences::new(true), Moment(0));
        differences.handle_answer(now, node(1), 9);
        let due = now + QUIET;
        assert_eq!(differences.handle_timeout(due, |_| true), None);
        assert_eq!(differences.next_deadline(), Some(due + QUIET));
        differences.handle_gone(node(1));
        assert_eq!(differences.next_deadline(), None);
        let mut off = Differences::new(false);
        off.handle_answer(now, node(1), 9);
        assert_eq!(off.next_deadline(), None);
    }
}
