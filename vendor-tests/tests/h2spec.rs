//! The cases of h2spec that its own requests cannot show, frame by frame: it sends GET, or POST
//! without a content type, which this server refuses before the case begins. Here each is a gRPC
//! call. `vendor-tests/h2spec/run` lists which ones.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use vendor_tests::frames::{
    self, DATA, END_HEADERS, END_STREAM, HEADERS, PRIORITY, RST_STREAM, SETTINGS,
};
use vendor_tests::node::{Node, PATIENCE};

const PING: &str = "/stemedb.sync.v1.SyncService/Ping";
const GOAWAY: u8 = 7;
const ACK: u8 = 1;
const MAX_STREAMS: u16 = 3;
const INITIAL_WINDOW: u16 = 4;
const PROTOCOL_ERROR: u32 = 1;
const FLOW_CONTROL_ERROR: u32 = 3;
const STREAM_CLOSED: u32 = 5;
const REFUSED_STREAM: u32 = 7;

struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

/// A connection, and the settings that the node began it with.
struct Connection {
    socket: TcpStream,
    settings: Vec<u8>,
}

impl Connection {
    async fn open(node: &Node, window: Option<u32>) -> Connection {
        let mut socket = TcpStream::connect(node.rpc).await.unwrap();
        socket.write_all(&frames::opening(window)).await.unwrap();
        let mut connection = Connection { socket, settings: Vec::new() };
        let first = connection.read().await.expect("the node begins");
        assert_eq!((first.kind, first.flags), (SETTINGS, 0), "the first frame");
        connection.settings = first.payload;
        connection.send(&frames::frame(SETTINGS, ACK, 0, &[])).await;
        connection
    }

    async fn send(&mut self, bytes: &[u8]) {
        // A node that has ended the connection says so to the next read.
        let _ = self.socket.write_all(bytes).await;
    }

    /// The next frame; none when the connection has ended.
    async fn read(&mut self) -> Option<Frame> {
        let read = async {
            let mut head = [0; frames::HEAD];
            self.socket.read_exact(&mut head).await.ok()?;
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; length as usize];
            self.socket.read_exact(&mut payload).await.ok()?;
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            Some(Frame { kind: head[3], flags: head[4], stream, payload })
        };
        tokio::time::timeout(PATIENCE, read).await.expect("the node says something")
    }

    /// The next frame of a call, or one that ends the connection.
    async fn next(&mut self) -> Option<Frame> {
        loop {
            let frame = self.read().await?;
            if matches!(frame.kind, HEADERS | DATA | RST_STREAM | GOAWAY) {
                return Some(frame);
            }
        }
    }

    /// A call is answered: HEADERS, DATA and trailers.
    async fn expect_answer(&mut self, stream: u32) {
        for kind in [HEADERS, DATA, HEADERS] {
            let frame = self.next().await.expect("an answer");
            assert_eq!((frame.kind, frame.stream), (kind, stream));
        }
    }

    /// A stream error, or an error of the whole connection, for this reason.
    async fn expect_error(&mut self, what: &str, allowed: &[u32]) {
        match self.next().await {
            None => {}
            Some(frame) if frame.kind == RST_STREAM => {
                let why = number(&frame.payload[..4]);
                assert!(allowed.contains(&why), "{what}: error code {why}");
            }
            Some(frame) if frame.kind == GOAWAY => {
                let why = number(&frame.payload[4..8]);
                assert!(allowed.contains(&why), "{what}: error code {why} of the connection");
            }
            Some(frame) => panic!("{what}: a frame of type {}", frame.kind),
        }
    }

    /// The next DATA of the call has so many bytes.
    async fn expect_data(&mut self, length: usize) {
        loop {
            let frame = self.next().await.expect("an answer");
            match frame.kind {
                HEADERS => assert_eq!(frame.flags & END_STREAM, 0, "an answer without a message"),
                kind => {
                    assert_eq!((kind, frame.payload.len()), (DATA, length));
                    return;
                }
            }
        }
    }
}

fn number(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(bytes.try_into().expect("four bytes"))
}

fn block() -> Vec<u8> {
    frames::call_headers(PING, &[])
}

/// A header field as a literal without indexing.
fn field(name: &str, value: &str) -> Vec<u8> {
    let text = |it: &str| [&[it.len() as u8], it.as_bytes()].concat();
    [vec![0], text(name), text(value)].concat()
}

fn windows(values: &[u32]) -> Vec<u8> {
    let entry = |value: &u32| [&INITIAL_WINDOW.to_be_bytes()[..], &value.to_be_bytes()].concat();
    frames::frame(SETTINGS, 0, 0, &values.iter().flat_map(entry).collect::<Vec<u8>>())
}

#[tokio::test]
async fn window_update_and_priority_after_the_request_are_taken() {
    let node = Node::start(&[]);
    let priority = frames::frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 7]);
    for after in [frames::window_update(1, 100), priority] {
        let mut connection = Connection::open(&node, None).await;
        connection.send(&[frames::whole_call(1, &block(), &[]), after].concat()).await;
        connection.expect_answer(1).await;
    }
}

