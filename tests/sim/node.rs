//! A node without the world: the replica, and what a shell does for it.
//!
//! In: messages, ends of calls, time. Out: messages. Mirrors `src/shell` in the small: services,
//! calls, pushes, sessions. Decides nothing: what the shell asks the pure code, this asks it too.

mod calls;
pub(crate) mod gateway;
mod outputs;
mod services;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use stemedb_edge::base::{ClusterId, Digest, Hlc, Moment, NodeId, Ticket, Wall};
use stemedb_edge::cluster::gossip::{Origin, Row};
use stemedb_edge::cluster::identity::{self, Tag};
use stemedb_edge::cluster::{self, Cluster, SessionNumber, Target};
use stemedb_edge::journal::{self, CommitQueue, Committed, Position};
use stemedb_edge::model::{Draft, Object, Sealed};
use stemedb_edge::replica::{Replica, SessionId};
use stemedb_edge::store::{Root, Store};
use stemedb_edge::swim::{self, Ack, CallNumber, Event, State, Swim, Update};
use stemedb_edge::sync::{Reply, Request, WireBytes};

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

    /// What it says of its cluster.
    pub(crate) fn tag(&self) -> Tag {
        self.replica.cluster().identity().tag()
    }

    /// Whether it answers a caller that says this of its cluster.
    pub(crate) fn admits(&self, tag: Tag) -> bool {
        self.replica.cluster().identity().admit(Some(tag)).is_ok()
    }

    /// The root of what is here.
    pub(crate) fn root(&mut self) -> Root {
        let rows = self.replica.store().rows();
        let mut steps = std::iter::repeat_with(|| self.replica.root_step(1000, rows));
        steps.find_map(|root| root).expect("in the end")
    }
}

fn wall(now: Moment, skew: i64) -> Wall {
    let begin = 1_700_000_000_000_i64;
    Wall((begin + (now.0 / 1000) as i64 + skew).unsigned_abs())
}
