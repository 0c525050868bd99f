//! Whole clusters in one thread, by a seed: every promise of the node held against every fault we
//! could think of. `SIM_SEED=n cargo test --test sim` runs one seed and says what happened;
//! `SIM_SEEDS=n` more of them than CI does. docs/simulation.md explains.

mod byzantine;
mod disk;
mod membership;
mod net;
mod node;
mod sessions;
mod spread;
#[allow(dead_code, reason = "the bench of gossip reads what no test does")]
mod watch;
mod world;

use std::collections::BTreeSet;

use stemedb_edge::cluster::shard::ShardMap;
use stemedb_edge::journal::Obstacle;
use stemedb_edge::swim::State;

use net::Mode;
use node::{REPLICAS, SHARDS};
use world::{Fault, SECOND, World};

/// Nodes of a cluster.
const NODES: usize = 5;
/// Faults begin when the cluster has formed, and end here.
const FAULTS_FROM: u64 = 15 * SECOND;
const FAULTS_UNTIL: u64 = 90 * SECOND;
/// After the last fault all has to be whole again within this.
const WHOLE_WITHIN: u64 = 180 * SECOND;

/// TCP sends again after pauses that double, so what was lost comes this late after a cut healed.
const LATE: u64 = 30 * SECOND;
/// How long it then has to stay so, without an accusation.
const CALM: u64 = 30 * SECOND;

const YEAR: i64 = 365 * 24 * 3600 * 1000;
/// By how many milliseconds clocks are wrong: by minutes, by the years to 2096 and to 1970, when
/// this world's time begins at 2023.
const WRONG_CLOCKS: [i64; 4] = [300_000, -300_000, 73 * YEAR, -1_700_000_000_000];

/// A broken promise, or the trace of the run.
fn run(seed: u64) -> Result<u64, String> {
    let mode = if seed.is_multiple_of(2) { Mode::Tcp } else { Mode::Datagrams };
    let mut world = World::new(seed, mode, NODES);
    world.claim_until(FAULTS_UNTIL + 5 * SECOND);
    world.ask_until(FAULTS_UNTIL + 5 * SECOND);
    let absent = plan_faults(&mut world);
    world.run_until(FAULTS_UNTIL);
    // One may stay away: the others have to agree on that, too.
    settle(&mut world, absent)?;
    if let Some(absent) = absent {
        let now = world.now;
        world.plan(now, Fault::Restart(absent, false));
        world.run_until(now + SECOND);
        settle(&mut world, None)?;
    }
    check_requests(&mut world)?;
    check_sets(&mut world)?;
    Ok(world.trace())
}

