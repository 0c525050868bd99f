//! The attack by clients that ask for much and read nothing of it.
//!
//! In: windows of 0, a byte granted now and then. Out: rows: whether others are served meanwhile.
//! Never: grants more than a byte a stream each [`GRANT_EACH`].

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use vendor_tests::claims::{self, fill};

use crate::floods::check_alive;
use crate::normal::Client;
use crate::reads::{fetch_request, fill_large};
use crate::report::Row;
use crate::stage::{Setup, Stage};
use crate::{Options, Rows};
use vendor_tests::frames;

const CONNECTIONS: usize = 5;
const GRANT_EACH: Duration = Duration::from_secs(15);
/// Assertions of ever smaller size, and how often each connection asks for one of them after it has
/// asked for eight times the largest: so that the budget is used up to the last byte.
const SIZES: [(usize, usize); 5] = [(500_000, 3), (100_000, 5), (20_000, 8), (4000, 8), (800, 8)];
const LARGEST: u64 = 8;
const FULL_CALLS: usize = 8;
const PINGS: usize = 60;
const PING: &str = "/stemedb.sync.v1.SyncService/Ping";
const FETCH: &str = "/stemedb.sync.v1.SyncService/FetchAssertions";
/// How long an honest client waits for its answer.
const HONEST_MAX: Duration = Duration::from_secs(10);

/// The calls of one connection, path and message each.
async fn calls(stage: &Stage) -> Vec<(&'static str, Vec<u8>)> {
    let rpc = stage.targets.rpc;
    let large = fill_large(rpc, LARGEST).await;
    let mut calls = vec![(FETCH, fetch_request(&large).encode_to_vec()); FULL_CALLS];
    let client = stage.node.client().await;
    for (number, (size, count)) in (100..).zip(SIZES) {
        let hashes = fill(&client, std::iter::once(claims::large(number, size))).await;
        calls.extend(vec![(FETCH, fetch_request(&hashes).encode_to_vec()); count]);
    }
    calls.extend(vec![(PING, Vec::new()); PINGS]);
    calls
}

/// Asks for answers with a window of 0 and grants a byte a stream now and then.
async fn starve(to: SocketAddr, calls: Vec<(&'static str, Vec<u8>)>) -> std::io::Result<()> {
    let mut socket = TcpStream::connect(to).await?;
    let streams = (0..calls.len() as u32).map(|number| 2 * number + 1);
    let mut bytes = frames::opening(Some(0));
    for (stream, (path, body)) in streams.clone().zip(&calls) {
        bytes.extend(frames::whole_call(stream, &frames::call_headers(path, &[]), body));
    }
    let (mut reader, mut writer) = socket.split();
    let mut buffer = [0; 4096];
    let read = async {
        while reader.read(&mut buffer).await? > 0 {}
        Err::<(), _>(std::io::ErrorKind::ConnectionReset.into())
    };
    let write = async {
        let mut next = bytes;
        loop {
            if let Err(why) = writer.write_all(&next).await {
                break Err::<(), _>(why);
            }
            tokio::time::sleep(GRANT_EACH).await;
            next = streams.clone().flat_map(|it| frames::window_update(it, 1)).collect();
        }
    };
    tokio::try_join!(read, write).map(drop)
}

/// Five of them, beside the normal client and one that fetches.
pub(crate) async fn unread(options: Options, rows: &Rows) {
    let stage = Stage::start(&Setup::default()).await;
    let mut client = stage.node.client().await;
    let calls = calls(&stage).await;
    let wanted = fill(&client, std::iter::once(claims::large(200, 500_000))).await;
    let calm = Client::measure(&stage.targets, options.calm).await;
    let mut row = Row::new("unread");
    let before = stage.start_count();
    let mut starvers = JoinSet::new();
    for _ in 0..CONNECTIONS {
        starvers.spawn(starve(stage.targets.rpc, calls.clone()));
    }
    // Let them fill what there is to fill.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let normal = Client::start(&stage.targets);
    // On a quiet machine as long as two grants take.
    let time = if options.bounds.is_quiet { 3 * GRANT_EACH } else { 3 * options.seconds };
    let (start, mut answers, mut failed) = (Instant::now(), 0, Vec::new());
    while start.elapsed() < time {
        let fetch = client.fetch_assertions(fetch_request(&wanted));
        match tokio::time::timeout(HONEST_MAX, fetch).await {
            Ok(Ok(_)) => answers += 1,
            Ok(Err(status)) => failed.push(status.to_string()),
            Err(_) => failed.push(format!("no answer within {HONEST_MAX:?}")),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    row.memory = stage.memory(before);
    row.check_latency(options.bounds, &calm, normal.stop().await);
    check_alive(&mut row, &stage);
    let first = failed.first().cloned().unwrap_or_default();
    row.check(failed.is_empty(), format!("{} honest fetches failed: {first}", failed.len()));
    row.notes.push(format!("{answers} honest fetches answered"));
    let mut ended = 0;
    while starvers.try_join_next().is_some() {
        ended += 1;
    }
    row.notes.push(format!("{ended} of {CONNECTIONS} attackers cut off"));
    let _ = rows.send(row);
}
