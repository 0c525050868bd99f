//! What a message tells: this node itself, what is held against whom it goes to, and the news least
//! told, within a byte budget. News that nobody was told yet goes to a few at once.
//!
//! In: whom a message goes to. Out: updates. Never: tells anybody what he told us.

use super::member::{State, Update};
use super::{Swim, scale};
use crate::base::{Moment, NodeId};

/// Bytes of news in an ordinary message.
pub(super) const NEWS_BYTES_MAX: usize = 1200;
/// Bytes of news in the answer to somebody who is new here.
pub(super) const WELCOME_BYTES_MAX: usize = 256 << 10;
/// Members told of news at once. Three each reach all but 6 % (Demers et al., 1987), the
/// periods that follow the rest.
const BURST_FANOUT: usize = 3;
/// News of one part in so many of a probe interval is told together.
const BURSTS_PER_INTERVAL: u32 = 10;

impl Swim {
    /// News for a message to `to`, as a call on another's behalf carries it.
    pub fn news_for(&mut self, to: Option<NodeId>) -> Vec<Update> {
        let mut news = vec![self.me.clone()];
        // What is held against somebody, it hears first of all, so that it can refute it.
        let is_accused =
            |node: &NodeId| self.suspicions.contains_key(node) || self.gone.contains(node);
        let accused = to.filter(is_accused).and_then(|node| self.members.get(&node));
        news.extend(accused.map(|member| member.news.clone()));
        let mut bytes: usize = news.iter().map(Update::wire_bytes).sum();
        let mut sent = Vec::new();
        for node in self.rumors.for_peer(to) {
            if node == self.me.node {
                sent.push(node);
                continue;
            }
            let Some(member) = self.members.get(&node) else { continue };
            bytes += member.news.wire_bytes();
            if bytes > NEWS_BYTES_MAX {
                break;
            }
            news.push(member.news.clone());
            sent.push(node);
        }
        let limit = 3 * scale(self.members.len()).ceil() as u32;
        sent.into_iter().for_each(|node| self.rumors.count_sent(node, limit));
        news
    }

    /// As much of all that is known as fits; who takes part comes first. Counts as telling nobody.
    pub(super) fn everything_for(&self, to: Option<NodeId>) -> Vec<Update> {
        let mut news = vec![self.me.clone()];
        let others = self.members.values().map(|member| &member.news);
        let is_due = |it: &&Update| Some(it.node) != to || it.state != State::Alive;
        let mut others: Vec<&Update> = others.filter(is_due).collect();
        others.sort_by_key(|update| update.state);
        let mut bytes = 0;
        news.extend(others.into_iter().cloned().take_while(|update| {
            bytes += update.wire_bytes();
            bytes <= WELCOME_BYTES_MAX
        }));
        news
    }

    /// There is something new about `node`, which `from` told.
    pub(super) fn disseminate(&mut self, now: Moment, node: NodeId, from: Option<NodeId>) {
        self.rumors.start(node, from);
        let pause = self.config.probe_interval / BURSTS_PER_INTERVAL;
        self.next_burst.get_or_insert(now.max(self.last_burst + pause));
    }

    /// Tells a few now what else they would hear at some turn.
    pub(super) fn burst(&mut self, now: Moment) {
        self.next_burst = None;
        if !self.rumors.has_unsent() {
            return;
        }
        self.last_burst = now;
        for node in self.pick(BURST_FANOUT, None) {
            self.ping_member(now, node);
        }
        if self.rumors.has_unsent() {
            self.next_burst = Some(now + self.config.probe_interval / BURSTS_PER_INTERVAL);
        }
    }
}
