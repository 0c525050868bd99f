//! Everything that happens, in order: one seed, one run.
//!
//! In: a seed and a plan. Out: nodes that went through it, a hash over every event, and the first
//! promise that was broken.

mod clients;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::time::Duration;

use stemedb_edge::base::{ClusterId, Digest, Moment, NodeId, Random, limits};
use stemedb_edge::cluster::identity::Tag;
use stemedb_edge::journal::{Bodies, Obstacle};
use stemedb_edge::swim::{self, Failure, State, Update};

use crate::byzantine::{false_answer, forge};
use crate::disk::Disk;
use crate::net::{Mode, Net};
use crate::node::{Answer, Call, Effect, Message, Node, Start};
use crate::watch::Watch;
use clients::Clients;

pub(crate) const SECOND: u64 = 1_000_000;
/// What a node's calls are numbered in, so that no two calls of a run have one number.
const CALLS_OF_A_LIFE: u64 = 1 << 32;

enum Event {
    /// A request arrives.
    Request {
        to: usize,
        from: usize,
        call: Call,
    },
    /// An answer arrives.
    Answer {
        to: usize,
        call: u64,
        answer: Answer,
        /// What the answering node says of its cluster.
        tag: Tag,
    },
    /// The caller learns that no process listens, or that it called itself.
    Refused {
        to: usize,
        call: u64,
        failure: Failure,
    },
    /// The caller has waited long enough.
    Late {
        to: usize,
        call: u64,
    },
    /// The caller's connection to an address ended.
    Lost {
        to: usize,
        address: String,
    },
    DiskDone {
        node: usize,
        life: u64,
    },
    Timer {
        node: usize,
        life: u64,
    },
    Fault(Fault),
    Claim,
    /// A client asks a gateway.
    Ask,
    Forge,
}

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

pub(crate) struct Member {
    pub(crate) id: NodeId,
    pub(crate) node: Option<Node>,
    pub(crate) disk: Disk,
    /// The id of its cluster, as its disk keeps it.
    pub(crate) cluster: Option<ClusterId>,
    /// Who it is to find, by number; `None` is those that all are given.
    pub(crate) seeds: Option<Vec<usize>>,
    address: String,
    moves: u64,
    life: u64,
    wall_skew: i64,
    /// What its clock is wrong by besides.
    wall_fault: i64,
    stalled_until: u64,
    /// The host answers even if the process does not run.
    is_host_up: bool,
    slow_disk: bool,
    is_byzantine: bool,
    timer: u64,
}

/// Calls of one node, by kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Calls {
    pub(crate) pings: u64,
    /// Those of anti-entropy.
    pub(crate) syncs: u64,
    /// All others: pushes, requests to probe for the caller, connections.
    pub(crate) others: u64,
}

impl Calls {
    fn count(&mut self, message: &Message) {
        *match message {
            Message::Ping(..) => &mut self.pings,
            Message::Sync(_) => &mut self.syncs,
            _ => &mut self.others,
        } += 1;
    }
}

pub(crate) struct World {
    /// The first so many are the seeds of all.
    pub(crate) names: usize,
    pub(crate) now: u64,
    pub(crate) members: Vec<Member>,
    random: Random,
    pub(crate) net: Net,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    events: BTreeMap<u64, Event>,
    next_event: u64,
    /// Where requests came from, until they are answered.
    requests: BTreeMap<u64, (usize, usize)>,
    /// Who called whom since the callee's last start.
    connected: BTreeSet<(usize, usize)>,
    claims: u64,
    claiming_until: u64,
    /// All that was ever offered by a client.
    pub(crate) sent: BTreeSet<Digest>,
    pending: BTreeMap<u64, Digest>,
    /// What a client read is taken.
    pub(crate) acknowledged: BTreeSet<Digest>,
    pub(crate) clients: Clients,
    /// HTTP connections, from gateway to API, since the last start of either.
    linked: BTreeSet<(usize, usize)>,
    /// How often a node was called suspect or dead.
    pub(crate) accusations: u64,
    /// How often a node that runs was called dead or gone, or was looked for elsewhere.
    pub(crate) harms: u64,
    /// Calls of each node to others so far.
    pub(crate) calls: Vec<Calls>,
    forging_until: u64,
    /// Whether a node ever gave false answers.
    had_byzantine: bool,
    trace: u64,
    pub(crate) broken: Option<String>,
    /// Counts and times of new assertions, where a test wants them.
    pub(crate) watch: Option<Watch>,
    /// How long a write with its flush takes at least, in microseconds.
    pub(crate) flush: u64,
    /// About how often sets are compared.
    pub(crate) sync_interval: Duration,
    /// Nodes that know the five standard calls alone, by number, from their next start on.
    pub(crate) plain: BTreeSet<usize>,
    /// Whether nothing is said of what happens.
    pub(crate) is_quiet: bool,
}

