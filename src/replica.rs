//! The coordinator: one method for each event of the node.
//!
//! | event | methods, all `handle_` |
//! |---|---|
//! | a client or a peer offers an assertion | `offer`, after [`Replica::seal`] |
//! | a client offers one of many, or the last of them | `bulk_offer`, `bulk_end` |
//! | the disk: ready, done, refusing | [`Replica::start_write`], `disk`, `obstacle` |
//! | a batch is to be indexed | `completed` |
//! | rows became a run, or could not | `indexed`, `unindexed` |
//! | a record is damaged | `quarantined`, `damage` |
//! | damaged records came from a member, or did not | `fetched`, after [`Replica::next_fetch`] |
//! | a ping comes, a ping of this node ends | `ping`, `ack`, `probe_failed` |
//! | a ping on another member's behalf ends | `probed`, `unprobed`, `relayed` |
//! | a connection ends, addresses are found | `lost`, `seeds`, `addresses`, `refused_addresses` |
//! | this node leaves | `leave` |
//! | a push ends | `pushed` |
//! | a caller asks for anti-entropy, a session is over | `sync_request`, `session_over` |
//! | a session begins, is answered, goes on | `sync`, `span`, `reply`, `yielded` |
//! | a peer lists leaves | [`Replica::begin_leaves`], [`Replica::end_leaves`] |
//! | a peer compares sets | [`Replica::root_step`], [`Replica::answer_sketch`] |
//! | a message brings a stamp | `stamp` |
//! | time passes | `timeout` |
//!
//! In: these. Out: work for the disk, calls for the peers, answers for tickets. Each method calls
//! one machine and moves its outputs to the next machine or the outbox.
//!
//! Never: decides what a machine decides, reads a clock, does I/O of its own.

mod answers;
mod clocks;
mod damage;
mod fetch_rounds;
#[cfg(test)]
mod fixture;
mod index;
mod membership;
mod offers;
mod peers;
mod ranges;
mod run;
mod sessions;
mod walks;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::base::{Digest, Moment, NodeId, Ticket};
use crate::cluster::clocks::{ClockEvent, Clocks};
use crate::cluster::gossip::{Origin, PushEnd, Row};
use crate::cluster::{self, Cluster};
use crate::journal::damage::{Damage, Damages};
use crate::journal::{self, Bodies, CommitQueue, Committed, Tickets};
use crate::model::RowNumbering;
use crate::store::{Applied, Spill, Store};
use crate::swim::{Event, State};
use crate::sync::{Request, SessionReport};
pub use answers::LeafPage;
pub use damage::Fetch;
use fetch_rounds::FetchRounds;
use litemap::LiteMap;
use peers::Peers;
use ranges::Ranges;
pub use run::SessionId;
use run::{Run, SESSION_TICKETS, SESSIONS};
use walks::Walks;

