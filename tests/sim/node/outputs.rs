//! What the replica wants done, carried out as the shell does it.
//!
//! In: its outputs. Out: calls, answers, sessions begun. Never: decides which peer is next.

use stemedb_edge::base::{Moment, NodeId, Ticket, limits};
use stemedb_edge::cluster;
use stemedb_edge::cluster::gossip::PushEnd;
use stemedb_edge::journal::Bodies;
use stemedb_edge::replica::{Fate, Fetch, Output};
use stemedb_edge::swim;
use stemedb_edge::sync::{Reply, Request};

use super::{Answer, Effect, Message, Node, Purpose, Waiting, wall};
use crate::disk::{Disk, index};

impl Node {
    pub(super) fn carry_out(&mut self, now: Moment, output: Output, disk: &mut Disk) {
        match output {
            Output::Disk(work) => {
                disk.submit(work);
                self.effects.push(Effect::Work);
            }
            Output::Answer(ticket, fate) => self.answer_ticket(ticket, fate),
            Output::Call(session, number, request) => {
                let Some((_, address)) = self.sessions.get(&session).cloned() else { return };
                let purpose = Purpose::Session(session, number);
                self.call(purpose, address, Message::Sync(request), limits::CALL_MAX);
            }
            Output::Yield(session) => self.replica.handle_yielded(now, session, disk),
            Output::Synced(session, report) => {
                let Some((number, address)) = self.sessions.remove(&session) else { return };
                if report.is_useless {
                    self.effects.push(Effect::Accused(address, report.error));
                }
                self.replica.handle_session_over(now, number);
            }
            Output::Cluster(output) => self.carry_out_cluster(now, output, disk),
            Output::Damaged(_) | Output::Repaired(_) | Output::Clock(_) => {}
            Output::Spill(spill) => self.replica.handle_indexed(index(&spill)),
        }
    }

    pub(super) fn carry_out_cluster(&mut self, now: Moment, output: cluster::Output, disk: &Disk) {
        use swim::Output::{AskProbe, Ping};
        match output {
            cluster::Output::Swim(Ping { number, rpc_addr, updates, digest, timeout }) => {
                self.ping((number, true), rpc_addr, (updates, digest), timeout);
            }
            cluster::Output::Swim(AskProbe { number, via, target, updates, timeout }) => {
                let message = Message::ProbeFor(target, updates);
                self.call(Purpose::AskProbe(number), via, message, timeout);
            }
            cluster::Output::Push { to, rpc_addr, row } => {
                let at = self.replica.store().position(row);
                let Some(sealed) = at.and_then(|at| disk.sealed_at(at)) else {
                    // It is damaged.
                    return self.replica.handle_pushed((to, row), PushEnd::Failed);
                };
                let wall = wall(now, self.wall_skew);
                let stamp = self.replica.stamp(wall);
                self.check_stamp(stamp, wall);
                let message = Message::Push(sealed, stamp);
                self.call(Purpose::Push(to, row), rpc_addr, message, limits::PUSH_MAX);
            }
            cluster::Output::Sync(number, _, target) => {
                self.next_sessions.push_back((number, target));
            }
            cluster::Output::RoundBegan(_) | cluster::Output::RoundOver(_) => {}
            cluster::Output::Event(event) | cluster::Output::Swim(swim::Output::Event(event)) => {
                self.effects.push(Effect::Event(event));
            }
            cluster::Output::Tagged(tag) => self.effects.push(Effect::Tagged(tag)),
            cluster::Output::Rebalanced(_) => {}
        }
    }

    pub(super) fn run_sessions(&mut self, now: Moment, disk: &mut Disk) {
        while let Some((number, target)) = self.next_sessions.pop_front() {
            let root = self.root();
            // The address has to be known before the session asks its first question.
            let address = target.rpc_addr;
            let peer = target.node.unwrap_or(NodeId::NONE);
            let id = self.replica.handle_sync(now, (number, peer), root, disk);
            self.sessions.insert(id, (number, address));
            while let Some(output) = self.replica.poll_output() {
                self.carry_out(now, output, disk);
            }
        }
    }

    pub(super) fn answer_ticket(&mut self, ticket: Ticket, fate: Fate) {
        let is_taken = matches!(fate, Fate::Created | Fate::Exists);
        match self.waiting.remove(&ticket).expect("a ticket of ours") {
            Waiting::Repair => {
                self.fetched -= 1;
                if self.fetched == 0 {
                    self.replica.handle_fetched();
                }
            }
            Waiting::Http(to, digest) => self.reply_fate(to, digest, fate),
            Waiting::Client(number) => self.effects.push(Effect::Answered(number, is_taken)),
            Waiting::Push(request) => {
                self.effects.push(Effect::Answer(request, Answer::Pushed(is_taken)));
            }
            Waiting::Gossip(request) => {
                let refusal = if is_taken { String::new() } else { "refused".into() };
                let reply = Reply::Gossiped { refusal };
                self.effects.push(Effect::Answer(request, Answer::Sync(reply)));
            }
            Waiting::Give(request) => {
                let (taken, left) = self.gives.get_mut(&request).expect("it waits");
                *taken += u64::from(is_taken);
                *left -= 1;
                if *left == 0 {
                    let (taken, _) = self.gives.remove(&request).expect("it waits");
                    let refusal = if is_taken { String::new() } else { "refused".into() };
                    let reply = Reply::Given { taken, refusal };
                    self.effects.push(Effect::Answer(request, Answer::Sync(reply)));
                }
            }
        }
    }

    pub(super) fn fetch_damaged(&mut self, now: Moment) {
        if let Some(Fetch { target, wanted }) = self.replica.next_fetch(now) {
            let message = Message::Sync(Request::Fetch(wanted));
            self.call(Purpose::Repair, target.rpc_addr, message, limits::CALL_MAX);
        }
    }
}
