//! Sessions of anti-entropy with peers of the worst kinds.
//!
//! In: two small sets, and the false answers of the peer. Out: a failed assertion where a session
//! does not end, asks for too much, keeps too much or reports what did not happen. Never: has a
//! peer that gives more assertions than there are.

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;
use prost::Message;

use super::input::Input;
use crate::base::{Digest, HlcClock, NodeId, Wall, limits};
use crate::journal::{Bodies, Committed, Position};
use crate::model::{Draft, Object, Sealed};
use crate::sketch::{Cell, Part};
use crate::store::{Applied, BucketScan, Store};
use crate::sync::{
    Output, PeerHistory, Records, Reply, Request, RowCursor, RowRange, Session, SessionReport,
    SketchReply, SketchRequest, Span, Stored, Strategy, answer_records, answer_sketch,
};
use crate::wire::bad_message::BadMessage;
use crate::wire::pb::{edge, sync};
use crate::wire::sketches;

/// Calls that a session of sets of this size takes with the worst of peers, but for the next.
const CALLS_MAX: usize = 300;
/// A peer that claims a very large set is asked for 4096 parts, up to 16 times for each. That is
/// an end, but one that no input waits for.
const PART_CALLS_SEEN: usize = 2000;
/// Cells that a peer of the worst kind is asked for in all.
const CELLS_ASKED_MAX: usize = 8 * limits::SKETCH_CELLS_MAX;
/// Assertions that there are, of both nodes together.
const CLAIMS: usize = 96;
const STRIDE: u64 = 512;

/// How many assertions a peer may have.
const THEIRS: [usize; 4] = [0, 2, 30, 48];

thread_local! {
    static WORLD: SetWorld = SetWorld::new();
}

/// The two sets, made once: no input changes them.
struct SetWorld {
    pool: Vec<Sealed>,
    /// One of each size in [`THEIRS`], with half of its assertions in common with a node that has
    /// all of the first half.
    peers: Vec<(SetNode, Digest)>,
}

impl SetWorld {
    fn new() -> SetWorld {
        let pool: Vec<Sealed> = (0..CLAIMS as u64).map(claim).collect();
        let peer = |count: &usize| {
            let mut node = SetNode::with(&pool[CLAIMS / 2 - count / 2..][..*count]);
            let root = node.root();
            (node, root)
        };
        let peers = THEIRS.iter().map(peer).collect();
        SetWorld { pool, peers }
    }
}

fn claim(number: u64) -> Sealed {
    let mut draft = Draft::new("s".into(), "p".into(), Object::Number(number as f64));
    draft.timestamp = Some(number);
    draft.check(&mut HlcClock::new(NodeId::NONE), Wall(0)).expect("a good draft").seal()
}

/// A node's store with its bodies in memory.
struct SetNode {
    store: Store,
    bodies: SetBodies,
}

struct SetBodies(Vec<Sealed>);

impl Bodies for SetBodies {
    fn digest_at(&self, at: Position) -> Option<Digest> {
        self.sealed_at(at).map(|sealed| sealed.digest())
    }

    fn sealed_at(&self, at: Position) -> Option<Sealed> {
        self.0.get(usize::try_from(at.0).ok()? / STRIDE as usize).cloned()
    }
}

impl SetNode {
    fn with(claims: &[Sealed]) -> SetNode {
        let mut node = SetNode { store: Store::new(1), bodies: SetBodies(Vec::new()) };
        for sealed in claims {
            node.add(sealed.clone());
        }
        node
    }

    fn add(&mut self, sealed: Sealed) -> bool {
        let position = Position(self.bodies.0.len() as u64 * STRIDE);
        self.bodies.0.push(sealed.clone());
        let applied = self.store.apply(&Committed::recovered(position, sealed), &self.bodies);
        self.store.update_sketch();
        matches!(applied, Applied::New(_))
    }

    fn root(&mut self) -> Digest {
        let rows = self.store.rows();
        let mut steps = std::iter::repeat_with(|| self.store.root_step(1000, rows));
        steps.find_map(|root| root).expect("a few steps").digest
    }

    fn find(&self, digest: &Digest) -> Option<Sealed> {
        self.bodies.sealed_at(self.store.find(digest, &self.bodies)?)
    }
}

