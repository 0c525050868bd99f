//! Damaged records, found by reading and fetched from other nodes.
//!
//! In: what lies on the disk. Out: each record as it was signed, or a count of what is missing.
//! Never: stores bytes under a name that they do not hash to.

pub mod fetch;
pub mod scrub;