#[tokio::test]
async fn a_connection_with_another_preface_ends() {
    let node = Node::start(&[]);
    let mut socket = TcpStream::connect(node.rpc).await.unwrap();
    socket.write_all(b"INVALID CONNECTION PREFACE\r\n\r\n").await.unwrap();
    let mut rest = Vec::new();
    // With a reset (what was sent is not read) or without one.
    let end = tokio::time::timeout(PATIENCE, socket.read_to_end(&mut rest)).await;
    assert!(end.is_ok(), "the connection stays open");
}

#[tokio::test]
async fn a_call_past_the_limit_is_refused_and_the_others_go_on() {
    let node = Node::start(&[]);
    let mut connection = Connection::open(&node, None).await;
    let mut entries = connection.settings.chunks(6);
    let limit = entries.find(|entry| entry[..2] == MAX_STREAMS.to_be_bytes());
    let limit = number(&limit.expect("the node says its limit")[2..]);
    let calls = (0..=limit).flat_map(|call| frames::open_call(2 * call + 1, &block()));
    connection.send(&calls.collect::<Vec<u8>>()).await;
    let refusal = connection.next().await.expect("an answer");
    assert_eq!((refusal.kind, refusal.stream), (RST_STREAM, 2 * limit + 1));
    let why = number(&refusal.payload);
    assert!(matches!(why, PROTOCOL_ERROR | REFUSED_STREAM), "error code {why}");
    let end = frames::frame(DATA, END_STREAM, 1, &frames::message(&[]));
    connection.send(&end).await;
    connection.expect_answer(1).await;
}

#[tokio::test]
async fn headers_in_the_middle_of_a_call_are_an_error() {
    let node = Node::start(&[]);
    let mut connection = Connection::open(&node, None).await;
    let half = frames::frame(DATA, 0, 1, b"\0\0");
    let second = frames::frame(HEADERS, END_HEADERS, 1, &field("x", "y"));
    connection.send(&[frames::open_call(1, &block()), half, second].concat()).await;
    connection.expect_error("HEADERS without END_STREAM", &[PROTOCOL_ERROR]).await;
}

/// RFC 9113, section 8.1, wants an error here; h2 leaves such fields out before a server sees them.
#[tokio::test]
async fn pseudo_headers_in_trailers_change_nothing() {
    let node = Node::start(&[]);
    let mut connection = Connection::open(&node, None).await;
    let data = frames::frame(DATA, 0, 1, &frames::message(&[]));
    let trailers = frames::frame(HEADERS, END_HEADERS | END_STREAM, 1, &field(":method", "DELETE"));
    connection.send(&[frames::open_call(1, &block()), data, trailers].concat()).await;
    connection.expect_answer(1).await;
    connection.send(&frames::whole_call(3, &block(), &[])).await;
    connection.expect_answer(3).await;
}

#[tokio::test]
async fn a_call_taken_back_or_with_too_large_a_window_is_over() {
    let node = Node::start(&[]);
    let open = frames::open_call(1, &block());
    let data = frames::frame(DATA, END_STREAM, 1, &frames::message(&[]));
    let grant = frames::window_update(1, i32::MAX as u32);
    // A number that was used already is an error of the connection, too (RFC 9113, section 5.1.1).
    let used = vec![STREAM_CLOSED, PROTOCOL_ERROR];
    let rows = [
        ("DATA after RST_STREAM", [frames::reset(1), data], vec![STREAM_CLOSED]),
        ("HEADERS after RST_STREAM", [frames::reset(1), open.clone()], used),
        ("two grants of 2^31-1", [grant.clone(), grant], vec![FLOW_CONTROL_ERROR]),
    ];
    for (what, more, allowed) in rows {
        let mut connection = Connection::open(&node, None).await;
        connection.send(&[open.clone(), more.concat()].concat()).await;
        connection.expect_error(what, &allowed).await;
    }
}

#[tokio::test]
async fn a_content_length_that_is_not_the_sum_of_the_data_is_an_error() {
    let node = Node::start(&[]);
    let block = frames::call_headers(PING, &[("content-length", "1")]);
    let message = frames::message(&[]);
    let (first, second) = message.split_at(2);
    let one = frames::frame(DATA, END_STREAM, 1, &message);
    let two = [frames::frame(DATA, 0, 1, first), frames::frame(DATA, END_STREAM, 1, second)];
    for (what, data) in [("one DATA", one), ("two of them", two.concat())] {
        let mut connection = Connection::open(&node, None).await;
        connection.send(&[frames::open_call(1, &block), data].concat()).await;
        connection.expect_error(what, &[PROTOCOL_ERROR]).await;
    }
}

#[tokio::test]
async fn answers_come_as_the_window_lets_them() {
    let node = Node::start(&[]);
    let call = frames::whole_call(1, &block(), &[]);

    let mut one_byte = Connection::open(&node, Some(1)).await;
    one_byte.send(&call).await;
    one_byte.expect_data(1).await;

    let mut last_counts = Connection::open(&node, None).await;
    last_counts.send(&[windows(&[100, 1]), call.clone()].concat()).await;
    last_counts.expect_data(1).await;

    let mut later = Connection::open(&node, Some(0)).await;
    later.send(&[call.clone(), windows(&[1])].concat()).await;
    later.expect_data(1).await;

    // 3 bytes are sent, then the window is -1: two more leave a window of one.
    let mut negative = Connection::open(&node, Some(3)).await;
    negative.send(&call).await;
    negative.expect_data(3).await;
    negative.send(&[windows(&[2]), frames::window_update(1, 2)].concat()).await;
    negative.expect_data(1).await;
}
