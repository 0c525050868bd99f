//! The queue of scans in a world of rows whose bodies differ in their subject alone.

use std::cell::Cell;

use super::*;
use crate::base::{Digest, HlcClock, NodeId, Random, Wall};
use crate::journal::{Committed, Position};
use crate::model::{Draft, Lens, Object, Query, Sealed};

/// Rows of the subject `long`: past [`limits::SCAN_SHORT_WORK`], and five slices more.
const LONG_ROWS: u64 = 9 * limits::SCAN_SLICE_WORK as u64;

/// A row for `point`, then the rows for `long`.
struct ScanWorld {
    store: Store,
    point: Sealed,
    long: Sealed,
    read: Cell<usize>,
    queue: ScanQueue,
    next: u64,
}

impl Bodies for ScanWorld {
    fn digest_at(&self, at: Position) -> Option<Digest> {
        Some(Digest::of(&at.0.to_le_bytes()))
    }

    fn sealed_at(&self, at: Position) -> Option<Sealed> {
        let of = if at.0 == 0 { &self.point } else { &self.long };
        self.read.set(self.read.get() + of.bytes().len());
        Some(Sealed::recovered(self.digest_at(at)?, of.bytes().clone()))
    }
}

fn claim(subject: &str, value: &str) -> Sealed {
    let mut draft = Draft::new(subject.into(), "p".into(), Object::Text(value.into()));
    draft.timestamp = Some(1);
    draft.check(&mut HlcClock::new(NodeId::NONE), Wall(0)).expect("a good draft").seal()
}

fn world(rows: u64, value: &str) -> ScanWorld {
    let (point, long) = (claim("point", "x"), claim("long", value));
    let (read, queue) = (Cell::new(0), ScanQueue::default());
    let mut world = ScanWorld { store: Store::new(1), point, long, read, queue, next: 0 };
    for row in 0..=rows {
        let at = Position(row << 10);
        let sealed = world.sealed_at(at).expect("every position has a body");
        world.store.append(&Committed::recovered(at, sealed));
    }
    world.store.update_sketch();
    world
}

fn host(peer: u64) -> Client {
    Client { peer, behind: None }
}

impl ScanWorld {
    fn enter(&mut self, client: Client, subject: &str) -> Result<Ticket, TooMany> {
        self.next += 1;
        let lens = Some(Lens::Recency);
        let query = Query { subject: Some(subject.into()), lens, ..Query::default() };
        let ticket = Ticket(self.next);
        self.queue.enter(ticket, client, Scan::page(query, Wall(9_000)))?;
        Ok(ticket)
    }

    fn run_slice(&mut self) -> Vec<(Ticket, Option<View>)> {
        let mut queue = std::mem::take(&mut self.queue);
        let over = queue.run_slice(&self.store, self);
        assert!(queue.begun.taken() <= limits::QUERIES_MAX, "more is held than the bound");
        let holding = queue.waiting.values().filter(|it| it.scan.candidates.is_some()).count();
        assert!(holding <= queue.begun.taken() + 1, "{holding} hold what they found");
        self.queue = queue;
        over
    }

    /// Slices until a scan is over, and the tickets of the others that ended before.
    fn until(&mut self, ticket: Ticket) -> (usize, Vec<Ticket>) {
        let mut others = Vec::new();
        for slices in 1..100_000 {
            for (over, view) in self.run_slice() {
                let Some(View::Page { resolution: Some(resolution), .. }) = view else {
                    panic!("{over:?} has no answer")
                };
                let count = if resolution.candidates_count == 1 { 1 } else { LONG_ROWS };
                assert_eq!(resolution.candidates_count, count, "not all were looked at");
                if over == ticket {
                    return (slices, others);
                }
                others.push(over);
            }
        }
        panic!("{ticket:?} is never answered")
    }
}

#[test]
fn a_short_query_passes_sixteen_long_ones() {
    let mut world = world(LONG_ROWS, "x");
    for peer in 0..16 {
        world.enter(host(peer), "long").expect("there is a slot");
    }
    // While all of them are new, it comes after those of as many hosts, which have three slices of
    // four.
    let point = world.enter(host(3), "point").expect("there is a slot");
    assert!(world.until(point).0 <= 17 * 4 * 4 / 3, "new ones");
    while world.queue.short.next(|_| true).is_some() {
        world.run_slice();
    }
    for peer in 0..20 {
        let point = world.enter(host(peer), "point").expect("there is a slot");
        assert!(world.until(point).0 <= 2, "host {peer}");
    }
}

#[test]
fn a_host_with_a_hundred_queries_does_not_starve_one_with_a_single_one() {
    for (subject, ended) in [("point", 0), ("long", 2)] {
        let mut world = world(LONG_ROWS, "x");
        for _ in 0..100 {
            world.enter(host(1), "long").expect("there is a slot");
        }
        let other = world.enter(host(2), subject).expect("there is a slot");
        let (_, others) = world.until(other);
        assert!(others.len() <= ended, "{subject}: after {} others", others.len());
    }
    // The same between two that one gateway asks for.
    let mut world = world(LONG_ROWS, "x");
    for _ in 0..100 {
        world.enter(Client { peer: 1, behind: Some(1) }, "long").expect("there is a slot");
    }
    let other = world.enter(Client { peer: 1, behind: Some(2) }, "long").expect("there is a slot");
    let (_, others) = world.until(other);
    assert!(others.len() <= 4, "after {} others", others.len());
}

