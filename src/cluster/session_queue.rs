//! Which session of anti-entropy comes next.
//!
//! ```text
//! waiting --a round begins--> left --its session begins--> asked --an answer--> answered
//! left --dead, or cannot be called--> passed by
//! asked --2 s without an answer--> silent --an answer--> answered
//! asked, answered, silent --the session ends--> over
//! ```
//!
//! In: peers to reconcile with, first answers and ends of sessions, time. Out: the next peer;
//! beginnings and ends of rounds. Never: begins a session while the peer of another one answers, or
//! may still answer in time; has a peer wait twice, or two sessions.

use std::collections::VecDeque;
use std::time::Duration;

use crate::base::{Moment, NodeId, limits};

/// A member, and the address of its gRPC.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target {
    /// Its id; `None` at the address of a seed that has not answered yet.
    pub node: Option<NodeId>,
    /// Where the peer's gRPC server answers, as last advertised.
    pub rpc_addr: String,
}

/// Names a session of the queue, from its beginning to its end; never used twice.
pub type SessionNumber = u64;
/// Names a round: the sessions that those who asked before it wait for.
pub type RoundNumber = u64;

/// Peers that wait for a round: all members, and as many addresses of seeds that have not answered.
const WAITING_MAX: usize = 2 * limits::MEMBERS_MAX;
/// A peer that does not answer for so long holds the others up no longer: a host that is gone
/// without a word takes as long as a call may, [`limits::CALL_MAX`]. Three retransmissions of TCP
/// take 1.4 s.
const ANSWER_MAX: Duration = Duration::from_secs(2);
/// Sessions at a time, all but the last of them silent: as many as a round names. One whose peer
/// answers late runs beside another, so this bounds what sessions hold, too.
const OPEN_MAX: usize = 3;

/// What the owner does next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum QueueStep {
    /// All peers that wait are a round from now on.
    RoundBegan(RoundNumber),
    /// A session with this one, which is of that round.
    Session(SessionNumber, RoundNumber, Target),
    /// All sessions of the round have ended.
    RoundOver(RoundNumber),
}

/// A round that is not over.
#[derive(Debug)]
struct Round {
    number: RoundNumber,
    /// Peers whose sessions have not begun.
    left: VecDeque<Target>,
    /// A caller waits for it, and reads what became of each peer.
    is_requested: bool,
}

/// A session under way.
#[derive(Debug)]
struct OpenSession {
    number: SessionNumber,
    round: RoundNumber,
    target: Target,
    /// Until when it holds the others up without an answer; `None`: there was one.
    answer_due: Option<Moment>,
}

impl OpenSession {
    fn is_silent(&self, now: Moment) -> bool {
        self.answer_due.is_some_and(|due| due <= now)
    }
}

/// Peers in the order of their sessions. One session at a time, but for those whose peers are
/// silent: two would fetch the same missing assertions from two peers, and hold the memory of two.
#[derive(Debug, Default)]
pub(super) struct SessionQueue {
    /// The oldest first. There is a second one only where the sessions left of the first are
    /// silent.
    rounds: VecDeque<Round>,
    open: Vec<OpenSession>,
    /// Peers of the next round. Apart from those under way: what a caller asks about may have
    /// happened after their sessions with the same peer.
    waiting: Vec<Target>,
    /// A caller waits for a round that begins from now on, even if there is no peer for it.
    is_requested: bool,
    next_session: SessionNumber,
    next_round: RoundNumber,
}

