//! Assertions that clients and peers offer: whether they are taken, and what their callers hear.
//!
//! In: offers, one by one or many that share batches of the disk. Out: assertions in the queue to
//! the disk, and the fates that are known at once. Never: waits for the disk.

use super::{Fate, Output, Replica, SESSION_TICKETS};
use crate::base::{Moment, Ticket};
use crate::cluster::gossip::Origin;
use crate::journal::{self, Arrival, Bodies};
use crate::model::Sealed;
use crate::store::Standing;

impl Replica {
    /// A client or a peer offers an assertion; its fate goes to the ticket.
    /// [`Replica::start_write`] hands it to the disk, in one batch with what else was offered until
    /// then.
    pub fn handle_offer(
        &mut self,
        ticket: Ticket,
        (sealed, origin): (Sealed, Origin),
        bodies: &dyn Bodies,
    ) {
        let digest = sealed.digest();
        let arrival = match origin {
            Origin::AntiEntropy => Arrival::Given,
            Origin::Here | Origin::Gossip(_) => Arrival::Single,
        };
        let fate = self.take(ticket, sealed, arrival, bodies);
        self.note_offer(ticket, origin, fate);
        if fate == Some(Fate::Exists) && matches!(origin, Origin::Gossip(_)) {
            self.cluster.handle_known(&digest, origin);
            self.pump_cluster();
        }
        self.check();
    }

    /// A client of this node offers one of many assertions, which share batches of the disk; see
    /// [`Arrival::Bulk`].
    pub fn handle_bulk_offer(
        &mut self,
        now: Moment,
        ticket: Ticket,
        sealed: Sealed,
        bodies: &dyn Bodies,
    ) {
        let fate = self.take(ticket, sealed, Arrival::Bulk(now), bodies);
        self.note_offer(ticket, Origin::Here, fate);
        self.check();
    }

    /// Whether one more of many assertions may be offered, of so many bytes. What waits for the
    /// disk or the index is in memory, so the client waits instead.
    pub fn has_bulk_space(&self, bytes: usize) -> bool {
        let is_indexing = self.store.is_behind() && !self.is_unindexed;
        !is_indexing && self.queue.has_bulk_space(bytes)
    }

    /// The client that offers many has no more of them for now.
    pub fn handle_bulk_end(&mut self) {
        self.queue.handle_bulk_end();
        self.check();
    }

    /// `fate` is known already, or comes with the flush.
    fn note_offer(&mut self, ticket: Ticket, origin: Origin, fate: Option<Fate>) {
        debug_assert!(ticket.0 < SESSION_TICKETS);
        // Alone, or from anti-entropy, no push follows: the origin need not be kept.
        match fate {
            Some(fate) => self.outbox.push_back(Output::Answer(ticket, fate)),
            None if origin != Origin::AntiEntropy && !self.cluster.gossip().is_alone() => {
                self.origins.insert(ticket, origin);
            }
            None => {}
        }
    }

    /// Tries to take an assertion; `None` while its flush is waited for, which begins with
    /// [`Replica::start_write`].
    pub(super) fn take(
        &mut self,
        ticket: Ticket,
        sealed: Sealed,
        arrival: Arrival,
        bodies: &dyn Bodies,
    ) -> Option<Fate> {
        let digest = sealed.digest();
        let standing = self.store.standing(&digest, bodies);
        if standing == Standing::Here {
            self.stats.repeated += 1;
            return Some(Fate::Exists);
        }
        // What no run holds is in memory: claims wait for the disk, or memory would follow the log.
        let taken = match self.store.is_behind() {
            true if self.is_unindexed => Err(journal::Refusal::Index),
            true => Err(journal::Refusal::Busy),
            false => self.queue.enqueue_as(arrival, sealed, ticket),
        };
        let Err(refusal) = taken else {
            if standing == Standing::Damaged {
                self.repairing.insert(digest);
            }
            return None;
        };
        self.stats.refused += 1;
        Some(Fate::Refused(refusal))
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Memory, claim, replica};
    use super::*;
    use crate::journal::{Done, Work};

    #[test]
    fn what_was_missing_here_has_no_zeros_behind_it() {
        let (mut replica, bodies) = (replica(), Memory::default());
        let origins = [Origin::Here, Origin::Gossip(None), Origin::AntiEntropy];
        for (number, origin) in (0..).zip(origins) {
            replica.handle_offer(Ticket(number), (claim(number), origin), &bodies);
            replica.handle_timeout(Moment::ZERO, &bodies);
            let batch = std::iter::from_fn(|| replica.poll_output()).find_map(|it| match it {
                Output::Disk(Work::Write(batch)) => Some(batch),
                _ => None,
            });
            let zeros = batch.expect("it is new here").zeros;
            assert_eq!(zeros, origin != Origin::AntiEntropy, "{origin:?}");
            replica.handle_disk(Moment::ZERO, Done::Well);
        }
    }
}
