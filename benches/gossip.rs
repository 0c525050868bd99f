//! How soon new assertions are on all nodes, and what that costs: whole replicas of tests/sim.
//!
//! `cargo bench --bench gossip [-- NODES ...]`, else 3, 50 and 200 nodes, some minutes; 1024 take
//! more than twelve until they know each other. `FLUSH_MS=100`: what a flush takes at least. Sets
//! are compared each 30 s, as in
//! production; 300 claims come within three seconds, at random nodes.

#![allow(dead_code, reason = "the simulator has more than this bench takes")]

#[path = "../tests/sim"]
mod sim {
    pub(crate) mod byzantine;
    pub(crate) mod disk;
    pub(crate) mod net;
    pub(crate) mod node;
    pub(crate) mod watch;
    pub(crate) mod world;
}

use std::time::{Duration, Instant};

use stemedb_edge::swim::State;

// As the simulator's files name each other.
use sim::{byzantine, disk, net, node, watch, world};

use net::Mode;
use watch::Watch;
use world::{SECOND, World};

const CLAIMS: usize = 300;
/// Between two claims.
const PAUSE: u64 = SECOND / 100;
/// How long the cluster has to form.
const PATIENCE: u64 = 300 * SECOND;

fn main() {
    let given = std::env::args().skip(1).filter_map(|word| word.parse().ok());
    let mut sizes: Vec<usize> = given.collect();
    if sizes.is_empty() {
        sizes = vec![3, 50, 200];
    }
    println!(
        "| nodes, loss | a claim on all: p50 | p99 | last | roots equal after the last claim | \
         copies per node and claim | bytes per node and claim | most at one node | \
         calls of anti-entropy per node |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for nodes in sizes {
        for (mode, loss) in [(Mode::Tcp, 0), (Mode::Tcp, 50), (Mode::Datagrams, 50)] {
            measure(nodes, mode, loss);
        }
    }
}

fn measure(nodes: usize, mode: Mode, loss: u64) {
    let began = Instant::now();
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let mut world = World::new(number("SEED").unwrap_or(4), mode, 0);
    world.is_quiet = true;
    world.sync_interval = Duration::from_secs(30);
    (0..nodes).for_each(|_| world.add_member(None));
    let is_formed = |world: &World| {
        let pairs = (0..nodes).flat_map(|one| (0..nodes).map(move |other| (one, other)));
        pairs
            .filter(|(one, other)| one != other)
            .all(|(one, other)| world.sees(one, other) == Some(State::Alive))
    };
    world.run_until(30 * SECOND);
    while nodes <= 200 && !is_formed(&world) {
        world.run_until(world.now + 5 * SECOND);
        assert!(world.now < PATIENCE, "{nodes} nodes never know each other");
    }
    // Rumors end, and rounds that the start asked for.
    world.run_until(world.now + 20 * SECOND);
    world.flush = number("FLUSH_MS").map_or(world.flush, |ms| ms * 1000);
    world.net.loss = loss;
    world.watch = Some(Watch::new(nodes));
    let mut claimed = Vec::new();
    for _ in 0..CLAIMS {
        let of = world.below(nodes);
        claimed.push(world.now);
        world.claim_at(of);
        world.run_until(world.now + PAUSE);
    }
    let last = world.now - PAUSE;
    let is_whole = |world: &World| {
        let watch = world.watch.as_ref().expect("just set");
        watch.stored.len() == CLAIMS && watch.stored.values().all(|it| it.len() == nodes)
    };
    while !is_whole(&world) && world.now < last + 120 * SECOND {
        world.run_until(world.now + PAUSE);
    }
    let settled = world.now;
    world.run_until(last + 10 * SECOND);
    let what = format!("{mode:?} {}.{} %", loss / 10, loss % 10);
    if let Some(broken) = &world.broken {
        println!("| {nodes}, {what} | broken: {broken} |");
    }
    report(&world, &format!("{nodes}, {what}"), settled - last);
    eprintln!("{:.0} s", began.elapsed().as_secs_f64());
}

fn report(world: &World, what: &str, settled: u64) {
    let watch = world.watch.as_ref().expect("set before the claims");
    let nodes = world.members.len();
    let whole = watch.stored.values().filter(|it| it.len() == nodes);
    let mut times: Vec<u64> = whole.map(|it| it[nodes - 1] - it[0]).collect();
    times.sort_unstable();
    let at = |share: usize| {
        let index = (times.len() * share).div_ceil(100).saturating_sub(1);
        times.get(index).map_or("never".into(), |it| format!("{:.3} s", *it as f64 / 1e6))
    };
    let per = |count: u64| count as f64 / (nodes * CLAIMS) as f64;
    let total = watch.total();
    let most = watch.received.iter().map(|it| it.bytes).max().unwrap_or_default();
    // A node of a client gets no copy of its own claim.
    let copies = per(total.bodies) * nodes as f64 / (nodes - 1) as f64;
    println!(
        "| {what} | {} | {} | {} | {:.2} s | {copies:.3} | {:.0} | {:.0} | {:.1} |",
        at(50),
        at(99),
        at(100),
        settled as f64 / 1e6,
        per(total.bytes),
        most as f64 / CLAIMS as f64,
        total.syncs as f64 / nodes as f64,
    );
}
