//! The switchboard: one method per thing that can happen to the node.
//!
//! In: requests, flushes, peers' answers, time. Out: work for the disk, calls for the peers,
//! answers for tickets. Each method calls one room and moves that room's outputs to the next room
//! or the outbox.
//!
//! Never: decides anything a room decides, reads a clock, does I/O of its own.

mod answers;
mod clocks;
mod damage;
mod index;
mod ranges;
mod sessions;
#[cfg(test)]
mod stage;
mod walks;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::base::{Digest, Moment, NodeId, Ticket};
use crate::cluster::clocks::{ClockEvent, Clocks};
use crate::cluster::gossip::{Origin, Row};
use crate::cluster::{self, Cluster};
use crate::journal::damage::{Damage, Damages};
use crate::journal::{self, Bodies, CommitQueue, Committed, Tickets};
use crate::model::Sealed;
use crate::store::{Applied, Spill, Standing, Store};
use crate::swim::Swim;
use crate::sync::{Request, Session, SessionReport};
pub use answers::LeafPage;
use ranges::Ranges;
use walks::Walks;

/// Names one run of anti-entropy.
pub type SessionId = u64;

/// Tickets from here on are those of assertions that sessions offer; the shell gives those below.
const SESSION_TICKETS: u64 = 1 << 63;

/// What became of an assertion that somebody offered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// New, and durable as the durability setting promises.
    Created,
    /// The very same assertion was here already.
    Exists,
    /// Not taken; nothing changed.
    Refused(journal::Refusal),
}

/// What the node wants done.
#[derive(Debug)]
pub enum Output {
    /// For the disk.
    Disk(journal::Work),
    /// For the holder of the ticket.
    Answer(Ticket, Fate),
    /// For the peer of a session; the answer comes back to [`Replica::handle_reply`].
    Call(SessionId, u32, Request),
    /// Others may go on first; then call [`Replica::handle_turn`].
    Turn(SessionId),
    /// The session is over.
    Synced(SessionId, SessionReport),
    /// For whoever talks to the cluster.
    Cluster(cluster::Output),
    /// A record is damaged and left out of index and tree.
    Damaged(Damage),
    /// It is back.
    Healed(Damage),
    /// Something to say of clocks.
    Clock(ClockEvent),
    /// Rows of the index that are to become a file; it goes to [`Replica::handle_indexed`].
    Spill(Spill),
}

/// Counts since the start, for `/metrics` and `/v1/health`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stats {
    /// Assertions created since the start.
    pub created: u64,
    /// Offers of assertions that were here already.
    pub repeated: u64,
    /// Offers refused by queue, budget or disk.
    pub refused: u64,
}

/// The node without the world around it.
#[derive(Debug)]
pub struct Replica {
    node: NodeId,
    clocks: Clocks,
    queue: CommitQueue,
    store: Store,
    /// With what was known to be damaged when each began.
    sessions: BTreeMap<SessionId, (Session, NodeId, u64)>,
    next_session: SessionId,
    /// Assertions on their way whose record here is damaged.
    mending: BTreeSet<Digest>,
    walks: Walks,
    ranges: Ranges,
    cluster: Cluster,
    /// Where the offers came from that are to be told of when they are durable.
    origins: BTreeMap<Ticket, Origin>,
    damages: Damages,
    /// Rows of the index cannot be written to a file.
    is_unindexed: bool,
    outbox: VecDeque<Output>,
    stats: Stats,
}

impl Replica {
    /// A node that knows what recovery put into `store`, and has its identity from `cluster`.
    pub fn new(cluster: Cluster, queue: CommitQueue, store: Store) -> Replica {
        let node = cluster.swim().me().node;
        Replica {
            node,
            clocks: Clocks::new(node),
            queue,
            store,
            sessions: BTreeMap::new(),
            next_session: 0,
            mending: BTreeSet::new(),
            walks: Walks::default(),
            ranges: Ranges::default(),
            cluster,
            origins: BTreeMap::new(),
            damages: Damages::default(),
            is_unindexed: false,
            outbox: VecDeque::new(),
            stats: Stats::default(),
        }
    }

    /// Takes an assertion; its fate goes to the ticket. [`Replica::start_write`] hands it to the
    /// disk, with whatever else was offered until then.
    pub fn handle_offer(
        &mut self,
        ticket: Ticket,
        (sealed, origin): (Sealed, Origin),
        bodies: &dyn Bodies,
    ) {
        debug_assert!(ticket.0 < SESSION_TICKETS);
        match self.take(ticket, sealed, bodies) {
            Some(fate) => self.outbox.push_back(Output::Answer(ticket, fate)),
            None if origin != Origin::AntiEntropy && !self.cluster.gossip().is_alone() => {
                self.origins.insert(ticket, origin);
            }
            None => {}
        }
    }

    /// Something happened to the membership: `tell` says what.
    pub fn handle_membership<T>(&mut self, now: Moment, tell: impl FnOnce(&mut Swim) -> T) -> T {
        let answer = self.cluster.handle_membership(now, tell);
        self.pump_cluster();
        answer
    }

    /// Something else happened to the cluster: `tell` tells it what.
    pub fn handle_cluster<T>(&mut self, tell: impl FnOnce(&mut Cluster) -> T) -> T {
        let answer = tell(&mut self.cluster);
        self.pump_cluster();
        answer
    }

    /// A push of a new assertion ended.
    pub fn handle_pushed(&mut self, to: NodeId, is_taken: bool) {
        self.cluster.handle_pushed(to, is_taken);
        self.pump_cluster();
    }

