//! The attacks by calls that make the node read and hash what it holds.
//!
//! In: calls of large answers. Out: rows: the normal client beside callers that do not read;
//! whether callers that do are all answered. Never: asks for more than one call may ask for.

use std::error::Error;
use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;
use http::Request;
use prost::Message;
use tokio::task::JoinSet;
use vendor_tests::claims::{fill, large};
use vendor_tests::edge::{DigestsRequest, FetchShortRequest, RecordsRequest};
use vendor_tests::pb::sync_service_client::SyncServiceClient;
use vendor_tests::pb::{FetchRequest, GetLeavesRequest};
use vendor_tests::set::Hash;

use crate::floods::check_alive;
use crate::normal::Client;
use crate::queries::import;
use crate::report::Row;
use crate::stage::{Setup, Stage};
use crate::theirs::Theirs;
use crate::{Options, Rows};
use vendor_tests::frames::message;

/// Calls on one connection: what the node lets be open at a time.
const CALLS: usize = 128;
/// Assertions that one call asks for, and how large they are: five times what one answer holds.
const ASSERTIONS: u64 = 40;
const ASSERTION_BYTES: usize = 500_000;
/// Small assertions for the calls between nodes.
const SMALL: u64 = 20_000;
/// Short ids that one call may ask for.
const SHORT_IDS: usize = 8192;
pub(crate) const FETCH_SHORT: &str = "/stemedb.edge.v1.EdgeService/FetchShort";
pub(crate) const FETCH: &str = "/stemedb.sync.v1.SyncService/FetchAssertions";

/// Stores so many large assertions, one after the other.
pub(crate) async fn fill_large(rpc: SocketAddr, count: u64) -> Vec<Hash> {
    let client = SyncServiceClient::connect(format!("http://{rpc}")).await.expect("it accepts");
    let mut hashes = Vec::new();
    for number in 0..count {
        hashes.extend(fill(&client, std::iter::once(large(number, ASSERTION_BYTES))).await);
    }
    hashes
}

pub(crate) fn fetch_request(hashes: &[Hash]) -> FetchRequest {
    FetchRequest { hashes: hashes.iter().map(|hash| hash.to_vec()).collect() }
}