/// A session of two small sets with a peer that answers as the input says, over and over.
pub(super) fn session(input: &mut Input<'_>) {
    WORLD.with(|world| run(input, world));
}

fn run(input: &mut Input<'_>, SetWorld { pool, peers }: &SetWorld) {
    let (ours, theirs) = (input.below(CLAIMS / 2), input.below(THEIRS.len()));
    let mut node = SetNode::with(&pool[..ours]);
    let (peer, root) = &peers[theirs];
    let strategy = if input.byte() & 3 == 0 {
        Strategy::Leaves
    } else {
        Strategy::Sketches(PeerHistory::default())
    };
    let mut session = Session::new(node.root(), ours as u64, strategy);
    let mut peer = ScriptedPeer {
        node: peer,
        root: *root,
        script: input.0,
        at: 0,
        calls: 0,
        part_calls: 0,
        cells: 0,
    };
    let (mut calls, mut stored) = (VecDeque::new(), BTreeSet::new());
    while peer.part_calls < PART_CALLS_SEEN {
        check_progress(&session, &peer);
        match session.poll_output(&node.store, &node.bodies) {
            Some(Output::Yield) => session.handle_resumed(),
            Some(Output::Done) => return check_report(session.report(), &stored),
            Some(Output::Call(number, request)) => {
                calls.push_back((number, request));
                assert!(calls.len() <= 40, "calls under way are bounded");
            }
            Some(Output::Offer(number, sealed)) => {
                let is_new = node.add(sealed.clone());
                stored.insert(sealed.digest());
                let stored = if is_new { Stored::New } else { Stored::Known };
                session.handle_stored(number, stored);
            }
            None => {
                let (number, request) = calls.pop_front().expect("a session that waits has asked");
                match peer.reply(request, pool) {
                    Ok(reply) => session.handle_reply(number, reply, &node.store, &node.bodies),
                    Err(reason) => session.handle_failed(number, reason),
                }
            }
        }
    }
}

fn check_progress(session: &Session, peer: &ScriptedPeer<'_>) {
    assert!(peer.calls <= CALLS_MAX, "asked {} times: {:?}", peer.calls, session.report());
    assert!(peer.cells <= CELLS_ASKED_MAX, "{} cells: {:?}", peer.cells, session.report());
    let progress = session.progress();
    assert!(progress.to_send <= CLAIMS as u64);
    let is_pulling = progress.phase == "pull";
    let most = limits::SKETCH_CELLS_MAX + limits::LEAVES_MAX;
    assert!(is_pulling || progress.to_receive <= most as u64, "{progress:?}");
}

fn check_report(report: &SessionReport, stored: &BTreeSet<Digest>) {
    assert!(report.received <= stored.len() as u64, "{report:?}");
    assert!(report.error.as_ref().is_none_or(|error| error.len() < 1024), "{report:?}");
    assert!(report.sent <= 2 * CLAIMS as u64, "{report:?}");
}

/// Takes a request, gives a reply: a true one, a mangled one, one of another kind.
struct ScriptedPeer<'a> {
    node: &'a SetNode,
    root: Digest,
    script: &'a [u8],
    at: usize,
    calls: usize,
    part_calls: usize,
    cells: usize,
}