/// Faults at any time, of any kind. Out: the node that is not back at the end.
fn plan_faults(world: &mut World) -> Option<usize> {
    let span = (FAULTS_UNTIL - FAULTS_FROM) as usize;
    let faults = 2 + world.below(8);
    for _ in 0..faults {
        let at = FAULTS_FROM + world.below(span) as u64;
        let lasts = SECOND + world.below(30 * SECOND as usize) as u64;
        let one = world.below(NODES);
        let other = (one + 1 + world.below(NODES - 1)) % NODES;
        // A node at a new address must have a name to be found by: no other node knows of it.
        let is_moved = world.below(3) == 0 && one < world.names;
        let (fault, end) = match world.below(13) {
            0 => (Fault::CutOneWay(one, other), Fault::Heal),
            1 => (Fault::Isolate(one), Fault::Heal),
            2 => (Fault::Split(1 + world.below(NODES - 1)), Fault::Heal),
            3 => (Fault::Loss(50 + world.below(200) as u64), Fault::Heal),
            4 => (Fault::Kill(one), Fault::Restart(one, is_moved)),
            5 => (Fault::PowerCut(one), Fault::Restart(one, is_moved)),
            6 => (Fault::Stall(one), Fault::Heal),
            7 => (Fault::Byzantine(one, true), Fault::Byzantine(one, false)),
            8 => {
                let obstacle = Obstacle::ALL[world.below(Obstacle::ALL.len())];
                (Fault::Hinder(one, Some(obstacle)), Fault::Hinder(one, None))
            }
            9 | 10 => {
                for _ in 0..world.below(8) {
                    let later = at + world.below(30 * SECOND as usize) as u64;
                    world.plan(later.min(FAULTS_UNTIL), Fault::Damage(one));
                }
                (Fault::Damage(one), Fault::Damage(other))
            }
            11 => {
                let wrong = WRONG_CLOCKS[world.below(WRONG_CLOCKS.len())];
                if world.below(2) == 0 {
                    // It boots with it.
                    world.plan(at, Fault::Kill(one));
                    world.plan(at + SECOND, Fault::Restart(one, false));
                }
                (Fault::Clock(one, Some(wrong)), Fault::Clock(one, None))
            }
            _ => (Fault::SlowDisk(one, true), Fault::SlowDisk(one, false)),
        };
        println!("{:5.1} s for {:4.1} s: {fault:?}", at as f64 / 1e6, lasts as f64 / 1e6);
        world.plan(at, fault);
        world.plan((at + lasts).min(FAULTS_UNTIL), end);
    }
    let (one, other) = (world.below(NODES), world.below(NODES));
    world.plan(FAULTS_UNTIL - SECOND, Fault::Collide(one, other));
    let last = world.below(2 * NODES);
    let end: fn(usize) -> Fault = if world.below(2) == 0 { Fault::Kill } else { Fault::PowerCut };
    for number in 0..NODES {
        world.plan(FAULTS_UNTIL, Fault::SlowDisk(number, false));
        world.plan(FAULTS_UNTIL, Fault::Hinder(number, None));
        world.plan(FAULTS_UNTIL, Fault::Byzantine(number, false));
        world.plan(FAULTS_UNTIL, Fault::Clock(number, None));
        if number == last {
            world.plan(FAULTS_UNTIL, end(number));
        } else {
            world.plan(FAULTS_UNTIL, Fault::Restart(number, false));
        }
    }
    world.plan(FAULTS_UNTIL, Fault::Heal);
    (last < NODES).then_some(last)
}

/// Runs until all is whole, or says what is not when the time is over.
fn settle(world: &mut World, absent: Option<usize>) -> Result<(), String> {
    let until = world.now + WHOLE_WITHIN;
    // Claims go on for a while after the faults, and old segments that were sent into a cut still
    // come.
    world.run_until(world.now + LATE);
    loop {
        if let Some(broken) = world.broken.take() {
            return Err(broken);
        }
        let Err(why) = check_whole(world, absent) else { break };
        if world.now >= until {
            return Err(format!("after {} s of quiet: {why}", WHOLE_WITHIN / SECOND));
        }
        world.run_until(world.now + SECOND);
    }
    let accusations = world.accusations;
    world.run_until(world.now + CALM);
    if world.accusations != accusations {
        return Err("a node was suspected although nothing was wrong".into());
    }
    check_whole(world, absent)
}

/// Equal roots, equal views, equal maps, among those that live.
fn check_whole(world: &mut World, absent: Option<usize>) -> Result<(), String> {
    let live: Vec<usize> = (0..NODES).filter(|number| Some(*number) != absent).collect();
    for &one in &live {
        for other in (0..NODES).filter(|other| *other != one) {
            let seen = world.sees(one, other);
            let is_right = match seen {
                Some(State::Alive) => Some(other) != absent,
                Some(State::Dead) | None => Some(other) == absent,
                _ => false,
            };
            if !is_right {
                return Err(format!("node {one} sees node {other} as {seen:?}"));
            }
        }
    }
    let ids = live.iter().map(|&number| world.members[number].id);
    let map = ShardMap::new(SHARDS, REPLICAS, ids);
    for &number in &live {
        let node = world.members[number].node.as_ref().expect("it lives");
        let cluster = node.replica.cluster();
        if *cluster.map() != map {
            return Err(format!("node {number} has another map of shards"));
        }
        let (rumors, waiting) = (cluster.swim().rumors(), cluster.gossip().waiting());
        if rumors + waiting > 0 {
            return Err(format!("node {number} has {rumors} rumors, {waiting} pushes left"));
        }
    }
    let clusters = live.iter().map(|&number| world.members[number].cluster);
    if clusters.collect::<BTreeSet<_>>().len() > 1 || world.members[live[0]].cluster.is_none() {
        return Err("not all are of one cluster".into());
    }
    let mut roots: Vec<_> = live.iter().map(|&number| world.root(number)).collect();
    roots.dedup();
    if roots.len() > 1 {
        return Err(format!("{} different roots", roots.len()));
    }
    Ok(())
}

