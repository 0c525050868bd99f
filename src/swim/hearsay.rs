//! Hearsay that waits for proof: what others say of a node and what would do harm if it were made
//! up. Any process that reaches the port may make updates up, under any id.
//!
//! ```text
//! waiting --due, rate allows--> asked --answer--> over     (Introduced, then Named, then Failed)
//! asked --no answer, unknown node--> waiting as Failed --tried again each period--> forgotten
//! ```
//!
//! In: updates, pings begun and ended, time. Out: the node to ping next. Never: keeps more than a
//! bounded number of unknown nodes, lets them be pinged faster than a bounded rate.

use std::collections::BTreeSet;
use std::time::Duration;

use litemap::LiteMap;

use super::member::Update;
use crate::base::{Moment, NodeId, limits};

/// Whose check comes first. A node that introduces itself passes those that others only name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Rank {
    /// A member, or this node itself.
    Member,
    /// An unknown node that introduced itself.
    Introduced,
    /// An unknown node that others named.
    Named,
    /// An unknown node that did not answer.
    Failed,
}

impl Rank {
    /// Its share of what [`limits`] allow, in thirds: a flood of names leaves capacity for members.
    fn share(self) -> u64 {
        3_u64.saturating_sub(self as u64)
    }
}

/// Introductions without an answer after which the operator is informed: a node that starts may
/// refuse the first pings, while it waits for its seeds.
const UNANSWERED_REPORTED: u32 = 3;

/// Hearsay of one node.
#[derive(Debug)]
pub(super) struct Check {
    /// What was said; the latest stands for all before.
    pub(super) update: Update,
    /// Which share of the rate it is paid from.
    pub(super) rank: Rank,
    /// It knows no member: once it has answered, it is sent the member list.
    pub(super) is_newcomer: bool,
    /// When it was first heard of; an unknown node is forgotten after a while.
    pub(super) heard: Moment,
    /// When to ping: later than it was heard where its member was pinged a moment ago.
    pub(super) due: Moment,
    /// The address at which a ping is under way: an answer from elsewhere proves nothing.
    pub(super) asked: Option<String>,
    /// How often it introduced itself and did not answer.
    unanswered: u32,
}

impl Check {
    /// Nothing was asked yet.
    pub(super) fn new(update: Update, rank: Rank, heard: Moment, due: Moment) -> Check {
        Check { update, rank, is_newcomer: false, heard, due, asked: None, unanswered: 0 }
    }
}

/// All hearsay that waits for proof.
#[derive(Debug, Default)]
pub(super) struct Hearsay {
    /// By the node that it is about: a flood about one node is one check.
    about: LiteMap<NodeId, Check>,
    /// Those that no ping is under way for, in the order in which they are served.
    waiting: BTreeSet<(Rank, Moment, NodeId)>,
    /// Checks of unknown nodes, which are bounded apart from those of members.
    unproven: usize,
    /// The rate: each ping moves this on by its cost (the theoretical arrival time of the generic
    /// cell rate algorithm, ITU-T I.371). One number does what a bucket and its clock would.
    theoretical_arrival: Moment,
    /// Microseconds from one ping to the next at the long-term rate.
    cost: u64,
}

impl Hearsay {
    pub(super) fn new(interval: Duration) -> Hearsay {
        let cost = interval.as_micros() as u64 / limits::CHECKS_PER_INTERVAL;
        Hearsay { cost, ..Hearsay::default() }
    }

    pub(super) fn unproven(&self) -> usize {
        self.unproven
    }

    pub(super) fn get(&self, node: NodeId) -> Option<&Check> {
        self.about.get(&node)
    }

    pub(super) fn get_mut(&mut self, node: NodeId) -> Option<&mut Check> {
        self.about.get_mut(&node)
    }

    pub(super) fn remove(&mut self, node: NodeId) -> Option<Check> {
        let check = self.about.remove(&node)?;
        self.waiting.remove(&(check.rank, check.due, node));
        self.unproven -= usize::from(check.rank != Rank::Member);
        Some(check)
    }

    /// Adds hearsay; `check` replaces what was heard of its node before.
    pub(super) fn insert(&mut self, node: NodeId, mut check: Check) {
        if let Some(before) = self.remove(node) {
            (check.is_newcomer, check.unanswered) = (before.is_newcomer, before.unanswered);
        }
        self.unproven += usize::from(check.rank != Rank::Member);
        if check.asked.is_none() {
            self.waiting.insert((check.rank, check.due, node));
        }
        self.about.insert(node, check);
        self.check();
    }

