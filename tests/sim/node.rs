//! A node without the world: the replica, and what a shell does for it.
//!
//! In: messages, ends of calls, time. Out: messages. Mirrors `src/shell` in the small: services,
//! calls, pushes, sessions. Decides nothing: what the shell asks the pure code, this asks it too.

pub(crate) mod gateway;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use stemedb_edge::base::{ClusterId, Digest, Hlc, Moment, NodeId, Ticket, Wall, limits};
use stemedb_edge::cluster::gossip::{Origin, PushEnd, Row};
use stemedb_edge::cluster::identity::{self, Tag};
use stemedb_edge::cluster::ping::{Next, Unacked, UnackedCause};
use stemedb_edge::cluster::{self, Cluster, SessionNumber, Target};
use stemedb_edge::journal::{self, Bodies, CommitQueue, Committed, Position};
use stemedb_edge::model::{Draft, Object, Sealed};
use stemedb_edge::replica::{Fate, Fetch, Output, Replica, SessionId};
use stemedb_edge::store::{BucketScan, Root, Store};
use stemedb_edge::swim::{self, Ack, CallNumber, Event, Failure, State, Swim, Update};
use stemedb_edge::sync::{Reply, Request, WireBytes, answer_records};

use crate::disk::{Disk, index};
use gateway::{ClientAnswer, Gateway, HttpCall, HttpCaller, HttpReply, HttpRequest};

/// A request of one node to another.
#[derive(Clone, Debug)]
pub(crate) enum Message {
    Ping(Vec<Update>, Option<u64>),
    ProbeFor((NodeId, String), Vec<Update>),
    Push(Sealed, Hlc),
    Sync(Request),
    /// A connection to the HTTP API.
    Connect,
    /// A request on such a connection.
    Http(HttpRequest),
}

/// Its answer.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// With the digest of the set.
    Ack(Ack, Option<u64>),
    Probed(bool, Vec<Update>),
    Pushed(bool),
    Sync(Reply),
    Connected,
    Http(HttpReply),
}

/// A request under way, and how long its answer is of use.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) number: u64,
    pub(crate) address: String,
    pub(crate) message: Message,
    pub(crate) timeout: Duration,
    /// What the caller says of its cluster.
    pub(crate) tag: Tag,
}

/// What the node wants of the world.
#[derive(Debug)]
pub(crate) enum Effect {
    Call(Call),
    /// To the request of this number.
    Answer(u64, Answer),
    /// The disk has work.
    Work,
    /// The client's claim of this number is taken, or is not.
    Answered(u64, bool),
    Event(Event),
    /// What it says of its cluster from now on.
    Tagged(Tag),
    /// A session found the peer at this address to be false, for this reason.
    Accused(String, Option<String>),
    /// What the claim of this request became, on this node.
    Sealed(u64, Digest),
    /// The node says that it holds this.
    Vouched(Digest),
    /// The request of this number, which came to the gateway, is over.
    Replied(u64, ClientAnswer),
}

/// What a call was for.
enum Purpose {
    Ping {
        number: CallNumber,
        news: (Vec<Update>, Option<u64>),
        timeout: Duration,
        is_first: bool,
    },
    AskProbe(CallNumber),
    Push(NodeId, Row),
    Session(SessionId, u32),
    /// To bring back damaged records.
    Repair,
    /// For the request of that number.
    Relay(u64, NodeId, Vec<Update>),
    Http(HttpCall),
}

enum Waiting {
    Client(u64),
    Push(u64),
    Gossip(u64),
    Give(u64),
    /// No caller: the assertion repairs a record.
    Repair,
    /// The caller of the API, and its number of the request.
    Http((HttpCaller, u64), Digest),
}

pub(crate) struct Node {
    pub(crate) replica: Replica,
    is_plain: bool,
    pub(crate) wall_skew: i64,
    /// A stamp that it made further ahead of its wall clock than clocks may drift.
    pub(crate) far_stamp: Option<Hlc>,
    /// By number, with the address that each went to.
    calls: BTreeMap<u64, (Purpose, String)>,
    /// Addresses with an open connection: a call was answered since the last one ended.
    connected: BTreeSet<String>,
    waiting: BTreeMap<Ticket, Waiting>,
    gives: BTreeMap<u64, (u64, usize)>,
    /// The sessions to begin, with their peers.
    next_sessions: VecDeque<(SessionNumber, Target)>,
    /// Those under way, and the addresses of their peers.
    sessions: BTreeMap<SessionId, (SessionNumber, String)>,
    /// Records that came and are looked at, and whether something else happened since.
    opened: VecDeque<(SessionId, u32, Reply, bool)>,
    /// Damaged records that were fetched and are on their way to the disk.
    fetched: usize,
    gateway: Gateway,
    next_call: u64,
    next_ticket: u64,
    effects: Vec<Effect>,
}

