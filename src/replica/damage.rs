//! Damage found, and damage made good.
//!
//! In: what recovery fenced off, places that do not read well, records that came, sessions that
//! ended. Out: what to tell of each. The healing itself is ordinary: a record that is missing is
//! taken in like any other, whoever brings it.
//!
//! Never: asks a peer, takes a place's word for what the record there was.

use super::{Output, Replica};
use crate::base::Digest;
use crate::journal::damage::{Damage, Damages};
use crate::journal::{Bodies, Position};
use crate::store::Applied;
use crate::sync::Report;

impl Replica {
    /// Recovery fenced damage off: some of it told one by one, all of it counted. What was made
    /// good in an earlier life, or by this start, is not told again.
    pub fn handle_fenced(&mut self, told: &[Damage], count: u64, bodies: &dyn Bodies) {
        for damage in told {
            self.damages.add(*damage);
            let is_stored = |digest: Digest| self.store.find(&digest, bodies).is_some();
            if damage.is_head() || damage.digest.is_some_and(is_stored) {
                self.damages.handle_mended(damage.at);
            } else {
                self.outbox.push_back(Output::Damaged(*damage));
            }
        }
        self.damages.add_untold(count - told.len() as u64);
    }

    /// What lies at a place seems not to be what was written.
    pub fn handle_damage(&mut self, at: Position, bodies: &dyn Bodies) {
        if !self.damages.has_room() {
            return;
        }
        if let Some(damage) = self.store.lose(at, bodies) {
            self.damages.add(damage);
            self.outbox.push_back(Output::Damaged(damage));
        }
    }

    /// What is damaged.
    pub fn damages(&self) -> &Damages {
        &self.damages
    }

    /// Whether an assertion was here and cannot be read now.
    pub fn is_damaged(&self, digest: &Digest, bodies: &dyn Bodies) -> bool {
        self.damages.told().any(|damage| damage.digest == Some(*digest))
            || self.store.is_damaged(digest, bodies)
    }

    pub(super) fn note_stored(&mut self, applied: Applied, digest: &Digest) {
        if let Applied::Mended(before) = applied {
            self.outbox.extend(self.damages.handle_mended(before).map(Output::Healed));
        }
        let healed = self.damages.handle_stored(digest);
        self.outbox.extend(healed.into_iter().map(Output::Healed));
    }

    /// A session that ended well has brought all that its peer has.
    pub(super) fn note_level(&mut self, report: &Report, mark: u64) {
        if report.error.is_none() && !report.is_blind {
            let healed = self.damages.handle_level(mark);
            self.outbox.extend(healed.into_iter().map(Output::Healed));
        }
    }
}
