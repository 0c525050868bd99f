//! JSON's scalars as the answers write them: text, hex, null.
//!
//! In: borrowed values. Out: their JSON. Never: copies a value before it is written.

use nanoserde::{SerJson, SerJsonState};

use super::reader::plain_length;
use crate::base::digest::write_hex;

/// The JSON of `body`, expected to take about `capacity` bytes.
pub(in crate::wire) fn render(body: &impl SerJson, capacity: usize) -> String {
    let mut state = SerJsonState::new(String::with_capacity(capacity));
    body.ser_json(0, &mut state);
    state.out
}

/// Text that lives elsewhere, written in long pieces: most of an answer is the inside of strings.
pub(in crate::wire) struct Text<'a>(pub(in crate::wire) &'a str);

impl SerJson for Text<'_> {
    fn ser_json(&self, _: usize, state: &mut SerJsonState) {
        let out = &mut state.out;
        out.push('"');
        let mut rest = self.0;
        loop {
            let (plain, special) = rest.split_at(plain_length(rest.as_bytes()));
            out.push_str(plain);
            // Only these are special, and each is one byte.
            match special.as_bytes().first() {
                None => break,
                Some(b'"') => out.push_str("\\\""),
                Some(b'\\') => out.push_str("\\\\"),
                Some(b'\n') => out.push_str("\\n"),
                Some(b'\r') => out.push_str("\\r"),
                Some(b'\t') => out.push_str("\\t"),
                Some(control) => {
                    out.push_str("\\u00");
                    write_hex(&[*control], out).expect("writing to a String cannot fail");
                }
            }
            rest = &special[1..];
        }
        out.push('"');
    }
}

/// The text as JSON, in quotes.
pub fn quoted(text: &str) -> String {
    render(&Text(text), text.len() + 2)
}

/// Bytes as lower-case hex.
pub(super) struct Hex<'a>(pub(super) &'a [u8]);

impl SerJson for Hex<'_> {
    fn ser_json(&self, _: usize, state: &mut SerJsonState) {
        state.out.push('"');
        write_hex(self.0, &mut state.out).expect("writing to a String cannot fail");
        state.out.push('"');
    }
}

/// A field that is always there, `null` when nothing is known. (Of an `Option` nanoserde leaves out
/// the field.)
pub(super) struct Nullable<T>(pub(super) Option<T>);

impl<T: SerJson> SerJson for Nullable<T> {
    fn ser_json(&self, depth: usize, state: &mut SerJsonState) {
        match &self.0 {
            Some(value) => value.ser_json(depth, state),
            None => state.out.push_str("null"),
        }
    }
}
