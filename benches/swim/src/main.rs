//! Membership measured: this node's machine beside foca 2 on one simulated network.
//!
//!     cargo run --release -- [kill|quiet|loss|stall|speed]... [16|128|1024]...
//!
//! Everything but `speed` repeats itself exactly.

mod ours;
mod theirs;
mod world;

use std::fmt::Display;
use std::time::Duration;

use ours::Ours;
use rustix::time::{ClockId, clock_gettime};
use stemedb_edge::base::Random;
use theirs::Theirs;
use world::{Net, Peer, SECOND, Seen, Weather, World};

const SIZES: [usize; 3] = [16, 128, 1024];
const HOUR: u64 = 3600 * SECOND;
const CALM: Weather = Weather { net: Net::Datagram, loss: 0.0 };

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let mut sizes: Vec<usize> = wanted.iter().filter_map(|it| it.parse().ok()).collect();
    let wants_all = sizes.len() == wanted.len();
    if sizes.is_empty() {
        sizes.extend(SIZES);
    }
    let scenes: [(&str, fn(&[usize])); 5] =
        [("kill", kill), ("quiet", quiet), ("loss", loss), ("stall", stall), ("speed", speed)];
    for (name, scene) in scenes {
        if wants_all || wanted.iter().any(|it| it == name) {
            scene(&sizes);
            println!();
        }
    }
}

fn head(title: &str) {
    println!("| {title} | ours | foca | ratio |\n|---|---|---|---|");
}

fn row(what: impl Display, ours: f64, theirs: f64) {
    let ratio = if theirs > 0.0 { format!("{:.3}", ours / theirs) } else { "-".into() };
    println!("| {what} | {ours:.3} | {theirs:.3} | {ratio} |");
}

