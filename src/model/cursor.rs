//! Where a page of a query ended, as text that a client hands back.
//!
//! In: a node's numbering of its rows, a row of it. Out: opaque text, and back.
//!
//! Never: names a row without the numbering that it is of. That row of another node is another
//! assertion.

use std::fmt;

use crate::base::NodeId;

/// The rows of one node, numbered in the order in which that node committed them. An index made
/// anew, as in an empty data directory, has another number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RowNumbering {
    /// The node that has these rows: a gateway asks it for the next page.
    pub node: NodeId,
    /// Drawn with the index, so that no other numbering has it.
    pub number: u64,
}

/// Where a page ended: the next one starts at the row before this.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cursor {
    /// What `row` is a row of.
    pub numbering: RowNumbering,
    /// The first row that is not wanted any more.
    pub row: u64,
}

impl Cursor {
    /// From the text that [`Display`](fmt::Display) makes, and from no other.
    pub fn parse(text: &str) -> Option<Cursor> {
        let mut parts = text.splitn(3, '-');
        let node = NodeId::parse(parts.next()?)?;
        let mut number = || u64::from_str_radix(parts.next()?, 16).ok();
        let numbering = RowNumbering { node, number: number()? };
        let cursor = Cursor { numbering, row: number()? };
        (cursor.to_string() == text).then_some(cursor)
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RowNumbering { node, number } = self.numbering;
        write!(out, "{node}-{number:x}-{:x}", self.row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_as_it_is_shown_and_nothing_else_is_one() {
        let node = "00112233445566778899aabbccddeeff";
        for (number, row) in [(0, 0), (0x1f, 0x2a), (u64::MAX, u64::MAX)] {
            let numbering = RowNumbering { node: NodeId::parse(node).expect("an id"), number };
            let cursor = Cursor { numbering, row };
            assert_eq!(cursor.to_string(), format!("{node}-{number:x}-{row:x}"));
            assert_eq!(Cursor::parse(&cursor.to_string()), Some(cursor));
        }
        let bad = [
            "",
            "1f",
            "-1-1",
            "X-1-1",
            "N",
            "N-",
            "N-1",
            "N-1-",
            "N--1",
            "N-+1-1",
            "N-1-+1",
            "N-01-1",
            "N-1-01",
            "N-1-A",
            "N-1-1-1",
            "N-1-1 ",
            "N-1-10000000000000000",
            "00112233-4455-6677-8899-aabbccddeeff-1-1",
        ];
        for text in bad.map(|text| text.replace('N', node)) {
            assert_eq!(Cursor::parse(&text), None, "{text:?}");
        }
    }
}
