//! Everything that happens, in order: one seed, one run.
//!
//! In: a seed and a plan. Out: nodes that went through it, a hash over every event, and the first
//! promise that was broken.

mod clients;
mod effects;
mod events;
mod faults;
mod messages;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::time::Duration;

use stemedb_edge::base::{ClusterId, Digest, Moment, NodeId, Random};
use stemedb_edge::journal::Bodies;
use stemedb_edge::swim::{Failure, State};

use crate::disk::Disk;
use crate::net::{Mode, Net};
use crate::node::{Message, Node};
use crate::watch::Watch;
use clients::Clients;
use events::Event;
pub(crate) use faults::Fault;

pub(crate) const SECOND: u64 = 1_000_000;
/// What a node's calls are numbered in, so that no two calls of a run have one number.
const CALLS_OF_A_LIFE: u64 = 1 << 32;

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

    fn with(&mut self, to: usize, act: impl FnOnce(&mut Node, &Disk)) {
        let member = &mut self.members[to];
        if let Some(node) = &mut member.node {
            act(node, &member.disk);
            self.serve(to);
        }
    }

    /// A caller asks this node for sessions with all others.
    pub(crate) fn sync_now(&mut self, of: usize) {
        let now = Moment(self.now);
        self.with(of, |node, _| node.replica.handle_sync_request(now));
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

/// Ends of calls are in the queue before their events are: a message that never arrives is dropped
/// with the world.
const _: () = assert!(std::mem::size_of::<Message>() < 256);
