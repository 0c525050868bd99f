//! Who claims what, and whether they agree.
//!
//! In: assertions about one thing. Out: [`Skepticism`]: each value claimed, by its share of the
//! weight, with the newest assertions that claim it. Never: says who is right.

use std::collections::{BTreeMap, BTreeSet};

use super::candidate::{AgeRank, Candidate, ValueKey};
use super::conflict::ConflictClass;
use super::count::ValueCounts;
use super::settings::{LensSettings, Settled};
use super::tally::Tally;
use super::weight::{Scale, Weight};
use crate::base::{Digest, limits};
use crate::model::{Assertion, Author, Object, Voices};

/// How far they agree.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Agreement {
    /// One value, or none.
    Unanimous,
    /// Several values, of which one holds at least four fifths of the weight.
    Agreed,
    /// Several values, none of which dominates.
    Contested,
}

impl Agreement {
    /// Its name, as the HTTP API gives it.
    pub fn name(self) -> &'static str {
        match self {
            Agreement::Unanimous => "Unanimous",
            Agreement::Agreed => "Agreed",
            Agreement::Contested => "Contested",
        }
    }
}

/// What the skeptic found.
#[derive(Clone, PartialEq, Debug)]
pub struct Skepticism {
    /// How far they agree.
    pub status: Agreement,
    /// The entropy of the values' shares, 0 (one value) to 1 (all values weigh the same).
    pub conflict_score: f64,
    /// How serious it is.
    pub conflict_class: ConflictClass,
    /// The values: greatest share first, then most voices, then the newest; the first
    /// `limits::CLAIMS_MAX` of them.
    pub claims: Vec<Claim>,
    /// How many values there are; an estimate where `sampled`.
    pub claims_count: u64,
    /// How many assertions were judged.
    pub candidates_count: u64,
    /// How many voices they are.
    pub voices_count: u64,
    /// There were more than `limits::GROUPS_MAX` values: lighter ones come in by a sample.
    pub sampled: bool,
}

/// One value, and who claims it.
#[derive(Clone, PartialEq, Debug)]
pub struct Claim {
    /// The value; `None` when its assertion could not be read back.
    pub object: Option<Object>,
    /// Its part of the weight of all.
    pub weight_share: f64,
    /// Voices for it.
    pub voices_count: u64,
    /// Assertions that claim it, those beyond the list included.
    pub assertions_count: u64,
    /// Those who claim it, newest first (timestamp, hlc, digest); the first
    /// `limits::CLAIM_ASSERTIONS_MAX` of them.
    pub assertions: Vec<Digest>,
    /// Who stands behind it, where that is asked for.
    pub backers: Option<Backers>,
}

/// The voices for a value.
#[derive(Clone, PartialEq, Debug)]
pub struct Backers {
    /// Agents that signed it, by their keys.
    pub agents: Vec<[u8; 32]>,
    /// Sources of claims without a signature. With the agents they are the first
    /// `limits::CLAIM_BACKERS_MAX` voices.
    pub sources: Vec<Digest>,
    /// Voices that are not listed.
    pub left_out: u64,
}

/// What is collected of a value.
#[derive(Clone, Debug, Default)]
struct Collected {
    newest: Vec<AgeRank>,
    /// Agents before sources, each by its key: the lowest, whatever the order of arrival.
    backers: BTreeSet<Backer>,
}

/// A voice, by what it is listed as.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Backer {
    Agent([u8; 32]),
    Source(Digest),
}

/// Folds assertions into [`Skepticism`].
#[derive(Clone, Debug)]
pub struct Skeptic {
    scale: Scale,
    count: u64,
    explains: bool,
    collected: BTreeMap<ValueKey, Collected>,
    /// Whether there were too many values to collect the newest assertions of each.
    is_full: bool,
    stage: Stage,
}

#[derive(Clone, Debug)]
enum Stage {
    Counting(Box<Tally>),
    /// Where there were too many values, a last pass collects the newest assertions of some.
    Counted(Box<ValueCounts>),
}

impl Skeptic {
    /// A skeptic that has seen nothing.
    pub fn new(settings: LensSettings) -> Skeptic {
        Skeptic {
            scale: Scale::new(settings),
            count: 0,
            explains: settings.explain,
            collected: BTreeMap::new(),
            is_full: false,
            stage: Stage::Counting(Box::new(Tally::new(settings.voices))),
        }
    }

