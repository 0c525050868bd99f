//! The OpenAPI document of the HTTP API.
//!
//! In: `openapi.json` beside this file, which is the one source of it. Out: its text, without the
//! white space that it is written with. `tests/openapi.rs` holds it against the routes.
//!
//! Never: makes a part of it while the node runs.

const SOURCE: &[u8] = include_bytes!("openapi.json");
const MINIFIED: ([u8; SOURCE.len()], usize) = minified(SOURCE);
static DOCUMENT: [u8; MINIFIED.1] = front(&MINIFIED.0);

/// The document, in JSON.
pub fn document() -> &'static str {
    std::str::from_utf8(&DOCUMENT).expect("white space alone was left out")
}

/// JSON without white space between its tokens, and its length: a quarter less of the program.
const fn minified<const N: usize>(source: &[u8]) -> ([u8; N], usize) {
    let (mut out, mut length, mut at, mut is_text) = ([0; N], 0, 0, false);
    while at < source.len() {
        let byte = source[at];
        if is_text || !byte.is_ascii_whitespace() {
            out[length] = byte;
            length += 1;
        }
        if is_text && byte == b'\\' {
            at += 1;
            out[length] = source[at];
            length += 1;
        } else if byte == b'"' {
            is_text = !is_text;
        }
        at += 1;
    }
    (out, length)
}

const fn front<const N: usize>(all: &[u8]) -> [u8; N] {
    let (mut out, mut at) = ([0; N], 0);
    while at < N {
        out[at] = all[at];
        at += 1;
    }
    out
}
