//! What `GET /v1/health` says of the clock.
//!
//! In: the clocks, looked at. Out: an object of `docs/http.md`. Never: judges them.

use nanoserde::{SerJson, SerJsonState};

use super::text::Text;
use crate::base::limits;
use crate::cluster::clocks::ClockReading;

/// The object `clock` of `/v1/health`: the wall clock, the HLC and what is wrong with them.
pub(super) struct Clock<'a>(pub(super) &'a ClockReading);

impl SerJson for Clock<'_> {
    fn ser_json(&self, depth: usize, state: &mut SerJsonState) {
        let clock = self.0;
        let body = ClockBody {
            status: Text(clock.standing.name()),
            wall_ms: clock.wall.0,
            hlc_ahead_ms: clock.hlc_ahead,
            drift_max_ms: limits::HLC_DRIFT_MAX.as_millis() as u64,
            set_back_count: clock.set_back,
            refused_count: clock.refused,
            peers_skewed: clock.skewed() as u64,
        };
        body.ser_json(depth, state);
    }
}

#[derive(SerJson)]
struct ClockBody<'a> {
    status: Text<'a>,
    wall_ms: u64,
    hlc_ahead_ms: u64,
    drift_max_ms: u64,
    set_back_count: u64,
    refused_count: u64,
    peers_skewed: u64,
}
