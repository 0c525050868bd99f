//! The node's clock, and what the clocks of members say of it (Kulkarni et al., "Logical Physical
//! Clocks and Consistent Snapshots in Globally Distributed Databases", 2014: HLC).
//!
//! In: the wall clock; readings that come with messages. Out: stamps, how far apart the clocks are,
//! and what an operator should know of it. A reading that is far off moves nothing and refuses
//! nothing: what came with it is taken.
//!
//! Never: reads a clock.

use std::time::Duration;

use litemap::LiteMap;

use crate::base::clock::{RELEASED, SetBack};
use crate::base::{Hlc, HlcClock, Moment, NodeId, Wall, limits};
use crate::swim::Swim;

/// What an operator should know of clocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClockEvent {
    /// The HLC was too far ahead, and follows the wall clock again.
    SetBack(SetBack),
    /// The log has stamps with this node's id that are too far ahead of the wall clock to go on
    /// after; the first one found.
    FarAhead(Hlc),
    /// A reading is further from this node's wall clock than clocks may drift.
    Skewed {
        /// The member that it is of; `None`: a caller that is no member.
        peer: Option<NodeId>,
        /// Milliseconds by which it is ahead; negative: behind.
        ahead: i64,
    },
}

/// What is wrong with the wall clock, as far as the node can know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClockStanding {
    /// Nothing is known to be wrong with it.
    Good,
    /// It lies before the release of this version, before the last write to the log, or before the
    /// clocks of most others.
    Behind,
    /// It lies after the clocks of most others.
    Ahead,
}

impl ClockStanding {
    /// Its name, as the HTTP API gives it.
    pub fn name(self) -> &'static str {
        match self {
            ClockStanding::Good => "ok",
            ClockStanding::Behind => "behind",
            ClockStanding::Ahead => "ahead",
        }
    }
}

/// The clocks, looked at.
#[derive(Clone, PartialEq, Debug)]
pub struct ClockReading {
    /// This node's wall clock.
    pub wall: Wall,
    /// What is wrong with it.
    pub standing: ClockStanding,
    /// Milliseconds by which the HLC is ahead of it.
    pub hlc_ahead: u64,
    /// How often the HLC was set back to it.
    pub set_back: u64,
    /// Readings that were too far ahead of it to move the HLC.
    pub refused: u64,
    /// By how many milliseconds the clocks of members are ahead of it; negative: behind.
    pub peers: Vec<(NodeId, i64)>,
}

impl ClockReading {
    /// Members whose clocks are further from this one than clocks may drift.
    pub fn skewed(&self) -> usize {
        self.peers.iter().filter(|(_, ahead)| is_skewed(*ahead)).count()
    }
}

/// A reading of a peer's clock, and the monotonic time at which it came: that clock has gone on
/// since, while this node's wall clock may have been set.
#[derive(Clone, Copy, Debug)]
struct PeerReading {
    /// Its physical part, in Unix milliseconds.
    time: u64,
    /// When it came, by this node's monotonic clock.
    at: Moment,
    /// When the operator last read of it: a peer far off would else cost a line for each claim.
    warned: Option<Moment>,
}

impl PeerReading {
    fn ahead(&self, now: Moment, wall: Wall) -> i64 {
        let since = u64::try_from(now.since(self.at).as_millis()).unwrap_or(u64::MAX);
        let signed = |time| i64::try_from(time).unwrap_or(i64::MAX);
        signed(self.time.saturating_add(since)) - signed(wall.0)
    }
}

/// The node's clock, and what it knows of others.
#[derive(Debug)]
pub struct Clocks {
    /// Stamps of this node, never behind one that it gave or took.
    hlc: HlcClock,
    /// By member; under [`NodeId::NONE`], which is none, the last one of any other caller.
    readings: LiteMap<NodeId, PeerReading>,
    /// When the log was last written, before the start: a wall clock before that is wrong. 0 from
    /// the first write on, which is of this clock.
    written: Wall,
    /// The same, where the wall clock at the start was before the release: writes by such a clock
    /// say nothing of the time, so this stays.
    passed: Wall,
    /// How often the HLC was set back, for `/metrics`.
    set_back: u64,
    /// Drained after each call by the owner.
    events: Vec<ClockEvent>,
}

