//! What is written: keys of 32 bytes and bodies of 300, the same for every engine.
//!
//! In: how many, and until when. Out: records, each once, from whichever thread asks. A body is
//! BLAKE3's output for a number, so that nothing compresses it, and the key is the body's BLAKE3.
//!
//! Never: makes a record while something is measured, nor the same one twice.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use bytes::Bytes;

pub const KEY_BYTES: usize = 32;
pub const BODY_BYTES: usize = 300;
/// What counts as stored.
pub const RECORD_BYTES: usize = KEY_BYTES + BODY_BYTES;

#[derive(Clone)]
pub struct Record {
    pub key: [u8; KEY_BYTES],
    pub body: Bytes,
}

impl Record {
    /// The record of a number.
    pub fn of(number: usize) -> Record {
        let mut body = vec![0; BODY_BYTES];
        let key = make(number, &mut body);
        Record { key, body: Bytes::from(body) }
    }
}

fn make(number: usize, body: &mut [u8]) -> [u8; KEY_BYTES] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&number.to_le_bytes()).finalize_xof().fill(body);
    *blake3::hash(body).as_bytes()
}

/// Records that wait to be written.
pub struct Work {
    /// Key and body, one record after the other.
    bytes: Bytes,
    count: usize,
    taken: AtomicUsize,
    end: Option<Instant>,
}

impl Work {
    /// The records 0 to `count`, all of them made now.
    pub fn new(count: usize) -> Work {
        let mut bytes = vec![0; count * RECORD_BYTES];
        for (number, record) in bytes.chunks_exact_mut(RECORD_BYTES).enumerate() {
            let (key, body) = record.split_at_mut(KEY_BYTES);
            key.copy_from_slice(&make(number, body));
        }
        Work { bytes: Bytes::from(bytes), count, taken: AtomicUsize::new(0), end: None }
    }

    /// Gives out no more records from then on.
    pub fn end_at(&mut self, end: Instant) {
        self.end = Some(end);
    }

    /// The next record, for a writer that is sure to write it.
    pub fn take(&self) -> Option<Record> {
        if self.end.is_some_and(|end| Instant::now() >= end) {
            return None;
        }
        let number = self.taken.fetch_add(1, Ordering::Relaxed);
        (number < self.count).then(|| self.record(number))
    }

    /// How many were taken.
    pub fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed).min(self.count)
    }

    fn record(&self, number: usize) -> Record {
        let at = number * RECORD_BYTES;
        let (body, end) = (at + KEY_BYTES, at + RECORD_BYTES);
        let key = self.bytes[at..body].try_into().expect("a key's length");
        Record { key, body: self.bytes.slice(body..end) }
    }
}
