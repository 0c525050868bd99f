//! How new assertions spread: to all nodes, soon, with one copy each. Never: faults that are not
//! about who passes what on.

use crate::net::Mode;
use crate::watch::Watch;
use crate::world::{SECOND, World};

/// When a cluster has formed and is of one id.
const FORMED: u64 = 20 * SECOND;
/// Claims, a hundredth of a second apart.
const CLAIMS: usize = 40;
/// A cluster in which the node of the client reaches all others itself.
const SMALL: usize = 6;

/// Claims come to nodes at random. Out: microseconds from the last one until all nodes have all.
fn claim_and_settle(world: &mut World, patience: u64) -> Option<u64> {
    let nodes = world.members.len();
    world.watch = Some(Watch::new(nodes));
    for _ in 0..CLAIMS {
        let of = world.below(nodes);
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
