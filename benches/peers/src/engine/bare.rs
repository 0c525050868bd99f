//! The ceiling: write and fdatasync in a loop, over zeros that were written before.
//!
//! In: records. Out: their bytes, one after the other, as many by one write as there are writers.
//! Never: an index, a checksum, a second thread.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::Engine;
use crate::record::{RECORD_BYTES, Record, Work};

/// Zeros; at their end the loop begins again at the front.
const FILE_BYTES: u64 = 160 << 20;

pub struct Bare {
    file: File,
    at: u64,
}

impl Bare {
    pub fn open(dir: &Path) -> Bare {
        let file = File::create(dir.join("bare")).expect("a writable directory");
        for offset in (0..FILE_BYTES).step_by(1 << 20) {
            file.write_all_at(&[0; 1 << 20], offset).expect("the disk has space");
        }
        file.sync_all().expect("a good disk");
        Bare { file, at: 0 }
    }
}

impl Engine for Bare {
    fn write(&mut self, writers: usize, work: &Work) {
        let mut bytes = Vec::with_capacity(writers * RECORD_BYTES);
        loop {
            bytes.clear();
            for record in (0..writers).map_while(|_| work.take()) {
                bytes.extend_from_slice(&record.key);
                bytes.extend_from_slice(&record.body);
            }
            if bytes.is_empty() {
                return;
            }
            if self.at + bytes.len() as u64 > FILE_BYTES {
                self.at = 0;
            }
            self.file.write_all_at(&bytes, self.at).expect("the file is as long");
            self.file.sync_data().expect("a good disk");
            self.at += bytes.len() as u64;
        }
    }

    fn read(&mut self, _: &Record) -> Option<Vec<u8>> {
        None
    }

    fn close(self: Box<Self>) {}
}
