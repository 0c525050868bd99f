//! The attacks by queries that look at many claims.
//!
//! In: claims under one subject, clients that ask for lenses over them. Out: rows: a point query
//! beside them; whether abandoned queries end; what a gateway makes of slow answers. Never:
//! reads a page longer than one claim.

use std::io::Write;
use std::net::SocketAddr;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::task::JoinSet;
use vendor_tests::api;
use vendor_tests::node::{Node, command};

use crate::floods::check_alive;
use crate::normal::{Client, connect, get};
use crate::report::Row;
use crate::stage::{Setup, Stage};
use crate::{Options, Rows};

/// Clients that hang up, and when they do.
const HANG_UPS: usize = 40;
const HANG_UP_AFTER: Duration = Duration::from_millis(200);
/// How long the query after them is waited for.
const NEXT_MAX: Duration = Duration::from_secs(30);
/// Queries at a gateway.
const GATEWAY_QUERIES: u64 = 150;
/// What the gateway's clients wait, longer than all queries take.
const GATEWAY_PATIENCE: Duration = Duration::from_secs(120);
/// The queries take longer than a gateway waits for one (10 s), or they show nothing.
const SLOW_ENOUGH: Duration = Duration::from_secs(12);

/// Imports claims under one subject, of one predicate and a thousand values.
pub(crate) async fn import(node: &Node, subject: &str, count: u64) {
    let (to, subject) = (format!("http://{}", node.http), subject.to_string());
    let import = move || {
        let mut importer = command()
            .args(["import", "-", "--to", &to])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("import starts");
        let stdin = importer.stdin.take().expect("stdin is piped");
        let mut lines = std::io::BufWriter::new(stdin);
        for number in 0..count {
            let value = number % 1000;
            let claim = json!({ "subject": subject, "predicate": "p",
                "object": { "type": "Text", "value": format!("value {value}") },
                "timestamp": 1_700_000_000 + number });
            writeln!(lines, "{claim}").expect("import reads");
        }
        drop(lines);
        assert!(importer.wait().expect("our child").success(), "the import fails");
    };
    tokio::task::spawn_blocking(import).await.expect("the import ends");
}

fn eventual() -> Setup {
    Setup { settings: vec![("STEMEDB_DURABILITY", "eventual")], ..Setup::default() }
}

/// A query that looks at all claims of a subject.
fn heavy(subject: &str, number: usize) -> String {
    let lens = ["consensus", "recency", "confidence", "authority"][number % 4];
    format!("/v1/query?subject={subject}&predicate=p&lens={lens}&limit=1")
}

/// One such query, and how long it took.
async fn ask(to: SocketAddr, path: &str) -> Result<Duration, String> {
    let start = Instant::now();
    get(&mut connect(to).await?, path).await?;
    Ok(start.elapsed())
}

/// A stage that holds the claims and has nothing left to do.
async fn filled(options: Options) -> Stage {
    let stage = Stage::start(&eventual()).await;
    import(&stage.node, "many", options.claims).await;
    stage.wait_for_member().await;
    stage
}

/// Clients that ask for lenses without a pause.
pub(crate) async fn lenses(options: Options, rows: &Rows) {
    let stage = filled(options).await;
    let calm = Client::measure(&stage.targets, options.calm).await;
    for clients in [4, 16] {
        let mut row = Row::new(format!("lenses, {clients} over {}", options.claims));
        let before = stage.start_count();
        let client = Client::start(&stage.targets);
        let mut askers = JoinSet::new();
        for number in 0..clients {
            let http = stage.node.http;
            askers.spawn(async move {
                let mut answers = 0_u32;
                let end = Instant::now() + options.seconds;
                let mut stream = connect(http).await?;
                while Instant::now() < end {
                    get(&mut stream, &heavy("many", number)).await?;
                    answers += 1;
                }
                Ok::<u32, String>(answers)
            });
        }
        let answers = askers.join_all().await;
        row.memory = stage.memory(before);
        row.check_latency(options.bounds, &calm, client.stop().await);
        check_alive(&mut row, &stage);
        let failed: Vec<&String> = answers.iter().filter_map(|it| it.as_ref().err()).collect();
        row.check(failed.is_empty(), format!("{} askers failed: {failed:?}", failed.len()));
        let counts: Vec<u32> = answers.iter().filter_map(|it| it.as_ref().ok().copied()).collect();
        let (least, most) = (counts.iter().min().unwrap_or(&0), counts.iter().max().unwrap_or(&0));
        // Each lens takes a time of its own, and few end within a short measurement.
        row.check(*most <= 3 * least + 3, format!("unfair: {least} to {most} answers a client"));
        row.notes.push(format!("{least} to {most} answers a client"));
        let _ = rows.send(row);
    }
}

/// Clients that ask and leave.
pub(crate) async fn hang_up(options: Options, rows: &Rows) {
    let stage = filled(options).await;
    let alone = ask(stage.node.http, &heavy("many", 0)).await.expect("the node answers");
    let calm = Client::measure(&stage.targets, options.calm).await;
    let mut row = Row::new(format!("hang-up, {HANG_UPS} over {}", options.claims));
    let before = stage.start_count();
    let client = Client::start(&stage.targets);
    ask_and_leave(stage.node.http, "many").await;
    let next = ask_next(stage.node.http, "many").await;
    tokio::time::sleep(options.seconds.saturating_sub(next)).await;
    row.memory = stage.memory(before);
    row.check_latency(options.bounds, &calm, client.stop().await);
    check_alive(&mut row, &stage);
    check_next(&mut row, alone, next);
    let _ = rows.send(row);
}

