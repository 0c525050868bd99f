//! What a session makes of the peer's answers.
//!
//! Never: believes that an answer is as long, as new or as true as it should be.

use std::collections::BTreeSet;

use super::log_pull::LogPull;
use super::sketch_comparison::ComparisonResult;
use super::{GIVES_MAX, PUSHES_MAX, Records, RowCursor, Session, SessionPhase, SketchReply, Span};
use crate::base::{Digest, limits};
use crate::journal::Bodies;
use crate::model::Sealed;
use crate::sketch::{Part, ShortId};
use crate::store::Store;

impl Session {
    /// How to find out what differs.
    pub(super) fn handle_roots(&mut self, matched: bool, count: u64) {
        self.report.rounds += 1;
        self.sizes.theirs = count;
        self.report.peer_count = count;
        self.phase = match &self.compare.whole {
            _ if matched => SessionPhase::Over,
            Some(_) if LogPull::is_cheaper(self.sizes.ours, count) => {
                self.pull = Some(LogPull::new(RowCursor::default(), self.sizes.ours == 0));
                SessionPhase::Pull
            }
            Some(_) => SessionPhase::Sketch,
            None => SessionPhase::Walk,
        };
    }

    /// Less differs than the peer said. The truth if others gave either side the rest meanwhile:
    /// then so many assertions came to one of them that this session did not bring.
    pub(super) fn handle_recount(&mut self, count: u64, store: &Store) {
        let SessionPhase::Recount(differing) = self.phase else { return };
        let brought = (self.report.received, self.report.sent);
        // The peer may say any number of assertions, twice.
        let came = self.sizes.grown((store.len(), count), brought);
        if differing.saturating_add(came) < limits::SKETCH_DIFFERENCES_MAX / 2 {
            return self.reject(format!("the peer hides that only some {differing} differ"));
        }
        self.verdict.set_claims_large(false);
        // A sketch of the whole tells the rest for less than parts do.
        self.compare.is_anew = self.compare.parts.take().is_some_and(|parts| !parts.is_over());
        let is_left =
            self.compare.is_anew || self.missing.short_ids() > 0 || !self.exchange.is_empty();
        self.phase = if is_left { SessionPhase::Exchange } else { SessionPhase::Over };
    }

    /// The peer had our root once: its rows from there on are all that we lack. Only the first
    /// question tells our root. A second answer of this kind would send the session from the
    /// sketch to the rows and back for ever.
    pub(super) fn handle_since(&mut self, since: RowCursor) {
        if self.pull.is_some() {
            return self.reject("the peer tells of rows since a root it was not told".into());
        }
        self.report.rounds += 1;
        self.pull = Some(LogPull::new(since, true));
        self.phase = SessionPhase::Pull;
    }

    /// The peer took some of what it was given, which cannot be more.
    pub(super) fn handle_given(&mut self, given: u64, taken: u64, refusal: &str) {
        if taken > given {
            return self.reject(format!("the peer took {taken} of {given} assertions"));
        }
        self.report.sent += taken;
        self.note_refusal(taken, refusal);
    }

    pub(super) fn handle_leaves(
        &mut self,
        leaves: &[Digest],
        truncated: bool,
        store: &Store,
        bodies: &dyn Bodies,
    ) {
        if leaves.len() > limits::LEAVES_MAX {
            let allowed = limits::LEAVES_MAX;
            return self
                .reject(format!("{} leaves in one answer, {allowed} allowed", leaves.len()));
        }
        let mut news = 0;
        for leaf in leaves {
            match store.find_row(leaf, bodies) {
                Some(row) => news += u64::from(self.walk.note_shown(row)),
                None if self.walk.is_unobtainable(leaf) => {}
                None => {
                    self.missing.push(*leaf);
                    news += 1;
                }
            }
        }
        let known = self.known();
        if !truncated || known >= self.sizes.theirs {
            self.phase = SessionPhase::Drain;
        } else if news == 0 {
            self.note(format!("the peer shows {known} of its {} leaves", self.sizes.theirs));
            self.phase = SessionPhase::Drain;
            self.walk.give_nothing();
        }
    }

    /// How many of the peer's leaves we have heard of.
    pub(super) fn known(&self) -> u64 {
        self.walk.known(self.verdict.fetched()) + self.missing.hashes() as u64
    }

    /// Where an answer comes from is known before its assertions are: the next can be asked for.
    pub(super) fn handle_records_span(&mut self, number: u32, span: Span) {
        let known = self.pulled.get(&span.from.numbering).copied();
        let pull = self.pull.as_mut().filter(|_| self.phase == SessionPhase::Pull);
        let taken = pull.map_or(Ok(()), |pull| pull.handle_span(number, span, known));
        if let Err(reason) = taken {
            self.reject(reason);
        }
    }

