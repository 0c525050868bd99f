//! Byzantine peers, and what they cost.
//!
//! Never: trusts what a Byzantine peer says of itself; bytes are counted here.

use super::*;

/// Makes all up: cells and leaves of assertions that no node has, and no body for any of them.
struct Fabricator {
    next: u64,
    bad: bool,
    cells: u64,
    records: u64,
}

impl Fabricator {
    fn cells(&mut self, request: &SketchRequest) -> SketchReply {
        let wanted = if request.low_counts.packed.is_empty() { request.cells as u64 } else { 1000 };
        let start = self.cells;
        self.cells += wanted;
        let cell = |number: u64| Cell {
            ids: short_id(&Digest::of(&number.to_le_bytes())),
            checks: number as u32,
        };
        let cells = (start..self.cells).map(cell).collect();
        SketchReply { from: request.from, cells, count: 1, estimate: 600, ..Default::default() }
    }
}

impl Peer for Fabricator {
    fn reply(&mut self, request: Request) -> Result<Reply, String> {
        Ok(match request {
            Request::Roots { .. } => Reply::Roots { matched: false, count: u64::MAX },
            Request::Leaves => {
                let start = self.next;
                self.next += 10_000;
                let leaves = (start..self.next).map(|n| Digest::of(&n.to_le_bytes())).collect();
                Reply::Leaves { leaves, truncated: true }
            }
            Request::Fetch(wanted) if self.bad => {
                Reply::Fetched { good: Vec::new(), bad: wanted.len() as u64 }
            }
            Request::Sketch(request) => Reply::Sketch(self.cells(&request)),
            Request::Records(RowRange { from: RowCursor { row, .. }, .. }) => {
                self.records += 1;
                let from = RowCursor { numbering: 7, row };
                let bad = u64::from(self.bad);
                let rows = u64::MAX;
                let span = Span { from, next: row + 1, rows };
                Reply::Records(Records { span, bad, good: Vec::new() })
            }
            Request::Fetch(_) | Request::FetchShort(_) => {
                Reply::Fetched { good: Vec::new(), bad: 0 }
            }
            Request::Gossip(_) => Reply::Gossiped { refusal: "no".into() },
            Request::Give(_) => Reply::Given { taken: 0, refusal: "no".into() },
            Request::Digests => Reply::Digests(vec![7; limits::BUCKETS]),
            Request::LeavesOf(part) => {
                Reply::Leaves { leaves: vec![part.start()], truncated: false }
            }
        })
    }
}

#[test]
fn a_fabricator_is_left_after_a_few_useless_answers() {
    for bad in [false, true] {
        let mut fabricator = Fabricator { next: 0, bad, cells: 0, records: 0 };
        let report = run(&mut TestNode::with(0..5), &mut fabricator);
        assert!(report.error.is_some(), "{report:?}");
        assert!(fabricator.next <= 20_000, "asked for {} leaves", fabricator.next);
        assert!(
            (1..=6).contains(&fabricator.records),
            "asked {} times for records",
            fabricator.records
        );
        assert!(fabricator.cells <= 4_000, "asked for {} cells", fabricator.cells);
        assert_eq!(report.received, 0);
    }
}

#[test]
fn an_answer_of_another_kind_ends_the_session() {
    struct Confused;
    impl Peer for Confused {
        fn reply(&mut self, _: Request) -> Result<Reply, String> {
            Ok(Reply::Gossiped { refusal: String::new() })
        }
    }
    let report = run(&mut TestNode::with(0..5), &mut Confused);
    assert!(report.error.is_some_and(|reason| reason.contains("kind")));
}

#[test]
fn a_peer_that_shows_only_its_first_page_is_reported() {
    struct Stuck(Honest);
    impl Peer for Stuck {
        fn reply(&mut self, request: Request) -> Result<Reply, String> {
            self.0.reached = None;
            self.0.reply(request)
        }
    }
    let mut peer = Stuck(Honest::new(TestNode::with(0..100)));
    peer.0.page = 30;
    let mut node = TestNode::with([]);
    let report = run(&mut node, &mut peer);
    assert_eq!(report.received, 30);
    assert_eq!(report.error.as_deref(), Some("the peer shows 30 of its 100 leaves"));
}

#[test]
fn a_peer_that_took_more_than_it_was_given_is_left() {
    struct Boastful(Honest);
    impl Peer for Boastful {
        fn reply(&mut self, request: Request) -> Result<Reply, String> {
            let reply = self.0.reply(request)?;
            let is_given = matches!(reply, Reply::Given { .. });
            let boast = Reply::Given { taken: u64::MAX, refusal: String::new() };
            Ok(if is_given { boast } else { reply })
        }
    }
    let mut node = TestNode::with(0..900);
    let report = run(&mut node, &mut Boastful(Honest::sketching(TestNode::with(0..100))));
    assert_eq!((report.sent, report.is_useless), (0, true), "{report:?}");
}

