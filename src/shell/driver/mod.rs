//! The only way to the replica: borrow, call, drain every output, re-arm the deadline, release.
//!
//! In: what HTTP, gRPC, the disk and the peers bring. Out: futures of answers. Nothing called while
//! outputs are drained may call `update` again; wakers only mark tasks, so nothing does.
//!
//! Never: decides, blocks on anything but a `pread` of a body, holds a borrow across an await.

pub mod batch;
pub mod bulk;
pub mod clocks;
pub mod scans;
mod schedule;
pub mod verify;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::{Rc, Weak};
use std::task::Waker;
use std::time::Instant;

use async_channel::Sender;
use litemap::LiteMap;

use crate::base::{Client, Digest, Moment, NodeId, Wall, limits};
use crate::cluster::{self, SessionNumber, gossip::Origin};
use crate::journal::{self, Bodies};
use crate::model::{Draft, Invalid, Sealed};
use crate::replica::{Fate, Output, Replica, SessionId};
use crate::scan::{self, Scan, TooMany};
use crate::shell::disk::{self, Disk, Fault, Indexer, Reader};
use crate::shell::driver::scans::{Running, Scans};
use crate::shell::driver::verify::{Opened, Verifier};
use crate::shell::runtime::clock::wall;
use crate::shell::runtime::pending::PendingAnswers;
use crate::shell::runtime::reactor::{self, RoundEnd, yield_now};
use crate::shell::runtime::semaphore::Semaphore;
use crate::sketch::ShortId;
use crate::store::{BucketScan, Root, Spill};
use crate::sync::{Reply, Request, SketchReply, SketchRequest, Span, WireBytes};
use crate::wire::rpc::ForeignBody;

/// Member hashes of the Merkle tree read again before sockets are served: about 2 ms of reading.
const ROOT_STEP: usize = 4096;
/// Assertions taken into the index before sockets are served again: half a millisecond.
const COMPLETED_STEP: usize = 256;

/// Why an assertion was not taken; nothing changed.
#[derive(Clone, PartialEq, Debug)]
pub enum Refusal {
    /// It breaks a rule, or is signed wrongly.
    Invalid(Invalid),
    /// The log does not take it now.
    Log(journal::Refusal),
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Invalid(invalid) => invalid.fmt(out),
            Refusal::Log(refusal) => refusal.fmt(out),
        }
    }
}

/// What came of an assertion that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asserted {
    /// Its id.
    pub digest: Digest,
    /// False: the very same assertion was here already.
    pub created: bool,
}

/// What a session of anti-entropy wants done by the task that holds the connection to its peer.
#[derive(Debug)]
pub enum SessionCommand {
    /// Ask the peer; the answer goes to [`Driver::peer_answered`] under the number.
    Call(u32, Request),
    /// Let other tasks run first, then call [`Driver::resume_session`].
    Yield,
    /// The session is over.
    Done(crate::sync::SessionReport),
}

/// Hears of every flush, for the metrics.
pub type FlushObserver = Box<dyn Fn(&disk::Report)>;

/// Carries out what the cluster wants; may start tasks, but not call the driver.
pub type ClusterObserver = Box<dyn Fn(cluster::Output)>;

/// The replica, and everything its outputs go to.
pub struct Driver {
    replica: RefCell<Replica>,
    disk: Disk,
    indexer: Indexer,
    reader: Reader,
    verifier: Verifier,
    /// Callers whose assertions wait for the disk, by ticket.
    fates: PendingAnswers<Fate>,
    /// Parts sketched for peers at a time: each holds memory until it is answered.
    sketching: Semaphore,
    scans: Scans,
    /// Where the tasks that hold a session's connection get what it wants done.
    commands: RefCell<LiteMap<SessionId, Sender<SessionCommand>>>,
    observer: RefCell<Option<FlushObserver>>,
    cluster: RefCell<Option<ClusterObserver>>,
    /// What [`Moment`] counts from.
    started: Instant,
    /// The disk has no work, and assertions wait for it.
    wants_write: Cell<bool>,
    /// When the replica wants to be called next, and the task that waits for it.
    deadline: Cell<Option<Moment>>,
    deadline_waker: Cell<Option<Waker>>,
    /// Writes of the log and the index so far, and the tasks that wait for the next.
    writes: Cell<u64>,
    write_wakers: RefCell<Vec<Waker>>,
}

