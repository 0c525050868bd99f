//! The node's clock.
//!
//! In: the wall clock; readings that come with messages. Out: stamps, and what an operator should
//! know of it. A reading that is far off moves nothing.
//!
//! Never: reads a clock.

use crate::base::clock::SetBack;
use crate::base::{Hlc, HlcClock, NodeId, Wall};

/// What an operator should know of clocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClockEvent {
    /// The HLC was too far ahead, and follows the wall clock again.
    SetBack(SetBack),
    /// The log has stamps with this node's id that are too far ahead of the wall clock to go on
    /// after; the first one found.
    FarAhead(Hlc),
}

/// The node's clock, and what happened to it.
#[derive(Debug)]
pub struct Clocks {
    hlc: HlcClock,
    events: Vec<ClockEvent>,
}

impl Clocks {
    /// Those of `node`.
    pub fn new(node: NodeId) -> Clocks {
        Clocks { hlc: HlcClock::new(node), events: Vec::new() }
    }

    /// Goes on after a stamp of an earlier life; false if it is too far ahead.
    pub fn resume(&mut self, last: Hlc, wall: Wall) -> bool {
        self.hlc.resume(last, wall)
    }

    /// There were stamps that are too far ahead.
    pub fn note_far_ahead(&mut self, stamp: Hlc) {
        self.events.push(ClockEvent::FarAhead(stamp));
    }

    /// A reading of the node's HLC.
    pub fn stamp(&mut self, wall: Wall) -> Hlc {
        self.with_hlc(|hlc| hlc.tick(wall))
    }

    /// Has `work` use the HLC.
    pub fn with_hlc<T>(&mut self, work: impl FnOnce(&mut HlcClock) -> T) -> T {
        let result = work(&mut self.hlc);
        self.events.extend(self.hlc.take_set_back().map(ClockEvent::SetBack));
        result
    }

    /// A message brought a reading of its sender's HLC.
    pub fn handle_reading(&mut self, remote: Hlc, wall: Wall) {
        self.with_hlc(|hlc| hlc.observe(remote, wall));
    }

    /// What happened since this was last asked.
    pub fn take_events(&mut self) -> Vec<ClockEvent> {
        std::mem::take(&mut self.events)
    }
}
