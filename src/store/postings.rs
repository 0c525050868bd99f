//! Rows by name: which rows have this subject, or this predicate.
//!
//! In: fingerprints of names (32 bits), rows in ascending order. Out: rows, newest first. A name
//! with one row costs one trie entry; more rows go to a list of blocks, each row a varint distance
//! from the one before. Two names may share a fingerprint: whoever reads the bodies decides.
//!
//! Never: keeps a name.

use super::Row;
use super::trie::{Trie, WHOLE};
use crate::base::Digest;

/// A trie value with this bit names a list, without it a row.
const LIST_BIT: u32 = 1 << 31;
/// Bytes of a block by class; a full block moves to the next class, a full one of the last class
/// stays and a new one follows it.
const CLASS_BYTES: [usize; 5] = [16, 32, 64, 128, 256];
/// The newest row, the older block, the count, the bytes used.
const HEAD_BYTES: usize = 12;
/// Where a list goes on, or nothing.
const NO_BLOCK: u32 = LIST_BIT - 1;
/// The count of a list is kept up to this.
const COUNT_MAX: u32 = (1 << 24) - 1;
/// Blocks per allocation.
const CHUNK: usize = 256;

/// A block's place: three bits of class, the rest index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Block(u32);

impl Block {
    fn new(class: usize, index: usize) -> Block {
        let index = u32::try_from(index).expect("fewer blocks than rows");
        debug_assert!(index < 1 << 28);
        Block(index << 3 | class as u32)
    }

    fn class(self) -> usize {
        (self.0 & 7) as usize
    }

    fn index(self) -> usize {
        (self.0 >> 3) as usize
    }
}

/// Blocks of one size, in chunks that never move.
#[derive(Debug, Default)]
struct Class {
    chunks: Vec<Box<[u8]>>,
    used: usize,
    free: Vec<u32>,
}

/// Rows by fingerprint.
#[derive(Debug)]
pub(super) struct Postings {
    names: Trie<WHOLE>,
    classes: [Class; CLASS_BYTES.len()],
}

/// A walk over the rows of one name, newest first. Rows added after it began are not seen.
#[derive(Clone, Debug, Default)]
pub(super) struct Walk {
    rows: Vec<Row>,
    older: Option<Block>,
}

impl Postings {
    pub(super) fn new() -> Postings {
        Postings { names: Trie::new(), classes: Default::default() }
    }

    /// Adds a row, greater than all before it.
    pub(super) fn insert(&mut self, fingerprint: &Digest, row: Row) {
        let found = self.names.candidates(fingerprint).next();
        let Some(value) = found else {
            // Whole keys are never asked for again.
            return self.names.insert(fingerprint, row, |_| Digest::ZERO);
        };
        let block = if value & LIST_BIT == 0 {
            let block = self.allocate(0);
            self.write_head(block, &Head { newest: value, older: NO_BLOCK, count: 1, used: 0 });
            block
        } else {
            Block(value & !LIST_BIT)
        };
        let block = self.append(block, row);
        if block.0 | LIST_BIT != value {
            self.names.replace(fingerprint, value, block.0 | LIST_BIT);
        }
    }

    /// How many rows a name has (counted up to 2^24), and a walk over them.
    pub(super) fn walk(&self, fingerprint: &Digest) -> (u32, Walk) {
        let found = self.names.candidates(fingerprint).next();
        found.map(|value| self.walk_of(value)).unwrap_or_default()
    }

    fn walk_of(&self, value: u32) -> (u32, Walk) {
        if value & LIST_BIT == 0 {
            return (1, Walk { rows: vec![value], older: None });
        }
        let block = Block(value & !LIST_BIT);
        (self.head(block).count, Walk { rows: Vec::new(), older: Some(block) })
    }

    /// A walk that leaves out what it can of the rows from one on.
    pub(super) fn walk_before(&self, fingerprint: &Digest, before: Row) -> Walk {
        let (_, mut walk) = self.walk(fingerprint);
        while let Some(block) = walk.older {
            let older = self.head(block).older;
            if older == NO_BLOCK || self.head(Block(older)).newest + 1 < before {
                break;
            }
            walk.older = Some(Block(older));
        }
        walk
    }

    /// The next older row of a walk.
    pub(super) fn next(&self, walk: &mut Walk) -> Option<Row> {
        if walk.rows.is_empty() {
            let block = walk.older?;
            let head = self.head(block);
            walk.older = (head.older != NO_BLOCK).then_some(Block(head.older));
            walk.rows = self.rows(block, &head);
        }
        walk.rows.pop()
    }

    /// Every name's fingerprint with each of its rows, sorted by both.
    pub(super) fn sorted(&self) -> Vec<(u32, Row)> {
        let mut all = Vec::new();
        for entry in self.names.all() {
            let name = u32::from_be_bytes(entry.fragment());
            let mut walk = self.walk_of(entry.value()).1;
            all.extend(std::iter::from_fn(|| self.next(&mut walk)).map(|row| (name, row)));
        }
        all.sort_unstable();
        all
    }

