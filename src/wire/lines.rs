//! The lines of a body that comes in pieces.
//!
//! In: pieces, cut anywhere. Out: lines with their numbers; blank ones are passed over. Never:
//! holds more than one line, or more of one than a body may have.

use bytes::{Bytes, BytesMut};

use crate::base::limits;

/// One line that is not blank.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BodyLine {
    /// Its number, from 1; blank lines count.
    pub number: u64,
    /// Its bytes without the line feed; `None`: it has more than a body may have.
    pub text: Option<Bytes>,
}

/// Cuts a body into lines.
#[derive(Debug, Default)]
pub struct BodyLines {
    /// What came and was not cut yet.
    piece: Bytes,
    /// The front of a line whose end has not come.
    front: BytesMut,
    /// The line that is being read has more bytes than it may have: the rest is thrown away.
    is_too_long: bool,
    /// Lines that have ended.
    ended: u64,
}

impl BodyLines {
    /// Takes the next piece; the lines of the one before were taken.
    pub fn feed(&mut self, piece: Bytes) {
        debug_assert!(self.piece.is_empty(), "lines of the piece before are left");
        self.piece = piece;
    }

    /// The next line whose end is here.
    pub fn next_line(&mut self) -> Option<BodyLine> {
        while let Some(feed) = self.piece.iter().position(|byte| *byte == b'\n') {
            let last = self.piece.split_to(feed + 1).slice(..feed);
            if let Some(line) = self.end_line(last) {
                return Some(line);
            }
        }
        let rest = std::mem::take(&mut self.piece);
        self.keep(&rest);
        None
    }

    /// The last line, of a body that has ended without a line feed.
    pub fn last_line(&mut self) -> Option<BodyLine> {
        self.end_line(Bytes::new())
    }

    /// The number of the line that is being read.
    pub fn number(&self) -> u64 {
        self.ended + 1
    }

    /// Bytes of it that are here.
    pub fn held(&self) -> usize {
        self.front.len() + self.piece.len()
    }

    fn end_line(&mut self, last: Bytes) -> Option<BodyLine> {
        self.ended += 1;
        let text = if self.front.is_empty() && !self.is_too_long {
            last
        } else {
            self.keep(&last);
            std::mem::take(&mut self.front).freeze()
        };
        let is_too_long = std::mem::take(&mut self.is_too_long);
        let is_blank = !is_too_long && text.iter().all(u8::is_ascii_whitespace);
        let text = (!is_too_long && text.len() <= limits::HTTP_BODY_BYTES_MAX).then_some(text);
        (!is_blank).then_some(BodyLine { number: self.ended, text })
    }

    /// Keeps a part of the line, as long as it may be one.
    fn keep(&mut self, part: &[u8]) {
        self.is_too_long |= self.front.len() + part.len() > limits::HTTP_BODY_BYTES_MAX;
        if self.is_too_long {
            self.front = BytesMut::new();
        } else {
            self.front.extend_from_slice(part);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(pieces: &[&[u8]]) -> Vec<(u64, Option<Vec<u8>>)> {
        let mut lines = BodyLines::default();
        let mut all = Vec::new();
        for piece in pieces {
            lines.feed(Bytes::copy_from_slice(piece));
            all.extend(std::iter::from_fn(|| lines.next_line()));
        }
        all.extend(lines.last_line());
        all.into_iter().map(|line| (line.number, line.text.map(|text| text.to_vec()))).collect()
    }

    #[test]
    fn lines_are_the_same_however_the_body_is_cut() {
        let body = b"{1}\r\n\n \t\n{2}\n{3}";
        let lines = [(1, &b"{1}\r"[..]), (4, b"{2}"), (5, b"{3}")];
        let lines = lines.map(|(number, text)| (number, Some(text.to_vec())));
        for size in 1..=body.len() {
            assert_eq!(cut(&body.chunks(size).collect::<Vec<_>>()), lines, "pieces of {size}");
        }
        assert_eq!(cut(&[b"", b"\n\n"]), []);
    }

    #[test]
    fn a_line_that_is_too_long_has_no_text_and_the_next_one_is_read() {
        let long = vec![b'x'; limits::HTTP_BODY_BYTES_MAX];
        let body = [&long[..], b"\n", &long, b"x\ny\n"].concat();
        for size in [1 << 10, 1 << 16, body.len()] {
            let lines = cut(&body.chunks(size).collect::<Vec<_>>());
            let found = lines.iter().map(|(number, text)| (*number, text.as_ref().map(Vec::len)));
            let found: Vec<_> = found.collect();
            assert_eq!(found, [(1, Some(long.len())), (2, None), (3, Some(1))]);
        }
    }
}