impl World {
    pub(crate) fn new(seed: u64, mode: Mode, count: usize) -> World {
        World::with_seeds(seed, mode, &vec![None; count])
    }

    /// Nodes that are to find those whose numbers they are given.
    pub(crate) fn with_seeds(seed: u64, mode: Mode, seeds: &[Option<Vec<usize>>]) -> World {
        let mut world = World {
            now: 0,
            members: Vec::new(),
            random: Random::new(seed),
            net: Net::new(mode),
            queue: BinaryHeap::new(),
            events: BTreeMap::new(),
            next_event: 0,
            requests: BTreeMap::new(),
            connected: BTreeSet::new(),
            claims: 0,
            claiming_until: 0,
            sent: BTreeSet::new(),
            pending: BTreeMap::new(),
            acknowledged: BTreeSet::new(),
            clients: Clients::default(),
            linked: BTreeSet::new(),
            accusations: 0,
            harms: 0,
            calls: Vec::new(),
            forging_until: 0,
            had_byzantine: false,
            trace: seed,
            broken: None,
            watch: None,
            flush: 100,
            sync_interval: Duration::from_secs(10),
            is_quiet: false,
            plain: BTreeSet::new(),
            names: 1 + (seed / 2 % 3) as usize,
        };
        seeds.iter().for_each(|seeds| world.add_member(seeds.clone()));
        let given = (0..seeds.len()).filter(|number| seeds[*number].is_some());
        given.for_each(|number| world.start(number));
        world
    }

    /// One more node, which starts at once if its seeds are those of all.
    pub(crate) fn add_member(&mut self, seeds: Option<Vec<usize>>) {
        let number = self.members.len();
        let id = NodeId((self.random.bits() as u128 + 1).to_be_bytes());
        let wall_skew = self.random.below(20_000) as i64 - 10_000;
        // The first know those that are there so far.
        let starts = seeds.is_none();
        self.calls.push(Calls::default());
        self.members.push(Member {
            id,
            node: None,
            disk: Disk::default(),
            cluster: None,
            seeds,
            address: format!("node{number}.0:18182"),
            moves: 0,
            life: 0,
            wall_skew,
            wall_fault: 0,
            stalled_until: 0,
            is_host_up: true,
            slow_disk: false,
            is_byzantine: false,
            timer: u64::MAX,
        });
        if starts {
            self.start(number);
        }
    }

    /// Clients claim things until then.
    pub(crate) fn claim_until(&mut self, until: u64) {
        self.claiming_until = until;
        self.schedule(self.now, Event::Claim);
    }

    /// A stranger pings all nodes with updates that it made up until then.
    pub(crate) fn forge_until(&mut self, until: u64) {
        self.forging_until = until;
        self.schedule(self.now, Event::Forge);
    }

    pub(crate) fn plan(&mut self, at: u64, fault: Fault) {
        self.schedule(at, Event::Fault(fault));
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.random.below(end)
    }

    /// A hash over all that happened.
    pub(crate) fn trace(&self) -> u64 {
        self.trace
    }

    pub(crate) fn run_until(&mut self, until: u64) {
        while let Some(Reverse((at, number))) = self.queue.peek().copied() {
            if at > until || self.broken.is_some() {
                break;
            }
            self.queue.pop();
            self.now = self.now.max(at);
            let Some(event) = self.events.remove(&number) else { continue };
            if let Some(node) = event.concerns()
                && self.members[node].stalled_until > self.now
            {
                let later = self.members[node].stalled_until;
                self.schedule(later, event);
                continue;
            }
            self.happen(event);
        }
        self.now = self.now.max(until);
    }

    fn schedule(&mut self, at: u64, event: Event) -> u64 {
        let number = self.next_event;
        self.next_event += 1;
        self.queue.push(Reverse((at, number)));
        self.events.insert(number, event);
        number
    }