    /// Heap bytes, the allocator's own not counted.
    pub(super) fn bytes(&self) -> usize {
        let blocks = self.classes.iter().map(|class| {
            class.chunks.iter().map(|chunk| chunk.len()).sum::<usize>()
                + class.chunks.capacity() * size_of::<Box<[u8]>>()
                + class.free.capacity() * 4
        });
        self.names.bytes() + blocks.sum::<usize>()
    }

    /// The rows of one block, oldest first.
    fn rows(&self, block: Block, head: &Head) -> Vec<Row> {
        let payload = &self.bytes_of(block)[HEAD_BYTES..HEAD_BYTES + usize::from(head.used)];
        let mut distances = Vec::new();
        let (mut value, mut shift) = (0, 0);
        for byte in payload {
            value |= u32::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                distances.push(value);
                (value, shift) = (0, 0);
            }
        }
        let mut rows = vec![head.newest];
        let mut row = head.newest;
        for distance in distances.iter().rev() {
            row -= distance;
            rows.push(row);
        }
        rows.reverse();
        rows
    }

    /// Appends a row to a list; the answer is the block that now holds its newest row.
    fn append(&mut self, block: Block, row: Row) -> Block {
        let mut head = self.head(block);
        let mut distance = row - head.newest;
        let mut varint = heapless::Vec::<u8, 5>::new();
        while distance >= 0x80 {
            varint.push(distance as u8 | 0x80).expect("32 bits are five groups of seven");
            distance >>= 7;
        }
        varint.push(distance as u8).expect("32 bits are five groups of seven");
        head.count = (head.count + 1).min(COUNT_MAX);
        let end = HEAD_BYTES + usize::from(head.used) + varint.len();
        if end > CLASS_BYTES[block.class()] {
            let class = block.class() + 1;
            if class == CLASS_BYTES.len() {
                let next = self.allocate(0);
                let head = Head { newest: row, older: block.0, count: head.count, used: 0 };
                self.write_head(next, &head);
                return next;
            }
            let bigger = self.allocate(class);
            let old = self.bytes_of(block).to_vec();
            self.bytes_of_mut(bigger)[..old.len()].copy_from_slice(&old);
            self.classes[block.class()].free.push(block.0 >> 3);
            self.append_fitting(bigger, head, row, &varint);
            return bigger;
        }
        self.append_fitting(block, head, row, &varint);
        block
    }

    fn append_fitting(&mut self, block: Block, mut head: Head, row: Row, varint: &[u8]) {
        let start = HEAD_BYTES + usize::from(head.used);
        self.bytes_of_mut(block)[start..start + varint.len()].copy_from_slice(varint);
        head.newest = row;
        head.used += varint.len() as u8;
        self.write_head(block, &head);
    }

    fn allocate(&mut self, class: usize) -> Block {
        let pool = &mut self.classes[class];
        if let Some(index) = pool.free.pop() {
            return Block::new(class, index as usize);
        }
        if pool.used == pool.chunks.len() * CHUNK {
            pool.chunks.push(vec![0; CHUNK * CLASS_BYTES[class]].into_boxed_slice());
        }
        pool.used += 1;
        Block::new(class, pool.used - 1)
    }

    fn bytes_of(&self, block: Block) -> &[u8] {
        let size = CLASS_BYTES[block.class()];
        let start = block.index() % CHUNK * size;
        &self.classes[block.class()].chunks[block.index() / CHUNK][start..start + size]
    }

    fn bytes_of_mut(&mut self, block: Block) -> &mut [u8] {
        let size = CLASS_BYTES[block.class()];
        let start = block.index() % CHUNK * size;
        &mut self.classes[block.class()].chunks[block.index() / CHUNK][start..start + size]
    }

    fn head(&self, block: Block) -> Head {
        let bytes = self.bytes_of(block);
        let number = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        Head { newest: number(0), older: number(4), count: number(8) & COUNT_MAX, used: bytes[11] }
    }

    fn write_head(&mut self, block: Block, head: &Head) {
        let bytes = self.bytes_of_mut(block);
        bytes[..4].copy_from_slice(&head.newest.to_le_bytes());
        bytes[4..8].copy_from_slice(&head.older.to_le_bytes());
        let last = head.count | u32::from(head.used) << 24;
        bytes[8..12].copy_from_slice(&last.to_le_bytes());
    }
}

/// The head of a block: newest row (4 bytes), older block (4), count of the list (3), bytes used
/// (1).
#[derive(Debug)]
struct Head {
    newest: Row,
    older: u32,
    count: u32,
    used: u8,
}

const _: () = assert!(CLASS_BYTES[CLASS_BYTES.len() - 1] - HEAD_BYTES <= u8::MAX as usize);