impl SessionQueue {
    /// These are to be reconciled with. A peer whose session in a round under way has not begun
    /// need not wait for another: that session finds all that differs.
    pub(super) fn add(&mut self, targets: Vec<Target>) {
        for target in targets {
            let mut left = self.rounds.iter_mut().flat_map(|round| &mut round.left);
            if !replace(&mut left, &target) {
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
        let is_known = replace(&mut self.waiting.iter_mut(), &target);
        if !is_known && self.waiting.len() < WAITING_MAX {
            self.waiting.push(target);
        }
    }

    /// Whether a session waits, or one is under way whose peer answers or may still do so in time.
    pub(super) fn is_busy(&self, now: Moment) -> bool {
        let is_full = self.open.len() >= OPEN_MAX;
        is_full || self.has_next() || self.open.iter().any(|session| !session.is_silent(now))
    }

    /// The session's peer answered: the next one waits for its end.
    pub(super) fn handle_answered(&mut self, number: SessionNumber) {
        let session = self.open.iter_mut().find(|session| session.number == number);
        session.into_iter().for_each(|session| session.answer_due = None);
    }

    /// A session has ended, or could not begin.
    pub(super) fn handle_ended(&mut self, number: SessionNumber) {
        self.open.retain(|session| session.number != number);
        self.check();
    }

    /// The next step; drain until `None` after every other call. Peers that are not fit are passed
    /// by; a fit one of a round that a caller waits for may be less so.
    pub(super) fn poll_step(
        &mut self,
        now: Moment,
        is_fit: impl Fn(&Target, bool) -> bool,
    ) -> Option<QueueStep> {
        loop {
            if let Some(number) = self.end_round() {
                return Some(QueueStep::RoundOver(number));
            }
            let is_held_up = self.open.iter().any(|session| !session.is_silent(now));
            if is_held_up || self.open.len() >= OPEN_MAX {
                return None;
            }
            let Some((slot, index)) = self.next_left() else {
                return self.begin_round().map(QueueStep::RoundBegan);
            };
            let Round { number: round, is_requested, .. } = self.rounds[slot];
            let target = self.rounds[slot].left.remove(index)?;
            if is_fit(&target, is_requested) {
                let number = self.next_session;
                self.next_session += 1;
                let answer_due = Some(now + ANSWER_MAX);
                self.open.push(OpenSession { number, round, target: target.clone(), answer_due });
                self.check();
                return Some(QueueStep::Session(number, round, target));
            }
        }
    }

    /// When the next session may begin whatever becomes of those under way, if one waits.
    pub(super) fn next_deadline(&self) -> Option<Moment> {
        if !self.has_next() || self.open.len() >= OPEN_MAX {
            return None;
        }
        // Options order as `None` first: one that was answered has no due time to wait for.
        let dues = self.open.iter().map(|session| session.answer_due);
        dues.collect::<Option<Vec<Moment>>>()?.into_iter().max()
    }

    /// Whether there is a peer, or a caller, for which a session or a round could begin.
    fn has_next(&self) -> bool {
        self.has_round() || self.next_left().is_some()
    }

    /// Whether another round may begin. Those under way are bounded: a caller that asks again and
    /// again for a peer that is silent would else add one each time.
    fn has_round(&self) -> bool {
        (self.is_requested || !self.waiting.is_empty()) && self.rounds.len() < OPEN_MAX
    }

    /// The round and the index in it of the next peer that has no session under way.
    fn next_left(&self) -> Option<(usize, usize)> {
        let is_open = |target: &Target| self.open.iter().any(|session| session.target == *target);
        let mut rounds = self.rounds.iter().enumerate();
        rounds.find_map(|(slot, round)| {
            Some((slot, round.left.iter().position(|target| !is_open(target))?))
        })
    }

    fn begin_round(&mut self) -> Option<RoundNumber> {
        if !self.has_round() {
            return None;
        }
        let is_requested = std::mem::take(&mut self.is_requested);
        let left = std::mem::take(&mut self.waiting).into();
        let number = self.next_round;
        self.next_round += 1;
        self.rounds.push_back(Round { number, left, is_requested });
        Some(number)
    }

    /// A round of which no peer is left and no session is under way.
    fn end_round(&mut self) -> Option<RoundNumber> {
        let open = &self.open;
        let is_under_way = |number| open.iter().any(|session| session.round == number);
        let is_over = |round: &Round| round.left.is_empty() && !is_under_way(round.number);
        let slot = self.rounds.iter().position(is_over)?;
        self.rounds.remove(slot).map(|round| round.number)
    }

    fn check(&self) {
        if !cfg!(debug_assertions) {
            return;
        }
        debug_assert!(self.waiting.len() <= WAITING_MAX, "{} peers wait", self.waiting.len());
        debug_assert!(self.open.len() <= OPEN_MAX, "{} sessions", self.open.len());
        debug_assert!(self.rounds.len() <= OPEN_MAX, "{} rounds", self.rounds.len());
        let is_alone = |session: &OpenSession| {
            self.open.iter().filter(|other| other.target == session.target).count() == 1
        };
        debug_assert!(self.open.iter().all(is_alone), "two sessions with one peer");
        let mut named: Vec<_> = self.waiting.iter().filter_map(|target| target.node).collect();
        named.sort_unstable();
        debug_assert!(named.is_sorted_by(|one, next| one < next), "a member waits twice");
    }
}

/// Whether the peer is one of these, which have its latest address from now on: at the one before,
/// the session would fail.
fn replace<'a>(known: &mut impl Iterator<Item = &'a mut Target>, target: &Target) -> bool {
    let found = known.find(|known| match target.node {
        Some(node) => known.node == Some(node),
        None => **known == *target,
    });
    found.map(|known| known.rpc_addr.clone_from(&target.rpc_addr)).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Moment = Moment(7);

    fn target(rpc_addr: &str) -> Target {
        Target { node: None, rpc_addr: rpc_addr.into() }
    }

    fn targets(addresses: &[&str]) -> Vec<Target> {
        addresses.iter().map(|address| target(address)).collect()
    }

    fn steps_at(queue: &mut SessionQueue, now: Moment) -> Vec<QueueStep> {
        std::iter::from_fn(|| queue.poll_step(now, |target, _| target.rpc_addr != "dead")).collect()
    }

    fn steps(queue: &mut SessionQueue) -> Vec<QueueStep> {
        steps_at(queue, NOW)
    }

    fn session(number: SessionNumber, round: RoundNumber, rpc_addr: &str) -> QueueStep {
        QueueStep::Session(number, round, target(rpc_addr))
    }

    #[test]
    fn sessions_run_one_after_the_other_and_a_peer_waits_once() {
        let mut queue = SessionQueue::default();
        assert_eq!(steps(&mut queue), []);
        queue.add(targets(&["a", "b", "a"]));
        assert_eq!(steps(&mut queue), [QueueStep::RoundBegan(0), session(0, 0, "a")]);
        queue.handle_answered(0);
        // The session with `b` has not begun; that with `a` has, so a new reason is a new session.
        queue.add(targets(&["b", "a"]));
        assert_eq!(steps(&mut queue), []);
        queue.handle_ended(0);
        assert_eq!(steps(&mut queue), [session(1, 0, "b")]);
        queue.handle_ended(1);
        let next = [QueueStep::RoundOver(0), QueueStep::RoundBegan(1), session(2, 1, "a")];
        assert_eq!(steps(&mut queue), next);
        queue.handle_ended(2);
        assert_eq!(steps(&mut queue), [QueueStep::RoundOver(1)]);
        queue.handle_ended(2);
        assert_eq!(steps(&mut queue), [], "an end without a session is none");
    }

    #[test]
    fn a_silent_peer_holds_up_no_other_one() {
        let mut queue = SessionQueue::default();
        queue.add(targets(&["silent", "dead", "b"]));
        assert_eq!(steps(&mut queue), [QueueStep::RoundBegan(0), session(0, 0, "silent")]);
        assert_eq!((queue.next_deadline(), queue.is_busy(NOW)), (Some(NOW + ANSWER_MAX), true));
        let late = NOW + ANSWER_MAX;
        assert_eq!(steps_at(&mut queue, late), [session(1, 0, "b")], "past the dead one");
        queue.handle_answered(1);
        queue.add(targets(&["silent", "c"]));
        assert_eq!((steps_at(&mut queue, late), queue.next_deadline()), (vec![], None));
        queue.handle_ended(1);
        let next = [QueueStep::RoundBegan(1), session(2, 1, "c")];
        assert_eq!(steps_at(&mut queue, late), next, "a second session with it would wait, too");
        queue.handle_ended(2);
        assert_eq!((steps_at(&mut queue, late), queue.is_busy(late)), (vec![], false));
        // Its answer came late: the others wait for it again.
        queue.handle_answered(0);
        queue.add(targets(&["d"]));
        assert_eq!((steps_at(&mut queue, late), queue.is_busy(late)), (vec![], true));
        queue.handle_ended(0);
        let last = [QueueStep::RoundOver(0), session(3, 1, "silent")];
        assert_eq!(steps_at(&mut queue, late), last);
    }

    #[test]
    fn sessions_and_rounds_are_bounded_however_many_peers_are_silent() {
        let (mut queue, mut now) = (SessionQueue::default(), NOW);
        let mut begun = 0;
        for number in 0..50 {
            queue.request(targets(&["a", "b", &number.to_string()]));
            let sessions = steps_at(&mut queue, now);
            begun += sessions.iter().filter(|it| matches!(it, QueueStep::Session(..))).count();
            now = now + ANSWER_MAX;
        }
        assert_eq!((begun, queue.open.len(), queue.next_deadline()), (OPEN_MAX, OPEN_MAX, None));
        assert!(queue.is_busy(now) && queue.rounds.len() <= OPEN_MAX);
    }

    #[test]
    fn a_member_that_moved_waits_once_and_at_its_new_address() {
        let mut queue = SessionQueue::default();
        queue.add(targets(&["first"]));
        assert_eq!(steps(&mut queue).len(), 2);
        let at = |rpc_addr: &str| Target { node: Some(NodeId([1; 16])), ..target(rpc_addr) };
        queue.add(vec![at("old"), at("new")]);
        queue.handle_ended(0);
        assert_eq!(steps(&mut queue).last(), Some(&QueueStep::Session(1, 1, at("new"))));
        for number in 0..2 * WAITING_MAX {
            queue.add(vec![target(&number.to_string())]);
        }
        assert_eq!(queue.waiting.len(), WAITING_MAX);
    }

    #[test]
    fn a_request_gets_a_round_that_begins_after_it() {
        let mut queue = SessionQueue::default();
        queue.request(Vec::new());
        let without_peers = [QueueStep::RoundBegan(0), QueueStep::RoundOver(0)];
        assert_eq!(steps(&mut queue), without_peers);
        queue.add(targets(&["a"]));
        assert_eq!(steps(&mut queue).len(), 2);
        queue.request(targets(&["a"]));
        queue.handle_ended(0);
        let own = [QueueStep::RoundOver(1), QueueStep::RoundBegan(2), session(1, 2, "a")];
        assert_eq!(steps(&mut queue), own);
    }
}
