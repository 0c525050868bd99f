//! What of the log is damaged, and what became of it.
//!
//! In: damage, as recovery, a read or the scrubber found it; records that came; peers that this
//! node levelled with. Out: which records to ask for, and when each damage is made good: its record
//! is in the log again, or, where nobody can tell which records it held, this node has levelled
//! with a peer since.
//!
//! Never: keeps more than [`limits::DAMAGES_MAX`] one by one, calls a record back that is not.

use std::collections::BTreeSet;
use std::fmt;

use super::Position;
use super::record::SEGMENT_HEAD_BYTES;
use crate::base::{Digest, limits};

/// Bytes of the log that are not what was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Damage {
    /// Where they start.
    pub at: Position,
    /// How many they are.
    pub bytes: u64,
    /// The one record they held, where what is left of it tells which.
    pub digest: Option<Digest>,
}

impl Damage {
    /// The head of a segment.
    pub fn head(segment: u64) -> Damage {
        let at = Position(segment * limits::SEGMENT_BYTES_MAX);
        Damage { at, bytes: SEGMENT_HEAD_BYTES as u64, digest: None }
    }

    /// Whether it is the head of a segment, which a start writes anew; no record is lost by it.
    pub fn is_head(&self) -> bool {
        self.at.offset() == 0 && self.bytes == SEGMENT_HEAD_BYTES as u64
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (segment, offset) = (self.at.segment(), self.at.offset());
        write!(out, "segment={segment} offset={offset} bytes={}", self.bytes)?;
        match self.digest {
            Some(digest) => write!(out, " hash={digest}"),
            None => Ok(()),
        }
    }
}

#[derive(Debug)]
struct Entry {
    damage: Damage,
    /// Counts up, so that a session knows what it began after.
    number: u64,
}

/// All damage known.
#[derive(Debug, Default)]
pub struct Damages {
    entries: Vec<Entry>,
    untold: u64,
    found: u64,
    healed: u64,
}

impl Damages {
    /// Whether one more can be kept.
    pub fn has_room(&self) -> bool {
        self.entries.len() < limits::DAMAGES_MAX
    }

    /// Takes in damage, if there is room and it is not known.
    pub fn add(&mut self, damage: Damage) -> bool {
        let is_new = self.has_room() && self.entries.iter().all(|it| it.damage.at != damage.at);
        if is_new {
            self.entries.push(Entry { damage, number: self.found });
            self.found += 1;
        }
        is_new
    }

    /// Takes in damage of which nothing is known but that it is there.
    pub fn add_untold(&mut self, count: u64) {
        self.untold += count;
        self.found += count;
    }

    /// A record is in the log again; it may have been damaged more than once, copies included.
    pub fn handle_stored(&mut self, digest: &Digest) -> Vec<Damage> {
        let is_it = |entry: &Entry| entry.damage.digest == Some(*digest);
        std::iter::from_fn(|| self.heal(is_it)).collect()
    }

    /// The record of this place is in the log again, under whatever name.
    pub fn handle_mended(&mut self, at: Position) -> Option<Damage> {
        self.heal(|entry| entry.damage.at == at)
    }

    /// To be given to [`Damages::handle_level`] when a session that begins now ends well.
    pub fn mark(&self) -> u64 {
        self.found
    }

    /// This node and a peer have levelled since the mark: nameless damage from before is made good.
    pub fn handle_level(&mut self, mark: u64) -> Vec<Damage> {
        if mark == 0 {
            return Vec::new();
        }
        self.healed += std::mem::take(&mut self.untold);
        let is_over = |entry: &Entry| {
            let Entry { damage, number } = entry;
            damage.digest.is_none() && !damage.is_head() && *number < mark
        };
        std::iter::from_fn(|| self.heal(is_over)).collect()
    }

    /// Records to ask for.
    pub fn wanted(&self) -> Vec<Digest> {
        let names: BTreeSet<Digest> = self.told().filter_map(|damage| damage.digest).collect();
        names.into_iter().collect()
    }

    /// What is not made good, as far as it is kept one by one.
    pub fn told(&self) -> impl Iterator<Item = &Damage> {
        self.entries.iter().map(|entry| &entry.damage)
    }

    /// How many are not made good.
    pub fn open(&self) -> u64 {
        self.entries.len() as u64 + self.untold
    }

    /// How many were found since the start.
    pub fn found(&self) -> u64 {
        self.found
    }

    /// How many of them were made good.
    pub fn healed(&self) -> u64 {
        self.healed
    }

    fn heal(&mut self, is_it: impl FnMut(&Entry) -> bool) -> Option<Damage> {
        let place = self.entries.iter().position(is_it)?;
        self.healed += 1;
        Some(self.entries.remove(place).damage)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn damage(at: u64, digest: Option<u8>) -> Damage {
        let digest = digest.map(|byte| Digest([byte; 32]));
        Damage { at: Position(at), bytes: 48, digest }
    }

    #[test]
    fn a_named_record_is_back_when_it_is_back_and_a_nameless_one_by_levelling() {
        let mut damages = Damages::default();
        assert!(damages.add(damage(32, Some(1))) && damages.add(damage(96, None)));
        assert!(!damages.add(damage(32, None)), "known already");
        damages.add_untold(5);
        let mark = damages.mark();
        damages.add(damage(160, None));
        assert_eq!((damages.wanted(), damages.open()), (vec![Digest([1; 32])], 8));
        assert_eq!(damages.handle_level(0), []);
        assert_eq!(damages.handle_level(mark), [damage(96, None)], "the last came too late");
        assert_eq!(damages.handle_stored(&Digest([2; 32])), []);
        assert!(damages.add(damage(224, Some(1))), "its copy");
        assert_eq!(damages.wanted(), [Digest([1; 32])]);
        let both = [damage(32, Some(1)), damage(224, Some(1))];
        assert_eq!(damages.handle_stored(&Digest([1; 32])), both);
        assert_eq!(damages.handle_mended(Position(160)), Some(damage(160, None)));
        assert_eq!((damages.open(), damages.found(), damages.healed()), (0, 9, 9));
    }

    #[test]
    fn the_list_is_bounded() {
        let mut damages = Damages::default();
        let taken = (0..).take_while(|at| damages.add(damage(at * 8, None))).count();
        assert_eq!(taken, limits::DAMAGES_MAX);
        assert_eq!((damages.open(), damages.found()), (taken as u64, taken as u64));
    }
}
