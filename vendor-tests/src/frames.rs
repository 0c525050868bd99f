//! HTTP/2 frames as bytes (RFC 9113), for what no library sends.
//!
//! In: numbers and texts. Out: bytes. Never: keeps state of a connection.

/// Frame type of a piece of a body.
pub const DATA: u8 = 0;
/// Frame type of a header block.
pub const HEADERS: u8 = 1;
/// Frame type of a stream's priority, which nothing heeds any more.
pub const PRIORITY: u8 = 2;
/// Frame type of the end of a stream.
pub const RST_STREAM: u8 = 3;
/// Frame type of a connection's settings.
pub const SETTINGS: u8 = 4;
/// Frame type that asks for a sign of life.
pub const PING: u8 = 6;
/// Frame type of a grant of flow control.
pub const WINDOW_UPDATE: u8 = 8;
/// A type that no document defines; RFC 9113, section 5.5, says to ignore it.
pub const UNKNOWN: u8 = 0x2a;

/// Flag: nothing follows on this stream.
pub const END_STREAM: u8 = 1;
/// Flag: the header block is whole.
pub const END_HEADERS: u8 = 4;

/// What a connection starts with. The settings frame follows.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Length of a frame's head.
pub const HEAD: usize = 9;
/// SETTINGS_INITIAL_WINDOW_SIZE.
const INITIAL_WINDOW: u16 = 4;
/// The stream error CANCEL.
const CANCEL: u32 = 8;

/// A frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a frame is small").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Preface and settings of a client; a window of its own for answers, if it wants one.
pub fn opening(window: Option<u32>) -> Vec<u8> {
    let mut settings = Vec::new();
    if let Some(window) = window {
        settings.extend_from_slice(&INITIAL_WINDOW.to_be_bytes());
        settings.extend_from_slice(&window.to_be_bytes());
    }
    [PREFACE, &frame(SETTINGS, 0, 0, &settings)].concat()
}

/// RST_STREAM, by a client that has changed its mind.
pub fn reset(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes())
}

/// WINDOW_UPDATE.
pub fn window_update(stream: u32, bytes: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &bytes.to_be_bytes())
}

/// The header block (HPACK without a table, RFC 7541) of a gRPC call.
pub fn call_headers(path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    // :method POST and :scheme http of the static table.
    let mut block = vec![0x83, 0x86];
    block.push(0x04);
    text(&mut block, path);
    block.push(0x01);
    text(&mut block, "localhost");
    for (name, value) in
        [("content-type", "application/grpc"), ("te", "trailers")].iter().chain(more)
    {
        block.push(0);
        text(&mut block, name);
        text(&mut block, value);
    }
    block
}

/// A string of HPACK, not Huffman-coded.
fn text(block: &mut Vec<u8>, text: &str) {
    const IN_PREFIX: usize = 0x7f;
    let length = text.len();
    if length < IN_PREFIX {
        block.push(length as u8);
    } else {
        block.push(IN_PREFIX as u8);
        let mut rest = length - IN_PREFIX;
        while rest >= 0x80 {
            block.push(rest as u8 & 0x7f | 0x80);
            rest >>= 7;
        }
        block.push(rest as u8);
    }
    block.extend_from_slice(text.as_bytes());
}

/// A gRPC message with its prefix.
pub fn message(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).expect("a message is small").to_be_bytes();
    [&[0], &length[..], body].concat()
}

/// HEADERS that open a call.
pub fn open_call(stream: u32, block: &[u8]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, block)
}

/// A whole call: HEADERS, and its one message.
pub fn whole_call(stream: u32, block: &[u8], body: &[u8]) -> Vec<u8> {
    let data = frame(DATA, END_STREAM, stream, &message(body));
    [open_call(stream, block), data].concat()
}
