//! `stemedb-edge check DIR`: is everything in a data directory what was written?
//!
//! In: a directory. Out: a summary, each damage with its place, an exit code. Works beside a
//! running node. Never: writes, locks, or stops at the first damage.

use std::collections::HashSet;
use std::fmt::Write;
use std::path::Path;

use super::disk::{self, Fault, Recovered};
use crate::base::Digest;

/// All is what was written.
pub const WHOLE: u8 = 0;
/// Something is not; the rest is listed.
pub const DAMAGED: u8 = 1;
/// It could not be read at all.
pub const UNREADABLE: u8 = 2;

/// What a check says, and how the process ends.
#[derive(Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Lines for the terminal.
    pub text: String,
    /// [`WHOLE`], [`DAMAGED`] or [`UNREADABLE`].
    pub code: u8,
}

/// Verifies every frame, every hash, every archive below `dir`.
pub fn check(dir: &Path) -> Verdict {
    let log = dir.join("log");
    let mut seen = HashSet::new();
    let mut counts = Counts::default();
    let recovered = disk::recover(&log, false, |committed| {
        let sealed = committed.sealed();
        if Digest::of(sealed.bytes()) != sealed.digest() {
            let at = committed.position();
            counts.false_hashes += 1;
            let (segment, offset) = (at.segment(), at.offset());
            // Writing to a String cannot fail.
            let _ = writeln!(
                counts.lines,
                "segment {segment} offset {offset}: the body does not hash to its id {}",
                sealed.digest()
            );
        }
        counts.opaque += u64::from(sealed.is_opaque());
        counts.repeated += u64::from(!seen.insert(sealed.digest()));
    });
    match recovered {
        Ok(recovered) => counts.verdict(dir, &recovered),
        Err(fault) => unreadable(&fault),
    }
}

#[derive(Default)]
struct Counts {
    opaque: u64,
    repeated: u64,
    false_hashes: u64,
    lines: String,
}

impl Counts {
    fn verdict(self, dir: &Path, recovered: &Recovered) -> Verdict {
        let mut text = self.lines;
        for damage in &recovered.damages_told {
            let (segment, offset) = (damage.at.segment(), damage.at.offset());
            let bytes = damage.bytes;
            let _ = writeln!(text, "segment {segment} offset {offset}: {bytes} bytes are damaged");
        }
        if recovered.torn_bytes > 0 {
            let (segment, offset) = (recovered.tail.segment(), recovered.tail.offset());
            let bytes = recovered.torn_bytes;
            let _ = writeln!(
                text,
                "segment {segment} offset {offset}: {bytes} bytes of an unfinished write (the next \
                 start cuts them off)"
            );
        }
        let _ = writeln!(
            text,
            "{}: {} records in {} bytes, {} opaque, {} repeated; {} damaged, {} with a false hash",
            dir.display(),
            recovered.records,
            recovered.bytes,
            self.opaque,
            self.repeated,
            recovered.damages,
            self.false_hashes
        );
        let whole = recovered.damages == 0 && self.false_hashes == 0;
        Verdict { text, code: if whole { WHOLE } else { DAMAGED } }
    }
}

fn unreadable(fault: &Fault) -> Verdict {
    Verdict { text: format!("{fault}\n"), code: UNREADABLE }
}
