//! Calls from node to node, as the network lets them through; names by which nodes are found.
//!
//! In: calls and answers. Out: events, when they arrive. Never: looks into what a node answers.

use std::cmp::Reverse;

use stemedb_edge::base::Moment;
use stemedb_edge::swim::Failure;

use super::World;
use super::events::{Event, refused};
use crate::node::{Call, Message, Node};

impl World {
    /// A request reaches a node.
    pub(super) fn arrive(&mut self, (from, to): (usize, usize), call: Call) {
        self.note(1 + call.number, to);
        let member = &mut self.members[to];
        let is_there = member.address == call.address;
        let is_admitted = |node: &Node| match &call.message {
            Message::Connect => true,
            // One of before the last start has ended.
            Message::Http(_) => self.linked.contains(&(from, to)),
            _ => node.admits(call.tag),
        };
        match &mut member.node {
            Some(node) if is_there && is_admitted(node) => {
                self.connected.insert((from, to));
                if matches!(call.message, Message::Connect) {
                    self.linked.insert((from, to));
                }
                if let Some(watch) = &mut self.watch {
                    watch.note_request(to, &call.message);
                }
                self.requests.insert(call.number, (from, to));
                let Call { number, message, timeout, .. } = call;
                node.request(Moment(self.now), (number, timeout), message, &member.disk);
                self.serve(to);
            }
            _ if member.is_host_up => self.send(to, from, refused(from, call.number)),
            _ => {}
        }
    }

    pub(super) fn call(&mut self, from: usize, call: Call) {
        let timeout = call.timeout.as_micros() as u64;
        self.schedule(self.now + timeout, Event::Late { to: from, call: call.number });
        // `node3.1:18182`: whatever the address, it was one of this member's.
        let number = call.address.strip_prefix("node").and_then(|rest| rest.split('.').next());
        let to: usize = number.and_then(|number| number.parse().ok()).expect("an address of ours");
        if to != from {
            self.calls[from].count(&call.message);
        }
        let is_blocked = self.net.uncallable.contains(&(from, to));
        if (self.net.behind_nat.contains(&to) || is_blocked) && to != from {
            return;
        }
        if self.members.get(to).is_some_and(|member| to == from && member.address == call.address) {
            let (number, failure) = (call.number, Failure::Own);
            self.schedule(self.now + 1000, Event::Refused { to: from, call: number, failure });
        } else if to < self.members.len() {
            self.send(from, to, Event::Request { to, from, call });
        } else if to.is_multiple_of(2) {
            // Made up: a port that refuses, or a host that is not there.
            self.schedule(self.now + 1000, refused(from, call.number));
        }
    }

    pub(super) fn send(&mut self, from: usize, to: usize, mut event: Event) {
        if let Some((uninformed, about)) = self.net.uninformed
            && uninformed == to
            && from != about
        {
            let about = self.members[about].id;
            if let Some(updates) = event.updates() {
                updates.retain(|update| update.node != about);
            }
        }
        let number = self.schedule(u64::MAX, event);
        let arrivals = self.net.send(self.now, (from, to), number, &mut self.random);
        for at in arrivals {
            self.queue.push(Reverse((at, number)));
        }
    }

    /// What the names say that all are given. One that is given itself alone has to be found by
    /// the others.
    pub(super) fn seed_addresses(&self) -> Vec<String> {
        self.members.iter().take(self.names).map(|member| member.address.clone()).collect()
    }

    pub(super) fn seeds_of(&self, number: usize) -> Vec<String> {
        match &self.members[number].seeds {
            Some(own) => own.iter().map(|seed| self.members[*seed].address.clone()).collect(),
            None => self.seed_addresses(),
        }
    }

    /// The names are looked up again.
    pub(crate) fn resolve_seeds(&mut self) {
        let now = Moment(self.now);
        for number in 0..self.members.len() {
            let seeds = self.seeds_of(number);
            if let Some(node) = &mut self.members[number].node {
                node.find_seeds(now, seeds);
                self.serve(number);
            }
        }
    }
}
