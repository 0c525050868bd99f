//! Which session of anti-entropy comes next.
//!
//! ```text
//! Idle --peers wait, or a round is requested--> Between (round began)
//! Between --a peer is left--> Session --it ended--> Between
//! Between --no peer is left--> Idle (round over)
//! ```
//!
//! In: peers to reconcile with, ends of sessions. Out: the next peer; beginnings and ends of
//! rounds. Never: runs two sessions at a time, has a peer wait twice.

use std::collections::VecDeque;

use crate::base::{NodeId, limits};

/// A member, and the address of its gRPC.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target {
    /// Its id; `None` at the address of a seed that has not answered yet.
    pub node: Option<NodeId>,
    /// Where the peer's gRPC server answers, as last advertised.
    pub rpc_addr: String,
}

/// Peers that wait for a round: all members, and as many addresses of seeds that have not answered.
const WAITING_MAX: usize = 2 * limits::MEMBERS_MAX;

/// What the owner does next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum QueueStep {
    /// All peers that wait are a round from now on.
    RoundBegan,
    /// A session with this one.
    Session(Target),
    /// The session with the last peer of the round has ended.
    RoundOver,
}

/// Where the queue is within a round, with the peers that are left of it.
#[derive(Debug, Default)]
enum RoundState {
    #[default]
    Idle,
    Between(VecDeque<Target>),
    Session(VecDeque<Target>),
}

/// Peers in the order of their sessions. One at a time: two sessions would fetch the same missing
/// assertions from two peers, and hold the memory of two.
#[derive(Debug, Default)]
pub(super) struct SessionQueue {
    state: RoundState,
    /// Peers of the next round. Apart from the one under way: what a caller asks about may have
    /// happened after that one's session with the same peer.
    waiting: Vec<Target>,
    /// A caller waits for a round that begins from now on, even if there is no peer for it.
    is_requested: bool,
}

impl SessionQueue {
    /// These are to be reconciled with. A peer whose session in the round under way has not begun
    /// need not wait for another: that session finds all that differs.
    pub(super) fn add(&mut self, targets: Vec<Target>) {
        for target in targets {
            let is_left = match &mut self.state {
                RoundState::Between(rest) | RoundState::Session(rest) => {
                    replace(rest.iter_mut(), &target)
                }
                RoundState::Idle => false,
            };
            if !is_left {
                self.push(target);
            }
        }
        self.check();
    }

    /// A caller waits for a round with these. Their reports are its answer, so all of them are of
    /// the next round.
    pub(super) fn request(&mut self, targets: Vec<Target>) {
        self.is_requested = true;
        targets.into_iter().for_each(|target| self.push(target));
        self.check();
    }

    fn push(&mut self, target: Target) {
        // Members come and go while a bootstrap takes hours. What is passed over beyond the bound,
        // a later round names again.
        let is_known = replace(self.waiting.iter_mut(), &target);
        if !is_known && self.waiting.len() < WAITING_MAX {
            self.waiting.push(target);
        }
    }

    /// Whether no session is under way and none waits.
    pub(super) fn is_idle(&self) -> bool {
        matches!(self.state, RoundState::Idle) && self.waiting.is_empty()
    }

    /// The session under way has ended, or could not begin.
    pub(super) fn handle_ended(&mut self) {
        if let RoundState::Session(rest) = &mut self.state {
            self.state = RoundState::Between(std::mem::take(rest));
        }
    }

    /// The next step; drain until `None` after every other call.
    pub(super) fn poll_step(&mut self) -> Option<QueueStep> {
        match &mut self.state {
            RoundState::Idle if self.waiting.is_empty() && !self.is_requested => None,
            RoundState::Idle => {
                self.is_requested = false;
                self.state = RoundState::Between(std::mem::take(&mut self.waiting).into());
                Some(QueueStep::RoundBegan)
            }
            RoundState::Between(rest) => match rest.pop_front() {
                Some(target) => {
                    self.state = RoundState::Session(std::mem::take(rest));
                    Some(QueueStep::Session(target))
                }
                None => {
                    self.state = RoundState::Idle;
                    Some(QueueStep::RoundOver)
                }
            },
            RoundState::Session(_) => None,
        }
    }