/// What a node is started with.
pub(crate) struct Start {
    pub(crate) id: NodeId,
    pub(crate) address: String,
    pub(crate) seeds: Vec<String>,
    /// The id that its disk keeps.
    pub(crate) cluster: Option<ClusterId>,
    pub(crate) wall_skew: i64,
    pub(crate) seed: u64,
    /// About how often sets are compared.
    pub(crate) sync_interval: Duration,
    /// Whether it knows the five standard calls alone, and passes nothing on.
    pub(crate) is_plain: bool,
    /// The first number of its calls, never used twice.
    pub(crate) next_call: u64,
}

pub(crate) const SHARDS: u32 = 16;
pub(crate) const REPLICAS: u32 = 2;
/// Few, so that most of what a node knows is in runs.
const SPILL_ROWS: usize = 16;

/// A record that recovery read back: written where it is, by a queue that has nothing else.
fn committed(at: Position, sealed: &Sealed) -> Committed {
    let mut queue = CommitQueue::new(journal::Config::default(), at, 0);
    queue.enqueue(sealed.clone(), Ticket(0)).expect("an empty queue");
    queue.handle_timeout(Moment::ZERO);
    queue.poll_work().expect("an idle disk");
    queue.handle_done(Moment::ZERO, journal::Done::Well);
    let Some(journal::Output::Committed(committed, _)) = queue.poll_output() else {
        panic!("it is written");
    };
    assert_eq!(committed.position(), at);
    committed
}

impl Node {
    pub(crate) fn start(now: Moment, start: Start, disk: &Disk) -> Node {
        let mut store = Store::new(7).spilling_after(SPILL_ROWS);
        for (at, sealed) in disk.records() {
            store.apply(&committed(at, sealed), disk);
            if let Some(spill) = store.spill() {
                store.adopt(index(&spill));
            }
        }
        store.update_sketch();
        let config = cluster::Config {
            swim: swim::Config { probe_interval: Duration::from_secs(1) },
            shards: SHARDS,
            replication_factor: REPLICAS,
            sync_interval: Some(start.sync_interval),
        };
        let me = Update {
            node: start.id,
            api_addr: start.address.clone(),
            rpc_addr: start.address,
            state: State::Alive,
            lamport: 0,
            incarnation: wall(now, start.wall_skew).0,
        };
        let queue = CommitQueue::new(journal::Config::default(), disk.tail(), disk.bytes());
        let origin = identity::Origin {
            kept: start.cluster,
            proposal: ClusterId(u128::from(start.seed).to_be_bytes()),
            has_seeds: !start.seeds.is_empty(),
            is_new: store.is_empty(),
        };
        let cluster = Cluster::new(config, me, start.seed, now).identified(origin, now);
        let mut replica = Replica::new(cluster, queue, store);
        replica.resume_clock(wall(now, start.wall_skew), Wall(0), disk);
        let damages = disk.damages();
        replica.handle_quarantined(now, (&damages, damages.len() as u64), true, disk);
        let mut node = Node {
            replica,
            is_plain: start.is_plain,
            wall_skew: start.wall_skew,
            far_stamp: None,
            calls: BTreeMap::new(),
            connected: BTreeSet::new(),
            waiting: BTreeMap::new(),
            gives: BTreeMap::new(),
            next_sessions: VecDeque::new(),
            sessions: BTreeMap::new(),
            opened: VecDeque::new(),
            fetched: 0,
            gateway: Gateway::new(),
            next_call: start.next_call,
            next_ticket: 0,
            effects: Vec::new(),
        };
        node.find_seeds(now, start.seeds);
        node
    }

    pub(crate) fn swim(&self) -> &Swim {
        self.replica.cluster().swim()
    }

    pub(crate) fn find_seeds(&mut self, now: Moment, seeds: Vec<String>) {
        self.replica.handle_seeds(now, seeds, true);
    }

    pub(crate) fn take_effects(&mut self, now: Moment, disk: &mut Disk) -> Vec<Effect> {
        while let Some((id, number, reply, _)) = self.opened.pop_front_if(|opened| opened.3) {
            let (call, bytes) = ((id, number), WireBytes::default());
            self.replica.handle_reply(now, call, Ok(reply), bytes, disk);
        }
        self.opened.iter_mut().for_each(|opened| opened.3 = true);
        self.go_on_with_gateway(now, disk);
        while let Some(output) = self.replica.poll_output() {
            self.carry_out(now, output, disk);
        }
        self.run_sessions(now, disk);
        self.fetch_damaged(now);
        std::mem::take(&mut self.effects)
    }

