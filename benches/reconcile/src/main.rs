//! What it costs two nodes to find out what they differ in, beside the crate `negentropy`.
//!
//! In: what to measure, as arguments. Out: a table. `benches/reconcile/run` adds what only whole
//! nodes show: bytes on the wire, memory, time.
//!
//!     cargo run --release -- compare 1000 100000 1000000
//!     cargo run --release -- rounds 1000
//!     cargo run --release -- once ours|theirs N D       under callgrind
//!     cargo run --release -- log DIR N FROM TO one|two   what `run` lets its nodes start with
//!
//! Never: opens a connection.

mod logs;
mod ours;
mod set;
mod theirs;

use std::time::Duration;

use set::Share;

const DIFFERENCES: [u64; 9] = [0, 1, 10, 100, 1_000, 10_000, 20_000, 40_000, 100_000];

/// What one comparison cost both sides together.
#[derive(Clone, Debug, Default)]
struct Cost {
    /// Bytes of messages, both ways.
    bytes: u64,
    /// Requests that had to be answered.
    rounds: u64,
    /// Processor time of both sides.
    time: Duration,
    /// Elements of either set that were read until the difference was known.
    touched: u64,
    /// How many differences were found, if all were.
    found: Option<u64>,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["compare", counts @ ..] => counts.iter().for_each(|count| compare(number(count))),
        ["rounds", seeds] => rounds(number(seeds)),
        ["once", who, count, differences] => once(who, number(count), number(differences)),
        ["log", dir, common, from, to, share] => {
            let share = if *share == "one" { Share::One } else { Share::Two };
            logs::append(dir.as_ref(), number(common), number(from)..number(to), share);
        }
        _ => eprintln!("the head of src/main.rs lists the arguments"),
    }
}

fn number(text: &str) -> u64 {
    text.parse().unwrap_or_else(|_| panic!("{text} is no number"))
}

fn compare(common: u64) {
    println!("N = {common}: gRPC messages, negentropy's messages bare");
    println!(
        "{:>7} {:>6} | {:>9} {:>9} {:>6} {:>9} {:>7} | {:>9} {:>9} {:>6} {:>9} | {:>6}",
        "d",
        "limit",
        "bytes",
        "per d",
        "rounds",
        "us",
        "touched",
        "bytes",
        "per d",
        "rounds",
        "us",
        "ratio"
    );
    let mut pair = ours::Pair::new(common);
    for differences in DIFFERENCES {
        if differences > common {
            break;
        }
        pair.grow(differences);
        let ours = pair.compare();
        let theirs = theirs::compare(common, differences);
        let touched = ours.touched;
        println!(
            "{differences:>7} {:>6} | {} {touched:>7} | {} | {:>6.1}{}",
            8 * differences,
            row(&ours, differences),
            row(&theirs, differences),
            theirs.bytes as f64 / ours.bytes as f64,
            if ours.found.is_none() { "  too many for the sketch" } else { "" },
        );
        assert!(ours.found.is_none_or(|found| found == differences), "ours found {ours:?}");
        assert_eq!(theirs.found, Some(differences), "negentropy finds another difference");
    }
    let (bytes, calls) = ours::leaves(&pair);
    println!("all leaves of one side: {bytes} bytes in {calls} calls");
}

fn row(cost: &Cost, differences: u64) -> String {
    let each = cost.bytes as f64 / differences.max(1) as f64;
    format!("{:>9} {each:>9.1} {:>6} {:>9}", cost.bytes, cost.rounds, cost.time.as_micros())
}

/// Over many seeds. What two sets share cancels out of cells and counts, so that it can be left
/// out; only the counts' own bytes are fewer than in a large set.
fn rounds(seeds: u64) {
    println!("requests until the difference is known, over {seeds} sets (of 100,000 apart, 20)");
    println!("and bytes per difference, of them without HTTP/2");
    println!(
        "{:>7} {:>6} {:>4} {:>4} {:>4} | {:>6} {:>6} {:>6}",
        "d", "mean", "p50", "p99", "max", "mean", "p99", "max"
    );
    for differences in DIFFERENCES {
        let seeds = if differences > 10_000 { seeds.min(20) } else { seeds };
        let costs = Vec::from_iter((0..seeds).map(|seed| ours::apart(differences, seed)));
        let summary = |of: fn(&Cost) -> u64| {
            let mut values = Vec::from_iter(costs.iter().map(of));
            values.sort_unstable();
            let mean = values.iter().sum::<u64>() as f64 / seeds as f64;
            let at = |share: usize| values[(values.len() * share / 100).min(values.len() - 1)];
            (mean, [at(50), at(99), at(100)])
        };
        let (mean, [middle, high, most]) = summary(|cost| cost.rounds);
        let (bytes, [_, high_bytes, most_bytes]) = summary(|cost| cost.bytes);
        let each = |bytes: f64| bytes / differences.max(1) as f64;
        println!(
            "{differences:>7} {mean:>6.3} {middle:>4} {high:>4} {most:>4} | {:>6.2} {:>6.2} {:.2}",
            each(bytes),
            each(high_bytes as f64),
            each(most_bytes as f64)
        );
    }
}

fn once(who: &str, common: u64, differences: u64) {
    let cost = match who {
        "ours" => {
            let mut pair = ours::Pair::new(common);
            pair.grow(differences);
            pair.compare()
        }
        _ => theirs::compare(common, differences),
    };
    println!("{cost:?}");
}
