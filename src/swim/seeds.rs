//! Addresses at which other nodes may be found before any of them is a member.
//!
//! In: addresses, ends of pings to them, time. Out: seeds to ping. Never: makes a member of a seed,
//! stops asking one.

use std::time::Duration;

use crate::base::{Moment, NodeId, Random};

/// A seed at which no member is known is pinged again after this pause, which doubles.
const PAUSE_MIN: Duration = Duration::from_millis(500);
/// The longest pause: a cluster that starts later is found within it.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// One address, and what was found there.
#[derive(Clone, Debug)]
pub(super) struct Seed {
    /// As it is dialled; a member there may call another address its own.
    pub(super) address: String,
    /// The node that answered there, under whatever address it calls its own: it shows that the
    /// seed is found when that node is a member elsewhere.
    pub(super) node: Option<NodeId>,
    /// The last call to it came back to this node.
    pub(super) is_own: bool,
    /// When to ping it.
    next: Moment,
    /// The pause after that ping, before jitter.
    pause: Duration,
}

/// All seeds of a node.
#[derive(Debug, Default)]
pub(super) struct Seeds(Vec<Seed>);

impl Seeds {
    /// Those that were known keep their pause: a look-up every few seconds must not undo the
    /// back-off.
    pub(super) fn replace(&mut self, now: Moment, addresses: Vec<String>) {
        self.0.retain(|seed| addresses.contains(&seed.address));
        for address in addresses {
            if !self.0.iter().any(|seed| seed.address == address) {
                let (node, is_own, pause) = (None, false, PAUSE_MIN);
                self.0.push(Seed { address, node, is_own, next: now, pause });
            }
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Seed> {
        self.0.iter()
    }

    /// `node` answered at `address`.
    pub(super) fn answered(&mut self, address: &str, node: NodeId) {
        if let Some(seed) = self.0.iter_mut().find(|seed| seed.address == address) {
            (seed.node, seed.is_own, seed.pause) = (Some(node), false, PAUSE_MIN);
        }
    }

    /// A call to `address` failed, because it came back to this node or for another reason; true if
    /// it is news that this seed is the node itself. An own seed is asked again with back-off: its
    /// address may become another node's, or be a service's that leads to any node.
    pub(super) fn failed(&mut self, address: &str, is_own: bool) -> bool {
        let seed = self.0.iter_mut().find(|seed| seed.address == address);
        seed.is_some_and(|seed| {
            if is_own {
                seed.node = None;
            }
            !std::mem::replace(&mut seed.is_own, is_own) && is_own
        })
    }

    pub(super) fn deadline(&self) -> Option<Moment> {
        self.0.iter().map(|seed| seed.next).min()
    }

    /// The seeds to ping: those whose pause is over and at which no member is known.
    pub(super) fn take_due(
        &mut self,
        now: Moment,
        random: &mut Random,
        is_found: impl Fn(&Seed) -> bool,
    ) -> Vec<Seed> {
        let due = self.0.iter_mut().filter(|seed| seed.next <= now);
        let due = due.filter_map(|seed| {
            let is_missing = seed.is_own || !is_found(seed);
            // One that is found is looked at seldom: `missed` says when its member is gone.
            let pause = if is_missing { seed.pause } else { PAUSE_MAX };
            // Nodes that were started together would else ping a seed together.
            seed.next = now + pause.mul_f64(0.75 + 0.5 * random.fraction());
            if is_missing {
                seed.pause = (seed.pause * 2).min(PAUSE_MAX);
            }
            is_missing.then(|| seed.clone())
        });
        due.collect()
    }

    /// The member `node`, which was at `address`, is gone: seeds that were found by it are not.
    pub(super) fn missed(&mut self, now: Moment, node: NodeId, address: &str) {
        let is_its = |seed: &&mut Seed| seed.node == Some(node) || seed.address == address;
        self.0.iter_mut().filter(is_its).for_each(|seed| seed.next = seed.next.min(now));
    }

    /// The invariants.
    pub(super) fn check(&self) {
        let is_sane = |seed: &Seed| {
            (PAUSE_MIN..=PAUSE_MAX).contains(&seed.pause) && !(seed.is_own && seed.node.is_some())
        };
        debug_assert!(self.0.iter().all(is_sane), "{:?}", self.0);
    }
}