    /// Takes in one assertion, of which these authors still speak; each may come once in a pass.
    /// One whose time has not come does not count.
    pub fn add(&mut self, digest: &Digest, assertion: &Assertion, of: &[Author]) {
        if !self.scale.has_come(assertion) {
            return;
        }
        let candidate = Candidate::new(digest, assertion, self.scale.weigh(assertion));
        let is_first_pass = match &mut self.stage {
            Stage::Counted(_) => return self.collect(&candidate, assertion, of),
            Stage::Counting(tally) => {
                let is_first_pass = tally.is_first_pass();
                tally.add(&candidate, assertion, of);
                is_first_pass
            }
        };
        if is_first_pass {
            self.count += 1;
            if !self.is_full {
                self.collected.entry(candidate.key).or_default();
                self.collect(&candidate, assertion, of);
                self.is_full = self.collected.len() > limits::CLAIMS_COLLECTED_MAX;
            }
        }
    }

    fn collect(&mut self, candidate: &Candidate, assertion: &Assertion, of: &[Author]) {
        let Some(collected) = self.collected.get_mut(&candidate.key) else { return };
        for author in of.iter().filter(|_| self.explains) {
            collected.backers.insert(match author {
                Author::Agent(key) => Backer::Agent(*key),
                Author::Unknown => Backer::Source(assertion.source_hash),
            });
            if collected.backers.len() > limits::CLAIM_BACKERS_MAX {
                collected.backers.pop_last();
            }
        }
        let newest = &mut collected.newest;
        let rank = candidate.age_rank();
        let index = newest.partition_point(|listed| *listed > rank);
        if index < limits::CLAIM_ASSERTIONS_MAX {
            newest.truncate(limits::CLAIM_ASSERTIONS_MAX - 1);
            newest.insert(index, rank);
        }
    }

    /// All assertions were shown: what is needed now. About so much of a scan's `work` is done.
    pub fn settle(&mut self, work: &mut usize) -> Settled {
        let Stage::Counting(tally) = &mut self.stage else { return Settled::Over };
        let settled = tally.settle(work);
        if settled != Settled::Over {
            return settled;
        }
        let counted = std::mem::replace(&mut **tally, Tally::new(Voices::Claims)).finish();
        if self.is_full {
            let greatest = counted.greatest(limits::CLAIMS_MAX).into_iter();
            self.collected.clear();
            self.collected.extend(greatest.map(|key| (key, Collected::default())));
        }
        self.stage = Stage::Counted(Box::new(counted));
        if self.is_full { Settled::Again } else { Settled::Over }
    }

    /// What became of them, once it is [`Settled::Over`]. Values are not kept: `object_of` reads
    /// one back from the assertion of that digest.
    pub fn finish(self, mut object_of: impl FnMut(&Digest) -> Option<Object>) -> Skepticism {
        let Stage::Counted(counted) = self.stage else { panic!("it is read when it is over") };
        let keys = counted.greatest(limits::CLAIMS_MAX);
        let groups = keys.iter().filter_map(|key| Some((key, counted.group(key)?)));
        let claims: Vec<Claim> = groups
            .map(|(key, group)| Claim {
                object: group.newest.and_then(|((_, digest), _)| object_of(&digest)),
                weight_share: counted.scored(Weight::ONE, group),
                voices_count: group.voices,
                assertions_count: group.claims,
                assertions: self.collected[key].newest.iter().map(|(_, digest)| *digest).collect(),
                backers: self.explains.then(|| self.collected[key].listed(group.voices)),
            })
            .collect();
        let first = keys.first().and_then(|key| counted.group(key));
        let status = match first {
            Some(first) if keys.len() > 1 => match counted.is_dominated_by(first) {
                true => Agreement::Agreed,
                false => Agreement::Contested,
            },
            _ => Agreement::Unanimous,
        };
        let conflict_score = counted.conflict_score();
        Skepticism {
            status,
            conflict_score,
            conflict_class: counted.conflict_class(conflict_score),
            claims,
            claims_count: counted.values_count(),
            candidates_count: self.count,
            voices_count: counted.whole.voices,
            sampled: counted.is_sampled,
        }
    }
}

impl Collected {
    /// Those that are kept of so many voices.
    fn listed(&self, voices: u64) -> Backers {
        let (mut agents, mut sources) = (Vec::new(), Vec::new());
        for backer in &self.backers {
            match backer {
                Backer::Agent(key) => agents.push(*key),
                Backer::Source(digest) => sources.push(*digest),
            }
        }
        let left_out = voices.saturating_sub(self.backers.len() as u64);
        Backers { agents, sources, left_out }
    }
}
