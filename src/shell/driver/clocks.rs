//! Log lines about clocks, and when the log was last written.
//!
//! In: what the replica found, times of files. Out: log lines; docs/operations.md says what to do
//! about each. Never: decides whether a clock is wrong.

use std::fs;
use std::path::Path;

use log::Level;

use crate::base::clock::RELEASED;
use crate::base::{Wall, limits};
use crate::cluster::clocks::ClockEvent;
use crate::shell::disk::{find_segments, segment_path};
use crate::shell::runtime::clock::wall_of;
use crate::shell::runtime::log_limit;

/// Logs what the replica found.
pub(crate) fn log_event(event: ClockEvent, wall: Wall) {
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
        ClockEvent::Skewed { peer, ahead } => {
            let name =
                peer.map_or_else(|| "a caller that is no member".into(), |it| it.to_string());
            let (by, way) =
                (span(ahead.unsigned_abs()), if ahead > 0 { "ahead of" } else { "behind" });
            let allowed = limits::HLC_DRIFT_MAX.as_secs();
            let line = format_args!(
                "the clock of {name} is {by} {way} this node's, {allowed} s are allowed: one \
                 of them is wrong; claims are taken all the same"
            );
            log_limit::warn((module_path!(), &name, "clocks far apart"), line);
        }
    }
}

/// Warns where the clock is known to be wrong at a start; when the log was last written.
pub(crate) fn warn_at_start(wall: Wall, log: &Path) -> Wall {
    let written = last_written(log);
    if wall < RELEASED {
        let by = span(RELEASED.0 - wall.0);
        log::warn!(
            "the clock is {by} before the release of this version: it is wrong; claims without a \
             timestamp are stamped by it"
        );
    }
    if wall.is_before(written.0) {
        let by = span(written.0 - wall.0);
        log::warn!("the clock is {by} before the last write to the log: it is wrong, or was then");
    }
    written
}

/// When one of the log's segments was last changed; 0 if that is not known. What the kernel
/// notes with a file is the one clock reading that there is of each record's arrival.
fn last_written(log: &Path) -> Wall {
    let segments = find_segments(log).unwrap_or_default();
    let changed = |number: u64| fs::metadata(segment_path(log, number)).ok()?.modified().ok();
    segments.into_iter().filter_map(changed).map(wall_of).max().unwrap_or_default()
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