    fn say(&self, of: usize, what: &impl std::fmt::Debug) {
        if !self.is_quiet {
            println!("{:5.1} s, node {of}: {what:?}", self.now as f64 / 1e6);
        }
    }

    fn note(&mut self, what: u64, whom: usize) {
        let mixed = (self.trace ^ what ^ (whom as u64) << 56 ^ self.now.rotate_left(17))
            .wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.trace = mixed ^ (mixed >> 29);
    }

    fn happen(&mut self, event: Event) {
        let now = Moment(self.now);
        match event {
            Event::Request { to, from, call } => self.arrive((from, to), call),
            Event::Answer { to, call, answer, tag } => {
                self.note(2 + call, to);
                if let Some(watch) = &mut self.watch {
                    watch.note_answer(to, &answer);
                }
                self.with(to, |node, disk| node.answered(now, call, (answer, tag), disk));
            }
            Event::Refused { to, call, failure } => {
                self.note(3 + call, to);
                self.with(to, |node, disk| node.failed(now, call, failure, disk));
            }
            Event::Late { to, call } => {
                self.with(to, |node, disk| node.failed(now, call, Failure::Silent, disk));
            }
            Event::Lost { to, address } => {
                self.note(4, to);
                self.with(to, |node, _| node.lost(now, &address));
            }
            Event::DiskDone { node, life } => self.written(node, life),
            Event::Timer { node, life } => {
                let member = &mut self.members[node];
                if member.life == life && member.timer <= self.now {
                    member.timer = u64::MAX;
                    self.with(node, |node, disk| node.replica.handle_timeout(now, disk));
                }
            }
            Event::Fault(fault) => self.break_something(fault),
            Event::Claim => self.claim(),
            Event::Ask => self.ask(),
            Event::Forge => self.forge(),
        }
    }