    /// A peer that gives nothing new for long is compared with instead.
    pub(super) fn handle_records(
        &mut self,
        number: u32,
        records: Records,
        store: &Store,
        bodies: &dyn Bodies,
    ) {
        self.note_false(records.bad);
        let Some(pull) = self.pull.as_mut().filter(|_| self.phase == SessionPhase::Pull) else {
            return;
        };
        pull.handle_records(number, records.good.len());
        let is_over = pull.is_over();
        let is_known = |sealed: &Sealed| store.find_row(&sealed.digest(), bodies).is_some();
        let is_useless = records.good.iter().all(is_known);
        if is_useless && !is_over {
            self.verdict.note_useless();
        }
        records.good.into_iter().for_each(|sealed| self.intake.push(sealed));
        if self.verdict.is_exhausted() {
            self.phase = SessionPhase::Sketch;
        }
    }

    fn note_false(&mut self, bad: u64) {
        if bad > 0 {
            self.verdict.note_useless();
            self.report.is_useless = true;
            self.note(format!(
                "{bad} assertions of the peer did not match their hash or signature"
            ));
        }
    }

    /// A peer that takes nothing, for its disk is full or for whatever reason, is not given all.
    pub(super) fn note_refusal(&mut self, taken: u64, refusal: &str) {
        if !refusal.is_empty() {
            self.note(format!("the peer refused an assertion: {refusal}"));
        }
        let most = if self.exchange.takes_many { GIVES_MAX } else { PUSHES_MAX };
        if self.exchange.is_refused_by(taken, most) {
            self.reject(format!("the peer takes nothing: {refusal}"));
        }
    }

    /// What the sketches tell, or how to ask on. Where they do not tell, the leaves do.
    pub(super) fn handle_cells(&mut self, part: Option<Part>, reply: SketchReply, store: &Store) {
        self.compare.note_cells(reply.cells.len());
        if let Some(part) = part {
            // One that was given up meanwhile is passed over.
            return self.compare.parts.as_mut().map_or((), |parts| parts.hold(part, reply));
        }
        let comparison = self.compare.whole.as_mut().expect("this phase has one");
        match comparison.handle_reply(&reply, store) {
            ComparisonResult::Ask if self.compare.is_costly() => self.fall_back_to_leaves(),
            ComparisonResult::Ask => {}
            ComparisonResult::TooMuch(estimate) => self.compare_parts(estimate, store),
            ComparisonResult::Nonsense => {
                self.reject("the peer's cells are not those of a sketch".into());
            }
            ComparisonResult::GiveUp => self.fall_back_to_leaves(),
            ComparisonResult::Known(ids) => {
                self.report.decoded = Some((0, 0));
                self.assign_ids(ids, store);
                self.phase = SessionPhase::Exchange;
            }
        }
    }

    /// Whose each is, the own index tells.
    pub(super) fn assign_ids(&mut self, ids: Vec<ShortId>, store: &Store) {
        self.compare.note_ids(ids.len());
        for id in ids {
            let (count, sum) = self.report.decoded.unwrap_or_default();
            self.report.decoded = Some((count + 1, sum.wrapping_add(id)));
            match store.find_short(id) {
                Some(row) => self.exchange.push(row),
                // Our sketch has it, the peer's has not: of the peer it cannot be had.
                None if store.is_lost(id) => {}
                None => self.missing.push_short(id),
            }
        }
    }

    /// Sketches do not tell: the leaves have to.
    pub(super) fn fall_back_to_leaves(&mut self) {
        self.verdict.note_difference_owed();
        self.start_walk();
    }

    /// The leaves tell everything, what is known already included.
    pub(super) fn start_walk(&mut self) {
        self.compare.parts = None;
        self.missing.abandon_short();
        self.exchange.abandon();
        self.phase = SessionPhase::Walk;
    }

    /// Fewer than asked for is normal (an answer has a size limit) as long as something came: what
    /// is left is asked for again. `Err`: what the peer will not give.
    pub(super) fn handle_fetched<K: Ord>(
        &mut self,
        wanted: Vec<K>,
        good: Vec<Sealed>,
        bad: u64,
        key: impl Fn(&Sealed) -> K,
    ) -> Result<BTreeSet<K>, BTreeSet<K>> {
        let mut wanted: BTreeSet<K> = wanted.into_iter().collect();
        let before = wanted.len();
        for sealed in good {
            if wanted.remove(&key(&sealed)) {
                self.verdict.note_fetched();
                self.intake.push(sealed);
            }
        }
        self.note_false(bad);
        if wanted.len() < before && bad == 0 {
            return Ok(wanted);
        }
        let lacking = wanted.len();
        self.note(format!("the peer names {lacking} assertions that it does not give"));
        if bad == 0 {
            self.verdict.note_useless();
        }
        self.verdict.note_withheld(lacking);
        if self.verdict.is_exhausted() {
            self.reject("the peer does not give what its leaves promise".into());
        }
        Err(wanted)
    }
}