#[test]
fn a_peer_that_sends_from_the_sketch_to_its_rows_and_back_is_left() {
    struct Circling(u32);
    impl Peer for Circling {
        fn reply(&mut self, request: Request) -> Result<Reply, String> {
            self.0 += 1;
            assert!(self.0 < 20, "asked and asked: {request:?}");
            Ok(match request {
                Request::Roots { .. } => Reply::Roots { matched: false, count: 50 },
                Request::Sketch(_) => {
                    let since = Some(RowCursor { numbering: 7, row: 0 });
                    Reply::Sketch(SketchReply { since, ..SketchReply::default() })
                }
                _ => Reply::Unsupported,
            })
        }
    }
    let report = run(&mut TestNode::with(0..50), &mut Circling(0));
    assert!(report.is_useless && report.error.is_some(), "{report:?}");
}

/// One kind of false answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    /// The same set, said to be another.
    Different,
    /// The same, and that all buckets of it are others.
    Digests,
    /// The same, with members that no node has.
    Buckets,
    /// As many cells as are asked for, of no set.
    Cells,
    /// More differs, it says, than any number of cells decodes.
    TooMuch,
    /// The same, and cells of no set for each part.
    Parts,
    /// Another count each time, so that the cells before are worth nothing.
    Restless,
    /// Bodies that are not what was asked for.
    Bodies,
    /// A log without end, of what is known.
    Log,
    /// Holds nothing, takes nothing.
    Full,
}

/// Gives one kind of false answer; honest in all else, with the set that the node holds.
struct Byzantine {
    peer: Honest,
    kind: Kind,
    asked: u64,
    /// Bytes both ways, without headers.
    bytes: usize,
    cells: usize,
}

fn size(sealed: &[Sealed]) -> usize {
    sealed.iter().map(|sealed| sealed.bytes().len()).sum()
}

/// Members from a hash on that no node has.
fn unheard_of(first: Digest) -> Reply {
    let leaves = (1..=200).map(|last| {
        let mut leaf = first;
        leaf.0[31] = last;
        leaf
    });
    Reply::Leaves { leaves: leaves.collect(), truncated: false }
}

impl Byzantine {
    fn log_on(&self, row: u64) -> Reply {
        let first = RowCursor { numbering: 1, row: 0 };
        let wanted = RowRange { from: first, until: None };
        let given = answer_records(&self.peer.node.store, wanted, &self.peer.node.bodies);
        let from = RowCursor { numbering: 7, row };
        let span = Span { from, next: row + given.span.next, rows: u64::MAX };
        Reply::Records(Records { span, ..given })
    }

    fn count(&mut self, request: &Request, reply: &Reply) {
        self.bytes += match request {
            Request::Fetch(wanted) => wanted.len() * 34,
            Request::FetchShort(wanted) => wanted.len() * 8,
            Request::Give(given) => size(given),
            Request::Gossip(given) => given.bytes().len(),
            Request::Sketch(request) => request.low_counts.packed.len(),
            Request::Roots { .. } | Request::Leaves | Request::Records(_) => 0,
            Request::Digests | Request::LeavesOf(_) => 0,
        };
        if let Reply::Sketch(reply) = reply {
            self.cells += reply.cells.len();
        }
        self.bytes += match reply {
            Reply::Leaves { leaves, .. } => leaves.len() * 34,
            Reply::Sketch(reply) => reply.cells.len() * 12,
            Reply::Digests(digests) => digests.len() * 8,
            Reply::Records(records) => size(&records.good),
            Reply::Fetched { good, bad } => size(good) + *bad as usize * 150,
            _ => 0,
        };
    }