    /// Whether one more unknown node may be added; the least of those that wait is dropped for it.
    pub(super) fn reserve(&mut self, rank: Rank) -> bool {
        if self.unproven < limits::UNPROVEN_MAX {
            return true;
        }
        let mut last = [Rank::Failed, Rank::Named, Rank::Introduced].into_iter();
        let oldest = last.find_map(|rank| self.of_rank(rank).next());
        // Introductions drop each other: the oldest has had its chance, and the newest may be the
        // real node among those that a stranger made up.
        let weaker = oldest.filter(|oldest| oldest.0 > rank || oldest.0 == Rank::Introduced);
        weaker.and_then(|(_, _, node)| self.remove(node)).is_some()
    }

    fn of_rank(&self, rank: Rank) -> impl DoubleEndedIterator<Item = (Rank, Moment, NodeId)> {
        let last = (rank, Moment(u64::MAX), NodeId([u8::MAX; 16]));
        self.waiting.range((rank, Moment::ZERO, NodeId::NONE)..=last).copied()
    }

    /// The one due first. Of those that introduced themselves the last: its dial is the most
    /// recent, so it is the likeliest to be there still.
    fn first(&self, rank: Rank) -> Option<(Rank, Moment, NodeId)> {
        match rank {
            Rank::Introduced => self.of_rank(rank).next_back(),
            _ => self.of_rank(rank).next(),
        }
    }

    /// The first of the unknown nodes that did not answer.
    pub(super) fn first_failed(&self) -> Option<NodeId> {
        self.first(Rank::Failed).map(|(_, _, node)| node)
    }

    /// When the first of this rank may be pinged; `None` before a ping under way has ended.
    fn ready_at(&self, rank: Rank) -> Option<(Moment, NodeId)> {
        let (_, due, node) = self.first(rank)?;
        let under_way = (self.about.len() - self.waiting.len()) as u64;
        // The lower ranks may run less far ahead of the rate and hold fewer pings: what is left is
        // for the ranks above them.
        let ahead = limits::CHECKS_BURST * self.cost * rank.share() / 3;
        let paid = Moment(self.theoretical_arrival.0.saturating_sub(ahead));
        (under_way < limits::CHECKS_MAX * rank.share() / 3).then_some((due.max(paid), node))
    }

    fn ready(&self) -> impl Iterator<Item = (Moment, NodeId)> {
        let ranks = [Rank::Member, Rank::Introduced, Rank::Named].into_iter();
        ranks.filter_map(|rank| self.ready_at(rank))
    }

    /// The node to ping now.
    pub(super) fn next_ready(&self, now: Moment) -> Option<NodeId> {
        self.ready().find(|(at, _)| *at <= now).map(|(_, node)| node)
    }

    pub(super) fn deadline(&self) -> Option<Moment> {
        self.ready().map(|(at, _)| at).min()
    }

    /// The node is pinged at this address.
    pub(super) fn begin(&mut self, now: Moment, node: NodeId, address: String) {
        let Some(check) = self.about.get_mut(&node) else { return };
        self.waiting.remove(&(check.rank, check.due, node));
        check.asked = Some(address);
        let start = self.theoretical_arrival.max(now);
        self.theoretical_arrival = Moment(start.0 + self.cost);
        self.check();
    }

    /// No ping could begin; the next try is at `due`.
    pub(super) fn postpone(&mut self, node: NodeId, due: Moment) {
        let Some(check) = self.about.get_mut(&node) else { return };
        self.waiting.remove(&(check.rank, check.due, node));
        (check.asked, check.due) = (None, due);
        self.waiting.insert((check.rank, check.due, node));
        self.check();
    }

    /// The unknown node did not answer at this address. True if its operator is to be informed.
    pub(super) fn fail(
        &mut self,
        now: Moment,
        node: NodeId,
        address: &str,
        pause: Duration,
    ) -> bool {
        let Some(check) = self.about.get_mut(&node) else { return false };
        let is_introduced = check.rank == Rank::Introduced;
        check.unanswered += u32::from(is_introduced);
        let is_reported = is_introduced && check.unanswered == UNANSWERED_REPORTED;
        (check.rank, check.due, check.asked) = (Rank::Failed, now, None);
        if check.update.rpc_addr != address {
            // It answered there, and said that it is elsewhere.
            (check.rank, check.due) = (Rank::Named, now + pause);
        }
        self.waiting.insert((check.rank, check.due, node));
        self.check();
        is_reported
    }

    /// The node answered at this address.
    pub(super) fn end(&mut self, node: NodeId, address: &str) {
        if self.is_asked(node, address) {
            self.remove(node);
        }
    }

    pub(super) fn is_asked(&self, node: NodeId, address: &str) -> bool {
        self.about.get(&node).is_some_and(|check| check.asked.as_deref() == Some(address))
    }

    pub(super) fn check(&self) {
        debug_assert!(self.waiting.len() <= self.about.len(), "more wait than there are");
        debug_assert!(self.unproven <= self.about.len(), "{} unproven", self.unproven);
        debug_assert!(self.unproven <= limits::UNPROVEN_MAX, "{} unproven", self.unproven);
    }
}
