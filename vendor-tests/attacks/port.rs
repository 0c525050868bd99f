//! The attack by clients that take all connections of a port.
//!
//! In: a slow kind of client, how many hold on, how many newcomers a second. Out: rows: whether the
//! member sees the node, and new good clients get in. Never: has more than [`Slow::held`] and
//! [`NEWCOMERS`] connections open at a time.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::{JoinHandle, JoinSet};

use crate::floods::check_alive;
use crate::held::{WATCH, hold};
use crate::normal::{fresh_get, fresh_ping};
use crate::report::Row;
use crate::stage::{KEY, Setup, Stage};
use crate::{Options, Rows};
use vendor_tests::frames;

/// New connections a second once those who hold on are in.
const NEWCOMERS: usize = 1000;
/// Newcomers are made by so many at a time.
const TICK: Duration = Duration::from_millis(10);
/// A new good client comes so often, and is to be served within this time.
const CLIENT_EACH: Duration = Duration::from_millis(20);
const SERVED_WITHIN: Duration = Duration::from_secs(1);
/// Percent of them that must be, on a quiet machine and on one that others use.
const SERVED_PERCENT: usize = 99;
const SERVED_PERCENT_NOISY: usize = 95;
/// Those who hold on send so much of what they owe.
const DRIP_EACH: Duration = Duration::from_secs(5);

/// A kind of client that takes a connection and does nothing with it.
struct Slow {
    name: &'static str,
    is_http: bool,
    held: usize,
    bytes: fn() -> Vec<u8>,
    /// One byte more each [`DRIP_EACH`].
    drips: bool,
}

const SLOW: [Slow; 6] = [
    Slow { name: "watches", is_http: false, held: 256, bytes: watch, drips: false },
    Slow { name: "open calls", is_http: false, held: 256, bytes: open_call, drips: false },
    Slow { name: "idle HTTP/2", is_http: false, held: 256, bytes: idle, drips: false },
    Slow { name: "idle HTTP/2", is_http: false, held: 2000, bytes: idle, drips: false },
    Slow { name: "slow bodies", is_http: true, held: 256, bytes: body, drips: true },
    Slow { name: "half heads", is_http: true, held: 256, bytes: half_head, drips: false },
];

fn watch() -> Vec<u8> {
    let block = frames::call_headers(WATCH, &[]);
    [frames::opening(None), frames::whole_call(1, &block, &[])].concat()
}

fn open_call() -> Vec<u8> {
    let block = frames::call_headers("/stemedb.sync.v1.SyncService/Ping", &[]);
    [frames::opening(None), frames::open_call(1, &block)].concat()
}

fn idle() -> Vec<u8> {
    frames::opening(None)
}

