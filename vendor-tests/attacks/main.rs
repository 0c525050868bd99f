//! The attack kit: what a stranger can send, sent to the built node while a normal client measures
//! and a member watches.
//!
//! `attacks [NAME...] [--seconds N] [--claims N] [--node PATH] [--json] [--tonic] [--quiet-machine]
//! [--list]`: without names every attack runs. Verdicts on latency go by the same run before the
//! attack; with `--quiet-machine` by the absolute bounds of docs/security.md, and everything takes
//! longer. With `--tonic` a tonic server of the same calls is attacked instead, to compare. The
//! last line is `N passed, M failed`; the exit code is 0 only if nothing failed.

mod cgroup;
mod flood;
mod floods;
mod held;
mod normal;
mod port;
mod queries;
mod reads;
mod report;
mod slow_disk;
mod stage;
mod theirs;
mod unread;

use std::process::ExitCode;
use std::time::Duration;

use report::{Bounds, Row};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use vendor_tests::node;

/// How everything is to run.
#[derive(Clone, Copy)]
pub(crate) struct Options {
    /// How long an attack is measured.
    seconds: Duration,
    /// How long the calm before it is.
    calm: Duration,
    /// How long a burst is held.
    hold: Duration,
    /// Claims under one subject.
    claims: u64,
    /// Runs at each memory limit but the smallest, which has ten.
    runs: u32,
    bounds: Bounds,
    /// tonic is attacked, not the node.
    is_tonic: bool,
}

/// Where finished rows go.
pub(crate) type Rows = UnboundedSender<Row>;

/// Every attack by name, and what it does.
const ATTACKS: [(&str, &str); 21] = [
    ("burst", "open calls and watches, held for longer than a housekeeping tick, then gone"),
    ("ping", "PING as fast as it can, from 1 and from 4 connections, the node at nice 15"),
    ("settings", "the same with SETTINGS"),
    ("window-update", "the same with WINDOW_UPDATE"),
    ("priority", "the same with PRIORITY"),
    ("headers-reset", "the same with HEADERS and RST_STREAM"),
    ("small-data", "the same with DATA of one byte"),
    ("unknown-frame", "the same with frames of no known type"),
    ("cut-off", "who floods for 10 s without one call is cut off"),
    ("fetch", "128 FetchAssertions of 20 MB that are not read, on 1 and on 50 connections"),
    ("edge-reads", "128 FetchShort, GetLeaves, Records and Digests each, on one connection"),
    ("slow-disk", "FetchShort and FetchAssertions while each read takes 20 ms"),
    ("fetch-honest", "8 and 64 FetchAssertions at a time by a client that reads"),
    ("lenses", "4 and 16 clients ask for lenses over the many claims of one subject"),
    ("hang-up", "40 such clients hang up after 0.2 s"),
    ("gateway", "150 slow queries at a gateway whose node is no replica"),
    ("open-calls", "100 connections of 120 open calls with 14 KB of metadata each"),
    ("watches", "200 connections of 128 Health/Watch each"),
    ("unread", "5 connections with window 0 fill the budget of unread answers"),
    ("cgroup", "120 claims of 0.5 MB at once under memory limits of 16, 24 and 32 MiB"),
    ("full-port", "256 to 2,000 connections of each slow kind, 1,000 newcomers a second"),
];

/// What tonic can be attacked with as well: it serves the five calls of `SyncService`.
const AGAINST_TONIC: [&str; 9] = [
    "ping",
    "settings",
    "window-update",
    "priority",
    "headers-reset",
    "small-data",
    "unknown-frame",
    "fetch",
    "fetch-honest",
];

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
        .expect("a runtime");
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments == ["serve-tonic"] {
        let single = tokio::runtime::Builder::new_current_thread().enable_all().build();
        single.expect("a runtime").block_on(theirs::serve());
    }
    let is_json = take(&mut arguments, "--json");
    let options = match options(&mut arguments) {
        Ok(options) => options,
        Err(why) => {
            eprintln!("attacks: {why}");
            return ExitCode::from(2);
        }
    };
    let names: Vec<&str> = match arguments.as_slice() {
        [] if options.is_tonic => AGAINST_TONIC.to_vec(),
        [] => ATTACKS.iter().map(|(name, _)| *name).collect(),
        some => some.iter().map(String::as_str).collect(),
    };
    let local = tokio::task::LocalSet::new();
    let rows = local.block_on(&runtime, run(&names, options, is_json));
    if is_json {
        report::show_json(&rows);
    }
    let passed = rows.iter().filter(|row| row.passed()).count();
    println!("{passed} passed, {} failed", rows.len() - passed);
    ExitCode::from(u8::from(passed != rows.len() || rows.is_empty()))
}