/// Clients that hang up after a moment.
async fn ask_and_leave(to: SocketAddr, subject: &str) {
    let mut askers = JoinSet::new();
    for number in 0..HANG_UPS {
        let path = heavy(subject, number);
        askers.spawn(async move {
            let mut stream = connect(to).await.expect("the node accepts");
            let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
            stream.write_all(request.as_bytes()).await.expect("the node reads");
            tokio::time::sleep(HANG_UP_AFTER).await;
        });
    }
    askers.join_all().await;
}

/// How long the next query takes; at most so long.
async fn ask_next(to: SocketAddr, subject: &str) -> Duration {
    let path = heavy(subject, 0);
    let next = tokio::time::timeout(NEXT_MAX, ask(to, &path)).await;
    next.map_or(NEXT_MAX, |took| took.expect("the node answers"))
}

/// The next query after those who left did not wait for their abandoned queries.
fn check_next(row: &mut Row, alone: Duration, next: Duration) {
    let bound = 3 * alone + Duration::from_millis(500);
    let (next_ms, alone_ms) = (next.as_millis(), alone.as_millis());
    let took = format!("the next such query took {next_ms} ms, alone {alone_ms}");
    row.check(next <= bound, took.clone());
    if next <= bound {
        row.notes.push(took);
    }
}

/// How many queries this node has answered.
async fn answered(node: &Node) -> u64 {
    let metrics = api::get(node.http, "/metrics").await.expect("the node answers");
    let name = "stemedb_queries_total{endpoint=\"query\"} ";
    let line = metrics.text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|count| count.parse().ok()).unwrap_or(0)
}

/// A subject whose claims the gateway of the attacked node sends to the member.
async fn foreign_subject(stage: &Stage) -> String {
    let peer = stage.peer().id().await;
    for number in 0..1000 {
        let subject = format!("subject{number}");
        let claim = json!({ "subject": subject, "predicate": "p", "timestamp": 1,
            "object": { "type": "Number", "value": 1 } });
        let answer = api::post(stage.node.gateway, "/v1/assert", &claim).await;
        let answer = answer.expect("the gateway answers");
        assert!(matches!(answer.status, 200 | 201), "{}", answer.text);
        if answer.head.contains(&format!("x-stemedb-node: {peer}")) {
            return subject;
        }
    }
    panic!("the gateway keeps all subjects to itself");
}

/// Slow queries through a node that has to ask another one.
pub(crate) async fn gateway(options: Options, rows: &Rows) {
    let settings = vec![("STEMEDB_DURABILITY", "eventual"), ("STEMEDB_REPLICATION_FACTOR", "1")];
    let stage = Stage::start(&Setup { settings, ..Setup::default() }).await;
    let subject = foreign_subject(&stage).await;
    let mut claims = options.claims / 5;
    import(stage.peer(), &subject, claims).await;
    // As many claims as this machine needs to be slow.
    let alone = ask(stage.peer().http, &heavy(&subject, 0)).await.expect("the node answers");
    let all = alone * GATEWAY_QUERIES as u32;
    if all < SLOW_ENOUGH {
        let factor = SLOW_ENOUGH.as_secs_f64() / all.as_secs_f64();
        claims = (claims as f64 * factor) as u64;
        import(stage.peer(), &subject, claims).await;
    }
    let _ = rows.send(many_at_gateway(&stage, &subject, claims, alone).await);

    let mut row = Row::new(format!("gateway, {HANG_UPS} hang up over {claims}"));
    ask_and_leave(stage.node.gateway, &subject).await;
    let next = ask_next(stage.peer().http, &subject).await;
    check_next(&mut row, alone, next);
    let _ = rows.send(row);
}

/// All queries are answered, and none of them ran twice.
async fn many_at_gateway(stage: &Stage, subject: &str, claims: u64, alone: Duration) -> Row {
    let mut row = Row::new(format!("gateway, {GATEWAY_QUERIES} over {claims}"));
    let count = async || (answered(&stage.node).await, answered(stage.peer()).await);
    let before = count().await;
    let start = Instant::now();
    let mut askers = JoinSet::new();
    for number in 0..GATEWAY_QUERIES as usize {
        let (gateway, path) = (stage.node.gateway, heavy(subject, number));
        askers.spawn(async move {
            let answer = tokio::time::timeout(GATEWAY_PATIENCE, ask(gateway, &path)).await;
            answer.unwrap_or_else(|_| Err("no answer".to_string()))
        });
    }
    let failed: Vec<String> = askers.join_all().await.into_iter().filter_map(Result::err).collect();
    row.notes.push(format!("{:.1} s in all", start.elapsed().as_secs_f64()));
    // Queries that were given up go on for a while, where they do.
    tokio::time::sleep(3 * alone + Duration::from_secs(1)).await;
    let after = count().await;
    let (own, replica) = (after.0 - before.0, after.1 - before.1);
    let first = failed.first().cloned().unwrap_or_default();
    row.check(failed.is_empty(), format!("{} got an error, the first: {first}", failed.len()));
    let ran = format!("the replica ran {replica} queries, the gateway's node {own}");
    row.check((own, replica) == (0, GATEWAY_QUERIES), ran);
    row
}
