//! The gateway before replicas that are slow: real nodes that name a server of the test as their
//! HTTP API, which answers when the test lets it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use vendor_tests::api;
use vendor_tests::node::Node;
use vendor_tests::wait::until;

/// An HTTP API that answers at once what has no lens, and everything else when it is released.
struct Slow {
    address: SocketAddr,
    name: &'static str,
    seen: Arc<Seen>,
    release: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// Requests that had to wait.
#[derive(Default)]
struct Seen {
    asked: AtomicUsize,
    /// Those whose sender closed its sending half.
    left: AtomicUsize,
}

impl Slow {
    async fn start(name: &'static str) -> Slow {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (release, released) = watch::channel(false);
        let seen = Arc::new(Seen::default());
        let counts = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("descriptors");
                tokio::spawn(serve(stream, name, Arc::clone(&counts), released.clone()));
            }
        });
        Slow { address, name, seen, release, task }
    }

    fn asked(&self) -> usize {
        self.seen.asked.load(Ordering::Relaxed)
    }

    fn left(&self) -> usize {
        self.seen.left.load(Ordering::Relaxed)
    }
}

impl Drop for Slow {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    mut stream: TcpStream,
    name: &str,
    seen: Arc<Seen>,
    mut released: watch::Receiver<bool>,
) {
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_) => return,
            }
        }
        let head = String::from_utf8(head).expect("text").to_lowercase();
        assert!(head.contains("\r\nx-forwarded-for: 127.0.0.1\r\n"), "{head}");
        let mut status = "200 OK";
        if head.contains("lens=") {
            seen.asked.fetch_add(1, Ordering::Relaxed);
            let answered = tokio::select! {
                _ = released.wait_for(|is_released| *is_released) => true,
                _ = stream.read_u8() => false,
            };
            if !answered {
                seen.left.fetch_add(1, Ordering::Relaxed);
                status = "499 Given Up";
            }
        }
        let length = name.len();
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{name}");
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// A gateway, two nodes with slow APIs, those APIs in the order in which the gateway asks them, and
/// a question that it asks them.
async fn cluster() -> (Node, Vec<Node>, [Slow; 2], String) {
    let slow = [Slow::start("one").await, Slow::start("two").await];
    let common = [("STEMEDB_REPLICATION_FACTOR", "2"), ("STEMEDB_PROBE_INTERVAL", "200ms")];
    let gateway = Node::start(&common);
    let seed = gateway.rpc.to_string();
    let node = |slow: &Slow| {
        let address = slow.address.to_string();
        let own = [("STEMEDB_SEEDS", &*seed), ("STEMEDB_ADVERTISE_API_ADDR", &*address)];
        Node::start(&[&common[..], &own[..]].concat())
    };
    let nodes: Vec<Node> = slow.iter().map(node).collect();
    until("three members", async || {
        gateway.members().await.values().filter(|state| *state == "Alive").count() == 3
    })
    .await;
    for number in 0.. {
        let question = format!("/v1/query?subject=s{number}");
        let answer = api::get(gateway.gateway, &question).await.expect("an answer");
        let own = slow.iter().position(|slow| slow.name == answer.text);
        let Some(first) = own else { continue };
        let (mut slow, mut nodes) = (slow, nodes);
        // The second one is an owner as well if the gateway's node is none.
        if first == 1 {
            slow.reverse();
            nodes.reverse();
        }
        return (gateway, nodes, slow, question + "&predicate=p&lens=recency");
    }
    unreachable!("some subject is not the gateway's")
}

async fn metric(node: &Node, name: &str) -> f64 {
    let page = api::get(node.http, "/metrics").await.expect("an answer").text;
    let value = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("no {name}: {page}")).parse().expect("a number")
}

/// Sends a request; the connection stays.
async fn send(to: SocketAddr, question: &str) -> TcpStream {
    let mut stream = TcpStream::connect(to).await.expect("it listens");
    let head = format!("GET {question} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.expect("it reads");
    stream
}

async fn read(stream: &mut TcpStream) -> String {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    answer
}

#[tokio::test]
async fn a_slow_replica_is_waited_for_and_hears_who_leaves() {
    let (gateway, _nodes, [first, second], question) = cluster().await;
    let mut waits = send(gateway.gateway, &question).await;
    let mut half_closed = send(gateway.gateway, &question).await;
    let gone = send(gateway.gateway, &question).await;
    until("three questions", async || first.asked() == 3).await;
    drop(gone);
    until("one that left", async || first.left() == 1).await;
    half_closed.shutdown().await.expect("open until now");
    until("another one that left", async || first.left() == 2).await;
    let answer = read(&mut half_closed).await;
    assert!(answer.starts_with("HTTP/1.1 499"), "{answer}");
    // Longer than any deadline by which a slow replica would be taken for a lost one.
    let since = metric(&gateway, "stemedb_uptime_seconds").await;
    until("a while", async || metric(&gateway, "stemedb_uptime_seconds").await > since + 12.0)
        .await;
    first.release.send_replace(true);
    let answer = read(&mut waits).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with(first.name), "{answer}");
    assert_eq!((first.asked(), second.asked()), (3, 0));
    assert_eq!(metric(&gateway, "stemedb_gateway_retries_total").await, 0.0);
}

#[tokio::test]
async fn a_replica_that_dies_while_it_is_waited_for_gives_way_to_the_next() {
    let (gateway, mut nodes, [first, second], question) = cluster().await;
    let mut waits = send(gateway.gateway, &question).await;
    until("the question", async || first.asked() == 1).await;
    // Its API's connection stays open, as that of a host without power does.
    nodes[0].kill();
    second.release.send_replace(true);
    let answer = read(&mut waits).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(metric(&gateway, "stemedb_gateway_retries_total").await, 1.0);
    assert_eq!((first.asked(), second.asked()), (1, 1));
}

#[tokio::test]
async fn calls_that_wait_are_bounded_for_each_host() {
    let (gateway, _nodes, [first, _second], question) = cluster().await;
    let mut waiting = Vec::new();
    for _ in 0..160 {
        waiting.push(send(gateway.gateway, &question).await);
    }
    until("160 questions", async || first.asked() == 160).await;
    let answer = read(&mut send(gateway.gateway, &question).await).await.to_lowercase();
    assert!(answer.starts_with("http/1.1 429") && answer.contains("\"busy\""), "{answer}");
    assert!(answer.contains("\r\nretry-after: 1\r\n"), "{answer}");
    drop(waiting);
    until("all that left", async || first.left() == 160).await;
    first.release.send_replace(true);
    let refused = metric(&gateway, "stemedb_gateway_requests_total{outcome=\"refused\"}").await;
    assert_eq!(refused, 1.0);
    until("a slot is free again", async || {
        read(&mut send(gateway.gateway, &question).await).await.starts_with("HTTP/1.1 200")
    })
    .await;
}