    /// The disk finished a piece of work, and may have the next at once. After that comes
    /// [`Replica::handle_completed`].
    pub fn handle_disk(&mut self, now: Moment, done: journal::Done) {
        self.queue.handle_done(now, done);
        self.outbox.extend(self.queue.poll_work().map(Output::Disk));
    }

    /// The disk is known to take nothing before anything was written.
    pub fn handle_obstacle(&mut self, obstacle: journal::Obstacle) {
        self.queue.handle_obstacle(obstacle);
    }

    /// Of what the disk wrote, so many assertions more are here now. False: there are others, for
    /// which to call again soon.
    pub fn handle_completed(&mut self, now: Moment, most: usize, bodies: &dyn Bodies) -> bool {
        let is_all = self.pump_queue(most, bodies);
        self.drain_sessions(now, bodies);
        is_all
    }

    /// Whether [`Replica::start_write`] would hand something to the disk now.
    pub fn wants_write(&self, now: Moment) -> bool {
        self.queue.wants_write(now)
    }

    /// Hands what waits in the commit queue to the disk, if that has no work.
    pub fn start_write(&mut self, now: Moment) {
        self.queue.handle_timeout(now);
        self.outbox.extend(self.queue.poll_work().map(Output::Disk));
    }

    /// Time passed; safe to call early or late.
    pub fn handle_timeout(&mut self, now: Moment, bodies: &dyn Bodies) {
        self.start_write(now);
        self.drain_sessions(now, bodies);
        self.cluster.handle_timeout(now);
        self.pump_cluster();
    }

    /// When [`Replica::handle_timeout`] wants to be called next.
    pub fn next_deadline(&self) -> Option<Moment> {
        self.queue.next_deadline().into_iter().chain(self.cluster.next_deadline()).min()
    }

    /// The next thing the node wants done; drain until `None` after every other call.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outbox.pop_front()
    }

    /// This node's identity.
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// What is known.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Who is there.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// What waits for the disk.
    pub fn queue(&self) -> &CommitQueue {
        &self.queue
    }

    /// Counts since the start.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// Tries to take an assertion; `None` while its flush is waited for, which begins with
    /// [`Replica::start_write`].
    fn take(&mut self, ticket: Ticket, sealed: Sealed, bodies: &dyn Bodies) -> Option<Fate> {
        let digest = sealed.digest();
        let standing = self.store.standing(&digest, bodies);
        if standing == Standing::Here {
            self.stats.repeated += 1;
            return Some(Fate::Exists);
        }
        let taken = match self.store.is_behind() {
            true if self.is_unindexed => Err(journal::Refusal::Index),
            true => Err(journal::Refusal::Busy),
            false => self.queue.enqueue(sealed, ticket),
        };
        let Err(refusal) = taken else {
            if standing == Standing::Damaged {
                self.mending.insert(digest);
            }
            return None;
        };
        self.stats.refused += 1;
        Some(Fate::Refused(refusal))
    }

    /// Sessions that waited for the queue go on.
    fn drain_sessions(&mut self, now: Moment, bodies: &dyn Bodies) {
        let ids: Vec<SessionId> = self.sessions.keys().copied().collect();
        for id in ids {
            self.drain_session(now, id, bodies);
        }
    }

    /// Moves what the queue has for others, for so many assertions; true if that was all.
    fn pump_queue(&mut self, most: usize, bodies: &dyn Bodies) -> bool {
        let mut is_all = false;
        for _ in 0..most {
            let Some(output) = self.queue.poll_output() else {
                is_all = true;
                break;
            };
            match output {
                journal::Output::Work(work) => self.outbox.push_back(Output::Disk(work)),
                journal::Output::Committed(committed, tickets) => {
                    self.commit(&committed, &tickets, bodies);
                }
                journal::Output::Refused(refusal, tickets) => {
                    self.stats.refused += tickets.count() as u64;
                    for ticket in tickets.iter() {
                        self.origins.remove(&ticket);
                        self.answer(ticket, Fate::Refused(refusal));
                    }
                }
            }
        }
        self.store.update_sketch();
        if self.queue.is_empty() {
            // Those that the disk had no room for.
            self.mending.clear();
        }
        is_all
    }

    /// Who asked first created it, all others found it there.
    fn commit(&mut self, committed: &Committed, tickets: &Tickets, bodies: &dyn Bodies) {
        let digest = committed.sealed().digest();
        let applied = if self.mending.remove(&digest) {
            self.store.apply(committed, bodies)
        } else {
            // It was not here when it was taken, and the queue lets nobody else bring it meanwhile.
            Applied::New(self.store.append(committed))
        };
        self.spill();
        let fresh = matches!(applied, Applied::New(_));
        self.stats.created += u64::from(fresh);
        self.clocks.handle_write();
        self.note_stored(applied, &digest);
        let origins = tickets.iter().filter_map(|ticket| self.origins.remove(&ticket));
        if let (Some(origin), Applied::New(row)) = (origins.reduce(|first, _| first), applied) {
            self.cluster.handle_new(row as Row, origin);
            self.pump_cluster();
        }
        let mut fate = if fresh { Fate::Created } else { Fate::Exists };
        for ticket in tickets.iter() {
            self.answer(ticket, fate);
            fate = Fate::Exists;
        }
    }

    fn pump_cluster(&mut self) {
        while let Some(output) = self.cluster.poll_output() {
            self.outbox.push_back(Output::Cluster(output));
        }
    }

    fn answer(&mut self, ticket: Ticket, fate: Fate) {
        if ticket.0 < SESSION_TICKETS {
            return self.outbox.push_back(Output::Answer(ticket, fate));
        }
        self.answer_session(ticket, fate);
    }
}
