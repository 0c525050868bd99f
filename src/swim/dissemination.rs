//! What a message carries: this node itself, what its receiver is accused of, and the news sent
//! least, within a byte budget (SWIM, section 4.1). Fresh news also goes to a few members at once.
//!
//! In: the receiver of a message. Out: updates. Never: sends a member the news that came from it.

use super::Swim;
use super::member::Update;
use super::rumor::gossip_scale;
use crate::base::{Moment, NodeId};

/// Bytes of news in an ordinary message.
pub(super) const NEWS_BYTES_MAX: usize = 1200;
/// Bytes of the member list in the answer to a node that is new here.
pub(super) const WELCOME_BYTES_MAX: usize = 256 << 10;
/// Members that fresh news is sent to at once. Three each reach all but 6 % (Demers et al., 1987),
/// the periods that follow the rest.
const BURST_FANOUT: usize = 3;
/// News of one part in so many of a probe interval is sent together.
const BURSTS_PER_INTERVAL: u32 = 10;

impl Swim {
    /// News for a message to `to`, without the invariants' check.
    pub(super) fn news(&mut self, to: Option<NodeId>) -> Vec<Update> {
        let mut news = vec![self.me.clone()];
        // Lifeguard, section IV.C (buddy system): an accusation goes to the accused first of all,
        // whatever the budget, so that it can refute it.
        let is_accused =
            |node: &NodeId| self.suspicions.contains_key(node) || self.gone.contains(node);
        let accused = to.filter(is_accused).and_then(|node| self.members.get(&node));
        news.extend(accused.map(|member| member.news.clone()));
        let mut bytes: usize = news.iter().map(Update::wire_bytes).sum();
        let mut sent = Vec::new();
        for node in self.rumors.for_peer(to) {
            if node == self.me.node {
                // Every message begins with this node's own update already.
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
        let limit = 3 * gossip_scale(self.members.len()).ceil() as u32;
        sent.into_iter().for_each(|node| self.rumors.count_sent(node, limit));
        news
    }

    /// All members that are known, as many as fit; those that take part come first. No rumor counts
    /// as sent by it: a node that asks without a name, or again and again, would else use them up.
    pub(super) fn member_list(&self) -> Vec<Update> {
        let mut news = vec![self.me.clone()];
        let others = self.members.values().map(|member| &member.news);
        let mut others: Vec<&Update> = others.collect();
        others.sort_by_key(|update| update.state);
        let mut bytes = 0;
        news.extend(others.into_iter().cloned().take_while(|update| {
            bytes += update.wire_bytes();
            bytes <= WELCOME_BYTES_MAX
        }));
        news
    }

    /// There is something new about `node`, which `from` sent.
    pub(super) fn disseminate(&mut self, now: Moment, node: NodeId, from: Option<NodeId>) {
        self.rumors.start(node, from);
        self.recount(node);
        // A pause between bursts: the news of many members that change together shares messages.
        let pause = self.config.probe_interval / BURSTS_PER_INTERVAL;
        self.next_burst.get_or_insert(now.max(self.last_burst + pause));
    }

    /// Sends a few members now what else they would get in some later period.
    pub(super) fn burst(&mut self, now: Moment) {
        self.next_burst = None;
        self.drop_known_news();
        let unsent = self.rumors.unsent();
        if unsent == 0 {
            return;
        }
        self.last_burst = now;
        for node in self.pick(BURST_FANOUT, None) {
            self.ping_member(now, node);
        }
        // What no member that can be called needs goes with the probes. Another burst would find
        // the same members, and so on for ever.
        if (1..unsent).contains(&self.rumors.unsent()) {
            self.next_burst = Some(now + self.config.probe_interval / BURSTS_PER_INTERVAL);
        }
    }

    /// Drops news that every member has: of one from itself in a cluster of two, say. It would be
    /// sent to no member, and so never often enough to end.
    pub(super) fn drop_known_news(&mut self) {
        let (members, present) = (&self.members, self.probes.present());
        let is_present =
            |node: &NodeId| members.get(node).is_some_and(|member| member.news.state.is_present());
        self.rumors.retain(|node, from| {
            let informed = [Some(node), from.filter(|from| *from != node)];
            informed.iter().flatten().filter(|node| is_present(node)).count() < present
        });
    }
}
