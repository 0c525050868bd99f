//! The claims of a batch: sealed one by one, judged together, offered in bulk.
//!
//! In: drafts, in the order of their lines. Out: a fate for each, when its batch of the disk is
//! done. Never: offers more than the part of the queue that batches have.

use super::Driver;
use crate::base::Digest;
use crate::model::{Draft, Invalid, Sealed};
use crate::replica::Fate;
use crate::shell::runtime::pending::PendingAnswer;

/// A claim of a batch that was offered: its id, and what becomes of it.
pub struct OfferedClaim<'a> {
    /// The id that it has if it is taken.
    pub digest: Digest,
    /// Resolves when the disk has written it, or refused it.
    pub fate: PendingAnswer<'a, Fate>,
}

impl Driver {
    /// The claims of some drafts, checked and stamped in their order.
    pub fn seal_all(&self, drafts: Vec<Draft>) -> Vec<Result<Sealed, Invalid>> {
        let wall = self.wall();
        self.update(|replica, _, _| {
            drafts.into_iter().map(|draft| replica.seal(draft, wall)).collect()
        })
    }

    /// The verdicts on the signatures of some claims, all of them judged in one go.
    pub async fn judge_all(&self, claims: &[Sealed]) -> Vec<Result<(), Invalid>> {
        self.verifier.verify_all(claims).await
    }

    /// Whether one more claim of so many bytes may be offered in bulk now; if not, it may be after
    /// [`Driver::written`].
    pub fn has_bulk_space(&self, bytes: usize) -> bool {
        self.read(|replica, _| replica.has_bulk_space(bytes))
    }

    /// Offers a claim that is one of many.
    pub fn offer_in_bulk(&self, sealed: Sealed) -> OfferedClaim<'_> {
        let digest = sealed.digest();
        let (ticket, fate) = self.fates.ticket();
        self.update(|replica, now, bodies| {
            replica.handle_bulk_offer(now, ticket, sealed, bodies);
        });
        OfferedClaim { digest, fate }
    }

    /// No more claims come in bulk for now.
    pub fn end_bulk(&self) {
        self.update(|replica, _, _| replica.handle_bulk_end());
    }
}
