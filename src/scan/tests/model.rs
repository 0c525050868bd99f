//! What a lens answers, written down as `docs/http.md` has it, over plain lists.
//!
//! In: claims, a question. Out: the answers, weights being whole numbers of units of 2^-`SCALE`:
//! exact but for powers of two with a fraction, which have 300 bits. Never: bounds its memory,
//! shares code with `lens`.

mod statements;

use std::collections::{BTreeMap, HashMap};

use num_bigint::BigUint;

use self::statements::{is_superseded, newest_said, statements, trust_in};
use super::world::NOW;
use crate::base::{Digest, Hlc};
use crate::model::{Assertion, Author, Lens, Lifecycle, Object, Query, SourceClass, Voices};

/// The least confidence after 1,100 half-lives has so many bits behind the point.
const SCALE: usize = 1074 + 1100 + POWER_BITS;
const POWER_BITS: usize = 300;
/// Values that are counted whatever they hold, and the part from which on a value is heavy.
const VALUES: usize = 4096;

type Rank = (Hlc, Digest);

/// All claims of a value.
#[derive(Clone, Default)]
pub(super) struct Value {
    pub(super) voices: u64,
    pub(super) weight: BigUint,
    pub(super) claims: Vec<(Rank, BigUint)>,
    pub(super) object: Option<Object>,
    /// Whether a source of class 0 to 2 claims it.
    is_of_authority: bool,
}

impl Value {
    fn newest(&self) -> &(Rank, BigUint) {
        self.claims.iter().max_by_key(|(rank, _)| *rank).expect("a value is claimed")
    }

    pub(super) fn newest_claims(&self) -> Vec<Digest> {
        let mut ranks: Vec<Rank> = self.claims.iter().map(|(rank, _)| *rank).collect();
        ranks.sort_unstable_by(|one, other| other.cmp(one));
        ranks.into_iter().take(16).map(|(_, digest)| digest).collect()
    }
}

/// A claim that is judged.
struct Judged<'a> {
    digest: Digest,
    claim: &'a Assertion,
    weight: BigUint,
    /// The sum of its votes.
    votes: BigUint,
}

/// Claims that are judged, and what is counted of them.
pub(super) struct Model<'a> {
    judged: Vec<Judged<'a>>,
    values: BTreeMap<[u8; 16], Value>,
    pub(super) voices: u64,
    weight: BigUint,
}

/// The half-life of a question as a whole number of milliseconds.
fn half_life_ms(question: &Query) -> Option<u128> {
    question.half_life.map(|half_life| (half_life.seconds() * 1000.0) as u128)
}

/// 2^-(numerator / denominator) of a proper fraction, in units of 2^-[`POWER_BITS`].
fn power(numerator: u128, denominator: u128) -> BigUint {
    let one = BigUint::from(1_u32) << POWER_BITS;
    // ln 2 is the sum of 1 / (n 2^n).
    let ln_2: BigUint = (1..POWER_BITS as u32 + 9).map(|n| &one / (BigUint::from(n) << n)).sum();
    let exponent = ln_2 * numerator / denominator;
    (1_u32..90).rev().fold(one.clone(), |sum, n| &one - ((&exponent * sum) >> POWER_BITS) / n)
}

/// A double that is not negative, in units of 2^-`SCALE`, before the power.
fn number(value: f64) -> BigUint {
    let bits = value.to_bits();
    let (biased, fraction) = ((bits >> 52) as usize, bits & ((1 << 52) - 1));
    let mantissa = if biased == 0 { fraction } else { fraction | 1 << 52 };
    // A double is a whole number of units of 2^-1074.
    BigUint::from(mantissa) << (biased.max(1) - 1 + SCALE - 1074)
}