    /// A request reaches a node.
    fn arrive(&mut self, (from, to): (usize, usize), call: Call) {
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

    /// The disk of a node has done its work, unless the node ended meanwhile.
    fn written(&mut self, of: usize, life: u64) {
        if self.members[of].life != life {
            return;
        }
        let now = Moment(self.now);
        self.note(5, of);
        let done = self.members[of].disk.finish();
        self.with(of, |node, _| node.replica.handle_disk(now, done));
        self.with(of, |node, disk| while !node.replica.handle_completed(now, 5, disk) {});
        let member = &self.members[of];
        if let (Some(watch), Some(node)) = (&mut self.watch, &member.node) {
            watch.note_stored(self.now, of, node, &member.disk);
        }
    }

    /// Each node gets made-up updates about all, as if one of them or a newcomer said so.
    fn forge(&mut self) {
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

    fn with(&mut self, to: usize, act: impl FnOnce(&mut Node, &Disk)) {
        let member = &mut self.members[to];
        if let Some(node) = &mut member.node {
            act(node, &member.disk);
            self.serve(to);
        }
    }

    /// Carries out what a node wants, and looks at its bounds.
    fn serve(&mut self, from: usize) {
        let now = Moment(self.now);
        let member = &mut self.members[from];
        let Some(node) = &mut member.node else { return };
        let effects = node.take_effects(now, &mut member.disk);
        for effect in effects {
            match effect {
                Effect::Call(call) => self.call(from, call),
                Effect::Answer(request, answer) => {
                    let answer = match answer {
                        Answer::Sync(reply) if self.members[from].is_byzantine => {
                            Answer::Sync(false_answer(reply, &mut self.random))
                        }
                        honest => honest,
                    };
                    if let Some((caller, _)) = self.requests.remove(&request) {
                        let node = self.members[from].node.as_ref().expect("it answers");
                        let tag = node.tag();
                        let event = Event::Answer { to: caller, call: request, answer, tag };
                        self.send(from, caller, event);
                    }
                }
                Effect::Work => {
                    let slow = self.members[from].slow_disk;
                    let usual = self.flush + self.random.below(5000) as u64;
                    let took = if slow { SECOND } else { usual };
                    let life = self.members[from].life;
                    self.schedule(self.now + took, Event::DiskDone { node: from, life });
                }
                Effect::Answered(number, is_taken) => {
                    let digest = self.pending.remove(&number).expect("a claim of ours");
                    if is_taken {
                        self.acknowledged.insert(digest);
                    }
                }
                Effect::Event(event) => {
                    self.accusations += u64::from(self.accuses_the_living(&event));
                    self.harms += u64::from(self.harms_the_living(&event));
                    self.say(from, &event);
                    self.note(event_number(&event), from);
                }
                Effect::Tagged(tag) => {
                    self.say(from, &tag);
                    self.note(7, from);
                    let kept = &mut self.members[from].cluster;
                    if kept.is_some() && *kept != tag.settled() {
                        self.broken = Some(format!("node {from} changes from {kept:?} to {tag:?}"));
                    }
                    *kept = tag.settled();
                }
                Effect::Accused(address, why) if !self.had_byzantine => {
                    self.broken = Some(format!("node {from} accuses {address}: {why:?}"));
                }
                Effect::Accused(..) => {}
                Effect::Sealed(request, digest) => self.note_sealed(request, digest),
                Effect::Vouched(digest) => self.note_vouched(from, digest),
                Effect::Replied(request, answer) => self.replied(from, request, answer),
            }
        }
        self.check_bounds(from);
        self.set_timer(from);
    }

    /// Whether this is held against a node that runs. Of the dead a last message may still come.
    fn accuses_the_living(&self, event: &swim::Event) -> bool {
        let swim::Event::Changed(id, Some(State::Suspect | State::Dead)) = event else {
            return false;
        };
        self.members.iter().any(|member| member.id == *id && member.node.is_some())
    }

    /// Whether a node that runs is given up, or looked for where it is not.
    fn harms_the_living(&self, event: &swim::Event) -> bool {
        let (id, address) = match event {
            swim::Event::Changed(id, Some(State::Dead | State::Left) | None) => (id, None),
            swim::Event::Moved(id, address) => (id, Some(address)),
            _ => return false,
        };
        let mut living = self.members.iter().filter(|member| member.node.is_some());
        living.any(|member| member.id == *id && Some(&member.address) != address)
    }

    fn call(&mut self, from: usize, call: Call) {
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

    fn send(&mut self, from: usize, to: usize, mut event: Event) {
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

    fn set_timer(&mut self, of: usize) {
        let member = &mut self.members[of];
        let Some(node) = &member.node else { return };
        let is_due = node.replica.wants_write(Moment(self.now)).then_some(Moment::ZERO);
        let Some(deadline) = is_due.or(node.next_deadline()) else { return };
        let at = deadline.0.max(self.now + 1);
        if at < member.timer {
            member.timer = at;
            let life = member.life;
            self.schedule(at, Event::Timer { node: of, life });
        }
    }

    fn claim(&mut self) {
        let of = self.random.below(self.members.len());
        self.claim_at(of);
        if self.now < self.claiming_until {
            let pause = self.random.below(400_000) as u64;
            self.schedule(self.now + pause, Event::Claim);
        }
    }

    /// A caller asks this node for sessions with all others.
    pub(crate) fn sync_now(&mut self, of: usize) {
        let now = Moment(self.now);
        self.with(of, |node, _| node.replica.handle_sync_request(now));
    }

    /// A client claims something at this node.
    pub(crate) fn claim_at(&mut self, of: usize) {
        let number = self.claims;
        self.claims += 1;
        let now = Moment(self.now);
        let member = &mut self.members[of];
        if member.stalled_until <= self.now
            && let Some(node) = &mut member.node
        {
            let digest = node.claim(now, number, &member.disk).digest();
            self.sent.insert(digest);
            self.pending.insert(number, digest);
            self.serve(of);
        }
    }

    fn add_colliding(&mut self, of: usize) {
        let number = self.claims;
        self.claims += 1;
        let now = Moment(self.now);
        let member = &mut self.members[of];
        if let Some(node) = &mut member.node {
            let mut digest = Digest([of as u8; 32]);
            digest.0[..8].copy_from_slice(b"the same");
            node.take_colliding(now, number, digest, &member.disk);
            self.sent.insert(digest);
            self.pending.insert(number, digest);
            self.serve(of);
        }
    }

    /// What the names say that all are given. One that is given itself alone has to be found by
    /// the others.
    fn seed_addresses(&self) -> Vec<String> {
        self.members.iter().take(self.names).map(|member| member.address.clone()).collect()
    }

    fn seeds_of(&self, number: usize) -> Vec<String> {
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

    fn start(&mut self, number: usize) {
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

    fn stop(&mut self, number: usize, is_host_up: bool) {
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

    fn requests_of(&self, number: usize) -> Vec<u64> {
        let open = self.requests.iter().filter(|(_, (_, to))| *to == number);
        open.map(|(call, _)| *call).collect()
    }

    fn break_something(&mut self, fault: Fault) {
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

    /// Damages what another disk keeps whole: no node can bring back the only copy.
    fn damage(&mut self, number: usize) {
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

    fn check_bounds(&mut self, of: usize) {
        let stalled_until = self.members[of].stalled_until;
        let count = self.members.len();
        let Some(node) = &mut self.members[of].node else { return };
        if let Some((why, since)) = node.take_broken()
            && since.is_none_or(|since| since.0 > stalled_until)
        {
            self.broken = Some(format!("node {of}: {why}"));
        }
        let cluster = node.replica.cluster();
        let bounds = [
            ("claims waiting for the disk", node.replica.queue().len(), limits::COMMIT_QUEUE_MAX),
            ("members", cluster.swim().members().count(), count),
            ("rumors", cluster.swim().rumors(), count),
            ("pushes waiting", cluster.gossip().waiting(), count * limits::GOSSIP_QUEUE_MAX),
            ("probes under way", cluster.swim().calls_under_way(), limits::PROBES_MAX),
        ];
        if let Some(stamp) = node.far_stamp {
            self.broken = Some(format!("node {of} made a stamp far ahead of its clock: {stamp:?}"));
        }
        for (what, is, may_be) in bounds {
            if is > may_be {
                self.broken = Some(format!("node {of}: {is} {what}, at most {may_be}"));
            }
        }
    }

    /// The root of a node's set.
    pub(crate) fn root(&mut self, of: usize) -> Option<Digest> {
        let member = &mut self.members[of];
        member.node.as_mut().map(|node| node.root().digest)
    }

    /// What a node holds.
    pub(crate) fn holds(&self, of: usize) -> BTreeSet<Digest> {
        let member = &self.members[of];
        let Some(node) = &member.node else { return BTreeSet::new() };
        let store = node.replica.store();
        let rows = 0..store.rows() as u32;
        rows.filter_map(|row| member.disk.digest_at(store.position(row)?)).collect()
    }

    /// The state in which one sees another; `None`: it does not know it.
    pub(crate) fn sees(&self, one: usize, other: usize) -> Option<State> {
        let node = self.members[one].node.as_ref()?;
        let id = self.members[other].id;
        node.swim().member(id).map(|member| member.news.state)
    }
}

impl Event {
    /// The news that it carries.
    fn updates(&mut self) -> Option<&mut Vec<Update>> {
        match self {
            Event::Request { call, .. } => match &mut call.message {
                Message::Ping(updates, _) | Message::ProbeFor(_, updates) => Some(updates),
                _ => None,
            },
            Event::Answer { answer: Answer::Ack(ack, _), .. } => Some(&mut ack.updates),
            Event::Answer { answer: Answer::Probed(_, updates), .. } => Some(updates),
            _ => None,
        }
    }

    /// The node that does nothing with it while it stalls.
    fn concerns(&self) -> Option<usize> {
        match self {
            Event::Request { to, .. }
            | Event::Answer { to, .. }
            | Event::Refused { to, .. }
            | Event::Late { to, .. }
            | Event::Lost { to, .. } => Some(*to),
            Event::DiskDone { node, .. } | Event::Timer { node, .. } => Some(*node),
            Event::Fault(_) | Event::Claim | Event::Ask | Event::Forge => None,
        }
    }
}

fn refused(to: usize, call: u64) -> Event {
    Event::Refused { to, call, failure: Failure::Refused }
}

fn event_number(event: &swim::Event) -> u64 {
    use swim::Event::{Changed, Duplicate, Moved, OwnSeed, Reachable, Unanswered};
    match event {
        Changed(_, state) => 100 + state.map_or(0, |state| 1 + state as u64),
        Moved(..) => 110,
        Duplicate(_) => 111,
        Reachable(_, is_reachable) => 112 + u64::from(*is_reachable),
        Unanswered(..) => 114,
        OwnSeed(_) => 115,
    }
}

/// Ends of calls are in the queue before their events are: a message that never arrives is dropped
/// with the world.
const _: () = assert!(std::mem::size_of::<Message>() < 256);
