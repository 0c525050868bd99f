//! Our log, index and node beside redb, fjall, SQLite and Redis: the same records, each durable
//! before its writer goes on, one engine after the other in the same directory, in rounds.
//!
//! In: how much, which engines; `TMPDIR` chooses the disk, `NODE` a node that was built before.
//! Out: medians (`table.rs` says of what). Never: leaves a process or a directory behind.
//!
//!     cargo run --release -- [RECORDS=200000] [ROUNDS=3] [SECONDS=3] [ENGINE...]
//!     cargo run --release -- calls [RECORDS=4000] [ENGINE=journal]

mod calls;
mod child;
mod client;
mod engine;
mod http2;
mod measure;
mod process;
mod record;
mod scratch;
mod table;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use child::Children;
use engine::NAMES;
use measure::Task;
use scratch::Scratch;
use table::{Column, Table};

/// RECORDS, ROUNDS, SECONDS.
const DEFAULTS: [f64; 3] = [200_000.0, 3.0, 3.0];
const CALLS_RECORDS: usize = 4000;
const USAGE: &str = "the head of src/main.rs lists the arguments";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some(process::EXEC) => process::exec(&arguments[1..]),
        Some(scratch::SWEEP) => {
            arguments[1..].iter().for_each(|dir| scratch::sweep(Path::new(dir)))
        }
        Some(child::MEASURE) => be_child(&arguments[1..]),
        first => {
            let is_calls = first == Some("calls");
            let Some((numbers, names)) = plan(&arguments[usize::from(is_calls)..]) else {
                return fail(USAGE);
            };
            let done = if is_calls { trace(&numbers, &names) } else { compare(&numbers, &names) };
            if let Err(why) = done {
                return fail(&why);
            }
        }
    }
    ExitCode::SUCCESS
}

fn fail(why: &str) -> ExitCode {
    eprintln!("{why}");
    ExitCode::FAILURE
}

/// Numbers and engines among the arguments.
fn plan(words: &[String]) -> Option<(Vec<f64>, Vec<&'static str>)> {
    let (mut numbers, mut names) = (Vec::new(), Vec::new());
    for word in words {
        match (word.parse::<f64>(), NAMES.iter().find(|name| *name == word)) {
            (Ok(number), _) if number > 0.0 => numbers.push(number),
            (_, Some(name)) => names.push(*name),
            _ => return None,
        }
    }
    Some((numbers, names))
}

fn be_child(words: &[String]) {
    process::die_with_parent();
    let [name, dir, kind, value] = words else { panic!("{USAGE}") };
    let task = Task::parse(kind, value).unwrap_or_else(|| panic!("{USAGE}"));
    measure::answer(name, Path::new(dir), &task);
}

fn trace(numbers: &[f64], names: &[&'static str]) -> Result<(), String> {
    let name = names.first().copied().unwrap_or("journal");
    let records = numbers.first().map_or(CALLS_RECORDS, |number| *number as usize);
    let environment = engine::prepare(&[name])?;
    calls::print(name, records, &Children { scratch: Scratch::new(), environment });
    Ok(())
}

fn compare(numbers: &[f64], names: &[&'static str]) -> Result<(), String> {
    if numbers.len() > DEFAULTS.len() {
        return Err(USAGE.to_owned());
    }
    let [records, rounds, seconds] =
        std::array::from_fn(|at| numbers.get(at).copied().unwrap_or(DEFAULTS[at]));
    let names = if names.is_empty() { &NAMES } else { names };
    let environment = engine::prepare(names)?;
    let children = Children { scratch: Scratch::new(), environment };
    let mut table = Table::new(names);
    for round in 1..=rounds as usize {
        eprintln!("round {round}");
        // A disk's speed drifts: what is compared is measured close together.
        for writers in [1, 64] {
            for name in names {
                rate(name, &children, (writers, seconds), &mut table);
            }
        }
        for name in names.iter().filter(|name| engine::is_store(name)) {
            fill(name, &children, records as usize, &mut table);
        }
    }
    let (records, rounds) = (records as usize, rounds as usize);
    println!("{records} records, {rounds} rounds, {seconds} s at 1 and at 64 writers");
    table.print();
    Ok(())
}

fn rate(name: &str, children: &Children, (writers, seconds): (usize, f64), table: &mut Table) {
    let figures =
        children.measure(name, &children.scratch.empty("rate"), &Task::Rate { writers, seconds });
    eprintln!("{name}, {writers} at a time: {:.0}/s", figures["rate"]);
    table.add(name, Column::Rate(writers), figures["rate"]);
    // The many records of the other measurement measure it better for 64.
    if writers == 1 || !engine::is_store(name) {
        add_written(name, writers, &figures, table);
    }
    children.scratch.empty("rate");
}

fn fill(name: &str, children: &Children, records: usize, table: &mut Table) {
    let dir = children.scratch.empty("fill");
    let figures = children.measure(name, &dir, &Task::Fill { records });
    add_written(name, 64, &figures, table);
    table.add(name, Column::Resident, figures["resident"]);
    table.add(name, Column::Size, process::disk_bytes(&dir) as f64 / records as f64);
    let figures = children.measure(name, &dir, &Task::Reopen { records });
    table.add(name, Column::Reopen, figures["reopen"]);
    children.scratch.empty("fill");
}

fn add_written(name: &str, writers: usize, figures: &BTreeMap<String, f64>, table: &mut Table) {
    table.add(name, Column::Given(writers), figures["given"]);
    if let Some(device) = figures.get("device") {
        table.add(name, Column::Device(writers), *device);
    }
}
