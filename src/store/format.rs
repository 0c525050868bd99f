//! The frame of a run's file (`docs/journal-format.md`, section "The index").
//!
//! In: nothing. Out: what the writer and the reader of a run agree on. Never: read from a setting.

/// The first bytes of a run's file.
pub(super) const MAGIC: [u8; 8] = *b"STEMERUN";
/// A run of another version is none: the log makes it anew.
pub(super) const VERSION: u32 = 3;
/// Magic, version, first row, rows, entries by subject, by predicate and by attribute.
pub(super) const HEAD_BYTES: u64 = 32;
/// Where the summary begins, and the digest of head and summary.
pub(super) const TRAILER_BYTES: u64 = 8 + 32;