    /// The first promise that its gateway broke; with the time if a stalled node may break it.
    pub(crate) fn take_broken(&mut self) -> Option<(String, Option<Moment>)> {
        let idle = self.gateway.idle.take();
        let idle = idle.map(|idle| ("a request waits for no node".to_owned(), Some(idle)));
        self.gateway.broken.take().map(|broken| (broken, None)).or(idle)
    }

    fn fetch_damaged(&mut self, now: Moment) {
        if let Some(Fetch { target, wanted }) = self.replica.next_fetch(now) {
            let message = Message::Sync(Request::Fetch(wanted));
            self.call(Purpose::Repair, target.rpc_addr, message, limits::CALL_MAX);
        }
    }

    /// When it is to be woken, if nothing happens before.
    pub(crate) fn next_deadline(&self) -> Option<Moment> {
        let due = [self.replica.fetch_due(), self.gateway.next_deadline()];
        self.replica.next_deadline().into_iter().chain(due.into_iter().flatten()).min()
    }

    /// A client claims something; the answer goes to `number`.
    pub(crate) fn claim(&mut self, now: Moment, number: u64, disk: &Disk) -> Sealed {
        let value = Object::Number(number as f64);
        let draft = Draft::new(format!("subject {}", number % 20), "p".into(), value);
        let sealed = self.seal(now, draft);
        self.offer(sealed.clone(), Origin::Here, Waiting::Client(number), disk);
        sealed
    }

    /// Takes a claim whose hash begins as that of another does, and which is not pushed.
    pub(crate) fn take_colliding(&mut self, now: Moment, number: u64, digest: Digest, disk: &Disk) {
        let draft = Draft::new("same".into(), "p".into(), Object::Number(number as f64));
        let sealed = self.seal(now, draft);
        let colliding = Sealed::recovered(digest, sealed.bytes().clone());
        self.offer(colliding, Origin::AntiEntropy, Waiting::Client(number), disk);
    }

    fn seal(&mut self, now: Moment, draft: Draft) -> Sealed {
        let wall = wall(now, self.wall_skew);
        let sealed = self.replica.seal(draft, wall).expect("a good draft");
        self.check_stamp(sealed.assertion().expect("one of ours").hlc, wall);
        sealed
    }

    fn check_stamp(&mut self, made: Hlc, wall: Wall) {
        if wall.is_before(made.time) {
            self.far_stamp = Some(made);
        }
    }

    fn offer(&mut self, sealed: Sealed, origin: Origin, waiting: Waiting, disk: &Disk) {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.waiting.insert(ticket, waiting);
        self.replica.handle_offer(ticket, (sealed, origin), disk);
    }