impl Driver {
    /// Takes over a recovered replica.
    pub fn new(
        replica: Replica,
        (disk, indexer, reader): (Disk, Indexer, Reader),
        verifier: Verifier,
    ) -> Rc<Driver> {
        let driver = Rc::new(Driver {
            replica: RefCell::new(replica),
            disk,
            indexer,
            reader,
            verifier,
            fates: PendingAnswers::new(),
            sketching: Semaphore::new(limits::PARTS_SKETCHED_MAX),
            scans: Scans::default(),
            commands: RefCell::default(),
            observer: RefCell::default(),
            cluster: RefCell::default(),
            started: Instant::now(),
            wants_write: Cell::new(false),
            deadline: Cell::new(None),
            deadline_waker: Cell::new(None),
            writes: Cell::new(0),
            write_wakers: RefCell::default(),
        });
        let listener: Weak<dyn RoundEnd> = Rc::downgrade(&driver) as _;
        reactor::current().expect("the reactor was made at the start").observe_round_ends(listener);
        driver
    }

    /// Has every write and flush reported to `observer`.
    pub fn observe_flushes(&self, observer: FlushObserver) {
        *self.observer.borrow_mut() = Some(observer);
    }

    /// Has everything that the cluster wants carried out by `observer`.
    pub fn observe_cluster(&self, observer: ClusterObserver) {
        *self.cluster.borrow_mut() = Some(observer);
        self.update(|_, _, _| ());
    }

    /// Monotonic time since the driver was made.
    pub fn now(&self) -> Moment {
        Moment::ZERO + self.started.elapsed()
    }

    /// The wall clock of the system.
    pub fn wall(&self) -> Wall {
        wall()
    }

    /// The time by which claims are judged: the wall clock, unless that is known to be wrong.
    pub fn judging(&self) -> Wall {
        self.replica.borrow().judging(self.now(), self.wall())
    }

    /// Reads from the node without changing it.
    pub fn read<T>(&self, look: impl FnOnce(&Replica, &dyn Bodies) -> T) -> T {
        look(&self.replica.borrow(), &self.reader)
    }

    /// Changes the node, and carries out what it then wants.
    pub fn update<T>(&self, change: impl FnOnce(&mut Replica, Moment, &dyn Bodies) -> T) -> T {
        let mut replica = self.replica.borrow_mut();
        let now = self.now();
        let result = change(&mut replica, now, &self.reader);
        while let Some(output) = replica.poll_output() {
            self.carry_out(output);
        }
        self.wants_write.set(replica.wants_write(now));
        let deadline = replica.next_deadline();
        if deadline != self.deadline.replace(deadline)
            && let Some(waker) = self.deadline_waker.take()
        {
            waker.wake();
        }
        result
    }

    fn carry_out(&self, output: Output) {
        match output {
            Output::Disk(work) => self.disk.submit(work),
            Output::Answer(ticket, fate) => {
                if let Fate::Refused(refusal) = &fate {
                    disk::log_budget(refusal);
                }
                self.fates.answer(ticket, fate);
            }
            Output::Call(session, number, request) => {
                self.command_session(session, SessionCommand::Call(number, request));
            }
            Output::Yield(session) => self.command_session(session, SessionCommand::Yield),
            Output::Synced(session, report) => {
                self.command_session(session, SessionCommand::Done(report));
                self.commands.borrow_mut().remove(&session);
            }
            Output::Damaged(damage) => log::error!("damage {damage}"),
            Output::Repaired(damage) => log::info!("repaired {damage}"),
            Output::Clock(event) => clocks::log_event(event, self.wall()),
            Output::Spill(spill) => self.indexer.submit(spill),
            Output::Cluster(output) => {
                if let Some(observer) = self.cluster.borrow().as_ref() {
                    observer(output);
                }
            }
        }
    }

