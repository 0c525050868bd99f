//! Which cluster this node belongs to, and which calls are of another one.
//!
//! ```text
//! start --an id is kept, or no seeds and no assertions--> Settled
//! start --else--> Proposed --a seed, or a member of ours, has one--> Settled
//!                 Proposed --a lower proposal is heard--> Proposed, that one
//!                 Proposed --all members say the same for a while--> Settled
//! ```
//!
//! In: what other nodes say of their cluster with requests and answers, members that take part,
//! time. Out: a verdict on each, and the node's own id once it is settled. Two settled ids never
//! become one.
//!
//! A node without seeds makes the id of a new cluster. One with seeds learns it from the first of
//! them that has one. Where all nodes start at once and have each other as seeds, each proposes an
//! id; the least proposal stands, and is settled when every member has said the same for a while.
//!
//! Never: learns an id from a call that another node made, changes one that is settled.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::base::{ClusterId, Moment, NodeId};

/// Probe intervals in which nothing changes before a proposal is settled: all members have been
/// asked in this time, and the members that these know of.
const CALM_INTERVALS: u32 = 5;
/// The same where assertions are older than the id (after an upgrade, other members may have one
/// already), and where a seed is never found.
const CALM_LONG: Duration = Duration::from_secs(300);

/// The same for a node that finds only itself at its seeds: the name of a service may list
/// the others later.
const CALM_ALONE: Duration = Duration::from_secs(30);

/// What a node says of its cluster.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tag {
    /// It belongs to this one for good.
    Settled(ClusterId),
    /// It has no cluster yet, and proposes this id.
    Proposed(ClusterId),
}

impl Tag {
    /// The id, if it is settled.
    pub fn settled(self) -> Option<ClusterId> {
        match self {
            Tag::Settled(id) => Some(id),
            Tag::Proposed(_) => None,
        }
    }
}

/// What is known at the start.
#[derive(Clone, Copy, Debug)]
pub struct Origin {
    /// The id that is set, or was kept.
    pub kept: Option<ClusterId>,
    /// A random one, which the node proposes if none is kept.
    pub proposal: ClusterId,
    /// Whether the node is to find others.
    pub has_seeds: bool,
    /// Whether this node holds no assertion, and so was in no cluster before.
    pub is_new: bool,
}

/// Why a call is not answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClusterRefusal {
    /// The caller is of another cluster.
    Foreign {
        /// The id of this node's cluster.
        ours: ClusterId,
        /// The id that the caller says.
        theirs: ClusterId,
    },
    /// This node has to hear from one of its seeds first which cluster is its own.
    NotJoined,
}

/// What a node sees of the others.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// Members that have to agree before a proposal is settled.
    pub present: BTreeSet<NodeId>,
    /// Whether all seeds are known by address, and each is a member or this node.
    pub is_whole: bool,
    /// Whether all seeds are known by address, and each is this node.
    pub is_first: bool,
    /// Nodes that others named and that have not answered.
    pub unproven: usize,
}

/// The identity of one node's cluster.
#[derive(Debug)]
pub struct Identity {
    /// What calls and answers of this node say.
    tag: Tag,
    /// A node that is to find others must not settle before it has heard of them.
    has_seeds: bool,
    /// A node that holds assertions may be of a cluster that has an id already: it waits longer.
    is_new: bool,
    /// A seed has answered: whatever it says, this node is no longer alone by accident.
    is_joined: bool,
    /// A seed has answered with a proposal: this cluster is being formed, so that an id that some
    /// other node brings is of another one.
    is_forming: bool,
    /// Members that have said this node's proposal, or nothing: settled when it is all of them.
    agreeing: BTreeSet<NodeId>,
    /// Since then no proposal and no member has changed.
    calm_since: Moment,
    /// When to look whether the proposal can be settled.
    next_look: Moment,
    /// The probe interval, in which a member is asked about once.
    interval: Duration,
}

impl Identity {
    /// One of a node that starts.
    pub fn new(origin: Origin, interval: Duration, now: Moment) -> Identity {
        let is_first = !origin.has_seeds && origin.is_new;
        let tag = match origin.kept {
            Some(id) => Tag::Settled(id),
            None if is_first => Tag::Settled(origin.proposal),
            None => Tag::Proposed(origin.proposal),
        };
        Identity {
            tag,
            has_seeds: origin.has_seeds,
            is_new: origin.is_new,
            is_joined: false,
            is_forming: false,
            agreeing: BTreeSet::new(),
            calm_since: now,
            next_look: now,
            interval,
        }
    }

    /// What this node says of its cluster.
    pub fn tag(&self) -> Tag {
        self.tag
    }