    fn carry_out(&mut self, now: Moment, output: Output, disk: &mut Disk) {
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

    fn carry_out_cluster(&mut self, now: Moment, output: cluster::Output, disk: &Disk) {
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

    fn run_sessions(&mut self, now: Moment, disk: &mut Disk) {
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

    fn call(&mut self, purpose: Purpose, address: String, message: Message, timeout: Duration) {
        let number = self.next_call;
        self.next_call += 1;
        self.calls.insert(number, (purpose, address.clone()));
        let tag = self.tag();
        self.effects.push(Effect::Call(Call { number, address, message, timeout, tag }));
    }

    fn ping(
        &mut self,
        (number, is_first): (CallNumber, bool),
        address: String,
        news: (Vec<Update>, Option<u64>),
        timeout: Duration,
    ) {
        let message = Message::Ping(news.0.clone(), news.1);
        let purpose = Purpose::Ping { number, news, timeout, is_first };
        self.call(purpose, address, message, timeout);
    }

    fn answer_ticket(&mut self, ticket: Ticket, fate: Fate) {
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

    /// What it says of its cluster.
    pub(crate) fn tag(&self) -> Tag {
        self.replica.cluster().identity().tag()
    }

    /// Whether it answers a caller that says this of its cluster.
    pub(crate) fn admits(&self, tag: Tag) -> bool {
        self.replica.cluster().identity().admit(Some(tag)).is_ok()
    }

    /// Another node asks; its answer is of use for `timeout`.
    pub(crate) fn request(
        &mut self,
        now: Moment,
        (number, timeout): (u64, Duration),
        message: Message,
        disk: &Disk,
    ) {
        match message {
            Message::Ping(updates, digest) => {
                let updates = self.replica.handle_ping(now, updates, digest);
                let swim = self.replica.cluster().swim();
                let (me, digest) = (swim.me(), digest.and_then(|_| swim.digest()));
                let addresses = (me.rpc_addr.clone(), me.api_addr.clone());
                let ack = Ack { node: me.node, addresses, updates, digest };
                let set = self.replica.store().sketch().digest();
                let set = (!self.is_plain).then_some(set);
                self.effects.push(Effect::Answer(number, Answer::Ack(ack, set)));
            }
            // Unknown to it: no answer is as good as UNIMPLEMENTED.
            Message::ProbeFor(..) if self.is_plain => {}
            Message::ProbeFor(target, updates) => {
                let news = self.replica.handle_ping(now, updates, None);
                let Some(own) = self.replica.handle_relay(now, target.0) else {
                    let answer = Answer::Probed(true, news);
                    return self.effects.push(Effect::Answer(number, answer));
                };
                let purpose = Purpose::Relay(number, target.0, news);
                self.call(purpose, target.1, Message::Ping(own, None), timeout);
            }
            Message::Push(sealed, stamp) => {
                self.replica.handle_stamp(now, stamp, wall(now, self.wall_skew));
                let origin = match self.is_plain {
                    true => Origin::AntiEntropy,
                    false => Origin::Gossip(Some(stamp.node)),
                };
                self.offer(sealed, origin, Waiting::Push(number), disk);
            }
            Message::Sync(request) => self.answer_sync(number, request, disk),
            Message::Connect => self.effects.push(Effect::Answer(number, Answer::Connected)),
            Message::Http(request) => {
                self.answer_http(now, HttpCaller::Call(number), request, disk);
            }
        }
    }

    /// The root of what is here.
    pub(crate) fn root(&mut self) -> Root {
        let rows = self.replica.store().rows();
        let mut steps = std::iter::repeat_with(|| self.replica.root_step(1000, rows));
        steps.find_map(|root| root).expect("in the end")
    }

    fn answer_sync(&mut self, number: u64, request: Request, disk: &Disk) {
        let store = self.replica.store();
        let body = |at: Option<journal::Position>| disk.sealed_at(at?);
        let reply = match request {
            Request::Sketch(_) | Request::Digests | Request::Records(_) if self.is_plain => {
                Reply::Unsupported
            }
            Request::Roots { root, count } => {
                let own = self.root();
                Reply::Roots { matched: own.is_matched_by(Some((root, count))), count: own.count }
            }
            Request::Leaves => {
                let mut page = self.replica.begin_leaves(number, 0);
                while !page.step(1000, self.replica.store()) {}
                let (leaves, truncated) = self.replica.end_leaves(number, page);
                Reply::Leaves { leaves, truncated }
            }
            Request::Sketch(request) => {
                let answer = self.replica.answer_sketch(request);
                Reply::Sketch(answer.unwrap_or_else(|mut answering| {
                    answering.step(usize::MAX, store).expect("one step does all")
                }))
            }
            Request::Digests => {
                let mut scan = BucketScan::default();
                while !scan.step(1000, store) {}
                Reply::Digests(scan.digests().to_vec())
            }
            Request::LeavesOf(part) => {
                let leaves = store.leaves_of(part, limits::LEAVES_MAX);
                Reply::Leaves { leaves, truncated: false }
            }
            Request::Records(wanted) => Reply::Records(answer_records(store, wanted, disk)),
            Request::Fetch(wanted) => {
                let good = wanted.iter().filter_map(|hash| body(store.find(hash, disk)));
                Reply::Fetched { good: good.collect(), bad: 0 }
            }
            Request::FetchShort(wanted) => {
                let at = |id| store.position(store.find_short(id)?);
                let good = wanted.into_iter().filter_map(|id| body(at(id)));
                Reply::Fetched { good: good.collect(), bad: 0 }
            }
            Request::Gossip(sealed) => {
                let waiting = Waiting::Gossip(number);
                return self.offer(sealed, Origin::AntiEntropy, waiting, disk);
            }
            Request::Give(given) => return self.give(number, given, disk),
        };
        self.effects.push(Effect::Answer(number, Answer::Sync(reply)));
    }

    fn give(&mut self, number: u64, given: Vec<Sealed>, disk: &Disk) {
        self.gives.insert(number, (0, given.len()));
        for sealed in given {
            self.offer(sealed, Origin::AntiEntropy, Waiting::Give(number), disk);
        }
    }

    /// A call of ours was answered; one that has ended already is passed over.
    pub(crate) fn answered(
        &mut self,
        now: Moment,
        number: u64,
        (answer, tag): (Answer, Tag),
        disk: &Disk,
    ) {
        let Some((purpose, address)) = self.calls.remove(&number) else { return };
        if let Purpose::Http(call) = purpose {
            return self.http_ended(now, call, address, Ok(answer));
        }
        self.connected.insert(address.clone());
        let replica = &mut self.replica;
        match (purpose, answer) {
            (Purpose::Ping { number, .. }, Answer::Ack(ack, set)) => {
                let set = set.filter(|_| !self.is_plain);
                replica.handle_ack(now, number, (&address, ack, set), Some(tag));
            }
            (Purpose::AskProbe(call), Answer::Probed(acked, news)) => {
                replica.handle_probed(now, call, acked, news);
            }
            (Purpose::Relay(request, node, news), Answer::Ack(ack, set)) => {
                let target = (node, &*address);
                let (_, acked) = replica.handle_relayed(now, target, (ack, set), Some(tag));
                self.effects.push(Effect::Answer(request, Answer::Probed(acked, news)));
            }
            (Purpose::Push(to, row), Answer::Pushed(is_taken)) => {
                let end = if is_taken { PushEnd::Taken } else { PushEnd::Refused };
                replica.handle_pushed((to, row), end);
            }
            (Purpose::Session(id, number), Answer::Sync(Reply::Records(records))) => {
                replica.handle_span(now, (id, number), records.span, disk);
                self.opened.push_back((id, number, Reply::Records(records), false));
            }
            (Purpose::Session(id, number), Answer::Sync(reply)) => {
                replica.handle_reply(now, (id, number), Ok(reply), WireBytes::default(), disk);
            }
            (Purpose::Repair, Answer::Sync(Reply::Fetched { good, .. })) => {
                if good.is_empty() {
                    replica.handle_fetched();
                }
                self.fetched = good.len();
                for sealed in good {
                    self.offer(sealed, Origin::AntiEntropy, Waiting::Repair, disk);
                }
            }
            (_, answer) => panic!("an answer of another kind: {answer:?}"),
        }
    }

    /// A call of ours came to nothing: in time, or because no process listens.
    pub(crate) fn failed(&mut self, now: Moment, number: u64, failure: Failure, disk: &Disk) {
        let Some((purpose, address)) = self.calls.remove(&number) else { return };
        if let Purpose::Http(call) = purpose {
            return self.http_ended(now, call, address, Err(failure));
        }
        let had_connection = self.connected.contains(&address);
        if failure == Failure::Refused {
            self.connected.remove(&address);
        }
        let replica = &mut self.replica;
        match purpose {
            Purpose::Ping { number, news, timeout, is_first } => {
                let unacked = Unacked {
                    is_first,
                    had_connection,
                    cause: match failure {
                        Failure::Silent => UnackedCause::Late,
                        Failure::Refused => UnackedCause::Broken,
                        Failure::Own => UnackedCause::Error,
                    },
                    is_own: failure == Failure::Own,
                    // What is open breaks; what is dialled is refused.
                    is_refused: failure == Failure::Refused && !had_connection,
                    is_foreign: false,
                };
                match unacked.next() {
                    Next::Again => self.ping((number, false), address, news, timeout),
                    Next::Failed { failure, abandons_connection } => {
                        if abandons_connection {
                            self.connected.remove(&address);
                        }
                        replica.handle_probe_failed(now, number, failure);
                    }
                }
            }
            Purpose::AskProbe(number) => replica.handle_unprobed(now, number, (&address, false)),
            Purpose::Relay(request, _, news) => {
                self.effects.push(Effect::Answer(request, Answer::Probed(false, news)));
            }
            Purpose::Push(to, row) => {
                let is_late = failure == Failure::Silent;
                let end = if is_late { PushEnd::Failed } else { PushEnd::Refused };
                replica.handle_pushed((to, row), end);
            }
            Purpose::Repair => replica.handle_fetched(),
            Purpose::Http(_) => {}
            Purpose::Session(id, number) => {
                let why = Err("no answer".to_owned());
                replica.handle_reply(now, (id, number), why, WireBytes::default(), disk);
            }
        }
    }

    /// A connection to this address ended.
    pub(crate) fn lost(&mut self, now: Moment, address: &str) {
        self.connected.remove(address);
        self.gateway.lost(address);
        self.replica.handle_lost(now, address);
    }
}

fn wall(now: Moment, skew: i64) -> Wall {
    let begin = 1_700_000_000_000_i64;
    Wall((begin + (now.0 / 1000) as i64 + skew).unsigned_abs())
}