    fn command_session(&self, session: SessionId, command: SessionCommand) {
        if let Some(commands) = self.commands.borrow().get(&session) {
            // The task that ran the commands may have ended; the session times out with its calls.
            let _ = commands.try_send(command);
        }
    }

    /// Takes a claim of a client: checked, stamped, verified, durable.
    pub async fn assert(&self, draft: Draft) -> Result<Asserted, Refusal> {
        let wall = self.wall();
        let sealed = self.update(|replica, _, _| replica.seal(draft, wall));
        self.offer(sealed.map_err(Refusal::Invalid)?, Origin::Here).await
    }

    /// Takes an assertion that is sealed already.
    pub async fn offer(&self, sealed: Sealed, origin: Origin) -> Result<Asserted, Refusal> {
        if !self.verifier.passes(&sealed) {
            self.verifier.verify(&sealed).await.map_err(Refusal::Invalid)?;
        }
        let digest = sealed.digest();
        let (ticket, fate) = self.fates.ticket();
        let offer = (sealed, origin);
        self.update(|replica, _, bodies| replica.handle_offer(ticket, offer, bodies));
        match fate.await {
            Fate::Created => Ok(Asserted { digest, created: true }),
            Fate::Exists => Ok(Asserted { digest, created: false }),
            Fate::Refused(refusal) => Err(Refusal::Log(refusal)),
        }
    }

    /// Takes assertions that a peer gave all at once: how many of them are here now, and why not
    /// the others.
    pub async fn offer_all(&self, all: Vec<Sealed>) -> (u64, Option<Refusal>) {
        let mut waiting = Vec::with_capacity(all.len());
        for sealed in all {
            let (ticket, fate) = self.fates.ticket();
            let offer = (sealed, Origin::AntiEntropy);
            self.update(|replica, _, bodies| replica.handle_offer(ticket, offer, bodies));
            waiting.push(fate);
        }
        let (mut taken, mut why) = (0, None);
        for fate in waiting {
            match fate.await {
                Fate::Created | Fate::Exists => taken += 1,
                Fate::Refused(refusal) => why = Some(Refusal::Log(refusal)),
            }
        }
        (taken, why)
    }

    /// Which of the bodies that a peer gave are what they are said to be.
    pub async fn open_all(&self, bodies: Vec<ForeignBody>) -> Opened {
        self.verifier.open_all(bodies).await
    }

    /// One assertion by its id.
    pub fn find(&self, digest: &Digest) -> Option<Sealed> {
        self.read(|replica, bodies| bodies.sealed_at(replica.store().find(digest, bodies)?))
    }

    /// The Merkle root of what is here now or of somewhat more, recomputed in slices where the set
    /// changed.
    pub async fn root(&self) -> Root {
        let rows = self.read(|replica, _| replica.store().rows());
        loop {
            match self.update(|replica, _, _| replica.root_step(ROOT_STEP, rows)) {
                Some(root) => return root,
                None => yield_now().await,
            }
        }
    }

    /// Lets no more than `long_max` long queries run at a time; called before the first query.
    pub fn bound_queries(&self, long_max: usize) {
        self.scans.bound(long_max);
    }