    /// Whether a call may be answered whose caller says `theirs`; nodes of other kinds say nothing.
    pub fn admit(&self, theirs: Option<Tag>) -> Result<(), ClusterRefusal> {
        // A proposal refuses no call: nodes that start together could else never agree on one.
        let Some(Tag::Settled(theirs)) = theirs else { return Ok(()) };
        match self.tag {
            Tag::Settled(ours) if ours != theirs => Err(ClusterRefusal::Foreign { ours, theirs }),
            Tag::Proposed(ours) if ours != theirs && !self.learns_from_all() => {
                Err(ClusterRefusal::NotJoined)
            }
            _ => Ok(()),
        }
    }

    /// `node` answered a ping and says `theirs`; `is_seed`: at the address of a seed. False if it
    /// is of another cluster, or may be.
    pub fn handle_tag(
        &mut self,
        now: Moment,
        node: NodeId,
        theirs: Option<Tag>,
        is_seed: bool,
    ) -> bool {
        let Tag::Proposed(ours) = self.tag else { return self.admit(theirs).is_ok() };
        match theirs {
            Some(Tag::Settled(theirs)) => {
                let is_ours = is_seed || theirs == ours || self.learns_from_all();
                if is_ours {
                    self.tag = Tag::Settled(theirs);
                }
                return is_ours;
            }
            Some(Tag::Proposed(theirs)) => {
                self.is_forming |= is_seed;
                // Any rule would do that all nodes apply alike; the least needs no message more.
                if theirs < ours {
                    self.tag = Tag::Proposed(theirs);
                    self.agreeing.clear();
                }
                if theirs > ours {
                    self.agreeing.remove(&node);
                } else {
                    self.agreeing.insert(node);
                }
                // Some member has not heard of the lower one yet, and may pass its own on.
                if theirs != ours {
                    self.calm_since = now;
                }
            }
            // A node of the standard never says anything: waiting for it would have no end.
            None => drop(self.agreeing.insert(node)),
        }
        self.is_joined |= is_seed;
        true
    }

    /// Members came or went.
    pub fn handle_change(&mut self, now: Moment) {
        self.calm_since = now;
    }

    /// Time passed: a proposal is settled if nothing speaks against it any more.
    pub fn handle_timeout(&mut self, now: Moment, view: &View) {
        let Tag::Proposed(id) = self.tag else { return };
        if now < self.next_look {
            return;
        }
        self.next_look = now + self.interval;
        self.agreeing.retain(|node| view.present.contains(node));
        let are_heard = view.present.len() == self.agreeing.len() && view.unproven == 0;
        let is_alone = !self.has_seeds || view.is_first;
        // A seed that is never found may be of this cluster and have an id.
        let (is_ready, is_sure) = match is_alone {
            true => (are_heard, self.is_new),
            false => (are_heard && self.is_joined, self.is_new && view.is_whole),
        };
        let calm = match (is_sure, is_alone && view.present.is_empty()) {
            (true, true) => CALM_ALONE,
            (true, false) => self.interval * CALM_INTERVALS,
            (false, _) => CALM_LONG,
        };
        if is_ready && now.since(self.calm_since) >= calm {
            self.tag = Tag::Settled(id);
        }
        self.check(view);
    }

    /// The invariants, as of a view that was just taken into account.
    fn check(&self, view: &View) {
        debug_assert!(self.agreeing.is_subset(&view.present), "a node that is gone agrees");
        debug_assert!(!self.is_forming || self.is_joined, "a seed that formed did not answer");
    }

    /// When [`Identity::handle_timeout`] wants to be called next.
    pub fn next_deadline(&self) -> Option<Moment> {
        matches!(self.tag, Tag::Proposed(_)).then_some(self.next_look)
    }