fn body() -> Vec<u8> {
    let head = "POST /v1/assert HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
        content-length: 1000000\r\n\r\n{";
    head.as_bytes().to_vec()
}

fn half_head() -> Vec<u8> {
    b"GET /v1/health HTTP/1.1\r\nhost: loc".to_vec()
}

/// How new good clients fared.
#[derive(Default)]
struct Fared {
    served: usize,
    late: Vec<String>,
}

impl Fared {
    fn check(&self, what: &str, percent_min: usize, row: &mut Row) {
        let all = self.served + self.late.len();
        let percent = self.served as f64 * 100.0 / all.max(1) as f64;
        let first = self.late.first().cloned().unwrap_or_default();
        let holds = all > 0 && self.served * 100 >= all * percent_min;
        row.check(holds, format!("{what}: {percent:.1} % of {all} served, the first not: {first}"));
        if holds {
            row.notes.push(format!("{what} {percent:.1} % of {all}"));
        }
    }
}

/// New good clients until the end, each on a connection of its own, none waiting for another.
async fn clients<F, C>(until: Instant, one: F) -> Fared
where
    F: Fn() -> C,
    C: Future<Output = Result<(), String>> + Send + 'static,
{
    let mut all = JoinSet::new();
    let mut ticks = tokio::time::interval(CLIENT_EACH);
    while Instant::now() < until {
        ticks.tick().await;
        all.spawn(tokio::time::timeout(SERVED_WITHIN, one()));
    }
    let mut fared = Fared::default();
    for outcome in all.join_all().await {
        match outcome {
            Ok(Ok(())) => fared.served += 1,
            Ok(Err(why)) => fared.late.push(why),
            Err(_) => fared.late.push(format!("no answer within {SERVED_WITHIN:?}")),
        }
    }
    fared
}

async fn slow_client(to: SocketAddr, bytes: Vec<u8>, drips: bool) -> std::io::Result<()> {
    if !drips {
        return hold(to, &bytes).await;
    }
    let mut socket = TcpStream::connect(to).await?;
    socket.write_all(&bytes).await?;
    let (mut reader, mut writer) = socket.split();
    let mut buffer = [0; 1024];
    loop {
        tokio::select! {
            read = reader.read(&mut buffer) => if read? == 0 { return Ok(()) },
            () = tokio::time::sleep(DRIP_EACH) => writer.write_all(b" ").await?,
        }
    }
}

/// Those who hold on come back when their connection ends, and others come: [`NEWCOMERS`] a second
/// in all. The oldest leave when there are too many.
async fn crowd(to: SocketAddr, slow: &'static Slow, opened: Arc<AtomicU64>) {
    let mut open: VecDeque<Held> = VecDeque::new();
    let mut ticks = tokio::time::interval(TICK);
    let per_tick = NEWCOMERS * TICK.as_millis() as usize / 1000;
    loop {
        ticks.tick().await;
        open.retain(|it| !it.0.is_finished());
        // Those who hold on come at once, others at their rate.
        let lacking = if opened.load(Ordering::Relaxed) == 0 { slow.held } else { per_tick };
        for _ in 0..lacking {
            open.push_back(Held(tokio::spawn(slow_client(to, (slow.bytes)(), slow.drips))));
            opened.fetch_add(1, Ordering::Relaxed);
        }
        while open.len() > slow.held + NEWCOMERS {
            open.pop_front();
        }
    }
}

/// A connection that ends when it is dropped.
struct Held(JoinHandle<std::io::Result<()>>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// All kinds.
pub(crate) async fn full(options: Options, rows: &Rows) {
    for slow in &SLOW {
        let stage = Stage::start(&Setup { has_key: true, ..Setup::default() }).await;
        let mut row = Row::new(format!("full-port, {} {}", slow.held, slow.name));
        let before = stage.start_count();
        let opened = Arc::new(AtomicU64::new(0));
        let to = if slow.is_http { stage.node.http } else { stage.node.rpc };
        let attackers = tokio::spawn(crowd(to, slow, opened.clone()));
        // Until those who hold on are in, or were turned away.
        tokio::time::sleep(Duration::from_millis(500)).await;
        let end = Instant::now() + options.seconds.max(Duration::from_secs(2));
        let (http, rpc) = (stage.node.http, stage.node.rpc);
        let path = stage.targets.path.clone();
        let query = clients(end, move || {
            let path = path.clone();
            async move { fresh_get(http, &path).await }
        });
        let health = clients(end, move || fresh_get(http, "/v1/health"));
        let ping = clients(end, move || fresh_ping(rpc, Some(KEY)));
        let (query, health, ping) = tokio::join!(query, health, ping);
        attackers.abort();
        let _ = attackers.await;
        row.memory = stage.memory(before);
        let is_quiet = options.bounds.is_quiet;
        let percent_min = if is_quiet { SERVED_PERCENT } else { SERVED_PERCENT_NOISY };
        for (what, fared) in [("query", query), ("health", health), ("Ping", ping)] {
            fared.check(what, percent_min, &mut row);
        }
        check_alive(&mut row, &stage);
        row.notes.push(format!("{} connections made", opened.load(Ordering::Relaxed)));
        let _ = rows.send(row);
    }
}
