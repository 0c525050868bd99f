//! Which subjects and predicates have claims that disagree, the worst first.
//!
//! In: claims, newest first; what the skeptic makes of a pair's claims. Out: pairs to be judged,
//! and the worst [`Conflict`]s. A pair is judged where its newest claim is met: no pair is judged
//! twice, and none has to be kept for that.
//!
//! Never: holds more than one answer has, depends on the order of arrival.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::context::JudgeContext;
use crate::base::limits;
use crate::lens::Skepticism;
use crate::model::{ConflictsQuery, Sealed, Statement};
use crate::store::{Row, RowKey};

/// Pairs that a search keeps so that it need not look for newer claims, at some 30 bytes each:
/// half a MiB. With more of them it looks for each claim of another pair.
const PAIRS_KNOWN_MAX: usize = 16 << 10;
/// What an entry takes beside its names.
const ENTRY_BYTES: usize = 256;

/// A pair whose claims disagree.
#[derive(Clone, PartialEq, Debug)]
pub struct Conflict {
    /// The subject that all the claims have.
    pub subject: String,
    /// The predicate that all the claims have.
    pub predicate: String,
    /// What the skeptic found, without its list of values.
    pub found: Skepticism,
}

/// The greatest score first, in millionths, then names in the order of their bytes.
type ConflictRank = (Reverse<u64>, String, String);

/// The search.
#[derive(Debug)]
pub(super) struct Conflicts {
    asked: ConflictsQuery,
    /// Hashes of pairs that were met.
    met: BTreeSet<[u8; 16]>,
    worst: BTreeMap<ConflictRank, Skepticism>,
    bytes: usize,
    /// The best of those that had no space: what is not ahead of it has none, in any order.
    left_out: Option<ConflictRank>,
}

impl Conflicts {
    pub(super) fn new(asked: ConflictsQuery) -> Conflicts {
        Conflicts { asked, met: BTreeSet::new(), worst: BTreeMap::new(), bytes: 0, left_out: None }
    }

    /// The subject and the predicate of a claim, if they are asked about, this is their newest
    /// claim, and there is another one.
    pub(super) fn pair_at(
        &mut self,
        sealed: &Sealed,
        row: Row,
        context: &JudgeContext<'_>,
        work: &mut usize,
    ) -> Option<(String, String)> {
        let names @ (subject, predicate) = sealed.names()?;
        // Agents vote differently about one claim: that is no conflict.
        let is_asked = subject.starts_with(&self.asked.prefix) && !Statement::is_one(predicate);
        if !is_asked || !self.is_first(names) {
            return None;
        }
        let end = Some(context.end);
        let keys = [RowKey::Subject(subject), RowKey::Predicate(predicate)];
        let mut rows = context.store.select(keys, end);
        loop {
            let (found, at) = context.store.next_candidate(&mut rows)?;
            if found == row {
                break;
            }
            // Newer, and of this pair unless it has the fingerprints of it alone.
            let other = context.read(at, work);
            if other.is_some_and(|other| other.names() == Some(names)) {
                return None;
            }
        }
        // A claim alone agrees with itself.
        context.store.next_candidate(&mut rows)?;
        Some((subject.to_owned(), predicate.to_owned()))
    }

    /// Whether a pair was not met before, as far as that is known: claims come newest first.
    fn is_first(&mut self, (subject, predicate): (&str, &str)) -> bool {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&(subject.len() as u64).to_le_bytes());
        hasher.update(subject.as_bytes()).update(predicate.as_bytes());
        let hash = *hasher.finalize().as_bytes().first_chunk().expect("half of 32 bytes");
        if self.met.len() < PAIRS_KNOWN_MAX {
            return self.met.insert(hash);
        }
        !self.met.contains(&hash)
    }

    /// What the skeptic makes of a pair.
    pub(super) fn note(&mut self, subject: String, predicate: String, found: Skepticism) {
        let is_asked = found.conflict_score >= self.asked.min_score && found.claims_count > 1;
        let score = Reverse((found.conflict_score * 1e6).round() as u64);
        let rank = (score, subject, predicate);
        if !is_asked || self.left_out.as_ref().is_some_and(|best| rank > *best) {
            return;
        }
        self.bytes += bytes_of(&rank);
        self.worst.insert(rank, Skepticism { claims: Vec::new(), ..found });
        while self.worst.len() > self.asked.of.limit
            || self.bytes > limits::PAGE_BYTES_MAX && self.worst.len() > 1
        {
            let Some((rank, _)) = self.worst.pop_last() else { return };
            self.bytes -= bytes_of(&rank);
            self.left_out = Some(rank);
        }
    }

    /// The worst ones.
    pub(super) fn finish(self) -> Vec<Conflict> {
        let worst = self.worst.into_iter();
        let conflict = |((_, subject, predicate), found)| Conflict { subject, predicate, found };
        worst.map(conflict).collect()
    }
}

fn bytes_of((_, subject, predicate): &ConflictRank) -> usize {
    ENTRY_BYTES + subject.len() + predicate.len()
}
