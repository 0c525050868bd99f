//! Damage found, and damage repaired.
//!
//! In: what recovery quarantined, positions that do not read well, records that came, sessions that
//! ended. Out: what to report of each, and which member to ask for which records. The repair itself
//! is ordinary: a record that is missing is taken like any other, from a client or a peer.
//!
//! Never: believes damaged bytes about what the record there was.

use super::{Output, Replica};
use crate::base::{Digest, Moment, limits};
use crate::cluster::Target;
use crate::journal::damage::{Damage, Damages};
use crate::journal::{Bodies, Position};
use crate::store::Applied;
use crate::sync::SessionReport;

/// Damaged records, and the member to ask for them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fetch {
    /// Whom to ask.
    pub target: Target,
    /// For what, by id.
    pub wanted: Vec<Digest>,
}

impl Replica {
    /// Recovery quarantined damage: some of it listed, all of it counted, and heads made anew or
    /// not. The first [`limits::DAMAGES_LISTED_MAX`] are reported, but for what was repaired in an
    /// earlier life.
    pub fn handle_quarantined(
        &mut self,
        now: Moment,
        (listed, count): (&[Damage], u64),
        heads_are_anew: bool,
        bodies: &dyn Bodies,
    ) {
        for damage in listed {
            self.damages.add(*damage);
            if damage.digest.is_some_and(|digest| self.store.find(&digest, bodies).is_some()) {
                self.damages.handle_repaired(damage.at);
                continue;
            }
            if self.damages.open() <= limits::DAMAGES_LISTED_MAX as u64 {
                self.outbox.push_back(Output::Damaged(*damage));
            }
            if damage.is_head() && heads_are_anew {
                self.outbox.extend(self.damages.handle_repaired(damage.at).map(Output::Repaired));
            }
        }
        self.damages.add_unlisted(count - listed.len() as u64);
        if count > 0 {
            self.fetches.handle_damage(now);
        }
        self.check();
    }

    /// What lies at a position seems not to be what was written.
    pub fn handle_damage(&mut self, now: Moment, at: Position, bodies: &dyn Bodies) {
        // Each report costs a read of the log, and a dying disk makes one for each record.
        if !self.damages.has_capacity() {
            return;
        }
        let lost = match at.offset() {
            // No record begins there. The next start makes the head anew.
            0 => Some(Damage::head(at.segment())),
            _ => self.store.quarantine(at, bodies),
        };
        if let Some(damage) = lost.filter(|damage| self.damages.add(*damage)) {
            self.outbox.push_back(Output::Damaged(damage));
            self.fetches.handle_damage(now);
        }
        self.check();
    }

    /// The fetch to make now, if it is time for one and the last one is over. While the disk takes
    /// no records, one record shows whether it does again.
    pub fn next_fetch(&mut self, now: Moment) -> Option<Fetch> {
        let mut wanted = self.damages.wanted();
        if self.queue.obstacle().is_some() {
            wanted.truncate(1);
        }
        let cluster = &self.cluster;
        let targets = || cluster.targets();
        let may_answer = |target: &Target| cluster.may_answer(target);
        let target = self.fetches.next(now, !wanted.is_empty(), targets, may_answer)?;
        Some(Fetch { target, wanted })
    }

    /// The fetch that [`Replica::next_fetch`] named is over: what came is in the log or refused.
    pub fn handle_fetched(&mut self) {
        self.fetches.handle_fetched();
        self.check();
    }

    /// When [`Replica::next_fetch`] is to be called, whatever else happens.
    pub fn fetch_due(&self) -> Option<Moment> {
        self.fetches.due()
    }

    /// The damage that is known, and what became of it.
    pub fn damages(&self) -> &Damages {
        &self.damages
    }

    /// Whether an assertion was here and cannot be read now.
    pub fn is_damaged(&self, digest: &Digest, bodies: &dyn Bodies) -> bool {
        self.damages.listed().any(|damage| damage.digest == Some(*digest))
            || self.store.is_damaged(digest, bodies)
    }

    pub(super) fn note_stored(&mut self, applied: Applied, digest: &Digest) {
        if let Applied::Repaired(before) = applied {
            self.outbox.extend(self.damages.handle_repaired(before).map(Output::Repaired));
        }
        let repaired = self.damages.handle_stored(digest);
        self.outbox.extend(repaired.into_iter().map(Output::Repaired));
    }

