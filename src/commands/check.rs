//! `stemedb-edge check DIR`: is everything in a data directory what was written?
//!
//! In: a directory. Out: a summary, each damage with its position, an exit code. Works beside a
//! running node. Never: writes, locks, or stops at the first damage.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

use crate::base::Digest;
use crate::journal::{Committed, Position};
use crate::shell::disk::{self, Checkpoint, Evidence, Fault, Recovered};
use crate::sketch::{SketchKey, short_id};

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

impl Verdict {
    /// The last line: what it comes to.
    pub fn summary(&self) -> &str {
        self.text.lines().next_back().unwrap_or_default()
    }
}

/// Verifies every frame, every hash, every archive below `dir`.
pub fn check(dir: &Path) -> Verdict {
    let mut scan = Scan::begin(dir);
    if let Some(holder) = disk::holder(dir) {
        let _ = writeln!(
            scan.counts.lines,
            "in use by {holder}: what it writes now may be missing here"
        );
    }
    let recovered = disk::recover(&dir.join("log"), false, |committed| scan.see(&committed));
    let verdict = recovered.and_then(|recovered| scan.finish(&recovered, None));
    verdict.unwrap_or_else(|fault| Verdict { text: format!("{fault}\n"), code: UNREADABLE })
}

/// A check under way, for callers that read the log anyway.
pub(super) struct Scan<'a> {
    dir: &'a Path,
    evidence: Option<Evidence>,
    /// Eight bytes of each hash: a million records are 8 MiB, and two that share them by chance are
    /// not to be expected below a billion.
    seen: Vec<u64>,
    counts: Counts,
}

impl Scan<'_> {
    /// Before the log is read, which a running node may write to meanwhile: what the index knows
    /// by now was written before.
    pub(super) fn begin(dir: &Path) -> Scan<'_> {
        let evidence = Checkpoint::new(dir, SketchKey::new(None)).evidence();
        Scan { dir, evidence, seen: Vec::new(), counts: Counts::default() }
    }

    /// A record of the log, in its order.
    pub(super) fn see(&mut self, committed: &Committed) {
        let sealed = committed.sealed();
        if Digest::of(sealed.bytes()) != sealed.digest() {
            self.counts.false_hash(committed);
        }
        self.counts.opaque += u64::from(sealed.is_opaque());
        self.seen.push(short_id(&sealed.digest()));
    }

    /// After the last one. Records that are lost are listed in the directory `copy`, where the log
    /// was read from one: nothing else there would name them.
    pub(super) fn finish(
        mut self,
        recovered: &Recovered,
        copy: Option<&Path>,
    ) -> Result<Verdict, Fault> {
        let records = self.seen.len();
        self.seen.sort_unstable();
        self.seen.dedup();
        self.counts.repeated = (records - self.seen.len()) as u64;
        let (seen, mut counts) = (self.seen, self.counts);
        let is_here = |digest: &Digest| seen.binary_search(&short_id(digest)).is_ok();
        let named = recovered.damages_listed.iter().filter_map(|damage| damage.digest);
        let named: BTreeSet<Digest> = named.collect();
        let is_named = |digest: &Digest| is_here(digest) || named.contains(digest);
        let find = |see: &mut dyn FnMut(&Digest, Position)| {
            let found = disk::find_missing(self.dir, self.evidence.as_ref(), &is_named, see);
            found.map_err(|error| Fault::new("reading what was lost in", self.dir, error))
        };
        find(&mut |digest, at| counts.lost(digest, at))?;
        if let Some(copy) = copy.filter(|_| counts.lost > 0) {
            disk::list_missing(copy, find)?;
        }
        Ok(counts.verdict(self.dir, recovered, is_here))
    }
}

#[derive(Default)]
struct Counts {
    opaque: u64,
    repeated: u64,
    false_hashes: u64,
    lost: u64,
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

    fn lost(&mut self, digest: &Digest, at: Position) {
        self.lost += 1;
        if self.lost <= LINES_MAX {
            let (segment, offset) = (at.segment(), at.offset());
            let _ = writeln!(
                self.lines,
                "segment {segment} offset {offset}: record {digest} was here and is lost"
            );
        }
    }

    /// A damaged record that is here again is repaired: nothing is missing for it.
    fn verdict(
        self,
        dir: &Path,
        recovered: &Recovered,
        is_here: impl Fn(&Digest) -> bool,
    ) -> Verdict {
        let mut text = self.lines;
        let mut repaired = 0;
        for damage in &recovered.damages_listed {
            let (segment, offset) = (damage.at.segment(), damage.at.offset());
            let bytes = damage.bytes;
            let _ = write!(text, "segment {segment} offset {offset}: {bytes} bytes are damaged");
            if let Some(digest) = damage.digest {
                let again = if is_here(&digest) { ", which is here again" } else { "" };
                repaired += u64::from(is_here(&digest));
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
            "{}: {} records in {} bytes, {} opaque, {} repeated; {} damaged, {repaired} of \
             them repaired; {} with a false hash; {} lost",
            dir.display(),
            recovered.records,
            recovered.bytes,
            self.opaque,
            self.repeated,
            recovered.damages,
            self.false_hashes,
            self.lost
        );
        let whole = recovered.damages == repaired && self.false_hashes == 0 && self.lost == 0;
        Verdict { text, code: if whole { WHOLE } else { DAMAGED } }
    }
}
