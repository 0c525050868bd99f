//! The names of claims, counted: a page of the lowest ones.
//!
//! In: claims, in any order. Out: the lowest names that a listing admits, in the order of their
//! bytes, each with how many claims have it and the newest timestamp among them. A name that finds
//! no space is on a later page, with all that are greater: a name that stays was never left out, so
//! its count is exact after one pass. Names are compared, not their fingerprints.
//!
//! Never: holds more names than a page, however many there are.

use std::collections::BTreeMap;

use crate::base::limits;
use crate::model::{Listing, NameKind, Sealed};

/// What is known of a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NameCount {
    /// Claims that have it.
    pub assertions: u64,
    /// The greatest timestamp among them, Unix seconds.
    pub newest: u64,
}

/// The lowest names of those that were seen.
#[derive(Debug)]
pub(super) struct LowestNames {
    listing: Listing,
    found: BTreeMap<String, NameCount>,
    /// The bytes of these names: a page of long ones has fewer.
    bytes: usize,
    /// The lowest name that found no space.
    cut: Option<String>,
}

impl LowestNames {
    pub(super) fn new(listing: Listing) -> LowestNames {
        LowestNames { listing, found: BTreeMap::new(), bytes: 0, cut: None }
    }

    /// Which names these are.
    pub(super) fn kind(&self) -> NameKind {
        self.listing.kind
    }

    /// Counts a claim; an opaque one has no names.
    pub(super) fn add(&mut self, claim: &Sealed) {
        let Some(((subject, predicate), timestamp)) = claim.names().zip(claim.timestamp()) else {
            return;
        };
        let name = match self.listing.kind {
            NameKind::Subjects => subject,
            NameKind::Predicates => predicate,
        };
        let is_cut = self.cut.as_ref().is_some_and(|cut| name >= cut.as_str());
        if is_cut || !self.listing.admits(name) {
            return;
        }
        if let Some(known) = self.found.get_mut(name) {
            known.assertions += 1;
            known.newest = known.newest.max(timestamp);
            return;
        }
        self.bytes += name.len();
        self.found.insert(name.to_owned(), NameCount { assertions: 1, newest: timestamp });
        while self.is_over_full() {
            let (last, _) = self.found.pop_last().expect("more than one");
            self.bytes -= last.len();
            self.cut = Some(last);
        }
    }

    /// The page, and the cursor of the next one if there are more.
    pub(super) fn finish(self) -> (Vec<(String, NameCount)>, Option<String>) {
        let last = self.cut.and_then(|_| self.found.last_key_value());
        let next = last.map(|(name, _)| Listing::cursor(name));
        (self.found.into_iter().collect(), next)
    }

    fn is_over_full(&self) -> bool {
        let count = self.found.len();
        count > self.listing.limit || count > 1 && self.bytes > limits::PAGE_BYTES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{HlcClock, NodeId, Wall};
    use crate::model::{Draft, Object};

    #[test]
    fn a_page_of_long_names_is_full_sooner_and_holds_no_more() {
        let mut rng = fastrand::Rng::with_seed(3);
        let mut numbers: Vec<u64> = (0..900).collect();
        let name = |number: u64| format!("{number:x>width$}", width = limits::NAME_BYTES_MAX);
        let (mut after, mut listed) = (None, Vec::new());
        loop {
            let listing = Listing { after, limit: 1000, ..Listing::new(NameKind::Subjects) };
            let mut names = LowestNames::new(listing);
            rng.shuffle(&mut numbers);
            for number in &numbers {
                let mut draft = Draft::new(name(*number), "p".into(), Object::Boolean(true));
                draft.timestamp = Some(*number);
                let claim = draft.check(&mut HlcClock::new(NodeId::NONE), Wall(0));
                names.add(&claim.expect("it keeps the rules").seal());
                assert!(names.bytes <= limits::PAGE_BYTES_MAX && names.found.len() <= 256);
            }
            let (page, next) = names.finish();
            let Some((last, _)) = page.last() else { break };
            assert!(next.is_none_or(|next| next == Listing::cursor(last)));
            after = Some(last.clone());
            listed.extend(page);
        }
        let mut expected: Vec<(String, NameCount)> = (0..900)
            .map(|number| (name(number), NameCount { assertions: 1, newest: number }))
            .collect();
        expected.sort_by(|one, other| one.0.cmp(&other.0));
        assert_eq!(listed, expected);
    }
}
