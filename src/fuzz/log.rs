//! The log's reader over arbitrary bytes, and over a good log with damage.
//!
//! In: bytes of segments, or records and what to change of their frames. Out: a failed assertion
//! where recovery finds a record that was not written, another count than a second reading of the
//! same bytes, or after its repair something else than before. Never: leaves a file behind.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::input::Input;
use crate::base::{Digest, limits};
use crate::journal::record::{self, Found, SEGMENT_HEAD_BYTES};
use crate::shell::disk::{Recovered, recover, segment_path};

/// A folder of its own, gone with its content when dropped.
pub(super) struct Scratch(pub(super) PathBuf);

impl Scratch {
    pub(super) fn new() -> Scratch {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("stemedb-fuzz-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).expect("space for a folder");
        Scratch(folder)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Best effort: the folder is among the system's temporary files.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A record as recovery finds it: position and id.
type FoundRow = (u64, Digest);

pub(super) fn record_scan(input: &[u8]) {
    let mut input = Input(input);
    let kind = input.byte();
    let is_raw = kind & 1 == 0;
    let mut written = BTreeSet::new();
    let mut segments =
        if is_raw { raw(kind, &input) } else { good(kind, &mut input, &mut written) };
    let is_damaged = is_raw || damage(&mut input, &mut segments);
    for segment in &segments {
        record::fuzz(segment.get(SEGMENT_HEAD_BYTES..).unwrap_or_default());
    }
    let folder = Scratch::new();
    for (number, segment) in (0..).zip(&segments) {
        fs::write(segment_path(&folder.0, number), segment).expect("space for a segment");
    }
    // A newer format's head is refused, and then nothing is touched.
    let Some((found, rows)) = read(&folder.0, false) else { return };
    assert_eq!(rows, read_again(&segments), "two readings agree");
    if !is_raw {
        assert!(rows.iter().all(|(_, digest)| written.contains(digest)), "that was not written");
    }
    if !is_damaged {
        assert_eq!((found.damages, found.torn_bytes, rows.len()), (0, 0, usize::from(kind >> 4)));
    }
    let repaired = read(&folder.0, true).expect("its heads are those of before");
    assert_eq!(repaired, (found.clone(), rows.clone()), "a repair changes what is there, not how");
    let (again, same) = read(&folder.0, false).expect("as before");
    assert_eq!((again.tail, again.torn_bytes, &same), (found.tail, 0, &rows));
    assert!(again.damages <= found.damages);
}

/// The input as one segment, behind a good head or its own.
fn raw(kind: u8, input: &Input<'_>) -> Vec<Vec<u8>> {
    let head = record::segment_head(0, 0);
    let head = if kind & 2 == 0 { &head[..] } else { &[] };
    vec![[head, input.0].concat()]
}

/// So many records as the upper half of `kind` says, in one segment or two.
fn good(kind: u8, input: &mut Input<'_>, written: &mut BTreeSet<Digest>) -> Vec<Vec<u8>> {
    let mut segments = vec![record::segment_head(0, 0).to_vec()];
    for number in 0..kind >> 4 {
        let payload = match input.byte() {
            length @ 0..=127 => input.take(usize::from(length).max(1)).to_vec(),
            length => vec![input.byte(); usize::from(length) << 3],
        };
        let payload = if payload.is_empty() { vec![number] } else { payload };
        if kind & 2 != 0 && number == 2 {
            let end = u32::try_from(segments[0].len()).expect("a small segment");
            segments.push(record::segment_head(1, end).to_vec());
        }
        let digest = Digest::of(&payload);
        written.insert(digest);
        record::encode(&digest, &payload, segments.last_mut().expect("never none"));
    }
    segments
}

/// Changes bytes, zeroes the rest of a segment or cuts it off, as the rest of the input says. A
/// change is a difference, so that no checksum can be set on purpose.
fn damage(input: &mut Input<'_>, segments: &mut [Vec<u8>]) -> bool {
    let mut is_damaged = false;
    for _ in 0..16 {
        if input.is_over() {
            break;
        }
        let what = input.byte();
        let segment = &mut segments[usize::from(what >> 7) % segments.len()];
        let at = input.below(segment.len() + 1);
        match what & 3 {
            0 => segment[at..].fill(0),
            1 => segment.truncate(at),
            2 => segment.extend(input.bytes()),
            _ => {
                if let Some(byte) = segment.get_mut(at) {
                    *byte ^= input.byte();
                }
            }
        }
        is_damaged = true;
    }
    is_damaged
}

fn read(log: &Path, repair: bool) -> Option<(Recovered, Vec<FoundRow>)> {
    let mut rows = Vec::new();
    let recovered = recover(log, repair, |committed| {
        assert!(!committed.sealed().bytes().is_empty());
        rows.push((committed.position().0, committed.sealed().digest()));
    });
    let recovered = recovered.ok()?;
    assert_eq!(recovered.records, rows.len() as u64);
    assert!(rows.is_sorted_by(|one, next| one.0 < next.0));
    assert!(rows.last().is_none_or(|(at, _)| *at < recovered.tail.0));
    assert!(recovered.damages >= recovered.damages_listed.len() as u64);
    Some((recovered, rows))
}

/// By [`record::scan`] over whole segments, where recovery looks through a window.
fn read_again(segments: &[Vec<u8>]) -> Vec<FoundRow> {
    let mut rows = Vec::new();
    for (number, segment) in (0..).zip(segments) {
        let mut at = SEGMENT_HEAD_BYTES;
        loop {
            at = match record::scan(segment, at) {
                Found::Record { digest, next, .. } => {
                    rows.push((number * limits::SEGMENT_BYTES_MAX + at as u64, digest));
                    next
                }
                Found::Damage { resume } => resume,
                Found::End | Found::Torn { .. } => break,
            };
        }
    }
    rows
}
