//! What goes wrong, nodes that stop and start, and a stranger that makes updates up.
//!
//! In: faults, as a test plans them. Out: cuts, nodes without their memory, damaged records. Never:
//! damages the only copy of a record.

use std::cmp::Reverse;

use stemedb_edge::base::{Digest, Moment, limits};
use stemedb_edge::journal::Obstacle;

use super::events::{Event, refused};
use super::{CALLS_OF_A_LIFE, SECOND, World};
use crate::byzantine::forge;
use crate::node::{Message, Node, Start};

/// What goes wrong.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// One direction between two nodes.
    CutOneWay(usize, usize),
    /// Both directions between a node and all others.
    Isolate(usize),
    /// The first so many from the rest.
    Split(usize),
    /// All cuts and losses end.
    Heal,
    /// Messages lost, of a thousand.
    Loss(u64),
    /// The process ends; connections are reset, what was not flushed may be lost.
    Kill(usize),
    /// The machine is gone without a word.
    PowerCut(usize),
    /// It starts again, under another address or the same.
    Restart(usize, bool),
    /// It does nothing for 16 seconds.
    Stall(usize),
    /// A flush takes a second from now on, or no longer.
    SlowDisk(usize, bool),
    /// Two claims whose hashes begin alike in 8 bytes come to two nodes.
    Collide(usize, usize),
    /// Its disk takes nothing from now on, or no longer.
    Hinder(usize, Option<Obstacle>),
    /// A record of its disk cannot be read any more; the scrubber finds it, or the next start.
    Damage(usize),
    /// Its answers to questions of anti-entropy are false from now on, or no longer.
    Byzantine(usize, bool),
    /// Its wall clock is wrong by so many milliseconds from now on, or no longer.
    Clock(usize, Option<i64>),
}

impl World {
    pub(super) fn break_something(&mut self, fault: Fault) {
        self.note(6, 0);
        let count = self.members.len();
        match fault {
            Fault::CutOneWay(from, to) => drop(self.net.cuts.insert((from, to))),
            Fault::Isolate(one) => {
                for other in (0..count).filter(|other| *other != one) {
                    self.net.cuts.extend([(one, other), (other, one)]);
                }
            }
            Fault::Split(first) => {
                for (one, other) in
                    (0..first).flat_map(|one| (first..count).map(move |it| (one, it)))
                {
                    self.net.cuts.extend([(one, other), (other, one)]);
                }
            }
            Fault::Heal => {
                for (at, number) in self.net.heal(self.now, &mut self.random) {
                    self.queue.push(Reverse((at, number)));
                }
            }
            Fault::Loss(loss) => self.net.loss = loss,
            Fault::Kill(number) => self.stop(number, true),
            Fault::PowerCut(number) => self.stop(number, false),
            Fault::Restart(number, is_moved) => {
                let member = &mut self.members[number];
                if member.node.is_none() {
                    member.moves += u64::from(is_moved);
                    member.address = format!("node{number}.{}:18182", member.moves);
                    self.start(number);
                    if is_moved {
                        self.resolve_seeds();
                    }
                }
            }
            Fault::Stall(number) => {
                self.members[number].stalled_until = self.now + 16 * SECOND;
            }
            Fault::SlowDisk(number, is_slow) => self.members[number].slow_disk = is_slow,
            Fault::Hinder(number, obstacle) => self.members[number].disk.obstacle = obstacle,
            Fault::Damage(number) => self.damage(number),
            Fault::Collide(one, other) => {
                [one, other].map(|of| self.add_colliding(of)).into_iter().collect()
            }
            Fault::Clock(number, fault) => {
                let member = &mut self.members[number];
                member.wall_fault = fault.unwrap_or(0);
                if let Some(node) = &mut member.node {
                    node.wall_skew = member.wall_skew + member.wall_fault;
                }
            }
            Fault::Byzantine(number, is_byzantine) => {
                self.members[number].is_byzantine = is_byzantine;
                self.had_byzantine |= is_byzantine;
            }
        }
    }

    pub(super) fn start(&mut self, number: usize) {
        let (seed, seeds) = (self.random.bits(), self.seeds_of(number));
        let member = &mut self.members[number];
        member.life += 1;
        member.is_host_up = true;
        member.timer = u64::MAX;
        let start = Start {
            id: member.id,
            address: member.address.clone(),
            seeds,
            cluster: member.cluster,
            wall_skew: member.wall_skew + member.wall_fault,
            seed,
            sync_interval: self.sync_interval,
            is_plain: self.plain.contains(&number),
            next_call: (number as u64 * 1000 + member.life) * CALLS_OF_A_LIFE,
        };
        let node = Node::start(Moment(self.now), start, &member.disk);
        member.cluster = node.tag().settled();
        member.node = Some(node);
        self.serve(number);
    }

    pub(super) fn stop(&mut self, number: usize, is_host_up: bool) {
        let member = &mut self.members[number];
        if member.node.take().is_none() {
            return;
        }
        member.life += 1;
        member.is_host_up = is_host_up;
        member.disk.crash(&mut self.random);
        self.clients.gateway_stopped(number);
        self.linked.retain(|(from, to)| *from != number && *to != number);
        // What it had not answered it never will; connected nodes see the reset.
        let open: Vec<u64> = self.requests_of(number);
        for call in open {
            let (caller, _) = self.requests.remove(&call).expect("just found");
            if is_host_up {
                self.send(number, caller, refused(caller, call));
            }
        }
        let address = self.members[number].address.clone();
        let others: Vec<usize> = (0..self.members.len()).filter(|it| *it != number).collect();
        for other in others {
            if self.connected.remove(&(other, number)) && is_host_up {
                let address = address.clone();
                self.send(number, other, Event::Lost { to: other, address });
            }
        }
    }

    pub(super) fn requests_of(&self, number: usize) -> Vec<u64> {
        let open = self.requests.iter().filter(|(_, (_, to))| *to == number);
        open.map(|(call, _)| *call).collect()
    }

    /// Damages what another disk keeps whole: no node can bring back the only copy.
    pub(super) fn damage(&mut self, number: usize) {
        let (before, rest) = self.members.split_at_mut(number);
        let (member, behind) = rest.split_first_mut().expect("one of them");
        let is_elsewhere = |digest: &Digest| {
            before.iter().chain(behind.iter()).any(|other| other.disk.keeps(digest))
        };
        let at = member.disk.damage(&mut self.random, is_elsewhere);
        self.say(number, &("damage at", at));
        let member = &mut self.members[number];
        if let (Some(at), Some(node)) = (at, &mut member.node) {
            node.replica.handle_damage(Moment(self.now), at, &member.disk);
            self.serve(number);
        }
    }

    /// A stranger pings all nodes with updates that it made up until then.
    pub(crate) fn forge_until(&mut self, until: u64) {
        self.forging_until = until;
        self.schedule(self.now, Event::Forge);
    }

    /// Each node gets made-up updates about all, as if one of them or a newcomer said so.
    pub(super) fn forge(&mut self) {
        let swims = self.members.iter().filter_map(|it| Some(it.node.as_ref()?.swim().me()));
        let known: Vec<_> = swims.cloned().collect();
        for to in 0..self.members.len() {
            let updates = forge(&known, &mut self.random);
            let (now, number) = (Moment(self.now), u64::MAX - self.next_event);
            let call = (number, limits::CALL_MAX);
            self.with(to, |node, disk| node.request(now, call, Message::Ping(updates, None), disk));
        }
        if self.now < self.forging_until {
            self.schedule(self.now + SECOND / 20, Event::Forge);
        }
    }
}
