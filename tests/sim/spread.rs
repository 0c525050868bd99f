//! How new assertions spread: to all nodes, soon, with one copy each. Never: faults that are not
//! about who passes what on.

use std::collections::BTreeSet;
use std::time::Duration;

use stemedb_edge::base::limits;

use crate::net::Mode;
use crate::watch::Watch;
use crate::world::{Fault, SECOND, World};

/// When a cluster has formed and is of one id.
const FORMED: u64 = 20 * SECOND;
/// Claims, a hundredth of a second apart.
const CLAIMS: usize = 40;
/// A large cluster.
const LARGE: usize = 50;
/// A push, its flush and its answer, at each of the hops of the longest path.
const PATH: u64 = SECOND / 4;
/// What a tree missed is seen by a probe, and waited for 0.3 s. What TCP sends again comes late.
const REPAIRED: u64 = 8 * SECOND;
/// A session's call that is lost for good ends so late, and another session follows.
const LOST: u64 = limits::CALL_MAX.as_secs() * SECOND;
/// A cluster in which the node of the client reaches all others itself.
const SMALL: usize = 6;

/// A cluster whose sets are compared only where digests differ.
pub(crate) fn without_rounds(seed: u64, mode: Mode, nodes: usize, plain: &[usize]) -> World {
    let mut world = World::new(seed, mode, 0);
    world.sync_interval = Duration::from_secs(3600);
    world.plain.extend(plain);
    (0..nodes).for_each(|_| world.add_member(None));
    world.run_until(FORMED);
    world
}

fn copies(world: &World) -> f64 {
    let bodies = world.watch.as_ref().expect("set").total().bodies;
    bodies as f64 / (CLAIMS * (world.members.len() - 1)) as f64
}

/// Claims come to nodes at random, but not to the last node. Out: microseconds from the last claim
/// until all nodes have all.
fn claim_and_settle(world: &mut World, patience: u64) -> Option<u64> {
    let nodes = world.members.len();
    world.watch = Some(Watch::new(nodes));
    for _ in 0..CLAIMS {
        let of = world.below(nodes - 1);
        world.claim_at(of);
        world.run_until(world.now + SECOND / 100);
    }
    let last = world.now;
    let is_whole = |world: &World| {
        let watch = world.watch.as_ref().expect("just set");
        watch.stored.len() == CLAIMS && watch.stored.values().all(|it| it.len() == nodes)
    };
    while !is_whole(world) && world.now < last + patience {
        world.run_until(world.now + SECOND / 100);
    }
    assert_eq!(world.broken.take(), None);
    let lack = world.watch.as_ref().expect("set").stored.values().filter(|it| it.len() < nodes);
    println!("{} claims are not on all of {nodes}, {:.3} copies", lack.count(), copies(world));
    is_whole(world).then_some(world.now - last)
}

#[test]
fn in_a_small_cluster_each_node_gets_one_copy_at_once() {
    for nodes in 2..=SMALL {
        let mut world = World::new(nodes as u64, Mode::Tcp, nodes);
        world.run_until(FORMED);
        assert!(claim_and_settle(&mut world, SECOND).is_some(), "{nodes} nodes");
        let bodies = world.watch.as_ref().expect("set").total().bodies;
        assert_eq!(bodies, (CLAIMS * (nodes - 1)) as u64, "{nodes} nodes");
    }
}

/// Nothing is lost: the trees reach all, with hardly more than one copy each.
#[test]
fn in_a_large_cluster_each_node_gets_hardly_more_than_one_copy() {
    for seed in 0..2 {
        let mut world = without_rounds(seed, Mode::Tcp, LARGE, &[]);
        let took = claim_and_settle(&mut world, REPAIRED);
        assert!(took.is_some_and(|took| took <= PATH), "seed {seed}: {took:?}");
        world.run_until(world.now + 2 * SECOND);
        assert!(copies(&world) <= 1.2, "seed {seed}: {} copies", copies(&world));
        let syncs = world.watch.as_ref().expect("set").total().syncs;
        world.run_until(world.now + 10 * SECOND);
        let later = world.watch.as_ref().expect("set").total().syncs;
        assert_eq!(later, syncs, "seed {seed}: equal sets are not compared");
    }
}

