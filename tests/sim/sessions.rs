//! What a peer that is silent costs sessions of anti-entropy with others. Never: rounds, but those
//! that a test asks for.

use stemedb_edge::swim::State;

use crate::net::Mode;
use crate::spread::without_rounds;
use crate::world::{Fault, SECOND, World};

/// Nodes of a cluster.
const NODES: usize = 5;
/// Two seconds in which a silent peer may still answer, and the session with the next one.
const SOON: u64 = 3 * SECOND;
/// Until a host that is gone without a word is dead for all.
const DEAD: u64 = 12 * SECOND;

/// A cluster, and the member that the sessions of node 0 begin with.
fn cluster(seed: u64) -> (World, usize) {
    let world = without_rounds(seed, Mode::Tcp, NODES, &[]);
    let first = (1..NODES).min_by_key(|number| world.members[*number].id);
    (world, first.expect("there are others"))
}

/// Sessions that a node has under way.
fn under_way(world: &World, of: usize) -> usize {
    world.members[of].node.as_ref().expect("it runs").replica.syncs().count()
}

/// Its connection is open for all the caller knows, and no answer comes.
#[test]
fn a_host_that_is_gone_holds_up_no_session_with_others() {
    for seed in 0..6 {
        let (mut world, gone) = cluster(seed);
        world.plan(world.now, Fault::PowerCut(gone));
        let claimer = (1..NODES).find(|number| *number != gone).expect("there are others");
        // Neither a push nor a session of another brings it the claim.
        world.net.uncallable.extend((1..NODES).map(|other| (other, 0)));
        world.claim_at(claimer);
        world.run_until(world.now + SECOND / 20);
        assert!(world.holds(0).is_empty(), "seed {seed}");
        world.sync_now(0);
        world.run_until(world.now + SOON);
        assert_eq!(world.holds(0).len(), 1, "seed {seed}");
    }
}

#[test]
fn a_session_ends_when_its_peer_is_known_to_be_dead() {
    for seed in 0..6 {
        let (mut world, gone) = cluster(seed);
        world.plan(world.now, Fault::PowerCut(gone));
        world.run_until(world.now + SECOND / 100);
        world.sync_now(0);
        world.run_until(world.now + SECOND / 2);
        assert_eq!(under_way(&world, 0), 1, "seed {seed}: it waits for an answer");
        world.run_until(world.now + DEAD);
        assert_eq!(world.sees(0, gone), Some(State::Dead), "seed {seed}");
        assert_eq!(under_way(&world, 0), 0, "seed {seed}");
    }
}
