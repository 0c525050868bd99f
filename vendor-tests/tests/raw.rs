//! Bad input on the gRPC port, frame by frame and byte by byte: each gets its error, the node
//! lives.

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use vendor_tests::claims::{gossip, opaque};
use vendor_tests::node::{Node, PATIENCE};
use vendor_tests::pb::PingRequest;

const PING: &str = "/stemedb.sync.v1.SyncService/Ping";
const GOSSIP: &str = "/stemedb.sync.v1.SyncService/Gossip";

/// gRPC status codes, as their numbers travel.
const INVALID_ARGUMENT: u16 = 3;
const DEADLINE_EXCEEDED: u16 = 4;
const RESOURCE_EXHAUSTED: u16 = 8;
const UNIMPLEMENTED: u16 = 12;
const INTERNAL: u16 = 13;

struct Connection(h2::client::SendRequest<Bytes>);

/// HTTP status, gRPC status, and the bytes of the body.
type Outcome = (StatusCode, Option<u16>, Vec<u8>);

impl Connection {
    async fn open(node: &Node) -> Connection {
        let stream = TcpStream::connect(node.rpc).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (send, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(async move {
            let _ = connection.await;
        });
        Connection(send)
    }

    /// One call whose body is these pieces, each a DATA frame.
    async fn call(&self, head: Request<()>, pieces: &[&[u8]]) -> Result<Outcome, h2::Error> {
        let mut send = self.0.clone().ready().await?;
        let (answer, mut body) = send.send_request(head, pieces.is_empty())?;
        for (at, piece) in pieces.iter().enumerate() {
            let last = at + 1 == pieces.len();
            if body.send_data(Bytes::copy_from_slice(piece), last).is_err() {
                break;
            }
        }
        let answer = answer.await?;
        let (head, mut stream) = answer.into_parts();
        let mut bytes = Vec::new();
        while let Some(piece) = stream.data().await {
            let piece = piece?;
            stream.flow_control().release_capacity(piece.len())?;
            bytes.extend_from_slice(&piece);
        }
        let trailers = stream.trailers().await?;
        let status = code(&head.headers).or_else(|| code(trailers.as_ref()?));
        Ok((head.status, status, bytes))
    }
}

fn code(headers: &HeaderMap) -> Option<u16> {
    headers.get("grpc-status")?.to_str().ok()?.parse().ok()
}

fn head(path: &str) -> http::request::Builder {
    Request::builder()
        .method(Method::POST)
        .uri(format!("http://localhost{path}"))
        .header("te", "trailers")
        .header("content-type", "application/grpc")
}

fn frame(message: &impl Message) -> Vec<u8> {
    let body = message.encode_to_vec();
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[0], &length[..], &body].concat()
}

fn ping() -> PingRequest {
    PingRequest { node_id: vec![5; 16], updates: Vec::new() }
}

async fn expect_alive(node: &mut Node) {
    assert!(node.is_running(), "the node is gone:\n{}", node.log());
    node.client().await.ping(ping()).await.expect("a new client is served");
}

#[tokio::test]
async fn malformed_frames_get_a_status_and_harm_no_other_call() {
    let mut node = Node::start(&[]);
    let connection = Connection::open(&node).await;
    let whole = frame(&ping());
    let two = [whole.clone(), whole.clone()].concat();
    let rows: [(&str, &[u8], &[u16]); 9] = [
        ("no message at all", &[], &[INVALID_ARGUMENT, INTERNAL, UNIMPLEMENTED]),
        ("half a prefix", &[0, 0, 0], &[INVALID_ARGUMENT, INTERNAL]),
        ("half a message", &whole[..9], &[INVALID_ARGUMENT, INTERNAL]),
        ("a length of 4 GiB", &[0, 255, 255, 255, 255, 1], &[RESOURCE_EXHAUSTED]),
        ("a length past the limit", &[0, 0, 0x40, 0, 1, 1], &[RESOURCE_EXHAUSTED]),
        ("compressed, by nothing", &[1, 0, 0, 0, 1, 9], &[INTERNAL]),
        ("a flag of 7", &[7, 0, 0, 0, 0], &[INVALID_ARGUMENT, INTERNAL]),
        ("no protobuf", &[0, 0, 0, 0, 3, 0xff, 0xff, 0xff], &[INVALID_ARGUMENT, INTERNAL]),
        ("two messages", &two, &[INVALID_ARGUMENT, INTERNAL, UNIMPLEMENTED]),
    ];
    for (what, body, allowed) in rows {
        let request = head(PING).body(()).unwrap();
        let outcome = connection.call(request, &[body]).await;
        let (http, status, _) = outcome.unwrap_or_else(|e| panic!("{what}: {e}"));
        assert_eq!(http, StatusCode::OK, "{what}");
        assert!(status.is_some_and(|it| allowed.contains(&it)), "{what}: status {status:?}");
    }
    let sound = connection.call(head(PING).body(()).unwrap(), &[&whole]).await.unwrap();
    assert_eq!(sound.1, Some(0), "the connection still serves");
    expect_alive(&mut node).await;
}