/// Sessions take what is on its way along the trees, too. Those behind their nodes get it all the
/// same, before any digest is looked at.
#[test]
fn a_session_in_a_burst_of_claims_keeps_none_from_others() {
    for seed in 10..12 {
        let mut world = without_rounds(seed, Mode::Tcp, LARGE, &[]);
        world.watch = Some(Watch::new(LARGE));
        for claim in 0..CLAIMS {
            let of = world.below(LARGE);
            world.claim_at(of);
            world.sync_now(claim % LARGE);
            world.run_until(world.now + SECOND / 100);
        }
        world.run_until(world.now + PATH);
        let stored = &world.watch.as_ref().expect("set").stored;
        let whole = stored.values().filter(|it| it.len() == LARGE).count();
        assert_eq!(whole, CLAIMS, "seed {seed}, of {}", stored.len());
    }
}

/// What a tree misses is found by the digests on probes, without a round of anti-entropy.
#[test]
fn what_is_lost_is_found_by_the_digests_on_probes() {
    let (tcp, datagrams) = ((Mode::Tcp, REPAIRED), (Mode::Datagrams, 2 * LOST));
    for (seed, (mode, patience), nodes) in
        [(0, tcp, LARGE), (1, datagrams, LARGE), (2, datagrams, 5), (3, tcp, 5)]
    {
        let mut world = without_rounds(seed, mode, nodes, &[]);
        world.net.loss = 50;
        let took = claim_and_settle(&mut world, patience);
        assert!(took.is_some(), "seed {seed}, {nodes} nodes, {mode:?}");
    }
}

/// A tenth is killed, and the others hold it for alive: what it would have passed on goes around
/// it, before any digest is looked at.
#[test]
fn a_push_that_is_refused_goes_around_the_member() {
    let mut world = without_rounds(5, Mode::Tcp, LARGE, &[]);
    for number in 20..25 {
        world.plan(world.now, Fault::Kill(number));
    }
    world.run_until(world.now + SECOND / 100);
    world.watch = Some(Watch::new(LARGE));
    for claim in 0..CLAIMS / 2 {
        world.claim_at(claim % 20);
    }
    world.run_until(world.now + PATH);
    let stored = &world.watch.as_ref().expect("set").stored;
    let whole = stored.values().filter(|it| it.len() == LARGE - 5).count();
    assert_eq!(whole, CLAIMS / 2, "of {}", stored.len());
}

/// A node that no other one can call is pushed nothing. It finds what is new by its own probes.
#[test]
fn a_node_behind_nat_is_not_waited_for_and_lacks_nothing() {
    let mut world = without_rounds(6, Mode::Tcp, LARGE, &[]);
    world.net.behind_nat.insert(LARGE - 1);
    // Until all have found that they cannot call it.
    world.run_until(world.now + 120 * SECOND);
    let took = claim_and_settle(&mut world, REPAIRED);
    assert!(took.is_some(), "it lacks some");
}

/// Nodes that know the five standard calls alone get every claim by pushes, and no claim waits for
/// one of them to pass it on.
#[test]
fn members_of_the_standard_get_every_claim() {
    let plain = [10, 11, 12, 30, LARGE - 1];
    let mut world = without_rounds(7, Mode::Tcp, LARGE, &plain);
    for _ in 0..CLAIMS {
        let of = (0..).map(|_| world.below(LARGE)).find(|of| !plain.contains(of));
        world.claim_at(of.expect("one that is not plain"));
        world.run_until(world.now + SECOND / 100);
    }
    world.run_until(world.now + PATH);
    let roots: BTreeSet<_> = (0..LARGE).map(|number| world.root(number)).collect();
    assert_eq!(roots.len(), 1, "some lack a claim");
}
