//! As much of HTTP/2 as a client with one gRPC call at a time needs, so that the client costs next
//! to nothing beside the server that is measured.
//!
//! In: paths and messages; bytes that a server sent. Out: bytes to send; the answer's message.
//! A call that fails has no message, which ends the run. Never: decodes a header.

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEAD_BYTES: usize = 9;
/// What a gRPC message has in front: whether it is compressed, its length.
const PREFIX_BYTES: usize = 5;
/// What each side may send at first on a connection.
const WINDOW_BYTES: u32 = 65_535;
const WINDOW_BYTES_MAX: u32 = (1 << 31) - 1;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW: u8 = 8;

/// On DATA and HEADERS; on SETTINGS and PING the same bit says that it is an answer.
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

/// A connection's state.
pub struct Grpc {
    /// Of the call under way.
    stream: u32,
    /// The method of the call under way, whose header the server remembers.
    pub path: &'static str,
    window: u32,
    /// The message of the last answer.
    pub answer: Vec<u8>,
}

impl Default for Grpc {
    fn default() -> Grpc {
        Grpc { stream: 0, path: "", window: WINDOW_BYTES, answer: Vec::new() }
    }
}

impl Grpc {
    pub fn greet(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(PREFACE);
        frame(SETTINGS, 0, 0, &[], out);
        let more = WINDOW_BYTES_MAX - WINDOW_BYTES;
        frame(WINDOW, 0, 0, &more.to_be_bytes(), out);
    }

    /// A call; the one before it has been answered.
    pub fn ask(&mut self, path: &'static str, message: &[u8], out: &mut Vec<u8>) {
        self.stream = if self.stream == 0 { 1 } else { self.stream + 2 };
        let headers = if self.path == path { known_headers() } else { new_headers(path) };
        self.path = path;
        self.answer.clear();
        frame(HEADERS, END_HEADERS, self.stream, &headers, out);
        let length = u32::try_from(message.len()).expect("a record is short");
        let mut data = vec![0];
        data.extend_from_slice(&length.to_be_bytes());
        data.extend_from_slice(message);
        let taken = self.window.checked_sub(data.len() as u32);
        self.window = taken.expect("the server opens the window again while it reads");
        frame(DATA, END_STREAM, self.stream, &data, out);
    }

    /// See [`crate::client::Protocol::take`].
    pub fn take(&mut self, input: &mut Vec<u8>, out: &mut Vec<u8>) -> bool {
        let (mut at, mut is_whole) = (0, false);
        while let Some(head) = input.get(at..at + HEAD_BYTES) {
            let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | head[2] as usize;
            let (kind, flags, stream) = (head[3], head[4], number(&head[5..]));
            let Some(payload) = input.get(at + HEAD_BYTES..at + HEAD_BYTES + length) else { break };
            at += HEAD_BYTES + length;
            let is_ours = stream == self.stream;
            match kind {
                DATA if is_ours => self.answer.extend_from_slice(payload),
                SETTINGS if flags & ACK == 0 => frame(SETTINGS, ACK, 0, &[], out),
                PING if flags & ACK == 0 => frame(PING, ACK, 0, payload, out),
                WINDOW if stream == 0 => self.window += number(payload),
                RESET | GOAWAY => panic!("the node ended a call: {payload:?}"),
                _ => {}
            }
            is_whole |= is_ours && matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0;
        }
        input.drain(..at);
        if is_whole {
            assert!(self.answer.len() >= PREFIX_BYTES, "a call of {} failed", self.path);
            self.answer.drain(..PREFIX_BYTES);
        }
        is_whole
    }
}

fn number(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(bytes.try_into().expect("four bytes")) & WINDOW_BYTES_MAX
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8], out: &mut Vec<u8>) {
    let length = u32::try_from(payload.len()).expect("a record is short");
    out.extend_from_slice(&length.to_be_bytes()[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

/// Four headers for the server to remember, after two that HTTP/2 knows: POST, http.
fn new_headers(path: &str) -> Vec<u8> {
    let mut out = vec![0x83, 0x86];
    for (name, value) in [(0x44, path), (0x41, "127.0.0.1"), (0x5f, "application/grpc")] {
        out.push(name);
        text(value, &mut out);
    }
    out.push(0x40);
    text("te", &mut out);
    text("trailers", &mut out);
    out
}

/// The same six, by their indexes in the server's table.
fn known_headers() -> Vec<u8> {
    vec![0x83, 0x86, 0xc1, 0xc0, 0xbf, 0xbe]
}

fn text(value: &str, out: &mut Vec<u8>) {
    out.push(u8::try_from(value.len()).expect("a short header"));
    out.extend_from_slice(value.as_bytes());
}