impl ScriptedPeer<'_> {
    /// The same false answers over and over; an honest peer without any.
    fn byte(&mut self) -> u8 {
        let byte = self.script.get(self.at % self.script.len().max(1)).copied();
        self.at += 1;
        byte.unwrap_or(0)
    }

    fn number(&mut self) -> u64 {
        let bytes: Vec<u8> = (0..9).map(|_| self.byte()).collect();
        Input(&bytes).number()
    }

    fn some(&mut self, pool: &[Sealed]) -> Vec<Sealed> {
        let (from, count) = (usize::from(self.byte()), usize::from(self.byte() % 40));
        pool.iter().cycle().skip(from).take(count).cloned().collect()
    }

    fn reply(&mut self, request: Request, pool: &[Sealed]) -> Result<Reply, String> {
        match &request {
            Request::Sketch(SketchRequest { part: Some(_), .. }) => self.part_calls += 1,
            Request::Sketch(asked) => {
                (self.calls, self.cells) = (self.calls + 1, self.cells + asked.cells)
            }
            _ => self.calls += 1,
        }
        match self.byte() % 16 {
            0..=5 => Ok(self.honest(request)),
            6..=9 => {
                let honest = self.honest(request);
                Ok(self.mangled(honest, pool))
            }
            10 | 11 => Ok(self.made_up(request, pool)),
            12 => self.raw(&request),
            13 => Ok(Reply::Unsupported),
            14 => {
                let other = [Request::Leaves, Request::Digests, request];
                let other = other.into_iter().nth(usize::from(self.byte() % 3));
                Ok(self.honest(other.expect("one of three")))
            }
            _ if self.byte() > 200 => Err("the call failed".into()),
            _ => Ok(self.honest(request)),
        }
    }

    fn honest(&mut self, request: Request) -> Reply {
        let node = self.node;
        match request {
            Request::Roots { root, .. } => {
                Reply::Roots { matched: root == self.root, count: node.store.len() }
            }
            Request::Sketch(request) => Reply::Sketch(answer_sketch(&node.store, &request)),
            Request::Digests => {
                let mut scan = BucketScan::default();
                while !scan.step(1000, &node.store) {}
                Reply::Digests(scan.digests().to_vec())
            }
            Request::LeavesOf(part) => {
                let leaves = node.store.leaves_of(part, limits::LEAVES_MAX);
                Reply::Leaves { leaves, truncated: false }
            }
            Request::Records(wanted) => {
                Reply::Records(answer_records(&node.store, wanted, &node.bodies))
            }
            Request::FetchShort(ids) => {
                let rows = ids.iter().filter_map(|id| node.store.find_short(*id));
                let at = rows.filter_map(|row| node.store.position(row));
                Reply::Fetched {
                    good: at.filter_map(|at| node.bodies.sealed_at(at)).collect(),
                    bad: 0,
                }
            }
            // It keeps nothing, so that no input leaves it changed.
            Request::Give(given) => {
                Reply::Given { taken: given.len() as u64, refusal: String::new() }
            }
            Request::Leaves => {
                let leaves = node.store.leaves(None, limits::LEAVES_MAX);
                Reply::Leaves { leaves, truncated: false }
            }
            Request::Fetch(wanted) => {
                let good = wanted.iter().filter_map(|digest| node.find(digest));
                Reply::Fetched { good: good.collect(), bad: 0 }
            }
            Request::Gossip(_) => Reply::Gossiped { refusal: String::new() },
        }
    }

    /// What is true, but for a detail.
    fn mangled(&mut self, reply: Reply, pool: &[Sealed]) -> Reply {
        let (what, number) = (self.byte(), self.number());
        match reply {
            Reply::Roots { .. } => Reply::Roots { matched: what & 1 != 0, count: number },
            Reply::Sketch(reply) => Reply::Sketch(self.mangled_sketch(reply, what, number)),
            Reply::Records(mut records) => {
                match what % 6 {
                    0 => records.span.next = number,
                    1 => records.span.rows = number,
                    2 => records.span.from.row = number,
                    3 => records.span.from.numbering = number,
                    4 => records.bad = number,
                    _ => records.good = self.some(pool),
                }
                Reply::Records(records)
            }
            Reply::Leaves { mut leaves, truncated } => {
                match what % 4 {
                    0 => leaves.extend((0..what).map(|n| Digest::of(&[n, number as u8]))),
                    1 => leaves.truncate(usize::from(what >> 2)),
                    2 => leaves.reverse(),
                    _ => return Reply::Leaves { leaves, truncated: !truncated },
                }
                Reply::Leaves { leaves, truncated }
            }
            Reply::Digests(mut digests) => {
                digests.iter_mut().step_by(usize::from(what) + 1).for_each(|it| *it ^= number);
                Reply::Digests(digests)
            }
            Reply::Fetched { mut good, .. } => {
                good.truncate(usize::from(what));
                Reply::Fetched { good, bad: u64::from(what & 3) }
            }
            Reply::Given { .. } => Reply::Given { taken: number, refusal: "no".into() },
            Reply::Gossiped { .. } => Reply::Gossiped { refusal: "no".into() },
            Reply::Unsupported => Reply::Unsupported,
        }
    }

    fn mangled_sketch(&mut self, mut reply: SketchReply, what: u8, number: u64) -> SketchReply {
        match what % 10 {
            0 => reply.count = number,
            1 => reply.from = number as u32 as usize,
            2 => reply.estimate = number,
            3 => reply.hint = (0..what).map(|_| self.byte()).collect(),
            4 => reply.since = Some(RowCursor { numbering: number, row: u64::from(what) }),
            5 => reply.part = Some(Part { bits: 1 + number as u32 % 18, number: 0 }),
            6 => reply.cells.truncate(usize::from(what)),
            7 => reply.cells.iter_mut().for_each(|cell| cell.ids ^= number),
            8 => {
                let at = number as usize % reply.cells.len().max(1);
                reply.cells.iter_mut().skip(at).take(1).for_each(|cell| cell.checks ^= 1);
            }
            _ => {
                let length = number as usize % 3000;
                reply.cells.resize(length, Cell { ids: number, checks: u32::from(what) });
            }
        }
        reply
    }

    /// Of the right kind, and nothing else about it.
    fn made_up(&mut self, request: Request, pool: &[Sealed]) -> Reply {
        let number = self.number();
        match request {
            Request::Roots { .. } => Reply::Roots { matched: false, count: number },
            Request::Sketch(SketchRequest { from, part, cells, .. }) => {
                let cell = |n: usize| Cell { ids: number ^ n as u64, checks: n as u32 };
                let cells = (0..cells.min(3000)).map(cell).collect();
                let estimate = self.number();
                Reply::Sketch(SketchReply {
                    from,
                    cells,
                    count: number,
                    estimate,
                    part,
                    ..Default::default()
                })
            }
            Request::Records(RowRange { from, .. }) => {
                let (next, rows) = (self.number(), self.number());
                let numbering = if self.byte() & 1 == 0 { from.numbering } else { number };
                let span = Span { from: RowCursor { numbering, row: from.row }, next, rows };
                Reply::Records(Records { span, good: self.some(pool), bad: 0 })
            }
            Request::Fetch(_) | Request::FetchShort(_) => {
                Reply::Fetched { good: self.some(pool), bad: 0 }
            }
            Request::Leaves | Request::LeavesOf(_) => {
                let count = number as usize % (limits::LEAVES_MAX + 2);
                let leaves = (0..count as u64).map(|n| Digest::of(&(n ^ number).to_le_bytes()));
                Reply::Leaves { leaves: leaves.collect(), truncated: true }
            }
            Request::Digests => Reply::Digests(vec![number; limits::BUCKETS]),
            Request::Give(_) => Reply::Given { taken: number, refusal: String::new() },
            Request::Gossip(_) => Reply::Gossiped { refusal: "no".into() },
        }
    }

    /// A message of the wire, read as the node reads it.
    fn raw(&mut self, request: &Request) -> Result<Reply, String> {
        let length = usize::from(self.byte());
        let bytes: Bytes = (0..length).map(|_| self.byte()).collect();
        let text = |error: prost::DecodeError| error.to_string();
        let why = |bad: BadMessage| bad.to_string();
        Ok(match request {
            Request::Sketch(_) => {
                let response = edge::SketchResponse::decode(bytes).map_err(text)?;
                Reply::Sketch(sketches::read_sketch_response(&response).map_err(why)?)
            }
            Request::LeavesOf(_) => Reply::Leaves {
                leaves: sketches::read_leaves(&bytes).map_err(why)?,
                truncated: false,
            },
            Request::Digests => Reply::Digests(sketches::read_digests(&bytes).map_err(why)?),
            Request::Records(_) => {
                let answer = edge::RecordsResponse::decode(bytes).map_err(text)?;
                let from = RowCursor { numbering: answer.numbering, row: answer.from };
                let span = Span { from, next: answer.next, rows: answer.rows };
                Reply::Records(Records { span, ..Default::default() })
            }
            Request::Give(_) => {
                let answer = edge::GiveResponse::decode(bytes).map_err(text)?;
                Reply::Given { taken: answer.taken, refusal: answer.error }
            }
            _ => {
                let answer = sync::RootExchangeResponse::decode(bytes).map_err(text)?;
                Reply::Roots { matched: answer.roots_match, count: answer.assertion_count }
            }
        })
    }
}
