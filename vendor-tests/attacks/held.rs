//! The attacks by what a node has to hold: calls that never become whole, streams that never end.
//!
//! In: connections and calls on each. Out: rows: resident memory before, at most and afterwards.
//! Never: sends a message.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::floods::check_alive;
use crate::normal::Client;
use crate::report::Row;
use crate::stage::{Setup, Stage, resident_kib};
use crate::{Options, Rows};
use vendor_tests::frames;

/// Connections, and calls on each.
const OPEN_CALLS: (usize, u32) = (100, 120);
const WATCHES: (usize, u32) = (200, 128);
/// Metadata of an open call: near what a header list may be (16 KiB).
const METADATA_BYTES: usize = 14_000;
/// What a load may add to the resident memory: the budgets of requests and of answers, and what h2
/// keeps for 128 calls on each of 200 connections until these end.
const ADDED_KIB_MAX: u64 = 64 << 10;
/// What may be left of it, and when it is looked at last: pages of the heap that hold something
/// beside what was freed.
const LEFT_KIB_MAX: u64 = 2 << 10;
const LEFT_AFTER: Duration = Duration::from_secs(30);
const PING: &str = "/stemedb.sync.v1.SyncService/Ping";
pub(crate) const WATCH: &str = "/grpc.health.v1.Health/Watch";

/// Calls with metadata and no message.
fn open_call_bytes() -> Vec<u8> {
    let metadata = "m".repeat(METADATA_BYTES);
    let block = frames::call_headers(PING, &[("x-metadata", &metadata)]);
    let calls = (0..OPEN_CALLS.1).flat_map(|number| frames::open_call(2 * number + 1, &block));
    frames::opening(None).into_iter().chain(calls).collect()
}

/// Calls of Health/Watch.
fn watch_bytes() -> Vec<u8> {
    let block = frames::call_headers(WATCH, &[]);
    let calls = (0..WATCHES.1).flat_map(|number| frames::whole_call(2 * number + 1, &block, &[]));
    frames::opening(None).into_iter().chain(calls).collect()
}

/// Sends these bytes, then reads until the node ends the connection.
pub(crate) async fn hold(to: SocketAddr, bytes: &[u8]) -> std::io::Result<()> {
    let mut socket = TcpStream::connect(to).await?;
    socket.set_nodelay(true)?;
    let (mut reader, mut writer) = socket.split();
    let mut buffer = [0; 4096];
    let read = async {
        while reader.read(&mut buffer).await? > 0 {}
        Err::<(), _>(std::io::ErrorKind::ConnectionReset.into())
    };
    let write = async {
        writer.write_all(bytes).await?;
        std::future::pending::<std::io::Result<()>>().await
    };
    tokio::try_join!(read, write).map(drop)
}

fn load(to: SocketAddr, connections: usize, bytes: &[u8]) -> JoinSet<std::io::Result<()>> {
    let mut holders = JoinSet::new();
    for _ in 0..connections {
        let bytes = bytes.to_vec();
        holders.spawn(async move { hold(to, &bytes).await });
    }
    holders
}

/// Holds a load while the normal client measures.
async fn held(
    name: &str,
    has_key: bool,
    options: Options,
    (connections, bytes): (usize, Vec<u8>),
    rows: &Rows,
) {
    let stage = Stage::start(&Setup { has_key, ..Setup::default() }).await;
    let calm = Client::measure(&stage.targets, options.calm).await;
    let mut row = Row::new(name);
    let before = stage.start_count();
    let client = Client::start(&stage.targets);
    let mut holders = load(stage.targets.rpc, connections, &bytes);
    tokio::time::sleep(options.seconds).await;
    row.memory = stage.memory(before);
    row.check_latency(options.bounds, &calm, client.stop().await);
    check_added(&mut row);
    check_alive(&mut row, &stage);
    let mut ended = 0;
    while holders.try_join_next().is_some() {
        ended += 1;
    }
    row.notes.push(format!("{ended} of {connections} connections ended by the node"));
    let _ = rows.send(row);
}

fn check_added(row: &mut Row) {
    let added = row.memory.peak - row.memory.before;
    let bound = ADDED_KIB_MAX >> 10;
    row.check(added <= ADDED_KIB_MAX, format!("{} MiB added, over {bound}", added >> 10));
}

/// 120 open calls on each of 100 connections.
pub(crate) async fn open_calls(options: Options, rows: &Rows) {
    let load = (OPEN_CALLS.0, open_call_bytes());
    held("open-calls, no cluster key", false, options, load.clone(), rows).await;
    held("open-calls, key not shown", true, options, load, rows).await;
}

/// 128 watches on each of 200 connections.
pub(crate) async fn watches(options: Options, rows: &Rows) {
    held("watches", false, options, (WATCHES.0, watch_bytes()), rows).await;
}

/// Both, each against a node of its own, held, then gone: what is left?
pub(crate) async fn burst(options: Options, rows: &Rows) {
    tokio::join!(
        one_burst("burst of open calls", options, (OPEN_CALLS.0, open_call_bytes()), rows),
        one_burst("burst of watches", options, (WATCHES.0, watch_bytes()), rows),
    );
}

async fn one_burst(
    name: &str,
    options: Options,
    (connections, bytes): (usize, Vec<u8>),
    rows: &Rows,
) {
    // Without a key the calls get further.
    let stage = Stage::start(&Setup::default()).await;
    // Code that runs for the first time is read into memory: that is not what is left.
    drop(load(stage.targets.rpc, 1, &bytes));
    Client::measure(&stage.targets, options.calm).await;
    let mut row = Row::new(format!("{name}, held {} s", options.hold.as_secs()));
    let before = stage.start_count();
    let holders = load(stage.targets.rpc, connections, &bytes);
    tokio::time::sleep(options.hold).await;
    row.memory = stage.memory(before);
    drop(holders);
    let gone = Instant::now();
    let mut after = u64::MAX;
    while gone.elapsed() < LEFT_AFTER && after > before + LEFT_KIB_MAX {
        tokio::time::sleep(Duration::from_millis(500)).await;
        after = after.min(resident_kib(stage.node.pid()));
    }
    row.memory.after = after;
    let left = after.saturating_sub(before);
    row.check(left <= LEFT_KIB_MAX, format!("{left} KiB are left, over {LEFT_KIB_MAX}"));
    row.notes.push(format!("looked at for {:.0} s", gone.elapsed().as_secs_f64()));
    let _ = rows.send(row);
}