#[tokio::test]
async fn what_is_not_grpc_gets_an_http_status() {
    let mut node = Node::start(&[]);
    let connection = Connection::open(&node).await;
    let plain =
        Request::post(format!("http://localhost{PING}")).header("content-type", "text/plain");
    let (status, _, _) = connection.call(plain.body(()).unwrap(), &[b"x"]).await.unwrap();
    assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let proto = head(PING).body(()).unwrap();
    let (mut parts, ()) = proto.into_parts();
    parts.headers.insert("content-type", "application/grpc+proto".parse().unwrap());
    let outcome = connection.call(Request::from_parts(parts, ()), &[&frame(&ping())]).await;
    assert_eq!(outcome.unwrap().1, Some(0), "application/grpc+proto is gRPC");
    let get = head(PING).method(Method::GET).body(()).unwrap();
    let (status, _, _) = connection.call(get, &[]).await.unwrap();
    assert!(status.is_client_error(), "GET: {status}");
    expect_alive(&mut node).await;
}

#[tokio::test]
async fn a_deadline_that_has_passed_gets_its_status() {
    let mut node = Node::start(&[]);
    let connection = Connection::open(&node).await;
    let message = frame(&gossip(opaque(1)));
    let late = head(GOSSIP).header("grpc-timeout", "1n").body(()).unwrap();
    let (_, status, _) = connection.call(late, &[&message]).await.unwrap();
    assert_eq!(status, Some(DEADLINE_EXCEEDED));
    for timeout in ["99999999H", "30S", "20000m"] {
        let request = head(GOSSIP).header("grpc-timeout", timeout).body(()).unwrap();
        let (_, status, _) = connection.call(request, &[&message]).await.unwrap();
        assert_eq!(status, Some(0), "{timeout}");
    }
    expect_alive(&mut node).await;
}

#[tokio::test]
async fn five_hundred_small_calls_that_end_with_an_empty_frame_are_no_flood() {
    let node = Node::start(&[]);
    let connection = Connection::open(&node).await;
    let message = frame(&ping());
    for number in 0..500 {
        let outcome = connection.call(head(PING).body(()).unwrap(), &[&message, &[]]).await;
        let (_, status, _) = outcome.unwrap_or_else(|e| panic!("call {number}: {e}"));
        assert_eq!(status, Some(0), "call {number}");
    }
}

#[tokio::test]
async fn a_message_in_many_pieces_is_one_message() {
    let node = Node::start(&[]);
    let connection = Connection::open(&node).await;
    let message = frame(&gossip(opaque(1)));
    let pieces: Vec<&[u8]> = message.chunks(1).collect();
    let (_, status, body) = connection.call(head(GOSSIP).body(()).unwrap(), &pieces).await.unwrap();
    assert_eq!((status, &body[..]), (Some(0), &[0, 0, 0, 0, 2, 8, 1][..]));
}

#[tokio::test]
async fn bytes_that_are_no_http2_end_their_connection_only() {
    let mut node = Node::start(&[]);
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let garbage: [&[u8]; 6] = [
        b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
        b"GET / HTTP/1.1\r\nhost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
        &[&preface[..], &[255; 64]].concat(),
        &[&preface[..], &[0, 0, 0, 4, 0, 0, 0, 0, 0], &[0, 0, 5, 1, 4, 0, 0, 0, 1, 0xff]].concat(),
        &[&preface[..], &[0, 0, 8, 0, 0, 0, 0, 0, 0], &[0; 8]].concat(),
    ];
    for bytes in garbage {
        let mut stream = TcpStream::connect(node.rpc).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let end = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
        assert!(end.is_ok(), "the connection stays open after {bytes:?}");
        expect_alive(&mut node).await;
    }
}

#[tokio::test]
async fn callers_who_leave_in_the_middle_leave_nothing_behind() {
    let mut node = Node::start(&[]);
    for _ in 0..300 {
        let connection = Connection::open(&node).await;
        let mut send = connection.0.clone().ready().await.unwrap();
        let (_, mut body) = send.send_request(head(GOSSIP).body(()).unwrap(), false).unwrap();
        body.send_data(Bytes::from_static(&[0, 0, 0, 9]), false).unwrap();
    }
    expect_alive(&mut node).await;
    assert_eq!(node.root().await.1, 0);
}