/// Every request that came to a gateway has its answer, in time.
fn check_requests(world: &mut World) -> Result<(), String> {
    let (open, last) = world.unanswered();
    if open > 0 {
        // What is taken last has to reach all nodes, too.
        world.run_until(last + LATE);
    }
    if let Some(broken) = world.broken.take() {
        return Err(broken);
    }
    let (good, errors) = world.clients.replies;
    match world.unanswered() {
        (0, _) if good >= 50 => Ok(()),
        (0, _) => Err(format!("gateways gave {good} answers and {errors} errors")),
        (open, _) => Err(format!("{open} requests have no answer")),
    }
}

/// Nothing acknowledged is lost, nothing stays damaged, nothing is there that no client sent.
fn check_sets(world: &mut World) -> Result<(), String> {
    for number in 0..NODES {
        let held = world.holds(number);
        let lost = world.acknowledged.difference(&held).count();
        if lost > 0 {
            return Err(format!("node {number} lacks {lost} acknowledged claims"));
        }
        let node = world.members[number].node.as_ref().expect("all are back");
        let damaged = node.replica.damages().open();
        if damaged > 0 {
            return Err(format!("node {number} has {damaged} damaged records"));
        }
        let invented = held.difference(&world.sent).count();
        if invented > 0 {
            return Err(format!("node {number} holds {invented} claims that no client sent"));
        }
    }
    if world.acknowledged.len() < 50 {
        return Err(format!("only {} claims were acknowledged", world.acknowledged.len()));
    }
    Ok(())
}

/// Seeds to run: one, so many, or those of CI: a fixed list and what the commit hash says.
fn seeds() -> Vec<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    if let Some(seed) = number("SIM_SEED") {
        return vec![seed];
    }
    let count = number("SIM_SEEDS").unwrap_or(60);
    let commit = std::process::Command::new("git").args(["rev-parse", "HEAD"]).output();
    let commit = commit.map(|output| output.stdout).unwrap_or_default();
    let commit = commit.iter().fold(0_u64, |sum, byte| sum.wrapping_mul(31) + u64::from(*byte));
    (0..count).chain([commit >> 1, commit]).collect()
}

#[test]
fn every_promise_holds_whatever_goes_wrong() {
    for seed in seeds() {
        if let Err(broken) = run(seed) {
            panic!("{broken}; again by SIM_SEED={seed} cargo test --test sim");
        }
    }
}

/// A stranger that reaches all ports makes updates up, 20 messages a second to each node.
#[test]
fn strangers_kill_divert_and_freeze_no_member() {
    for seed in 0..6 {
        let mode = if seed % 2 == 0 { Mode::Tcp } else { Mode::Datagrams };
        let mut world = World::new(seed, mode, NODES);
        world.run_until(FAULTS_FROM);
        world.claim_until(FAULTS_UNTIL);
        let harms = world.harms;
        world.forge_until(FAULTS_UNTIL);
        world.run_until(FAULTS_UNTIL);
        assert_eq!(world.harms, harms, "seed {seed}");
        if let Err(broken) = settle(&mut world, None).and_then(|()| check_sets(&mut world)) {
            panic!("{broken}; seed {seed}");
        }
    }
}

