//! What of the log is damaged, and what became of it.
//!
//! In: damage, as recovery, a read or the scrubber found it; records that came; peers that this
//! node converged with. Out: which records to ask for, and when each damage is repaired:
//!
//! ```text
//! with a digest      open -> repaired   its record is in the log again
//! without            open -> repaired   this node has converged with a peer since
//! a segment's head   open -> repaired   a start has written it anew
//! ```
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
    /// Where the damaged bytes start.
    pub at: Position,
    /// How many bytes are damaged.
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
struct OpenDamage {
    damage: Damage,
    /// How much was found before it: a session repairs only what its mark covers, for the peer may
    /// have been compared before the rest was damaged.
    number: u64,
}

/// All damage that recovery, reads and the scrubber found, and what of it is repaired.
#[derive(Debug, Default)]
pub struct Damages {
    /// What is not repaired and can be named, to be asked for and shown.
    open: Vec<OpenDamage>,
    /// How much more there is: a log that lost a disk's worth of records must not fill memory.
    unlisted: u64,
    /// All since the start; the next one's number, too.
    found: u64,
    /// How many of them were repaired; with the open ones these are all that were found.
    repaired: u64,
}

impl Damages {
    /// Whether one more can be kept.
    pub fn has_capacity(&self) -> bool {
        self.open.len() < limits::DAMAGES_MAX
    }

    /// Adds damage, if there is capacity and it is not known.
    pub fn add(&mut self, damage: Damage) -> bool {
        // By position: several readers may meet the same record.
        let is_new = self.has_capacity() && self.open.iter().all(|it| it.damage.at != damage.at);
        if is_new {
            self.open.push(OpenDamage { damage, number: self.found });
            self.found += 1;
        }
        self.check();
        is_new
    }

    /// Adds damage of which only the count is known.
    pub fn add_unlisted(&mut self, count: u64) {
        self.unlisted += count;
        self.found += count;
        self.check();
    }

    /// A record is in the log again; it may have been damaged more than once, copies included.
    pub fn handle_stored(&mut self, digest: &Digest) -> Vec<Damage> {
        let is_it = |entry: &OpenDamage| entry.damage.digest == Some(*digest);
        let repaired = std::iter::from_fn(|| self.close(is_it)).collect();
        self.check();
        repaired
    }

    /// The record at this position is in the log again, under whatever digest.
    pub fn handle_repaired(&mut self, at: Position) -> Option<Damage> {
        let repaired = self.close(|entry| entry.damage.at == at);
        self.check();
        repaired
    }

    /// To be given to [`Damages::handle_converged`] when a session that begins now ends well.
    pub fn mark(&self) -> u64 {
        self.found
    }

    /// This node and a peer have converged since the mark, which repairs damage without a digest
    /// from before it. What else that damage held is in no other way to be found out.
    pub fn handle_converged(&mut self, mark: u64) -> Vec<Damage> {
        // The session began before any damage was known.
        if mark == 0 {
            return Vec::new();
        }
        self.repaired += std::mem::take(&mut self.unlisted);
        let is_over = |entry: &OpenDamage| {
            let OpenDamage { damage, number } = entry;
            damage.digest.is_none() && !damage.is_head() && *number < mark
        };
        let repaired = std::iter::from_fn(|| self.close(is_over)).collect();
        self.check();
        repaired
    }

    /// Hashes of the records whose damage is not repaired: a member may have them.
    pub fn wanted(&self) -> Vec<Digest> {
        // A set, for copies of a record have one digest.
        let names: BTreeSet<Digest> = self.listed().filter_map(|damage| damage.digest).collect();
        names.into_iter().collect()
    }

    /// What is not repaired, as far as it is kept one by one.
    pub fn listed(&self) -> impl Iterator<Item = &Damage> {
        self.open.iter().map(|entry| &entry.damage)
    }

    /// How many are not repaired.
    pub fn open(&self) -> u64 {
        self.open.len() as u64 + self.unlisted
    }

    /// How many were found since the start.
    pub fn found(&self) -> u64 {
        self.found
    }

    /// How many of them were repaired.
    pub fn repaired(&self) -> u64 {
        self.repaired
    }

    fn close(&mut self, is_it: impl FnMut(&OpenDamage) -> bool) -> Option<Damage> {
        let index = self.open.iter().position(is_it)?;
        self.repaired += 1;
        Some(self.open.remove(index).damage)
    }

    /// What holds between any two calls.
    fn check(&self) {
        debug_assert!(self.open.len() <= limits::DAMAGES_MAX);
        debug_assert_eq!(self.open() + self.repaired, self.found, "each is open or repaired");
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
    fn damage_with_a_digest_ends_with_its_record_and_other_damage_by_convergence() {
        let mut damages = Damages::default();
        assert!(damages.add(damage(32, Some(1))) && damages.add(damage(96, None)));
        assert!(!damages.add(damage(32, None)), "known already");
        damages.add_unlisted(5);
        let mark = damages.mark();
        damages.add(damage(160, None));
        assert_eq!((damages.wanted(), damages.open()), (vec![Digest([1; 32])], 8));
        assert_eq!(damages.handle_converged(0), []);
        assert_eq!(damages.handle_converged(mark), [damage(96, None)], "the last came too late");
        assert_eq!(damages.handle_stored(&Digest([2; 32])), []);
        assert!(damages.add(damage(224, Some(1))), "its copy");
        assert_eq!(damages.wanted(), [Digest([1; 32])]);
        let both = [damage(32, Some(1)), damage(224, Some(1))];
        assert_eq!(damages.handle_stored(&Digest([1; 32])), both);
        assert_eq!(damages.handle_repaired(Position(160)), Some(damage(160, None)));
        assert_eq!((damages.open(), damages.found(), damages.repaired()), (0, 9, 9));
    }

    #[test]
    fn the_list_is_bounded() {
        let mut damages = Damages::default();
        let taken = (0..).take_while(|at| damages.add(damage(at * 8, None))).count();
        assert_eq!(taken, limits::DAMAGES_MAX);
        assert_eq!((damages.open(), damages.found()), (taken as u64, taken as u64));
    }
}
