//! What the membership costs and how soon it is whole, by the number of nodes. Never: faults that
//! are not about who knows whom.

use stemedb_edge::swim::State;

use crate::net::Mode;
use crate::world::{SECOND, World};

/// Sizes of clusters: the smallest have no third node that news could go to.
const SIZES: [usize; 5] = [2, 3, 4, 5, 50];
/// Intervals in which an idle cluster is watched.
const WATCHED: u64 = 60;

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
        world.run_until(60 * SECOND);
        assert_eq!(views(&world), count * (count - 1), "{count} nodes");
        let before = world.calls.clone();
        world.run_until((60 + WATCHED) * SECOND);
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