    /// Answers a query of `client`, when the queue reaches it; [`Driver::run_scans`] does the work.
    pub fn scan(&self, client: Client, scan: Scan) -> Result<Running<'_>, TooMany> {
        self.scans.start(client, scan)
    }

    /// Queries under way, and what was counted of them.
    pub fn scans(&self) -> (usize, scan::Stats) {
        self.scans.stats()
    }

    /// Works on queries while there are some; never ends.
    pub async fn run_scans(&self) {
        loop {
            self.scans.some().await;
            self.read(|replica, bodies| self.scans.run_slice(replica.store(), bodies));
            yield_now().await;
        }
    }

    /// Starts a session of the queue with a peer; `commands` takes what to ask it.
    pub async fn start_session(
        &self,
        peer: (SessionNumber, NodeId),
        commands: Sender<SessionCommand>,
    ) -> SessionId {
        let root = self.root().await;
        self.update(|replica, now, bodies| {
            let id = replica.handle_sync(now, peer, root, bodies);
            self.commands.borrow_mut().insert(id, commands);
            id
        })
    }

    /// A session's peer answered, or did not.
    pub fn peer_answered(
        &self,
        call: (SessionId, u32),
        reply: Result<Reply, String>,
        bytes: WireBytes,
    ) {
        self.update(|replica, now, bodies| replica.handle_reply(now, call, reply, bytes, bodies));
    }

    /// Which rows of a session's peer came; their assertions go to [`Driver::peer_answered`].
    pub fn records_came(&self, call: (SessionId, u32), span: Span) {
        self.update(|replica, now, bodies| replica.handle_span(now, call, span, bodies));
    }

    /// A session that yielded goes on.
    pub fn resume_session(&self, session: SessionId) {
        self.update(|replica, now, bodies| replica.handle_yielded(now, session, bodies));
    }

    /// Answers a peer that wants to know what differs. A part is read in slices, and few at a
    /// time: a peer that asks for more of them waits.
    pub async fn answer_sketch(&self, request: SketchRequest) -> SketchReply {
        let answer = self.read(|replica, _| replica.answer_sketch(request));
        let mut answering = match answer {
            Ok(reply) => return reply,
            Err(answering) => answering,
        };
        let _permit = self.sketching.acquire().await;
        loop {
            yield_now().await;
            let reply = self.read(|replica, _| answering.step(ROOT_STEP, replica.store()));
            if let Some(reply) = reply {
                return reply;
            }
        }
    }

    /// Digests of the Merkle tree's buckets, read anew in slices where the set changed.
    pub async fn digests(&self) -> Vec<ShortId> {
        let _permit = self.sketching.acquire().await;
        let mut scan = BucketScan::default();
        while !self.read(|replica, _| scan.step(ROOT_STEP, replica.store())) {
            yield_now().await;
        }
        scan.digests().to_vec()
    }

    /// Carries what the disk reports to the replica; ends only by a fault, after which nothing may
    /// be written.
    pub async fn run_disk(&self) -> Fault {
        loop {
            match self.disk.report().await {
                Ok(report) => {
                    self.note_write();
                    if let Some(observer) = self.observer.borrow().as_ref() {
                        observer(&report);
                    }
                    self.update(|replica, now, _| replica.handle_disk(now, report.done));
                    while !self.update(|replica, now, bodies| {
                        replica.handle_completed(now, COMPLETED_STEP, bodies)
                    }) {
                        yield_now().await;
                    }
                }
                Err(fault) => return fault,
            }
        }
    }

    /// Reports each run that is written to the replica, and those that cannot be.
    pub async fn run_indexer(&self) {
        loop {
            match self.indexer.written().await {
                Ok(run) => {
                    self.update(|replica, _, _| replica.handle_indexed(run));
                    self.note_write();
                    let is_damaged = self.read(|replica, _| replica.damages().found() > 0);
                    // Damage that showed while the run was written is not known to its state.
                    if let Some(Err(fault)) = is_damaged.then(|| self.indexer.forget()) {
                        log::warn!("{fault}: the kept index is left as it is");
                    }
                }
                Err(fault) => {
                    log::warn!(
                        "{fault}: the index of older rows stays in memory until it can be written"
                    );
                    self.update(|replica, _, _| replica.handle_unindexed());
                    self.note_write();
                }
            }
        }
    }

    /// Flushes what is written, waits for the disk thread and for the index that is being written.
    pub fn stop(&self) {
        self.disk.stop();
        match self.indexer.stop() {
            Some(Ok(run)) => self.replica.borrow_mut().handle_indexed(run),
            Some(Err(fault)) => log::warn!("{fault}"),
            None => {}
        }
    }

    /// The rows of the index that are only in memory yet; after [`Driver::stop`].
    pub fn spill_rest(&self) -> Option<Spill> {
        self.replica.borrow_mut().spill_rest()
    }
}

#[cfg(test)]
mod tests;