    fn false_answer(&mut self, request: &Request) -> Option<Reply> {
        let cell = |number: u64| Cell {
            ids: short_id(&Digest::of(&number.to_le_bytes())),
            checks: number as u32,
        };
        let of = |from, cells, count| SketchReply { from, cells, count, ..SketchReply::default() };
        let count = match self.kind {
            Kind::Full => 0,
            Kind::Log => 1_000_000,
            _ => self.peer.node.store.len(),
        };
        Some(match (self.kind, request) {
            (_, Request::Roots { .. }) => Reply::Roots { matched: false, count },
            (Kind::Digests | Kind::Buckets, Request::Digests) => {
                Reply::Digests((1..=limits::BUCKETS as u64).collect())
            }
            (Kind::Buckets, Request::LeavesOf(part)) => unheard_of(part.start()),
            (Kind::Buckets, Request::Give(given)) => {
                Reply::Given { taken: given.len() as u64, refusal: String::new() }
            }
            (Kind::Cells, Request::Sketch(request)) => {
                let cells =
                    if request.low_counts.packed.is_empty() { request.cells } else { 62_000 };
                let cells = cells.min(limits::SKETCH_CELLS_MAX - request.from) as u64;
                Reply::Sketch(of(request.from, (0..cells).map(cell).collect(), count))
            }
            (Kind::Parts, Request::Sketch(request)) if request.part.is_some() => {
                let cells = (0..request.cells as u64).map(cell).collect();
                let part = request.part;
                Reply::Sketch(SketchReply { part, ..of(request.from, cells, count) })
            }
            (Kind::TooMuch, Request::Sketch(SketchRequest { part: Some(_), .. })) => {
                return None;
            }
            (Kind::TooMuch | Kind::Parts, Request::Sketch(request)) if request.cells == 0 => {
                let large = SketchReply { estimate: u64::MAX, ..SketchReply::default() };
                Reply::Sketch(SketchReply { from: request.from, count, ..large })
            }
            (Kind::TooMuch | Kind::Parts | Kind::Bodies, Request::Sketch(request)) => {
                let cells = (0..24).map(cell).collect();
                Reply::Sketch(of(request.from, cells, count))
            }
            (Kind::Restless, Request::Sketch(request)) => {
                let cells =
                    if request.low_counts.packed.is_empty() { request.cells } else { 60_000 };
                let cells = (0..cells as u64).map(cell).collect();
                Reply::Sketch(of(request.from, cells, count + self.asked))
            }
            (Kind::Bodies, Request::Leaves) => {
                let leaves = (0..9000_u64).map(|number| Digest::of(&number.to_le_bytes()));
                Reply::Leaves { leaves: leaves.collect(), truncated: false }
            }
            (Kind::Bodies, Request::Fetch(wanted)) => {
                Reply::Fetched { good: Vec::new(), bad: wanted.len() as u64 }
            }
            (Kind::Bodies, Request::FetchShort(wanted)) => {
                Reply::Fetched { good: Vec::new(), bad: wanted.len() as u64 }
            }
            (Kind::Log, Request::Records(wanted)) => self.log_on(wanted.from.row),
            (Kind::Full, Request::Sketch(request)) => {
                Reply::Sketch(answer_sketch(&TestNode::with([]).store, request))
            }
            (Kind::Full, Request::Leaves) => Reply::Leaves { leaves: Vec::new(), truncated: false },
            (Kind::Full, Request::Give(_)) => Reply::Given { taken: 0, refusal: "full".into() },
            (Kind::Full, Request::Gossip(_)) => Reply::Gossiped { refusal: "full".into() },
            _ => return None,
        })
    }
}

impl Peer for Byzantine {
    fn reply(&mut self, request: Request) -> Result<Reply, String> {
        self.asked += 1;
        assert!(self.asked < 200, "asked and asked: {request:?}");
        let falsified = self.false_answer(&request);
        let reply = falsified.map_or_else(|| self.peer.reply(request.clone()), Ok)?;
        self.count(&request, &reply);
        Ok(reply)
    }
}

/// A peer that claims a large difference costs no more than an honest large difference does.
#[test]
fn false_answers_cost_no_more_than_honest_ones_and_are_noticed() {
    const HELD: u64 = 8_000;
    let honest = {
        let peer = Honest::sketching(TestNode::with(0..HELD + limits::SKETCH_DIFFERENCES_MAX));
        let bytes = HELD + limits::SKETCH_DIFFERENCES_MAX;
        let bodies = size(&peer.node.bodies.0[HELD as usize..]);
        bodies + limits::SKETCH_CELLS_MAX * 12 + bytes as usize * 34
    };
    let kinds = [
        Kind::Digests,
        Kind::Parts,
        Kind::Buckets,
        Kind::Different,
        Kind::Cells,
        Kind::TooMuch,
        Kind::Restless,
        Kind::Bodies,
        Kind::Log,
        Kind::Full,
    ];
    for kind in kinds {
        let mut peer = Byzantine {
            peer: Honest::sketching(TestNode::with(0..HELD)),
            kind,
            asked: 0,
            bytes: 0,
            cells: 0,
        };
        let mut node = TestNode::with(0..HELD);
        let root = node.root();
        let report = run(&mut node, &mut peer);
        let past = PeerHistory::default().and(&report, root);
        let is_blind = report.is_blind();
        let known = if is_blind { run_after(past, &mut node, &mut peer) } else { report };
        assert!(known.is_useless, "{kind:?}: {known:?}");
        assert!(peer.bytes < honest, "{kind:?} costs {} bytes, {honest} are honest", peer.bytes);
        assert!(peer.cells < 3 * limits::SKETCH_CELLS_MAX, "{kind:?} gives {} cells", peer.cells);
        assert_eq!((node.root(), known.received), (root, 0), "{kind:?}: nothing false is stored");
    }
}