/// What became of an assertion that was offered.
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
    /// For the disk thread, one piece at a time.
    Disk(journal::Work),
    /// For the holder of the ticket.
    Answer(Ticket, Fate),
    /// For the peer of a session; the answer comes back to [`Replica::handle_reply`].
    Call(SessionId, u32, Request),
    /// Other work may be done first; then call [`Replica::handle_yielded`].
    Yield(SessionId),
    /// A session is over; the caller that ran it gets the report.
    Synced(SessionId, SessionReport),
    /// For the members of the cluster.
    Cluster(cluster::Output),
    /// A record is damaged and left out of index and tree.
    Damaged(Damage),
    /// Its assertion is readable again, from another record.
    Repaired(Damage),
    /// For the operator: what is wrong with a clock.
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
    /// This node's id, for which every call asks.
    node: NodeId,
    /// Stamps for claims made here, and what is known of the clocks of others.
    clocks: Clocks,
    /// What waits for the disk; the store learns of it when it is durable, not before.
    queue: CommitQueue,
    /// What is durable, and nothing else: answers and sessions never name what a crash may lose.
    store: Store,
    /// Anti-entropy under way: a few, of which one exchanges and the others wait for their peers'
    /// first answers; an answer may come for one that is over.
    sessions: LiteMap<SessionId, Run>,
    /// Never used twice, so that an answer to a session that is over meets no other one.
    next_session: SessionId,
    /// What earlier sessions showed of each peer.
    peers: Peers,
    /// Assertions in the queue whose record here is damaged: their commit repairs a row, all others
    /// append one.
    repairing: BTreeSet<Digest>,
    /// Peers that list leaves page by page: each walks the set as it was when it began.
    walks: Walks,
    /// Up to where rows of peers were taken, so that the next session goes on from there.
    ranges: Ranges,
    /// Who takes part, and what follows from it.
    cluster: Cluster,
    /// The origins of offers that others are to hear of: a push begins when its assertion is
    /// durable, long after its offer.
    origins: BTreeMap<Ticket, Origin>,
    /// Records that are damaged here, by position: they are in no answer until they are repaired.
    damages: Damages,
    /// Whom to ask for them, and when.
    fetches: FetchRounds,
    /// Rows of the index cannot be written to a file. Claims are refused then, since what is not in
    /// a file is in memory.
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
            sessions: LiteMap::new_vec(),
            next_session: 0,
            peers: Peers::default(),
            repairing: BTreeSet::new(),
            walks: Walks::default(),
            ranges: Ranges::default(),
            cluster,
            origins: BTreeMap::new(),
            damages: Damages::default(),
            fetches: FetchRounds::default(),
            is_unindexed: false,
            outbox: VecDeque::new(),
            stats: Stats::default(),
        }
    }

    /// A push of a new assertion ended.
    pub fn handle_pushed(&mut self, push: (NodeId, Row), end: PushEnd) {
        self.cluster.handle_pushed(push, end);
        self.pump_cluster();
        self.check();
    }

    /// The disk finished a piece of work, and may have the next at once. After that comes
    /// [`Replica::handle_completed`].
    pub fn handle_disk(&mut self, now: Moment, done: journal::Done) {
        self.queue.handle_done(now, done);
        self.outbox.extend(self.queue.poll_work().map(Output::Disk));
        self.check();
    }

    /// The disk is known to take nothing before anything was written.
    pub fn handle_obstacle(&mut self, obstacle: journal::Obstacle) {
        self.queue.handle_obstacle(obstacle);
    }

    /// Indexes `most` assertions of what the disk wrote and answers their tickets. False: there are
    /// more, for which to call again after other work.
    pub fn handle_completed(&mut self, now: Moment, most: usize, bodies: &dyn Bodies) -> bool {
        let is_all = self.pump_queue(most, bodies);
        self.cluster.handle_set(now, self.store.sketch().digest());
        self.drain_sessions(now, bodies);
        self.check();
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
        self.check();
    }

    /// Time passed; safe to call early or late.
    pub fn handle_timeout(&mut self, now: Moment, bodies: &dyn Bodies) {
        self.start_write(now);
        self.cluster.handle_timeout(now);
        self.pump_cluster();
        // A session may have waited for the capacity that a batch on its way frees, or for a member
        // that is known to be dead by now.
        self.drain_sessions(now, bodies);
        self.check();
    }

    /// When [`Replica::handle_timeout`] wants to be called next.
    pub fn next_deadline(&self) -> Option<Moment> {
        self.queue.next_deadline().into_iter().chain(self.cluster.next_deadline()).min()
    }

    /// The next thing the node wants done; drain until `None` after every other call.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outbox.pop_front()
    }

    /// The id of this node.
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// What a row of this node is a row of, for cursors.
    pub fn row_numbering(&self) -> RowNumbering {
        RowNumbering { node: self.node, number: self.store.numbering() }
    }

    /// The assertions that are here.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The cluster as this node sees it.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// What waits for the disk.
    pub fn queue(&self) -> &CommitQueue {
        &self.queue
    }

    /// How many offers were new, known or refused since the start.
    pub fn stats(&self) -> Stats {
        self.stats
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
        // Once for the batch: rows put into the sketch together cost less than one by one.
        self.store.update_sketch();
        if self.queue.is_empty() {
            // What the disk refused repairs nothing; offered again, it is looked at again.
            self.repairing.clear();
        }
        is_all
    }

    /// The caller that offered it first created it, all others found it there.
    fn commit(&mut self, committed: &Committed, tickets: &Tickets, bodies: &dyn Bodies) {
        let digest = committed.sealed().digest();
        let applied = if self.repairing.remove(&digest) {
            self.store.apply(committed, bodies)
        } else {
            // It was not here when it was taken, and the queue holds one of each digest.
            Applied::New(self.store.append(committed))
        };
        self.spill();
        let fresh = matches!(applied, Applied::New(_));
        self.stats.created += u64::from(fresh);
        self.clocks.handle_write();
        self.note_stored(applied, &digest);
        // Offered by several callers, it is pushed once; the first is as good as any.
        let origins = tickets.iter().filter_map(|ticket| self.origins.remove(&ticket));
        match (origins.reduce(|first, _| first), applied) {
            (Some(origin), Applied::New(row)) => {
                self.cluster.handle_new((row as Row, &digest), origin);
                self.pump_cluster();
            }
            (None, Applied::New(row)) => self.cluster.handle_fetched((row as Row, &digest)),
            _ => {}
        }
        let mut fate = if fresh { Fate::Created } else { Fate::Exists };
        for ticket in tickets.iter() {
            self.answer(ticket, fate);
            fate = Fate::Exists;
        }
    }

    /// The invariants; those of each machine are its own.
    fn check(&self) {
        debug_assert!(self.next_session < SESSIONS, "session {}", self.next_session);
        debug_assert!(self.sessions.keys().all(|id| *id < SESSIONS), "a session beyond a ticket");
        // Anti-entropy offers are not pushed on.
        let last = self.origins.last_key_value().map(|(ticket, _)| ticket.0);
        debug_assert!(last.is_none_or(|last| last < SESSION_TICKETS), "the origin of a session");
        let is_pending = self.repairing.is_empty() || !self.queue.is_empty();
        debug_assert!(is_pending, "repairs of records that no batch holds");
    }

    fn pump_cluster(&mut self) {
        while let Some(output) = self.cluster.poll_output() {
            if let cluster::Output::Event(event) = &output {
                self.note_event(event);
            }
            self.outbox.push_back(Output::Cluster(output));
        }
    }

    fn note_event(&mut self, event: &Event) {
        match *event {
            Event::Changed(node, state) if !state.is_some_and(State::is_present) => {
                self.end_sessions_with(node, "the member is gone");
                if state.is_none() {
                    self.peers.forget(node);
                }
            }
            Event::Reachable(node, false) => {
                self.end_sessions_with(node, "the member answers no call of this node");
            }
            _ => {}
        }
    }

    fn answer(&mut self, ticket: Ticket, fate: Fate) {
        if ticket.0 < SESSION_TICKETS {
            return self.outbox.push_back(Output::Answer(ticket, fate));
        }
        self.answer_session(ticket, fate);
    }
}