/// As a compose file starts them: each is given all, itself included.
#[test]
fn nodes_that_start_at_once_become_one_cluster_and_stay_it() {
    for seed in 0..40 {
        let mode = if seed % 2 == 0 { Mode::Tcp } else { Mode::Datagrams };
        let all: Vec<usize> = (0..NODES).collect();
        let mut world = World::with_seeds(seed, mode, &vec![Some(all); NODES]);
        if seed % 4 > 1 {
            // Some names lead nowhere at first.
            world.plan(0, Fault::Split(2));
            world.plan((1 + seed) * SECOND, Fault::Heal);
        }
        world.run_until(120 * SECOND);
        let clusters = |world: &World| -> BTreeSet<_> {
            world.members.iter().map(|member| member.cluster).collect()
        };
        let made = clusters(&world);
        assert!(made.len() == 1 && !made.contains(&None), "seed {seed}: {made:?}");
        world.plan(120 * SECOND, Fault::Kill(1));
        world.plan(125 * SECOND, Fault::Restart(1, false));
        world.run_until(150 * SECOND);
        assert_eq!((clusters(&world), world.broken.take()), (made, None), "seed {seed}");
    }
}

#[test]
fn two_clusters_with_seeds_of_each_other_never_merge() {
    for seed in 0..10 {
        let mode = if seed % 2 == 0 { Mode::Tcp } else { Mode::Datagrams };
        let halves = [vec![0], vec![0], vec![0, 1, 2], vec![3], vec![3, 4, 5], vec![3, 4]];
        let mut world = World::with_seeds(seed, mode, &halves.map(Some));
        world.run_until(40 * SECOND);
        let clusters: Vec<_> = world.members.iter().map(|member| member.cluster).collect();
        let same = |range: std::ops::Range<usize>| {
            clusters[range.clone()].iter().all(|it| it.is_some() && *it == clusters[range.start])
        };
        assert!(same(0..3) && same(3..6) && clusters[0] != clusters[3], "{seed}: {clusters:?}");
        // One in each is given all, and one of these starts again with that.
        for number in [0, 4] {
            world.members[number].seeds = Some((0..6).collect());
        }
        world.resolve_seeds();
        world.claim_until(80 * SECOND);
        world.plan(50 * SECOND, Fault::Kill(4));
        world.plan(55 * SECOND, Fault::Restart(4, false));
        world.run_until(120 * SECOND);
        assert_eq!(world.broken.take(), None, "seed {seed}");
        let after: Vec<_> = world.members.iter().map(|member| member.cluster).collect();
        assert_eq!(after, clusters, "seed {seed}");
        for (one, other) in (0..3).flat_map(|one| (3..6).map(move |other| (one, other))) {
            assert_eq!((world.sees(one, other), world.sees(other, one)), (None, None));
            assert!(world.holds(one).is_disjoint(&world.holds(other)), "seed {seed}");
        }
        for (one, other) in [(0, 1), (1, 2), (3, 4), (4, 5)] {
            assert_eq!(world.root(one), world.root(other), "seed {seed}: {one} and {other}");
        }
    }
}

/// One that calls the others, and that none of them can call: it is not given up (one of the four
/// others may do so at first, until the next call), not left without claims, and no event about it
/// comes again and again.
#[test]
fn a_node_behind_nat_is_alive_by_its_calls() {
    for seed in 0..6 {
        let mode = if seed % 2 == 0 { Mode::Tcp } else { Mode::Datagrams };
        let mut world = World::new(seed, mode, NODES);
        world.run_until(FAULTS_FROM);
        world.net.behind_nat.insert(NODES - 1);
        world.claim_until(FAULTS_UNTIL);
        let harms = world.harms;
        world.run_until(FAULTS_UNTIL);
        assert!(world.harms - harms <= 1, "seed {seed}: given up {} times", world.harms - harms);
        if let Err(broken) = settle(&mut world, None).and_then(|()| check_sets(&mut world)) {
            panic!("{broken}; seed {seed}");
        }
    }
}

/// A run is the same on every machine, by every compiler: these hashes hold in debug, release
/// and on aarch64. They change with what the nodes do; the failure shows the new ones.
const TRACES: [(u64, u64); 2] = [(1, 5_719_610_783_926_777_684), (2, 16_101_494_814_782_947_183)];

#[test]
fn one_seed_is_one_run_everywhere() {
    let ran = TRACES.map(|(seed, _)| (seed, run(seed).expect("a seed that holds")));
    assert_eq!(ran, TRACES, "the run of a seed is another one");
}
