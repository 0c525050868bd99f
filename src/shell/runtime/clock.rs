//! The wall clock of the system, as milliseconds since 1970.
//!
//! In: nothing. Out: what the clock shows. Never: judges whether it is right.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::base::Wall;

/// The wall clock; a clock before 1970 reads as 1970.
pub fn wall() -> Wall {
    wall_of(SystemTime::now())
}

/// A clock before 1970 reads as 1970.
pub(crate) fn wall_of(time: SystemTime) -> Wall {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    Wall(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