fn take(arguments: &mut Vec<String>, flag: &str) -> bool {
    let before = arguments.len();
    arguments.retain(|it| it != flag);
    arguments.len() < before
}

fn take_value(arguments: &mut Vec<String>, flag: &str) -> Result<Option<String>, String> {
    let Some(at) = arguments.iter().position(|it| it == flag) else { return Ok(None) };
    if at + 1 == arguments.len() {
        return Err(format!("{flag} wants a value"));
    }
    arguments.remove(at);
    Ok(Some(arguments.remove(at)))
}

fn options(arguments: &mut Vec<String>) -> Result<Options, String> {
    let _ = take(arguments, "--table");
    if take(arguments, "--list") {
        for (name, what) in ATTACKS {
            println!("{name:<16} {what}");
        }
        std::process::exit(0);
    }
    let is_quiet = take(arguments, "--quiet-machine");
    let is_tonic = take(arguments, "--tonic");
    let number = |text: Option<String>, default: u64| match text {
        Some(text) => text.parse().map_err(|_| format!("{text:?} is no whole number")),
        None => Ok(default),
    };
    let seconds = take_value(arguments, "--seconds")?;
    let claims = take_value(arguments, "--claims")?;
    if let Some(path) = take_value(arguments, "--node")? {
        node::use_program(&path);
    }
    let is_known = |it: &String| {
        let it = it.as_str();
        if is_tonic {
            AGAINST_TONIC.contains(&it)
        } else {
            ATTACKS.iter().any(|(name, _)| *name == it)
        }
    };
    if let Some(it) = arguments.iter().find(|it| !is_known(it)) {
        return Err(format!("no such attack is called {it:?}; --list shows all"));
    }
    Ok(Options {
        seconds: Duration::from_secs(number(seconds, if is_quiet { 10 } else { 2 })?),
        calm: Duration::from_millis(if is_quiet { 3000 } else { 500 }),
        hold: Duration::from_secs(if is_quiet { 35 } else { 12 }),
        claims: number(claims, if is_quiet { 1_000_000 } else { 100_000 })?,
        runs: if is_quiet { 10 } else { 3 },
        bounds: Bounds { is_quiet },
        is_tonic,
    })
}

/// Runs them one after the other, but for the burst, which waits most of its time.
async fn run(names: &[&str], options: Options, is_json: bool) -> Vec<Row> {
    let (rows, finished) = unbounded_channel();
    let printer = tokio::spawn(print(finished, is_json));
    let mut beside = None;
    for &name in names {
        let attack = tokio::task::spawn_local(attack(name.to_string(), options, rows.clone()));
        if name == "burst" && names.len() > 1 {
            beside = Some((name, attack));
        } else {
            end(name, attack, &rows).await;
        }
    }
    if let Some((name, attack)) = beside {
        end(name, attack, &rows).await;
    }
    drop(rows);
    printer.await.expect("the printer does not panic")
}

/// An attack that could not be carried out has failed.
async fn end(name: &str, attack: tokio::task::JoinHandle<()>, rows: &Rows) {
    if let Err(why) = attack.await {
        let mut row = Row::new(name);
        row.check(false, format!("it could not be carried out: {why}"));
        let _ = rows.send(row);
    }
}

async fn print(mut finished: UnboundedReceiver<Row>, is_json: bool) -> Vec<Row> {
    if !is_json {
        report::show_heads();
    }
    let mut rows = Vec::new();
    while let Some(row) = finished.recv().await {
        if !is_json {
            report::show(&row);
        }
        rows.push(row);
    }
    rows
}

async fn attack(name: String, options: Options, rows: Rows) {
    match name.as_str() {
        "cut-off" => floods::cut_off(options, &rows).await,
        "fetch" => reads::unread(options, &rows).await,
        "edge-reads" => reads::edge(options, &rows).await,
        "slow-disk" => slow_disk::reads(options, &rows).await,
        "fetch-honest" => reads::honest(options, &rows).await,
        "lenses" => queries::lenses(options, &rows).await,
        "hang-up" => queries::hang_up(options, &rows).await,
        "gateway" => queries::gateway(options, &rows).await,
        "open-calls" => held::open_calls(options, &rows).await,
        "watches" => held::watches(options, &rows).await,
        "burst" => held::burst(options, &rows).await,
        "unread" => unread::unread(options, &rows).await,
        "cgroup" => cgroup::limits(options, &rows).await,
        "full-port" => port::full(options, &rows).await,
        flood => floods::flood(flood, options, &rows).await,
    }
}