fn value_key(object: &Object) -> [u8; 16] {
    let bytes = match object {
        Object::Text(text) => [&[0], text.as_bytes()].concat(),
        Object::Number(number) => [&[1][..], &number.to_le_bytes()].concat(),
        Object::Boolean(boolean) => vec![2, u8::from(*boolean)],
        Object::Reference(name) => [&[3], name.as_bytes()].concat(),
    };
    *Digest::of(&bytes).0.first_chunk().expect("half of 32 bytes")
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Voice {
    Claim(Digest),
    Agent([u8; 32]),
    Source(Digest),
}

fn voices_of(
    digest: &Digest,
    claim: &Assertion,
    authors: Vec<Author>,
    voices: Voices,
) -> Vec<Voice> {
    if voices == Voices::Claims {
        return vec![Voice::Claim(*digest)];
    }
    let voice = |author| match author {
        Author::Agent(agent) => Voice::Agent(agent),
        Author::Unknown => Voice::Source(claim.source_hash),
    };
    authors.into_iter().map(voice).collect()
}

/// Whether a claim is there as of a moment.
fn is_there(claim: &Assertion, question: &Query, moment: u64) -> bool {
    claim.hlc.time <= moment + 60_000
        && question.as_of.is_none_or(|second| claim.timestamp <= second)
}

/// Whether all filters of a question let a claim through.
pub(super) fn is_listed(claim: &Assertion, question: &Query) -> bool {
    let is_signed = |agent: [u8; 32]| claim.authors().contains(&Author::Agent(agent));
    let is_like = |object: &Object| value_key(object) == value_key(&claim.object);
    let begins = |prefix: &String| claim.subject.as_bytes().starts_with(prefix.as_bytes());
    let span = question.since.unwrap_or(0)..=question.as_of.unwrap_or(u64::MAX);
    [
        question.subject.as_ref().is_none_or(|subject| claim.subject == *subject),
        question.predicate.as_ref().is_none_or(|predicate| claim.predicate == *predicate),
        question.subject_prefix.as_ref().is_none_or(begins),
        question.object.as_ref().is_none_or(is_like),
        question.agent_id.is_none_or(is_signed),
        question.source_hash.is_none_or(|source| claim.source_hash == source),
        question.parent_hash.is_none_or(|parent| claim.parent_hash == Some(parent)),
        question.lifecycle.is_none_or(|these| these.has(claim.lifecycle)),
        question.source_class.is_none_or(|class| claim.source_class == class),
        span.contains(&claim.timestamp),
    ]
    .into_iter()
    .all(|holds| holds)
}

/// A number rounded down to its first 64 bits.
fn first_bits(number: BigUint) -> BigUint {
    let down = number.bits().saturating_sub(64);
    (number >> down) << down
}

/// Whether the lens of a question judges a claim that has no successor.
fn is_judged(claim: &Assertion, question: &Query, moment: u64) -> bool {
    let is_settled = matches!(claim.lifecycle, Lifecycle::Rejected | Lifecycle::Deprecated);
    let is_expired = claim.expires.is_some_and(|second| second * 1000 <= moment);
    is_there(claim, question, moment)
        && is_listed(claim, question)
        && (question.history || !is_expired && (question.lifecycle.is_some() || !is_settled))
}

impl<'a> Model<'a> {
    pub(super) fn new(claims: &'a [(Digest, Assertion)], question: &Query) -> Model<'a> {
        Model::of_class(claims, question, None)
    }

    /// Of the claims of one class alone.
    pub(super) fn of_class(
        claims: &'a [(Digest, Assertion)],
        question: &Query,
        class: Option<SourceClass>,
    ) -> Model<'a> {
        let moment = question.as_of.map_or(NOW.0, |second| second * 1000);
        let mut children: HashMap<Digest, Vec<&Assertion>> = HashMap::new();
        for (_, claim) in claims.iter().filter(|(_, it)| is_there(it, question, moment)) {
            if let Some(parent) = claim.parent_hash {
                children.entry(parent).or_default().push(claim);
            }
        }
        let speaking = |digest: &Digest, claim: &Assertion| {
            let mut authors = claim.authors();
            for child in children.get(digest).into_iter().flatten() {
                let is_successor = !question.history
                    && (&child.subject, &child.predicate) == (&claim.subject, &claim.predicate);
                authors.retain(|author| !is_successor || !child.authors().contains(author));
            }
            authors
        };
        let mut powers = HashMap::new();
        let mut weigh = |claim: &Assertion| {
            let Some(half_life) = half_life_ms(question) else { return number(claim.confidence) };
            let age = u128::from(moment / 1000).saturating_sub(u128::from(claim.timestamp)) * 1000;
            let (whole, rest) = ((age / half_life) as usize, age % half_life);
            let power = powers.entry(rest).or_insert_with(|| power(rest, half_life));
            ((number(claim.confidence) >> whole) * &*power) >> POWER_BITS
        };
        let mut model = Model {
            judged: Vec::new(),
            values: BTreeMap::new(),
            voices: 0,
            weight: BigUint::default(),
        };
        let statements = statements(claims, question, moment);
        let mut voices: HashMap<([u8; 16], Voice), BigUint> = HashMap::new();
        for (digest, claim) in claims.iter().filter(|(_, it)| is_judged(it, question, moment)) {
            let authors = speaking(digest, claim);
            let is_of_class = class.is_none_or(|class| claim.source_class == class);
            let is_over = is_superseded(&statements, claim, question, moment);
            if authors.is_empty() || !is_of_class || is_over {
                continue;
            }
            let (mut weight, key) = (weigh(claim), value_key(&claim.object));
            if question.lens == Some(Lens::Trust) {
                let trust = number(trust_in(&statements, &authors, moment));
                weight = first_bits((first_bits(weight) * trust) >> SCALE);
            }
            let value = model.values.entry(key).or_default();
            value.object = Some(claim.object.clone());
            value.is_of_authority |= claim.source_class.number() <= 2;
            value.claims.push(((claim.hlc, *digest), weight.clone()));
            for voice in voices_of(digest, claim, authors, question.voices) {
                let known = voices.entry((key, voice)).or_default();
                *known = weight.clone().max(std::mem::take(known));
            }
            let votes = newest_said(&statements, digest.0, "stemedb:vote", moment);
            let votes = votes.into_values().flatten().map(number).sum();
            model.judged.push(Judged { digest: *digest, claim, weight, votes });
        }
        for ((key, _), weight) in voices {
            let value = model.values.get_mut(&key).expect("its claim was noted");
            (value.voices, model.voices) = (value.voices + 1, model.voices + 1);
            value.weight += &weight;
            model.weight += weight;
        }
        model
    }

    pub(super) fn candidates_count(&self) -> u64 {
        self.judged.len() as u64
    }

    pub(super) fn is_sampled(&self) -> bool {
        self.values.len() > VALUES
    }

    /// What a value counts for, and all of them.
    fn part(&self, value: &Value) -> (BigUint, BigUint) {
        match self.weight == BigUint::default() {
            true => (value.voices.into(), self.voices.into()),
            false => (value.weight.clone(), self.weight.clone()),
        }
    }

    fn is_heavy(&self, value: &Value) -> bool {
        value.voices * VALUES as u64 > self.voices || &value.weight * VALUES > self.weight
    }

    /// The values that are counted one by one.
    fn counted(&self) -> impl Iterator<Item = &Value> {
        let lowest = self.values.values().take(VALUES);
        lowest.chain(self.values.values().skip(VALUES).filter(|value| self.is_heavy(value)))
    }

    /// A weight times a value's share, rounded to millionths.
    fn scored(&self, weight: &BigUint, value: &Value) -> f64 {
        let (part, all) = self.part(value);
        let all = all << SCALE;
        let millionths = (weight * part * 2_000_000_u32 + &all) / (all * 2_u32);
        f64::from(u32::try_from(millionths).expect("up to a million")) / 1e6
    }

    pub(super) fn share(&self, value: &Value) -> f64 {
        self.scored(&(BigUint::from(1_u32) << SCALE), value)
    }

    /// The share as a double, for entropies.
    fn plain_share(&self, value: &Value) -> f64 {
        let (part, all) = self.part(value);
        let bits = u64::try_from((part << 62) / all).expect("one at most");
        bits as f64 / (1_u64 << 62) as f64
    }

    /// The sum of a number over all values, the light ones that are counted standing for all.
    fn over_all(&self, of: impl Fn(f64) -> f64) -> f64 {
        let (mut sums, mut shares) = ([0.0, 0.0], [0.0, 0.0]);
        for value in self.counted() {
            let is_light = usize::from(self.is_sampled() && !self.is_heavy(value));
            let share = self.plain_share(value);
            sums[is_light] += of(share);
            shares[is_light] += share;
        }
        let factor = if shares[1] > 0.0 { (1.0 - shares[0]) / shares[1] } else { 1.0 };
        sums[0] + sums[1] * factor.max(1.0)
    }

    /// The conflict score before it is rounded.
    pub(super) fn conflict(&self) -> f64 {
        let values = self.over_all(|_| 1.0);
        if values < 1.5 {
            return 0.0;
        }
        let entropy = self.over_all(|share| if share > 0.0 { -share * share.log2() } else { 0.0 });
        entropy / values.log2()
    }

    /// How serious a conflict of this score is.
    pub(super) fn conflict_class(&self, score: f64) -> &'static str {
        let sides = self.counted().filter(|value| value.is_of_authority).count();
        match self.counted().count() {
            0 | 1 => "none",
            _ if score >= 0.4 && sides >= 2 => "active_disagreement",
            _ => "disagreement",
        }
    }

    pub(super) fn values_count(&self) -> f64 {
        self.over_all(|_| 1.0)
    }

    /// The winner of a lens, the confidence in it, and the next claim.
    pub(super) fn winner(&self, lens: Lens) -> Option<(Digest, f64, Option<Digest>)> {
        if lens == Lens::Consensus {
            let rank = |value: &Value| (value.voices, value.weight.clone(), value.newest().0);
            let mut values: Vec<&Value> = self.counted().collect();
            values.sort_by_cached_key(|value| std::cmp::Reverse(rank(value)));
            let value = values.first()?;
            let ((_, digest), weight) = value.newest();
            let next = values.get(1).map(|value| value.newest().0.1);
            return Some((*digest, self.scored(weight, value), next));
        }
        let rank = |judged: &&Judged<'_>| {
            let claim = judged.claim;
            let (mut class, mut stamp, mut number) = (0, None, None);
            match lens {
                Lens::Recency | Lens::Consensus => {}
                Lens::Hlc => stamp = Some((claim.hlc, claim.source_hash)),
                Lens::Confidence | Lens::Trust => number = Some(judged.weight.clone()),
                Lens::Authority => {
                    class = 9 - claim.source_class.number();
                    number = Some(judged.weight.clone());
                }
                Lens::Votes => number = Some(judged.votes.clone()),
            }
            (class, stamp, number, (claim.hlc, judged.digest))
        };
        let best = self.judged.iter().max_by_key(rank)?;
        let others = self.judged.iter().filter(|judged| judged.digest != best.digest);
        let next = others.max_by_key(rank).map(|judged| judged.digest);
        let confidence = match lens {
            Lens::Votes => self.vote_share(best),
            _ => self.scored(&best.weight, &self.values[&value_key(&best.claim.object)]),
        };
        Some((best.digest, confidence, next))
    }

    /// A claim's part of all votes, rounded to millionths.
    fn vote_share(&self, judged: &Judged<'_>) -> f64 {
        let all: BigUint = self.judged.iter().map(|judged| &judged.votes).sum();
        if all == BigUint::default() {
            return 0.0;
        }
        let millionths = (&judged.votes * 2_000_000_u32 + &all) / (all * 2_u32);
        f64::from(u32::try_from(millionths).expect("up to a million")) / 1e6
    }

    /// The first hundred values: greatest share, most voices, newest.
    pub(super) fn listed(&self) -> Vec<&Value> {
        let mut all: Vec<&Value> = self.counted().collect();
        let rank = |value: &Value| (self.part(value).0, value.voices, value.newest().0);
        all.sort_by_cached_key(|value| std::cmp::Reverse(rank(value)));
        all.truncate(100);
        all
    }

    /// Whether the first value holds four fifths of the whole.
    pub(super) fn is_dominated(&self) -> bool {
        let first = self.listed();
        first.first().is_some_and(|value| {
            let (part, all) = self.part(value);
            part * 5_u32 >= all * 4_u32
        })
    }
}
