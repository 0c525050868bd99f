//! The lines of the input, one at a time and none longer than a body may be.
//!
//! In: any byte stream. Out: [`Line`]s with their numbers; empty ones are passed over. Never: holds
//! more than one line, whatever the input.

use std::io::{self, BufRead, BufReader, Read};

use crate::base::limits;
use crate::wire::rejection::Rejection;

/// One line that is not empty.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Line {
    /// Its number in the input, from 1.
    pub(super) number: u64,
    /// Its bytes without the line ending, or why it cannot be sent.
    pub(super) body: Result<Vec<u8>, Unfit>,
    /// The line as it was, where `body` is not that.
    pub(super) original: Option<Vec<u8>>,
    /// Bytes of the input up to and with this line.
    pub(super) end: u64,
}

/// Why a line is not sent; the input must change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Unfit {
    /// A word for the kind of trouble, as the node's error codes are.
    pub(super) code: &'static str,
    /// What was wrong and what would be right.
    pub(super) message: String,
}

/// What the node would have said to it.
impl From<Rejection> for Unfit {
    fn from(rejection: Rejection) -> Unfit {
        Unfit { code: rejection.status().1, message: rejection.to_string() }
    }
}

/// Cuts a byte stream into lines.
pub(super) struct Lines<R> {
    input: BufReader<R>,
    number: u64,
    end: u64,
}

impl<R: Read> Lines<R> {
    pub(super) fn new(input: BufReader<R>) -> Lines<R> {
        Lines { input, number: 0, end: 0 }
    }

    /// Whether the next line is there already; otherwise taking it may block.
    pub(super) fn is_next_here(&self) -> bool {
        self.input.buffer().contains(&b'\n')
    }

    /// The next line that is not empty.
    pub(super) fn next(&mut self) -> io::Result<Option<Line>> {
        loop {
            let mut body = Vec::new();
            let length = self.take_line(&mut body)?;
            if length == 0 {
                return Ok(None);
            }
            self.end += length;
            self.number += 1;
            if body.last() == Some(&b'\r') {
                body.pop();
            }
            if self.number == 1 && body.starts_with(b"\xef\xbb\xbf") {
                body.drain(..3);
            }
            let body = match length {
                0..=LINE_BYTES_MAX if body.iter().all(u8::is_ascii_whitespace) => continue,
                0..=LINE_BYTES_MAX => Ok(body),
                _ => Err(too_long(length)),
            };
            let (number, original, end) = (self.number, None, self.end);
            return Ok(Some(Line { number, body, original, end }));
        }
    }

    /// Takes one line from the input, its line feed included in the count but not in `body`; of a
    /// line that is too long only the start is kept.
    fn take_line(&mut self, body: &mut Vec<u8>) -> io::Result<u64> {
        let mut length = 0;
        loop {
            let chunk = match self.input.fill_buf() {
                Ok(chunk) => chunk,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let feed = chunk.iter().position(|&byte| byte == b'\n');
            let text = &chunk[..feed.unwrap_or(chunk.len())];
            let space = limits::HTTP_BODY_BYTES_MAX.saturating_sub(body.len());
            body.extend_from_slice(&text[..text.len().min(space)]);
            let used = feed.map_or(chunk.len(), |feed| feed + 1);
            length += used as u64;
            self.input.consume(used);
            if used == 0 || feed.is_some() {
                return Ok(length);
            }
        }
    }
}

/// A body and its line feed.
const LINE_BYTES_MAX: u64 = limits::HTTP_BODY_BYTES_MAX as u64 + 1;

pub(super) fn too_long(bytes: u64) -> Unfit {
    let max = limits::HTTP_BODY_BYTES_MAX;
    Unfit {
        code: "body_too_large",
        message: format!("the line has {bytes} bytes, at most {max} are allowed"),
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    fn all(input: &[u8], capacity: usize) -> Vec<Line> {
        let mut lines = Lines::new(BufReader::with_capacity(capacity, input));
        std::iter::from_fn(|| lines.next().expect("memory does not fail")).collect()
    }

    #[test]
    fn numbers_count_every_line_and_empty_ones_are_passed_over() {
        for capacity in [1, 2, 3, 100] {
            let lines = all(b"\xef\xbb\xbf{1}\r\n\n  \t\n{2}\n{3}", capacity);
            let seen: Vec<_> = lines
                .iter()
                .map(|line| (line.number, line.body.as_deref().expect("short"), line.end))
                .collect();
            let expected: [(u64, &[u8], u64); 3] =
                [(1, b"{1}", 8), (4, b"{2}", 17), (5, b"{3}", 20)];
            assert_eq!(seen, expected);
        }
        assert_eq!(all(b"", 10), []);
        assert_eq!(all(b"\n\n", 10), []);
    }

    #[test]
    fn a_line_that_is_too_long_is_reported_and_the_next_one_is_read() {
        let max = limits::HTTP_BODY_BYTES_MAX;
        let mut input = vec![b'x'; max];
        input.push(b'\n');
        input.extend(vec![b'y'; max + 1]);
        input.extend(b"\n");
        input.extend(vec![b' '; max + 1]);
        input.extend(b"y\nz");
        let lines = all(&input, 8192);
        assert_eq!(lines[0].body.as_ref().map(Vec::len), Ok(max));
        assert_eq!(lines[1].body, Err(too_long(max as u64 + 2)));
        let last = lines.last().expect("four lines");
        assert_eq!((last.number, &last.body), (4, &Ok(b"z".to_vec())));
    }
}
