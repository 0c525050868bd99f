//! Log lines about clocks.
//!
//! In: what the replica found. Out: log lines. Never: decides whether a clock is wrong.

use std::time::{SystemTime, UNIX_EPOCH};

use log::Level;

use super::log_limit;
use crate::base::Wall;
use crate::cluster::clocks::ClockEvent;

/// Logs what the replica found.
pub(super) fn log_event(event: ClockEvent, wall: Wall) {
    match event {
        ClockEvent::SetBack(set_back) => {
            let by = span(set_back.from.saturating_sub(set_back.to.0));
            let line = format_args!(
                "the clock was set back by {by}: stamps follow it again; what was stamped \
                 before is not judged until its time comes"
            );
            log_limit::note(Level::Error, (module_path!(), "", "a clock set back"), line);
        }
        ClockEvent::FarAhead(stamp) => {
            let by = span(stamp.time.saturating_sub(wall.0));
            let line = format_args!(
                "the log has stamps of this node that are {by} ahead of the clock: the clock was \
                 wrong then, or is now, or another node has this id; no new stamp goes on after \
                 them"
            );
            log_limit::note(Level::Error, (module_path!(), "", "stamps far ahead"), line);
        }
    }
}

/// A clock before 1970 reads as 1970.
pub(super) fn wall_of(time: SystemTime) -> Wall {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    Wall(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Milliseconds, as people say them.
fn span(ms: u64) -> String {
    match ms / 1000 {
        seconds @ ..172_800 => format!("{seconds} s"),
        seconds => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_seconds_then_days() {
        assert_eq!(span(61_999), "61 s");
        assert_eq!(span(172_799_999), "172799 s");
        assert_eq!(span(73 * 365 * 86_400_000), "26645 days");
    }
}