    /// Whether any node that has an id is of this node's cluster. A node with seeds hears it from
    /// one of them: others may know its address from a life before, of another cluster.
    fn learns_from_all(&self) -> bool {
        !self.has_seeds || self.is_joined && !(self.is_forming && self.is_new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(1);

    fn id(number: u8) -> ClusterId {
        ClusterId([number; 16])
    }

    fn node(number: u8) -> NodeId {
        NodeId([number; 16])
    }

    fn start(proposal: u8, has_seeds: bool, is_new: bool) -> Identity {
        let origin = Origin { kept: None, proposal: id(proposal), has_seeds, is_new };
        Identity::new(origin, INTERVAL, Moment::ZERO)
    }

    fn view(present: &[u8], is_whole: bool) -> View {
        let present = present.iter().map(|number| node(*number)).collect();
        View { present, is_whole, ..View::default() }
    }

    fn after(seconds: u64) -> Moment {
        Moment::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn the_first_node_makes_one_and_keeps_to_it() {
        let mut one = start(7, false, true);
        assert_eq!(one.tag(), Tag::Settled(id(7)));
        let refusal = Err(ClusterRefusal::Foreign { ours: id(7), theirs: id(8) });
        assert_eq!(one.admit(Some(Tag::Settled(id(8)))), refusal);
        for tag in [None, Some(Tag::Settled(id(7))), Some(Tag::Proposed(id(8)))] {
            assert_eq!(one.admit(tag), Ok(()));
            assert!(one.handle_tag(Moment::ZERO, node(1), tag, true));
        }
        assert!(
            !one.handle_tag(Moment::ZERO, node(1), Some(Tag::Settled(id(8))), true),
            "a seed, too"
        );
        assert_eq!((one.tag(), one.next_deadline()), (Tag::Settled(id(7)), None));
        // Its own address as its only seed says the same, once that is known.
        let mut own = start(5, true, true);
        own.handle_timeout(after(1), &view(&[], false));
        assert_eq!(own.tag(), Tag::Proposed(id(5)), "a name that is not found may be another's");
        let alone = View { is_first: true, is_whole: true, ..View::default() };
        own.handle_timeout(after(29), &alone);
        assert_eq!(own.tag(), Tag::Proposed(id(5)), "the name may stand for more nodes soon");
        own.handle_timeout(after(31), &alone);
        assert_eq!(own.tag(), Tag::Settled(id(5)));
    }

    #[test]
    fn a_node_with_seeds_learns_from_one_of_them_first() {
        let mut new = start(3, true, true);
        let theirs = Some(Tag::Settled(id(8)));
        assert_eq!(new.admit(theirs), Err(ClusterRefusal::NotJoined));
        assert!(!new.handle_tag(after(1), node(1), theirs, false), "it knows an old address");
        assert!(new.handle_tag(after(1), node(2), Some(Tag::Settled(id(9))), true));
        assert_eq!(new.tag(), Tag::Settled(id(9)));
        // The seeds are of before: the first member that has an id tells.
        let mut upgraded = start(3, true, false);
        assert!(upgraded.handle_tag(after(1), node(1), None, true));
        assert_eq!(upgraded.admit(theirs), Ok(()));
        assert!(upgraded.handle_tag(after(2), node(2), theirs, false));
        assert_eq!(upgraded.tag(), Tag::Settled(id(8)));
    }

    #[test]
    fn the_least_proposal_is_settled_when_all_have_said_it_for_a_while() {
        let mut one = start(5, true, true);
        assert!(one.handle_tag(after(1), node(1), Some(Tag::Proposed(id(9))), true));
        assert!(one.handle_tag(after(1), node(2), Some(Tag::Proposed(id(4))), true));
        assert_eq!(one.tag(), Tag::Proposed(id(4)));
        let both = view(&[1, 2], true);
        one.handle_timeout(after(20), &both);
        assert_eq!(one.tag(), Tag::Proposed(id(4)), "the first has not said so");
        assert!(one.handle_tag(after(21), node(1), Some(Tag::Proposed(id(4))), true));
        one.handle_change(after(22));
        one.handle_timeout(after(22), &both);
        one.handle_timeout(after(28), &view(&[1, 2], false));
        one.handle_timeout(after(30), &View { unproven: 1, ..both.clone() });
        assert_eq!(one.tag(), Tag::Proposed(id(4)), "there may be others");
        assert_eq!(one.admit(Some(Tag::Settled(id(1)))), Err(ClusterRefusal::NotJoined));
        one.handle_timeout(after(32), &both);
        assert_eq!(one.tag(), Tag::Settled(id(4)));
    }

    #[test]
    fn what_is_not_sure_takes_its_time() {
        let mut old = start(5, false, false);
        assert_eq!(old.tag(), Tag::Proposed(id(5)));
        old.handle_timeout(after(299), &View::default());
        assert_eq!(old.tag(), Tag::Proposed(id(5)), "a member may come that has an id");
        old.handle_timeout(after(301), &View::default());
        assert_eq!(old.tag(), Tag::Settled(id(5)));
        let mut waiting = start(5, true, true);
        waiting.handle_timeout(after(1000), &view(&[], false));
        assert_eq!(waiting.tag(), Tag::Proposed(id(5)), "no seed has answered");
        assert!(waiting.handle_tag(after(1001), node(1), Some(Tag::Proposed(id(5))), true));
        waiting.handle_timeout(after(1002), &view(&[1], false));
        assert_eq!(waiting.tag(), Tag::Settled(id(5)), "one of the seeds is never found");
    }
}
