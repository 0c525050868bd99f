//! A node that calls the others and cannot be called: behind NAT, or a firewall.
//!
//! Never: has its answers lost, which take the way of the calls.

use super::*;

/// No member calls the last of four.
const BEHIND_NAT: Link = |_, to| to != 3;

impl World {
    fn reachable(&self, of: usize) -> Vec<bool> {
        let live = self.nodes.iter().flatten().filter(|swim| swim.me().node != id(of));
        live.filter_map(|swim| Some(swim.member(id(of))?.is_reachable)).collect()
    }

    /// Events since `from`.
    fn events_since(&self, from: u64) -> usize {
        self.events.iter().filter(|(at, _, _)| *at >= from).count()
    }
}

#[test]
fn a_member_that_calls_and_cannot_be_called_is_alive() {
    for (seed, refuses) in (0..20).flat_map(|seed| [(seed, true), (seed, false)]) {
        let mut world = World::new(4, seed);
        (world.dial, world.refuses) = (BEHIND_NAT, refuses);
        let start = world.now;
        world.run_for(45 * SECOND);
        assert_eq!(world.reachable(3), [false; 3], "seed {seed} refuses {refuses}");
        assert_eq!(world.views(State::Alive), 4 * 3, "seed {seed} refuses {refuses}");
        let events = world.events_since(start);
        assert!(events <= 3 * 5, "seed {seed} refuses {refuses}: {:?}", world.events);
        // A port that refuses is evidence enough to be believed dead until the next call.
        assert!(refuses || world.changes(State::Dead) == 0, "seed {seed}");
        // From then on there is no event.
        let start = world.now;
        world.run_for(300 * SECOND);
        assert_eq!(world.events_since(start), 0, "seed {seed} refuses {refuses}");
        world.dial = |_, _| true;
        world.run_for(20 * SECOND);
        assert_eq!(world.reachable(3), [true; 3], "seed {seed} refuses {refuses}");
        assert_eq!(world.events_since(start), 3, "seed {seed} refuses {refuses}");
    }
}

#[test]
fn a_member_that_stops_calling_is_dead() {
    for (seed, refuses) in (0..10).flat_map(|seed| [(seed, true), (seed, false)]) {
        let mut world = World::new(4, seed);
        (world.dial, world.refuses) = (BEHIND_NAT, refuses);
        world.run_for(60 * SECOND);
        world.nodes[3] = None;
        world.run_for(60 * SECOND);
        assert_eq!((world.views(State::Dead), world.views(State::Alive)), (3, 6), "seed {seed}");
    }
}

#[test]
fn a_member_that_cannot_be_called_is_picked_for_nothing() {
    let mut world = World::new(4, 1);
    world.dial = BEHIND_NAT;
    world.run_for(60 * SECOND);
    for number in 0..3 {
        let swim = world.nodes[number].as_mut().expect("alive");
        assert!((0..50).all(|_| !swim.pick(9, None).contains(&id(3))));
    }
}
