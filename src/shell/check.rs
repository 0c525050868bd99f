//! `stemedb-edge check DIR`: is everything in a data directory what was written?
//!
//! In: a directory. Out: a summary, each damage with its place, an exit code. Works beside a
//! running node. Never: writes, locks, or stops at the first damage.

use std::fmt::Write;
use std::path::Path;

use super::disk::{self, Fault, Recovered};
use crate::base::Digest;
use crate::journal::Committed;

/// All is what was written.
pub const WHOLE: u8 = 0;
/// Something is not; the rest is listed.
pub const DAMAGED: u8 = 1;
/// It could not be read at all.
pub const UNREADABLE: u8 = 2;

/// Records with a false hash described one by one; more are only counted.
const LINES_MAX: u64 = 100;

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
    // Eight bytes of each hash: a million records are 8 MiB, and two that share them by chance are
    // not to be expected below a billion.
    let mut seen: Vec<u64> = Vec::new();
    let mut counts = Counts::default();
    if let Some(holder) = disk::holder(dir) {
        let _ =
            writeln!(counts.lines, "in use by {holder}: what it writes now may be missing here");
    }
    let recovered = disk::recover(&log, false, |committed| {
        let sealed = committed.sealed();
        if Digest::of(sealed.bytes()) != sealed.digest() {
            counts.false_hash(&committed);
        }
        counts.opaque += u64::from(sealed.is_opaque());
        seen.push(front(&sealed.digest()));
    });
    let records = seen.len();
    seen.sort_unstable();
    seen.dedup();
    counts.repeated = (records - seen.len()) as u64;
    match recovered {
        Ok(recovered) => {
            counts.verdict(dir, &recovered, |it| seen.binary_search(&front(it)).is_ok())
        }
        Err(fault) => unreadable(&fault),
    }
}

fn front(digest: &Digest) -> u64 {
    u64::from_le_bytes(*digest.0.first_chunk().expect("32 bytes hold 8"))
}

#[derive(Default)]
struct Counts {
    opaque: u64,
    repeated: u64,
    false_hashes: u64,
    lines: String,
}

impl Counts {
    fn false_hash(&mut self, committed: &Committed) {
        self.false_hashes += 1;
        if self.false_hashes <= LINES_MAX {
            let at = committed.position();
            let (segment, offset) = (at.segment(), at.offset());
            let claimed = committed.sealed().digest();
            // Writing to a String cannot fail.
            let _ = writeln!(
                self.lines,
                "segment {segment} offset {offset}: the body does not hash to its id {claimed}"
            );
        }
    }

    /// A damaged record that is here again is made good: nothing is missing for it.
    fn verdict(
        self,
        dir: &Path,
        recovered: &Recovered,
        is_here: impl Fn(&Digest) -> bool,
    ) -> Verdict {
        let mut text = self.lines;
        let mut healed = 0;
        for damage in &recovered.damages_told {
            let (segment, offset) = (damage.at.segment(), damage.at.offset());
            let bytes = damage.bytes;
            let _ = write!(text, "segment {segment} offset {offset}: {bytes} bytes are damaged");
            if let Some(digest) = damage.digest {
                let again = if is_here(&digest) { ", which is here again" } else { "" };
                healed += u64::from(is_here(&digest));
                let _ = write!(text, ", of record {digest}{again}");
            }
            text.push('\n');
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
            "{}: {} records in {} bytes, {} opaque, {} repeated; {} damaged, {healed} of \
             them made good; {} with a false hash",
            dir.display(),
            recovered.records,
            recovered.bytes,
            self.opaque,
            self.repeated,
            recovered.damages,
            self.false_hashes
        );
        let whole = recovered.damages == healed && self.false_hashes == 0;
        Verdict { text, code: if whole { WHOLE } else { DAMAGED } }
    }
}

fn unreadable(fault: &Fault) -> Verdict {
    Verdict { text: format!("{fault}\n"), code: UNREADABLE }
}
