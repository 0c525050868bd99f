//! What the membership costs and how soon it is whole, by the number of nodes. Never: faults that
//! are not about who knows whom.

use stemedb_edge::swim::State;

use crate::net::Mode;
use crate::world::{Fault, SECOND, World};

/// Sizes of clusters: the smallest have no third node that news could go to.
const SIZES: [usize; 5] = [2, 3, 4, 5, 50];
/// Intervals in which an idle cluster is watched.
const WATCHED: u64 = 30;
/// When a cluster has formed and is of one id.
const FORMED: u64 = 20 * SECOND;
/// Intervals within which a member learns what all others know, where a message of twenty is lost.
const LEARNED_WITHIN: u64 = 5;

/// How many of all views of other nodes are `Alive`.
fn views(world: &World) -> usize {
    let count = world.members.len();
    let pairs = (0..count).flat_map(|one| (0..count).map(move |other| (one, other)));
    pairs.filter(|(one, other)| world.sees(*one, *other) == Some(State::Alive)).count()
}

/// Once all is known, each member sends one probe an interval, and rounds of anti-entropy take
/// one call to each of three peers.
#[test]
fn an_idle_cluster_sends_one_probe_per_member_and_interval() {
    for (seed, count) in (0..).zip(SIZES) {
        let mut world = World::new(seed, Mode::Tcp, count);
        // Rumors have ended by then.
        world.run_until(2 * FORMED);
        assert_eq!(views(&world), count * (count - 1), "{count} nodes");
        let nodes = world.members.iter().filter_map(|member| member.node.as_ref());
        let rumors: usize = nodes.map(|node| node.swim().rumors()).sum();
        assert_eq!(rumors, 0, "{count} nodes: news that every member has");
        let before = world.calls.clone();
        world.run_until(2 * FORMED + WATCHED * SECOND);
        for (number, (before, after)) in before.iter().zip(&world.calls).enumerate() {
            let pings = after.pings - before.pings;
            assert!(pings.abs_diff(WATCHED) <= 1, "node {number} of {count}: {pings} pings");
            let rounds = WATCHED / 7;
            let syncs = after.syncs - before.syncs;
            assert!(
                syncs <= rounds * 3.min(count as u64 - 1),
                "{number} of {count}: {syncs} calls"
            );
            assert_eq!(after.others, before.others, "node {number} of {count}");
        }
    }
}

/// A member that comes back has forgotten all: it knows all again within two seconds, whether the
/// others still had it as alive or called it dead meanwhile, and whether its seeds come back with
/// it.
#[test]
fn a_tenth_that_comes_back_knows_all_within_two_seconds() {
    for (seed, pause) in
        [(0, 3 * SECOND / 10), (1, 3 * SECOND / 10), (2, 8 * SECOND), (3, 8 * SECOND)]
    {
        let mode = if seed % 2 == 0 { Mode::Tcp } else { Mode::Datagrams };
        let mut world = World::new(seed, mode, 50);
        world.run_until(FORMED);
        // The first are the seeds of all.
        let first = if seed < 2 { 45 } else { 0 };
        let killed = first..first + 5;
        for number in killed.clone() {
            world.plan(FORMED, Fault::Kill(number));
            world.plan(FORMED + pause, Fault::Restart(number, false));
        }
        world.run_until(FORMED + pause + 2 * SECOND);
        for one in killed {
            let others = (0..50).filter(|other| *other != one);
            let unknown: Vec<usize> =
                others.filter(|other| world.sees(one, *other) != Some(State::Alive)).collect();
            assert!(unknown.is_empty(), "seed {seed}: node {one} does not see {unknown:?}");
        }
    }
}

/// From one seed, which is started with them.
#[test]
fn nodes_that_start_at_once_know_all_within_five_seconds() {
    for (seed, count) in [(0, 5), (1, 50), (2, 150)] {
        let mode = if seed % 2 == 0 { Mode::Tcp } else { Mode::Datagrams };
        let mut world = World::with_seeds(seed, mode, &vec![Some(vec![0]); count]);
        world.run_until(5 * SECOND);
        assert_eq!(views(&world), count * (count - 1), "{count} nodes");
    }
}

/// One hears nothing of another's restart at a new address, and is not called from there, until
/// all rumors have ended; one message of twenty is lost. Its own probes bring what it lacks.
#[test]
fn what_no_rumor_brought_comes_with_a_probe() {
    for (seed, count) in [(0, 5), (1, 5), (2, 5), (3, 5), (4, 50), (5, 50)] {
        let mut world = World::new(seed, Mode::Datagrams, count);
        world.run_until(FORMED);
        let (one, other) = (count - 2, count - 1);
        world.net.loss = 50;
        world.net.uninformed = Some((one, other));
        world.net.uncallable.extend([(one, other), (other, one)]);
        world.plan(FORMED, Fault::Kill(other));
        world.plan(FORMED + SECOND, Fault::Restart(other, true));
        let hears = FORMED + 40 * SECOND;
        world.run_until(hears);
        assert_ne!(world.sees(one, other), Some(State::Alive), "seed {seed}");
        world.net.uninformed = None;
        world.net.uncallable.remove(&(one, other));
        world.run_until(hears + LEARNED_WITHIN * SECOND);
        assert_eq!(world.sees(one, other), Some(State::Alive), "seed {seed}");
    }
}

/// Neither can call the other, so neither hears the other's calls: the others do, and say so.
#[test]
fn two_that_no_node_can_call_do_not_flap() {
    for seed in 0..6 {
        let mode = if seed % 2 == 0 { Mode::Tcp } else { Mode::Datagrams };
        let mut world = World::new(seed, mode, 5);
        world.run_until(FORMED);
        world.net.behind_nat.extend([3, 4]);
        // Until all others have tried to call them.
        world.run_until(FORMED + 30 * SECOND);
        let accusations = world.accusations;
        world.run_until(FORMED + 120 * SECOND);
        assert_eq!(world.accusations, accusations, "seed {seed}");
    }
}