    /// A session that ended well has brought all that its peer has.
    pub(super) fn note_converged(&mut self, report: &SessionReport, mark: u64) {
        if report.error.is_none() && !report.is_blind() {
            // Damage without a name: only a peer whose whole set came shows that nothing is
            // missing.
            let repaired = self.damages.handle_converged(mark);
            self.outbox.extend(repaired.into_iter().map(Output::Repaired));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Memory, claim, replica, store};
    use super::*;

    fn reported(replica: &mut Replica) -> (Vec<Damage>, Vec<Damage>) {
        let (mut damaged, mut repaired) = (Vec::new(), Vec::new());
        while let Some(output) = replica.poll_output() {
            match output {
                Output::Damaged(damage) => damaged.push(damage),
                Output::Repaired(damage) => repaired.push(damage),
                _ => {}
            }
        }
        (damaged, repaired)
    }

    #[test]
    fn an_unreadable_record_is_reported_once_and_repaired_by_its_copy() {
        let (mut replica, mut bodies) = (replica(), Memory::default());
        let positions: Vec<Position> =
            (0..5).map(|number| store(&mut replica, &mut bodies, number)).collect();
        reported(&mut replica);
        replica.handle_damage(Moment::ZERO, positions[1], &bodies);
        assert_eq!(reported(&mut replica), (vec![], vec![]), "it reads well");
        bodies.0.remove(&positions[1].0);
        let bytes = positions[2].0 - positions[1].0;
        let damage = Damage { at: positions[1], bytes, digest: Some(claim(1).digest()) };
        replica.handle_damage(Moment::ZERO, positions[1], &bodies);
        replica.handle_damage(Moment::ZERO, positions[1], &bodies);
        assert_eq!(reported(&mut replica), (vec![damage], vec![]));
        assert!(replica.is_damaged(&claim(1).digest(), &bodies));
        assert_eq!((replica.store().len(), replica.damages().open()), (4, 1));
        assert!(store(&mut replica, &mut bodies, 1) > positions[4]);
        assert_eq!(reported(&mut replica), (vec![], vec![damage]));
        assert_eq!((replica.store().len(), replica.damages().open()), (5, 0));
        assert!(!replica.is_damaged(&claim(1).digest(), &bodies));
    }

    #[test]
    fn what_recovery_quarantined_is_repaired_by_name_or_by_convergence() {
        let (mut replica, mut bodies) = (replica(), Memory::default());
        store(&mut replica, &mut bodies, 1);
        reported(&mut replica);
        let damage = |at: u64, digest| Damage { at: Position(at), bytes: 48, digest };
        let old = damage(8000, Some(claim(1).digest()));
        let head = Damage { at: Position(0), bytes: 32, digest: None };
        let (named, nameless) = (damage(8048, Some(claim(2).digest())), damage(8096, None));
        replica.handle_quarantined(Moment::ZERO, (&[old, head, named, nameless], 7), true, &bodies);
        assert_eq!(reported(&mut replica), (vec![head, named, nameless], vec![head]));
        assert_eq!((replica.damages().open(), replica.damages().repaired()), (5, 2));
        assert_eq!(replica.damages().wanted(), [claim(2).digest()]);

        let mark = replica.damages().mark();
        let failed = SessionReport { error: Some("gone".into()), ..SessionReport::default() };
        let blind = SessionReport { decoded: Some((0, 0)), ..SessionReport::default() };
        replica.note_converged(&failed, mark);
        replica.note_converged(&blind, mark);
        assert_eq!(reported(&mut replica), (vec![], vec![]), "these brought not all");
        replica.note_converged(&SessionReport::default(), mark);
        assert_eq!(reported(&mut replica), (vec![], vec![nameless]));
        store(&mut replica, &mut bodies, 2);
        assert_eq!(reported(&mut replica), (vec![], vec![named]));
        assert_eq!((replica.damages().open(), replica.damages().repaired()), (0, 7));
    }

    #[test]
    fn a_head_stays_damaged_until_it_is_made_anew() {
        let (mut replica, bodies) = (replica(), Memory::default());
        let heads = [Damage::head(0), Damage::head(3)];
        replica.handle_quarantined(Moment::ZERO, (&heads[..1], 1), false, &bodies);
        replica.handle_damage(Moment::ZERO, heads[1].at, &bodies);
        replica.handle_damage(Moment::ZERO, heads[1].at, &bodies);
        assert_eq!(reported(&mut replica), (heads.to_vec(), vec![]));
        let mark = replica.damages().mark();
        replica.note_converged(&SessionReport::default(), mark);
        assert_eq!(reported(&mut replica), (vec![], vec![]), "no peer has this log's heads");
        assert_eq!(replica.damages().open(), 2);
    }
}