/// Makes these calls on one connection and keeps the answers waiting until it is dropped.
async fn ask_and_wait(
    to: SocketAddr,
    calls: Vec<(&'static str, Bytes)>,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let socket = tokio::net::TcpStream::connect(to).await?;
    let (send, connection) = h2::client::handshake(socket).await?;
    let ask = async move {
        let mut open = Vec::new();
        for (path, body) in calls {
            let request = Request::post(format!("http://localhost{path}"))
                .header("te", "trailers")
                .header("content-type", "application/grpc");
            let request = request.body(()).expect("a request");
            let mut send = send.clone().ready().await?;
            let (answer, mut stream) = send.send_request(request, false)?;
            stream.send_data(body, true)?;
            open.push((send, answer, stream));
        }
        std::future::pending::<()>().await;
        drop(open);
        Ok(())
    };
    let connection = async { Ok(connection.await?) };
    tokio::try_join!(ask, connection).map(drop)
}

/// The normal client beside these callers, for as long as the options say.
pub(crate) async fn beside(
    name: String,
    options: Options,
    stage: &Stage,
    connections: usize,
    calls: Vec<(&'static str, Bytes)>,
    rows: &Rows,
) {
    let calm = Client::measure(&stage.targets, options.calm).await;
    let mut row = Row::new(name);
    let before = stage.start_count();
    let client = Client::start(&stage.targets);
    let mut callers = JoinSet::new();
    for _ in 0..connections {
        callers.spawn(ask_and_wait(stage.targets.rpc, calls.clone()));
    }
    tokio::time::sleep(options.seconds).await;
    row.memory = stage.memory(before);
    row.check_latency(options.bounds, &calm, client.stop().await);
    callers.shutdown().await;
    check_alive(&mut row, stage);
    let _ = rows.send(row);
}

/// FetchAssertions of everything, and no answer is read.
pub(crate) async fn unread(options: Options, rows: &Rows) {
    if options.is_tonic {
        return unread_by_tonic(options, rows).await;
    }
    for connections in [1, 50] {
        let stage = Stage::start(&Setup::default()).await;
        let hashes = fill_large(stage.targets.rpc, ASSERTIONS).await;
        let body = Bytes::from(message(&fetch_request(&hashes).encode_to_vec()));
        let calls = vec![(FETCH, body); CALLS];
        let name = format!("fetch, {connections} x {CALLS}");
        beside(name, options, &stage, connections, calls, rows).await;
    }
}

async fn unread_by_tonic(options: Options, rows: &Rows) {
    for connections in [1, 50] {
        let theirs = Theirs::start(false).await;
        let hashes = fill_large(theirs.targets.rpc, ASSERTIONS).await;
        let body = Bytes::from(message(&fetch_request(&hashes).encode_to_vec()));
        let calm = Client::measure(&theirs.targets, options.calm).await;
        let client = Client::start(&theirs.targets);
        let mut callers = JoinSet::new();
        for _ in 0..connections {
            callers.spawn(ask_and_wait(theirs.targets.rpc, vec![(FETCH, body.clone()); CALLS]));
        }
        tokio::time::sleep(options.seconds).await;
        let attacked = client.stop().await;
        let name = format!("fetch, {connections} x {CALLS}");
        theirs.show(&name, &calm, attacked, String::new(), rows);
        callers.shutdown().await;
    }
}

/// The calls between nodes that read much.
pub(crate) async fn edge(options: Options, rows: &Rows) {
    let stage = Stage::start(&Setup {
        settings: vec![("STEMEDB_DURABILITY", "eventual")],
        ..Setup::default()
    })
    .await;
    import(&stage.node, "small", SMALL).await;
    let mut client = stage.node.client().await;
    let leaves = client.get_leaves(GetLeavesRequest { max_leaves: 0 }).await;
    let leaves = leaves.expect("the node answers").into_inner().leaves;
    let ids: Vec<u8> = leaves.iter().take(SHORT_IDS).flat_map(|leaf| leaf[..8].to_vec()).collect();
    let edge = |body: Vec<u8>| Bytes::from(message(&body));
    let calls = [
        (FETCH_SHORT, edge(FetchShortRequest { ids }.encode_to_vec())),
        (
            "/stemedb.sync.v1.SyncService/GetLeaves",
            edge(GetLeavesRequest { max_leaves: 0 }.encode_to_vec()),
        ),
        ("/stemedb.edge.v1.EdgeService/Records", edge(RecordsRequest::default().encode_to_vec())),
        ("/stemedb.edge.v1.EdgeService/Digests", edge(DigestsRequest {}.encode_to_vec())),
    ];
    for (path, body) in calls {
        let method = path.rsplit('/').next().expect("a method");
        let name = format!("{method}, 1 x {CALLS}");
        beside(name, options, &stage, 1, vec![(path, body); CALLS], rows).await;
    }
}

/// Clients that read: each call must be answered.
pub(crate) async fn honest(options: Options, rows: &Rows) {
    for at_once in [8, 64] {
        let mut row = Row::new(format!("fetch-honest, {at_once} at a time"));
        if options.is_tonic {
            let theirs = Theirs::start(false).await;
            let hashes = fill_large(theirs.targets.rpc, ASSERTIONS).await;
            let (calm, client) = (
                Client::measure(&theirs.targets, options.calm).await,
                Client::start(&theirs.targets),
            );
            ask_and_read(&mut row, theirs.targets.rpc, at_once, &hashes).await;
            let name = format!("fetch-honest, {at_once} at a time");
            theirs.show(&name, &calm, client.stop().await, row.notes.join("; "), rows);
            continue;
        }
        let stage = Stage::start(&Setup::default()).await;
        let hashes = fill_large(stage.targets.rpc, ASSERTIONS).await;
        let calm = Client::measure(&stage.targets, options.calm).await;
        let before = stage.start_count();
        let client = Client::start(&stage.targets);
        ask_and_read(&mut row, stage.targets.rpc, at_once, &hashes).await;
        row.memory = stage.memory(before);
        row.check_latency(options.bounds, &calm, client.stop().await);
        check_alive(&mut row, &stage);
        let _ = rows.send(row);
    }
}

/// Twice as many calls as there are at a time, all on one connection.
async fn ask_and_read(row: &mut Row, rpc: SocketAddr, at_once: usize, hashes: &[Hash]) {
    let client = SyncServiceClient::connect(format!("http://{rpc}")).await.expect("it accepts");
    let start = Instant::now();
    let mut callers = JoinSet::new();
    for _ in 0..at_once {
        let (mut client, request) = (client.clone(), fetch_request(hashes));
        callers.spawn(async move {
            let mut refused = Vec::new();
            for _ in 0..2 {
                match client.fetch_assertions(request.clone()).await {
                    Ok(answer) if !answer.get_ref().assertions.is_empty() => {}
                    Ok(_) => refused.push("an empty answer".to_string()),
                    Err(status) => refused.push(status.to_string()),
                }
            }
            refused
        });
    }
    let refused = callers.join_all().await.concat();
    let first = refused.first().cloned().unwrap_or_default();
    let count = 2 * at_once;
    row.check(refused.is_empty(), format!("{} of {count} refused: {first}", refused.len()));
    row.notes.push(format!("{count} answers in {:.1} s", start.elapsed().as_secs_f64()));
}