impl Clocks {
    /// Those of a node that starts: nothing is known of its clock or of others.
    pub fn new(node: NodeId) -> Clocks {
        let (hlc, readings, written) = (HlcClock::new(node), LiteMap::new_vec(), Wall(0));
        Clocks { hlc, readings, written, passed: Wall(0), set_back: 0, events: Vec::new() }
    }

    /// The log was last written at `written`, before the wall clock of the start; 0 is not known.
    pub fn handle_written(&mut self, written: Wall, wall: Wall) {
        self.written = written;
        if wall < RELEASED {
            self.passed = written;
        }
    }

    /// The log was written to since the start, by the clock as it is now.
    pub fn handle_write(&mut self) {
        self.written = Wall(0);
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
        // Each use may set the HLC back, so each is looked at here and no caller can forget it.
        let result = work(&mut self.hlc);
        if let Some(set_back) = self.hlc.take_set_back() {
            self.set_back += 1;
            self.events.push(ClockEvent::SetBack(set_back));
        }
        result
    }

    /// A message brought a reading of its sender's HLC.
    pub fn handle_reading(&mut self, now: Moment, remote: Hlc, wall: Wall, swim: &Swim) {
        self.with_hlc(|hlc| hlc.observe(remote, wall));
        // A node id in a message is a claim: readings of made-up ids share one entry.
        let is_known =
            self.readings.contains_key(&remote.node) || swim.member(remote.node).is_some();
        let from = if is_known { remote.node } else { NodeId::NONE };
        let new = PeerReading { time: remote.time, at: now, warned: None };
        let reading = match self.readings.get_mut(&from) {
            Some(reading) => {
                (reading.time, reading.at) = (new.time, new.at);
                reading
            }
            None => {
                // Forgotten members are dropped here alone, where the map would grow.
                let is_kept = |node| node == NodeId::NONE || swim.member(node).is_some();
                self.readings.retain(|node, _| is_kept(*node));
                self.readings.entry(from).or_insert(new)
            }
        };
        let ahead = reading.ahead(now, wall);
        let is_recent = |warned: Moment| now.since(warned) < limits::SKEW_WARN_PAUSE;
        if is_skewed(ahead) && !reading.warned.is_some_and(is_recent) {
            reading.warned = Some(now);
            let peer = is_known.then_some(from);
            self.events.push(ClockEvent::Skewed { peer, ahead });
        }
        self.check();
    }

    /// The invariants. One reading is of callers that are no members.
    fn check(&self) {
        debug_assert!(self.readings.len() <= limits::MEMBERS_MAX + 1);
        debug_assert!(self.events.len() <= limits::MEMBERS_MAX, "events that are not drained");
    }

    /// What happened since this was last asked.
    pub fn take_events(&mut self) -> Vec<ClockEvent> {
        std::mem::take(&mut self.events)
    }

    /// The clocks as they are now.
    pub fn read(&self, now: Moment, wall: Wall, swim: &Swim) -> ClockReading {
        let members = self.readings.iter().filter(|(node, _)| swim.member(**node).is_some());
        let peers: Vec<_> =
            members.map(|(node, reading)| (*node, reading.ahead(now, wall))).collect();
        ClockReading {
            wall,
            standing: self.standing(wall, &peers),
            hlc_ahead: self.hlc.time().saturating_sub(wall.0),
            set_back: self.set_back,
            refused: self.hlc.refused(),
            peers,
        }
    }

    /// The time by which claims are judged: the wall clock, unless it lies before the release. By
    /// such a clock every claim is of a time to come, and a lens has no answer. What is known
    /// instead: the release, the last write to the log, and the clocks of members, of which the
    /// median counts so that one wrong clock among three moves nothing.
    pub fn judging(&self, now: Moment, wall: Wall, swim: &Swim) -> Wall {
        if wall >= RELEASED {
            return wall;
        }
        let mut peers = self.read(now, wall, swim).peers;
        peers.sort_unstable_by_key(|(_, ahead)| *ahead);
        let median = peers.get(peers.len().saturating_sub(1) / 2).map_or(0, |(_, ahead)| *ahead);
        Wall(wall.0.saturating_add_signed(median)).max(self.passed).max(RELEASED)
    }

