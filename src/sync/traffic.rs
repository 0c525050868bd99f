//! What a session has under way with its peer: calls, and the assertions that they carry.
//!
//! In: what is missing on either side, answers. Out: the next call that asks or gives, as long as
//! not too many do so already. Never: decides what is missing, judges a peer.

use std::collections::BTreeSet;

use super::calls::{CallPurpose, Calls, FETCH_MAX, FETCHES_MAX, GIVES_MAX};
use super::exchange::{CallSet, Exchange};
use super::intake::Intake;
use super::messages::{Output, Request};
use super::missing::Missing;
use super::part_comparisons::PARTS_MAX;
use crate::base::limits;
use crate::journal::Bodies;
use crate::model::Sealed;
use crate::sketch::short_id;
use crate::store::Store;

/// Ids that a session holds at once, whatever the peer answers: those of two parts and what waits
/// when they are begun, and pages of leaves. A pull holds none.
const IDS_MAX: usize = limits::PART_DIFFERENCES as usize
    + PARTS_MAX * limits::SKETCH_CELLS_MAX
    + 2 * limits::LEAVES_MAX;

/// Calls and assertions of a session on their way.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    /// Calls in flight, so that an answer counts for what was asked, once.
    pub(super) calls: Calls,
    /// Assertions that comparison and walk found to be missing here.
    pub(super) missing: Missing,
    /// Assertions that they found to be missing there.
    pub(super) exchange: Exchange,
    /// Assertions that came and are not stored yet.
    pub(super) intake: Intake,
}

impl Traffic {
    pub(super) fn call(&mut self, purpose: CallPurpose, request: Request) -> Output {
        Output::Call(self.calls.begin(purpose), request)
    }

    pub(super) fn give(&mut self, given: Vec<Sealed>) -> Output {
        self.call(CallPurpose::Give(given.len() as u64), Request::Give(given))
    }

    /// Gives the peer what it is known to lack, if not too many calls do so already.
    pub(super) fn poll_give(&mut self, store: &Store, bodies: &dyn Bodies) -> Option<Output> {
        if self.exchange.is_empty() || self.calls.gives() >= GIVES_MAX {
            return None;
        }
        let given = batch(|| self.exchange.next(store, bodies));
        Some(self.give(given))
    }

    /// Asks for what sketches found to be missing, if not too many calls do so already.
    pub(super) fn poll_fetch_short(&mut self) -> Option<Output> {
        if self.missing.short_ids() == 0 || !self.may_fetch() {
            return None;
        }
        let wanted = self.missing.take_short();
        let purpose = CallPurpose::FetchShort(wanted.clone());
        Some(self.call(purpose, Request::FetchShort(wanted)))
    }

    /// Asks for what is known to be missing by its hash, if not too many calls do so already.
    /// `is_unique`: no two of them are suspected to share a short id.
    pub(super) fn poll_fetch(&mut self, is_unique: bool) -> Option<Output> {
        if self.missing.hashes() == 0 || !self.may_fetch() {
            return None;
        }
        let wanted = self.missing.take();
        // Short ids take a quarter of the bytes. Where they may collide, whole hashes are named.
        let request = if self.exchange.calls() == CallSet::Extended && is_unique {
            Request::FetchShort(wanted.iter().map(short_id).collect())
        } else {
            Request::Fetch(wanted.clone())
        };
        Some(self.call(CallPurpose::Fetch(wanted), request))
    }

    /// Assertions that are not stored yet count as fetches, in units of a full one: a slow disk
    /// would otherwise let them pile up here.
    fn may_fetch(&self) -> bool {
        let unstored = self.intake.len().div_ceil(FETCH_MAX);
        self.calls.len() - self.calls.gives() + unstored < FETCHES_MAX
    }

    /// Takes those of an answer that were asked for; what did not come stays in `wanted`.
    pub(super) fn take_wanted<K: Ord>(
        &mut self,
        wanted: &mut BTreeSet<K>,
        good: Vec<Sealed>,
        key: impl Fn(&Sealed) -> K,
    ) {
        for sealed in good {
            // Only what was asked for is taken: a peer must not fill the disk with anything else.
            if wanted.remove(&key(&sealed)) {
                self.intake.push(sealed);
            }
        }
    }

    /// Whether no answer and no flush is waited for.
    pub(super) fn is_idle(&self) -> bool {
        self.calls.is_empty() && self.intake.is_idle()
    }

    /// Forgets what is not on its way. Calls and offers in flight stay: the session waits for them,
    /// so that its report counts what the disk still stores.
    pub(super) fn abandon(&mut self) {
        self.missing.abandon();
        self.exchange.abandon();
        self.intake.abandon();
    }

    /// What is held is bounded, whatever the peer answered.
    pub(super) fn check(&self) {
        let ids = self.missing.hashes() + self.missing.short_ids() + self.exchange.len();
        debug_assert!(ids <= IDS_MAX, "{ids} ids");
    }
}

/// Assertions that fit in one message.
pub(super) fn batch(mut next: impl FnMut() -> Option<Sealed>) -> Vec<Sealed> {
    let (mut given, mut bytes) = (Vec::new(), 0);
    while given.len() < FETCH_MAX && bytes < limits::GIVE_BYTES_MAX {
        let Some(sealed) = next() else { break };
        bytes += sealed.bytes().len();
        given.push(sealed);
    }
    given
}
