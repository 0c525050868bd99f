//! Sessions of anti-entropy: asked for, begun in the order of the queue, answered, over.
//!
//! In: requests of callers, first answers and ends of sessions. Out: sessions and rounds to begin,
//! rounds that are over. Never: knows what a session does.

use super::session_queue::QueueStep;
use super::{Cluster, Output, SessionNumber, Target};
use crate::base::{Moment, NodeId};
use crate::swim::Swim;

impl Cluster {
    /// A caller asks for sessions with all peers now; it waits for the end of the next round that
    /// begins.
    pub fn handle_sync_request(&mut self, now: Moment) {
        self.sessions.request(self.targets());
        self.pump_sessions(now);
    }

    /// The peer of a session gave its first answer.
    pub fn handle_session_answered(&mut self, number: SessionNumber) {
        self.sessions.handle_answered(number);
    }

    /// The session that [`Output::Sync`] asked for has ended, or could not begin.
    pub fn handle_session_over(&mut self, now: Moment, number: SessionNumber) {
        self.sessions.handle_ended(number);
        self.pump_sessions(now);
    }

    /// All peers to reconcile with: members that take part, and seeds that have not answered yet.
    pub fn targets(&self) -> Vec<Target> {
        let present = self.swim.present().filter_map(|news| self.target(news.node));
        let seeds = self.swim.unmatched_seeds();
        let seeds = seeds.map(|rpc_addr| Target { node: None, rpc_addr: rpc_addr.to_owned() });
        present.chain(seeds).collect()
    }

    pub(super) fn target(&self, node: NodeId) -> Option<Target> {
        let news = &self.swim.member(node).filter(|it| it.news.state.is_present())?.news;
        Some(Target { node: Some(node), rpc_addr: news.rpc_addr.clone() })
    }

    /// Whether a target may still answer: a member may have died since it was named, or be known
    /// as one that cannot be called.
    pub fn may_answer(&self, target: &Target) -> bool {
        may_answer(&self.swim, target, false)
    }

    /// Begins what may begin. A member that cannot be called is tried only for a caller, who reads
    /// why it failed.
    pub(super) fn pump_sessions(&mut self, now: Moment) {
        let swim = &self.swim;
        let is_fit = |target: &Target, is_requested| may_answer(swim, target, is_requested);
        while let Some(step) = self.sessions.poll_step(now, is_fit) {
            self.outbox.push_back(match step {
                QueueStep::RoundBegan(round) => Output::RoundBegan(round),
                QueueStep::Session(number, round, target) => Output::Sync(number, round, target),
                QueueStep::RoundOver(round) => Output::RoundOver(round),
            });
        }
    }
}

/// Of a seed that has not answered yet nothing else is known.
fn may_answer(swim: &Swim, target: &Target, is_unreachable_fit: bool) -> bool {
    target.node.is_none_or(|node| {
        swim.member(node).is_some_and(|member| {
            member.news.state.is_present() && (member.is_reachable || is_unreachable_fit)
        })
    })
}