    fn check(&self) {
        if !cfg!(debug_assertions) {
            return;
        }
        debug_assert!(self.waiting.len() <= WAITING_MAX, "{} peers wait", self.waiting.len());
        let mut named: Vec<_> = self.waiting.iter().filter_map(|target| target.node).collect();
        named.sort_unstable();
        debug_assert!(named.is_sorted_by(|one, next| one < next), "a member waits twice");
    }
}

/// Whether the peer is one of these, which have its latest address from now on: at the one before,
/// the session would fail.
fn replace<'a>(mut known: impl Iterator<Item = &'a mut Target>, target: &Target) -> bool {
    let found = known.find(|known| match target.node {
        Some(node) => known.node == Some(node),
        None => **known == *target,
    });
    found.map(|known| known.rpc_addr.clone_from(&target.rpc_addr)).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(rpc_addr: &str) -> Target {
        Target { node: None, rpc_addr: rpc_addr.into() }
    }

    fn targets(addresses: &[&str]) -> Vec<Target> {
        addresses.iter().map(|address| target(address)).collect()
    }

    fn steps(queue: &mut SessionQueue) -> Vec<QueueStep> {
        std::iter::from_fn(|| queue.poll_step()).collect()
    }

    #[test]
    fn sessions_run_one_after_the_other_and_a_peer_waits_once() {
        let mut queue = SessionQueue::default();
        assert_eq!(steps(&mut queue), []);
        queue.add(targets(&["a", "b", "a"]));
        assert_eq!(steps(&mut queue), [QueueStep::RoundBegan, QueueStep::Session(target("a"))]);
        // The session with `b` has not begun; that with `a` has, so a new reason is a new session.
        queue.add(targets(&["b", "a"]));
        assert_eq!(steps(&mut queue), []);
        queue.handle_ended();
        assert_eq!(steps(&mut queue), [QueueStep::Session(target("b"))]);
        queue.handle_ended();
        let next = [QueueStep::RoundOver, QueueStep::RoundBegan, QueueStep::Session(target("a"))];
        assert_eq!(steps(&mut queue), next);
        queue.handle_ended();
        assert_eq!(steps(&mut queue), [QueueStep::RoundOver]);
        queue.handle_ended();
        assert_eq!(steps(&mut queue), [], "an end without a session is none");
    }

    #[test]
    fn a_member_that_moved_waits_once_and_at_its_new_address() {
        let mut queue = SessionQueue::default();
        queue.add(targets(&["first"]));
        assert_eq!(steps(&mut queue).len(), 2);
        let at = |rpc_addr: &str| Target { node: Some(NodeId([1; 16])), ..target(rpc_addr) };
        queue.add(vec![at("old"), at("new")]);
        queue.handle_ended();
        assert_eq!(steps(&mut queue).last(), Some(&QueueStep::Session(at("new"))));
        for number in 0..2 * WAITING_MAX {
            queue.add(vec![target(&number.to_string())]);
        }
        assert_eq!(queue.waiting.len(), WAITING_MAX);
    }

    #[test]
    fn a_request_gets_a_round_that_begins_after_it() {
        let mut queue = SessionQueue::default();
        queue.request(Vec::new());
        assert_eq!(
            steps(&mut queue),
            [QueueStep::RoundBegan, QueueStep::RoundOver],
            "without peers, too"
        );
        queue.add(targets(&["a"]));
        assert_eq!(steps(&mut queue).len(), 2);
        queue.request(targets(&["a"]));
        queue.handle_ended();
        let own = [QueueStep::RoundOver, QueueStep::RoundBegan, QueueStep::Session(target("a"))];
        assert_eq!(steps(&mut queue), own);
    }
}