#[test]
fn long_queries_go_on_beside_short_ones_without_end() {
    let mut world = world(LONG_ROWS, "x");
    let long = world.enter(host(1), "long").expect("there is a slot");
    let mut slices = 0;
    loop {
        while world.queue.len() < 40 {
            world.enter(host(2), "point").expect("there is a slot");
        }
        slices += 1;
        if world.run_slice().iter().any(|(over, _)| *over == long) {
            break;
        }
    }
    assert!(slices <= 4 * 9, "{slices} slices for the work of 9");
}

#[test]
fn a_long_query_ends_with_its_client_and_a_short_one_is_answered() {
    let mut world = world(LONG_ROWS, "x");
    let long: Vec<Ticket> =
        (0..40).map(|_| world.enter(host(1), "long").expect("there is a slot")).collect();
    while world.queue.short.next(|_| true).is_some() {
        world.run_slice();
    }
    // Those that wait for memory, and those that work.
    let left = long.iter().filter(|ticket| world.queue.client_left(**ticket)).count() as u64;
    assert!(left > 20, "the other {left} are over");
    assert_eq!((world.queue.len(), world.queue.begun.taken()), (0, 0));
    let seen = world.queue.stats().candidates;
    assert_eq!(world.run_slice().len(), 0);
    assert_eq!(world.queue.stats(), Stats { candidates: seen, abandoned: left, refused: 0 });

    let point = world.enter(host(1), "point").expect("there is a slot");
    let long = world.enter(host(1), "long").expect("there is a slot");
    assert!(!world.queue.client_left(point) && !world.queue.client_left(long));
    world.until(point);
    let ended = (0..10).find_map(|_| world.run_slice().pop()).expect("it becomes long");
    assert!(ended.0 == long && ended.1.is_none(), "{ended:?}");
    let short = (limits::SCAN_SHORT_WORK + limits::SCAN_SLICE_WORK) as u64;
    assert!(world.queue.stats().candidates - seen <= short);
    assert!(world.queue.is_empty() && world.queue.slots.taken() == 0);
}

#[test]
fn a_host_cannot_fill_the_queue() {
    let mut world = world(1, "x");
    let entered = (0..400).filter(|_| world.enter(host(1), "long").is_ok()).count();
    assert_eq!(entered, limits::QUERIES_WAITING_MAX / 2);
    assert_eq!(world.queue.stats().refused, 400 - entered as u64);
    assert!(world.enter(host(2), "long").is_ok());
}

#[test]
fn a_slice_is_bounded_by_the_bytes_it_reads() {
    let value = "x".repeat(500_000);
    let mut world = world(100, &value);
    for peer in 0..4 {
        world.enter(host(peer), "long").expect("there is a slot");
    }
    for _ in 0..50 {
        world.read.set(0);
        world.run_slice();
        let read = world.read.get();
        assert!(read <= 1_100_000, "{read} bytes in one slice");
    }
    // A skeptic reads the values once more at its end.
    let mut query = Query { subject: Some("long".into()), ..Query::default() };
    query.predicate = Some("p".into());
    let mut scan = Scan::skeptic(query, Wall(9_000));
    while !scan.step(&mut 1, &world.store, &world) {}
    world.read.set(0);
    let mut work = limits::SCAN_SLICE_WORK;
    scan.finish(&mut work, &world.store, &world);
    assert!(world.read.get() <= 2 * limits::PAGE_BYTES_MAX);
}

#[test]
fn whatever_clients_do_all_that_stay_are_answered() {
    for seed in 0..3 {
        let mut random = Random::new(seed);
        let mut world = world(LONG_ROWS, "x");
        let mut open: Vec<Ticket> = Vec::new();
        for step in 0..400 {
            let (peer, behind) = (random.below(4) as u64, random.below(2) as u64);
            let client = Client { peer, behind: Some(behind) };
            match random.below(12) {
                0 if step < 300 => open.extend(world.enter(client, "long")),
                1 if step < 300 => open.extend(world.enter(client, "point")),
                2 if !open.is_empty() && random.below(3) == 0 => {
                    let ticket = open.swap_remove(random.below(open.len()));
                    world.queue.leave(ticket);
                }
                3 if !open.is_empty() && random.below(3) == 0 => {
                    let ticket = open[random.below(open.len())];
                    if world.queue.client_left(ticket) {
                        open.retain(|known| *known != ticket);
                    }
                }
                _ => {
                    let over = world.run_slice();
                    open.retain(|known| over.iter().all(|(ticket, _)| ticket != known));
                }
            }
            assert_eq!(open.len(), world.queue.len(), "seed {seed}");
        }
        while !open.is_empty() {
            let over = world.run_slice();
            open.retain(|known| over.iter().all(|(ticket, _)| ticket != known));
        }
        let queue = &world.queue;
        assert!(queue.is_empty() && queue.begun.taken() + queue.slots.taken() == 0);
    }
}