fn ours_alone(what: impl Display, ours: f64) {
    println!("| {what} | {ours:.3} | | |");
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Seconds from the kill, and messages per node and second in the 30 s after it.
#[derive(Default)]
struct Kills {
    suspect: Vec<f64>,
    first: Vec<f64>,
    all: Vec<f64>,
    messages: Vec<f64>,
    unknown: usize,
}

impl Kills {
    fn run<P: Peer>(count: usize, weather: Weather) -> Kills {
        let kills_each = (count / 128).max(1);
        let mut kills = Kills::default();
        for seed in 0..32 / kills_each as u64 {
            let mut world: World<P> = World::new(count, weather, seed);
            let mut chance = Random::new(!seed);
            let mut victims: Vec<usize> = (0..count).collect();
            chance.shuffle(&mut victims);
            for victim in &victims[..kills_each] {
                world.run_for(10 * SECOND + chance.below(SECOND as usize) as u64);
                let at = world.now;
                world.kill(*victim);
                world.run_for(30 * SECOND);
                let seen = world.seen.clone();
                world.run_for(30 * SECOND);
                kills.note(at, &seen, &world.seen, count);
            }
        }
        kills
    }

    fn note(&mut self, at: u64, soon: &Seen, seen: &Seen, count: usize) {
        let after = |moment: Option<u64>| moment.map(|it| (it - at) as f64 / SECOND as f64);
        self.suspect.extend(after(seen.first_suspect));
        self.first.extend(after(seen.first_dead));
        self.all.extend(after(seen.all_dead));
        self.unknown += usize::from(seen.all_dead.is_none());
        self.messages.push(soon.messages as f64 / 30.0 / count as f64);
    }

    fn rows(&self) -> [(&str, f64); 4] {
        [
            ("first Suspect, s", mean(&self.suspect)),
            ("first Dead, s", mean(&self.first)),
            ("all Dead, s", mean(&self.all)),
            ("messages/node/s in the 30 s after", mean(&self.messages)),
        ]
    }

    fn warn(&self, whose: &str) {
        if self.unknown > 0 {
            println!("{whose}: {} kills were not known to all after 60 s", self.unknown);
        }
    }
}

fn kill(sizes: &[usize]) {
    head("A member is killed, datagrams");
    for &count in sizes {
        let ours = Kills::run::<Ours>(count, CALM);
        let theirs = Kills::run::<Theirs>(count, CALM);
        for ((what, ours), (_, theirs)) in ours.rows().into_iter().zip(theirs.rows()) {
            row(format_args!("{count}: {what}"), ours, theirs);
        }
        ours.warn("ours");
        theirs.warn("foca");
    }
    for (net, name) in [(Net::Stream, "killed"), (Net::StreamPowerOff, "powered off")] {
        for &count in sizes {
            let ours = Kills::run::<Ours>(count, Weather { net, loss: 0.0 });
            for (what, value) in ours.rows() {
                ours_alone(format_args!("{count}, TCP, {name}: {what}"), value);
            }
            ours.warn("ours");
        }
    }
}

/// Per node: messages and bytes per second; suspected and believed dead though alive, per hour.
struct Rates {
    messages: f64,
    bytes: f64,
    suspected: f64,
    died: f64,
    node_hours: f64,
}

impl Rates {
    fn of(seen: &Seen, count: usize, span: u64) -> Rates {
        let node_seconds = count as f64 * span as f64 / SECOND as f64;
        let node_hours = node_seconds / 3600.0;
        Rates {
            messages: seen.messages as f64 / node_seconds,
            bytes: seen.bytes as f64 / node_seconds,
            suspected: seen.suspected.len() as f64 / node_hours,
            died: seen.died.len() as f64 / node_hours,
            node_hours,
        }
    }

    fn steady<P: Peer>(count: usize, weather: Weather, span: u64) -> Rates {
        let mut world: World<P> = World::new(count, weather, 1);
        world.run_for(60 * SECOND);
        world.measure();
        world.run_for(span);
        Rates::of(&world.seen, count, span)
    }

    fn rows(&self) -> [(&str, f64); 4] {
        [
            ("messages/node/s", self.messages),
            ("bytes/node/s", self.bytes),
            ("false suspicions/node-hour", self.suspected),
            ("false deaths/node-hour", self.died),
        ]
    }

    fn beside(&self, theirs: &Rates, name: &str) {
        for ((what, ours), (_, theirs)) in self.rows().into_iter().zip(theirs.rows()) {
            row(format_args!("{name}: {what}"), ours, theirs);
        }
    }
}

fn quiet(sizes: &[usize]) {
    head("Nothing happens");
    for &count in sizes {
        let ours = Rates::steady::<Ours>(count, CALM, 300 * SECOND);
        let theirs = Rates::steady::<Theirs>(count, CALM, 300 * SECOND);
        ours.beside(&theirs, &count.to_string());
    }
}

fn loss(sizes: &[usize]) {
    head("Messages are lost");
    for (loss, long, short) in [(0.05, 1000, 50), (0.2, 60, 10)] {
        for &count in sizes {
            let node_hours = if count > 128 { short } else { long };
            let weather = Weather { net: Net::Datagram, loss };
            let span = HOUR * node_hours / count as u64;
            let ours = Rates::steady::<Ours>(count, weather, span);
            let theirs =
                Rates::steady::<Theirs>(count, weather, span.min(HOUR * 60 / count as u64));
            let percent = loss * 100.0;
            let spans = format!("{:.0} and {:.0} node-hours", ours.node_hours, theirs.node_hours);
            ours.beside(&theirs, &format!("{count}, {percent} %, {spans}"));
            let weather = Weather { net: Net::Stream, loss };
            let ours = Rates::steady::<Ours>(count, weather, span.min(HOUR * 60 / count as u64));
            for (what, value) in ours.rows() {
                ours_alone(format_args!("{count}, {percent} %, TCP: {what}"), value);
            }
        }
    }
}

/// A tenth of the members stall for 16 s of each minute, each at its own time.
struct Stalls {
    rates: Rates,
    healthy_suspected: f64,
    healthy_died: f64,
}

impl Stalls {
    fn run<P: Peer>(count: usize, net: Net, node_hours: u64) -> Stalls {
        let mut world: World<P> = World::new(count, Weather { net, loss: 0.0 }, 1);
        let slow = count.div_ceil(10);
        let span = HOUR * node_hours / count as u64;
        world.run_for(10 * SECOND);
        world.measure();
        let (start, minute) = (world.now, 60 * SECOND);
        let step = minute / slow as u64;
        while world.now < start + span {
            let stalled = (world.now - start) / step % slow as u64;
            world.stall(stalled as usize, 16 * SECOND);
            world.run_for(step);
        }
        let rates = Rates::of(&world.seen, count, world.now - start);
        let healthy = |them: &std::collections::BTreeSet<(usize, u64)>| {
            them.iter().filter(|(number, _)| *number >= slow).count() as f64 / rates.node_hours
        };
        let (healthy_suspected, healthy_died) =
            (healthy(&world.seen.suspected), healthy(&world.seen.died));
        Stalls { rates, healthy_suspected, healthy_died }
    }

    fn rows(&self) -> [(&str, f64); 5] {
        [
            ("messages/node/s", self.rates.messages),
            ("healthy suspected/node-hour", self.healthy_suspected),
            ("healthy called dead/node-hour", self.healthy_died),
            ("any suspected/node-hour", self.rates.suspected),
            ("any called dead/node-hour", self.rates.died),
        ]
    }
}

fn stall(sizes: &[usize]) {
    head("A tenth of the members stall for 16 s of each minute");
    for &count in sizes {
        let node_hours = if count > 128 { 50 } else { 100 };
        let ours = Stalls::run::<Ours>(count, Net::Datagram, node_hours);
        let theirs = Stalls::run::<Theirs>(count, Net::Datagram, node_hours);
        for ((what, ours), (_, theirs)) in ours.rows().into_iter().zip(theirs.rows()) {
            row(format_args!("{count}: {what}"), ours, theirs);
        }
        let ours = Stalls::run::<Ours>(count, Net::Stream, node_hours);
        for (what, value) in ours.rows() {
            ours_alone(format_args!("{count}, TCP: {what}"), value);
        }
    }
}

/// Processor time of this process.
fn worked() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Of a cluster that has formed, after its news has reached every member.
fn node_hours_per_second<P: Peer>(weather: Weather, seconds: u64) -> f64 {
    let count = 1024;
    let mut world: World<P> = World::new(count, weather, 1);
    world.run_for(300 * SECOND);
    let before = worked();
    world.run_for(seconds * SECOND);
    let spent = (worked() - before).as_secs_f64();
    count as f64 * seconds as f64 / 3600.0 / spent
}

fn speed(_sizes: &[usize]) {
    head("Simulated node-hours per CPU second, 1024");
    for (loss, seconds) in [(0.0, 600), (0.05, 120)] {
        let weather = Weather { loss, ..CALM };
        let ours = node_hours_per_second::<Ours>(weather, seconds);
        let theirs = node_hours_per_second::<Theirs>(weather, seconds);
        row(format_args!("{} % loss", loss * 100.0), ours, theirs);
    }
}