    fn standing(&self, wall: Wall, peers: &[(NodeId, i64)]) -> ClockStanding {
        let count = |is_it: fn(i64) -> bool| {
            let skewed = peers.iter().filter(|(_, ahead)| is_skewed(*ahead) && is_it(*ahead));
            skewed.count()
        };
        // Of this node and the members that sent a reading: one of two that disagree is wrong, and
        // neither can know which.
        let is_most = |count: usize| 2 * count > peers.len() + 1;
        // A board without a battery starts in 1970; the log and the build date say better.
        let is_early = wall < RELEASED || wall.is_before(self.written.0);
        if is_early || is_most(count(|ahead| ahead > 0)) {
            ClockStanding::Behind
        } else if is_most(count(|ahead| ahead < 0)) {
            ClockStanding::Ahead
        } else {
            ClockStanding::Good
        }
    }
}

fn is_skewed(ahead: i64) -> bool {
    Duration::from_millis(ahead.unsigned_abs()) > limits::HLC_DRIFT_MAX
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::swim::{Config, State, Update};

    const NOW: Wall = Wall(RELEASED.0 + 1_000_000_000);
    const YEAR: u64 = 365 * 24 * 3600 * 1000;
    const MINUTE: Duration = Duration::from_secs(60);

    fn update(number: u8) -> Update {
        Update {
            node: NodeId([number; 16]),
            rpc_addr: format!("node{number}:1"),
            api_addr: format!("node{number}:2"),
            state: State::Alive,
            lamport: 0,
            incarnation: 1,
        }
    }

    /// Node 1, which knows so many others, as it asked them who they are.
    fn swim(others: u8) -> Swim {
        let config = Config { probe_interval: Duration::from_secs(1) };
        let mut swim = Swim::new(config, update(1), 1, Moment::ZERO);
        for number in 2..2 + others {
            let Update { node, rpc_addr, api_addr, .. } = update(number);
            let address = rpc_addr.clone();
            let updates = vec![update(number)];
            let ack =
                crate::swim::Ack { node, addresses: (rpc_addr, api_addr), updates, digest: None };
            swim.handle_answer(Moment::ZERO, &address, ack);
        }
        assert_eq!(swim.members().count(), usize::from(others));
        swim
    }

    fn of(number: u8, time: u64) -> Hlc {
        Hlc { time, counter: 0, node: NodeId([number; 16]) }
    }

    #[test]
    fn one_warning_for_each_peer_and_ten_minutes_however_many_claims_come() {
        let (swim, mut clocks) = (swim(2), Clocks::new(NodeId([1; 16])));
        let mut events = Vec::new();
        for second in 0..1200_u64 {
            let now = Moment::ZERO + Duration::from_secs(second);
            let wall = Wall(NOW.0 + second * 1000);
            for (number, time) in [(9, u64::MAX), (2, wall.0 + 300_000), (3, wall.0 - YEAR)] {
                clocks.handle_reading(now, of(number, time), wall, &swim);
            }
            events.extend(clocks.take_events());
        }
        let of_peer = |peer: Option<NodeId>, ahead| ClockEvent::Skewed { peer, ahead };
        let once = [
            of_peer(Some(NodeId([2; 16])), 300_000),
            of_peer(Some(NodeId([3; 16])), -(YEAR as i64)),
        ];
        assert!(matches!(events[0], ClockEvent::Skewed { peer: None, .. }), "{events:?}");
        assert_eq!((events.len(), &events[1..3]), (6, &once[..]));
        let reading = clocks.read(Moment::ZERO, NOW, &swim);
        assert_eq!((reading.skewed(), reading.peers.len(), reading.refused), (2, 2, 2400));
    }

    #[test]
    fn a_clock_that_is_set_right_agrees_with_the_others_at_once() {
        let (swim, mut clocks) = (swim(3), Clocks::new(NodeId([1; 16])));
        let (begin, wrong) = (Moment::ZERO, Wall(10_000));
        for number in 2..5 {
            clocks.handle_reading(begin, of(number, NOW.0), wrong, &swim);
        }
        let reading = clocks.read(begin, wrong, &swim);
        assert_eq!((reading.standing, reading.skewed()), (ClockStanding::Behind, 3));
        let right = clocks.read(begin + MINUTE, Wall(NOW.0 + 60_000), &swim);
        assert_eq!((right.standing, right.skewed(), right.hlc_ahead), (ClockStanding::Good, 0, 0));
        let late = clocks.read(begin + MINUTE, Wall(NOW.0 + YEAR), &swim);
        assert_eq!(late.standing, ClockStanding::Ahead);
    }

    #[test]
    fn one_of_two_is_wrong_and_neither_knows_which() {
        let (swim, mut clocks) = (swim(1), Clocks::new(NodeId([1; 16])));
        clocks.handle_reading(Moment::ZERO, of(2, NOW.0 + YEAR), NOW, &swim);
        let reading = clocks.read(Moment::ZERO, NOW, &swim);
        assert_eq!((reading.standing, reading.skewed()), (ClockStanding::Good, 1));
    }

    #[test]
    fn a_clock_before_the_release_or_the_last_write_is_behind() {
        let (swim, mut clocks) = (swim(0), Clocks::new(NodeId([1; 16])));
        let standing = |clocks: &Clocks, wall| clocks.read(Moment::ZERO, wall, &swim).standing;
        assert_eq!(standing(&clocks, Wall(RELEASED.0 - 1)), ClockStanding::Behind);
        assert_eq!(standing(&clocks, NOW), ClockStanding::Good);
        clocks.handle_written(Wall(NOW.0 + 60_001), NOW);
        assert_eq!(standing(&clocks, NOW), ClockStanding::Behind);
        clocks.handle_write();
        assert_eq!(standing(&clocks, NOW), ClockStanding::Good);
    }

    #[test]
    fn a_clock_in_1970_judges_by_what_else_is_known() {
        let (swim, mut clocks) = (swim(3), Clocks::new(NodeId([1; 16])));
        let early = Wall(10_000);
        let judging = |clocks: &Clocks, wall| clocks.judging(Moment::ZERO, wall, &swim);
        assert_eq!(judging(&clocks, early), RELEASED);
        clocks.handle_written(NOW, early);
        clocks.handle_write();
        assert_eq!(judging(&clocks, early), NOW, "a write by this clock does not say the time");
        for (number, time, expected) in
            [(2, NOW.0 + 5_000, 5_000), (3, NOW.0 + YEAR, 5_000), (4, NOW.0 + 7_000, 7_000)]
        {
            clocks.handle_reading(Moment::ZERO, of(number, time), early, &swim);
            assert_eq!(judging(&clocks, early), Wall(NOW.0 + expected), "member {number}");
        }
        let set = Wall(RELEASED.0 + 1);
        assert_eq!(judging(&clocks, set), set, "a clock that may be right is believed");
    }

    #[test]
    fn readings_under_made_up_ids_share_one_entry() {
        let (swim, mut clocks) = (swim(1), Clocks::new(NodeId([1; 16])));
        for number in 0..=2 * limits::MEMBERS_MAX as u64 {
            let mut node = NodeId([7; 16]);
            node.0[..8].copy_from_slice(&number.to_le_bytes());
            let reading = Hlc { time: NOW.0, counter: 0, node };
            clocks.handle_reading(Moment::ZERO, reading, NOW, &swim);
        }
        clocks.handle_reading(Moment::ZERO, of(2, NOW.0), NOW, &swim);
        assert_eq!(clocks.readings.len(), 2, "one of strangers, one of the member");
    }

    #[test]
    fn a_clock_set_back_is_reported_once_and_counted() {
        let (swim, mut clocks) = (swim(0), Clocks::new(NodeId([1; 16])));
        clocks.stamp(Wall(NOW.0 + YEAR));
        assert_eq!(clocks.read(Moment::ZERO, NOW, &swim).hlc_ahead, YEAR);
        let stamps = [0, 0, 1].map(|later| clocks.stamp(Wall(NOW.0 + later)));
        assert!(stamps.iter().all(|stamp| !NOW.is_before(stamp.time)), "{stamps:?}");
        let set_back = SetBack { from: NOW.0 + YEAR, to: NOW };
        assert_eq!(clocks.take_events(), [ClockEvent::SetBack(set_back)]);
        assert_eq!(clocks.read(Moment::ZERO, NOW, &swim).set_back, 1);
    }
}
