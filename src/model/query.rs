//! What a query asks for: filters, a lens, a page.
//!
//! In: names and values, as a URL has them, already percent-decoded. Out: a [`Query`] within its
//! bounds, and which assertions it admits. Never: looks anything up.

use std::fmt;

use super::assertion::{Assertion, Lifecycle, Object, SourceClass};
use super::cursor::Cursor;
use super::draft;
use crate::base::{Digest, Wall, limits, number};

/// How many become one; `src/lens` has the exact order of each.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Lens {
    /// The newest timestamp.
    Recency,
    /// The newest hybrid logical timestamp.
    Hlc,
    /// The greatest confidence, after decay.
    Confidence,
    /// The value that most assertions claim.
    Consensus,
    /// The source class of most authority, then confidence.
    Authority,
    /// The greatest sum of votes.
    Votes,
    /// The greatest confidence times the trust in who signed, after decay.
    Trust,
}

impl Lens {
    /// All of them.
    pub const ALL: [Lens; 7] = [
        Lens::Recency,
        Lens::Hlc,
        Lens::Confidence,
        Lens::Consensus,
        Lens::Authority,
        Lens::Votes,
        Lens::Trust,
    ];

    /// Its name, as the HTTP API takes and gives it.
    pub fn name(self) -> &'static str {
        match self {
            Lens::Recency => "recency",
            Lens::Hlc => "hlc",
            Lens::Confidence => "confidence",
            Lens::Consensus => "consensus",
            Lens::Authority => "authority",
            Lens::Votes => "votes",
            Lens::Trust => "trust",
        }
    }

    /// The one with this very name.
    pub fn parse(name: &str) -> Option<Lens> {
        Lens::ALL.into_iter().find(|lens| lens.name() == name)
    }
}

/// States of review, one at least.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Lifecycles(u8);

impl Lifecycles {
    /// From names with commas between them, those to leave out behind a `!`; `any` is all of them.
    pub fn parse(list: &str) -> Option<Lifecycles> {
        let (mut named, mut left_out) = (0, 0);
        let mut is_any_named = false;
        for name in list.split(',') {
            let (set, name) = match name.strip_prefix('!') {
                Some(name) => (&mut left_out, name),
                None => {
                    is_any_named = true;
                    (&mut named, name)
                }
            };
            *set |= match name {
                "any" => Lifecycles::ALL.0,
                name => 1 << Lifecycle::parse(name)?.number(),
            };
        }
        let of = if is_any_named { named } else { Lifecycles::ALL.0 };
        Some(Lifecycles(of & !left_out)).filter(|found| found.0 != 0)
    }

    /// All of them.
    pub const ALL: Lifecycles = Lifecycles((1 << Lifecycle::ALL.len()) - 1);

    /// Whether it is one of them.
    pub fn has(self, lifecycle: Lifecycle) -> bool {
        self.0 >> lifecycle.number() & 1 == 1
    }
}

/// What a lens counts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Voices {
    /// An agent that claims a value, however often; of unsigned claims a source.
    Agents,
    /// Each claim.
    Claims,
}

impl Voices {
    /// The one with this very name.
    pub fn parse(name: &str) -> Option<Voices> {
        match name {
            "agents" => Some(Voices::Agents),
            "claims" => Some(Voices::Claims),
            _ => None,
        }
    }
}

/// After how many seconds a claim weighs half: finite and more than zero.
#[derive(Clone, Copy, PartialEq, PartialOrd, Debug)]
pub struct HalfLife(f64);

impl HalfLife {
    /// `None` unless finite and more than zero.
    pub fn new(seconds: f64) -> Option<HalfLife> {
        (seconds.is_finite() && seconds > 0.0).then_some(HalfLife(seconds))
    }

    /// The time after which a claim weighs half, in seconds.
    pub fn seconds(self) -> f64 {
        self.0
    }
}

/// Filters, all of which must hold; and how to answer.
#[derive(Clone, PartialEq, Debug)]
pub struct Query {
    /// Only of this subject.
    pub subject: Option<String>,
    /// Only of this predicate.
    pub predicate: Option<String>,
    /// Only of subjects that begin with this.
    pub subject_prefix: Option<String>,
    /// Only with this very object, its type included.
    pub object: Option<Object>,
    /// Only signed by this agent.
    pub agent_id: Option<[u8; 32]>,
    /// Only of this source; zeros are those without one.
    pub source_hash: Option<Digest>,
    /// Only what follows this claim.
    pub parent_hash: Option<Digest>,
    /// Only in these states of review.
    pub lifecycle: Option<Lifecycles>,
    /// Only of this class of source.
    pub source_class: Option<SourceClass>,
    /// Only with a timestamp up to and including this second; age counts from here.
    pub as_of: Option<u64>,
    /// Only with a timestamp of this second or later.
    pub since: Option<u64>,
    /// Make one of many, too.
    pub lens: Option<Lens>,
    /// Let weights decay with age.
    pub half_life: Option<HalfLife>,
    /// What a lens counts.
    pub voices: Voices,
    /// Let a lens judge what is no longer so, too.
    pub history: bool,
    /// Let no lens judge claims of epochs that are superseded.
    pub current_epochs: bool,
    /// Say why, too.
    pub explain: bool,
    /// Assertions on one page, 1 to [`limits::QUERY_LIMIT_MAX`].
    pub limit: usize,
    /// Where the page before ended.
    pub cursor: Option<Cursor>,
}

impl Default for Query {
    fn default() -> Query {
        Query {
            subject: None,
            predicate: None,
            subject_prefix: None,
            object: None,
            agent_id: None,
            source_hash: None,
            parent_hash: None,
            lifecycle: None,
            source_class: None,
            as_of: None,
            since: None,
            lens: None,
            half_life: None,
            voices: Voices::Agents,
            history: false,
            current_epochs: false,
            explain: false,
            limit: limits::QUERY_LIMIT_DEFAULT,
            cursor: None,
        }
    }
}

/// What [`Query::set`] knows.
const PARAMETERS: &str = "subject, predicate, subject_prefix, object, agent_id, source_hash, \
                          parent_hash, lifecycle, source_class, as_of, since, lens, half_life, \
                          voices, history, epochs, explain, limit and cursor";

impl Query {
    /// Takes one parameter of a URL; of two with the same name the later one stays.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), BadQuery> {
        match name {
            "subject" => self.subject = Some(parse_name("subject", value)?),
            "predicate" => self.predicate = Some(parse_name("predicate", value)?),
            "lifecycle" => {
                let expected = "Proposed, UnderReview, Approved, Deprecated, Rejected or any, \
                                several with commas, ! before those to leave out";
                let lifecycle = Lifecycles::parse(value);
                self.lifecycle = Some(lifecycle.ok_or_else(|| bad("lifecycle", value, expected))?);
            }
            "source_class" => {
                let by_number = || SourceClass::from_number(value.parse().ok()?);
                let class = SourceClass::parse(value).or_else(by_number);
                let expected = "0 to 5 or the name of a source class";
                self.source_class =
                    Some(class.ok_or_else(|| bad("source_class", value, expected))?);
            }
            "as_of" => self.as_of = Some(parse_second("as_of", value)?),
            "since" => self.since = Some(parse_second("since", value)?),
            "subject_prefix" => self.subject_prefix = Some(parse_name("subject_prefix", value)?),
            "object" => self.object = Some(parse_object(value)?),
            "agent_id" => self.agent_id = Some(parse_hash("agent_id", value)?.0),
            "source_hash" => self.source_hash = Some(parse_hash("source_hash", value)?),
            "parent_hash" => self.parent_hash = Some(parse_hash("parent_hash", value)?),
            "lens" => {
                let expected = "recency, hlc, confidence, consensus, authority, votes or trust";
                self.lens = Some(Lens::parse(value).ok_or_else(|| bad("lens", value, expected))?);
            }
            "half_life" => {
                let half_life = value.parse().ok().and_then(HalfLife::new);
                let expected = "seconds, more than 0";
                self.half_life = Some(half_life.ok_or_else(|| bad("half_life", value, expected))?);
            }
            "voices" => {
                let voices = Voices::parse(value);
                self.voices = voices.ok_or_else(|| bad("voices", value, "agents or claims"))?;
            }
            "history" => self.history = parse_boolean("history", value)?,
            "explain" => self.explain = parse_boolean("explain", value)?,
            "epochs" => self.current_epochs = parse_epochs(value)?,
            "limit" => self.limit = parse_limit(value)?,
            "cursor" => {
                let expected = "the next_cursor of an earlier answer";
                let cursor = Cursor::parse(value);
                self.cursor = Some(cursor.ok_or_else(|| bad("cursor", value, expected))?);
            }
            _ => return Err(BadQuery::Unknown { name: name.to_owned(), known: PARAMETERS }),
        }
        Ok(())
    }

    /// Whether the filters let this assertion through.
    pub fn admits(&self, assertion: &Assertion) -> bool {
        self.subject.as_ref().is_none_or(|subject| *subject == assertion.subject)
            && self.predicate.as_ref().is_none_or(|predicate| *predicate == assertion.predicate)
            && self.lifecycle.is_none_or(|lifecycles| lifecycles.has(assertion.lifecycle))
            && self.source_class.is_none_or(|class| class == assertion.source_class)
            && self.as_of.is_none_or(|at| assertion.timestamp <= at)
            && self.since.is_none_or(|at| assertion.timestamp >= at)
            && self.subject_prefix.as_ref().is_none_or(|it| assertion.subject.starts_with(it))
            && self.object.as_ref().is_none_or(|object| *object == assertion.object)
            && self.source_hash.is_none_or(|source| source == assertion.source_hash)
            && self.parent_hash.is_none_or(|parent| assertion.parent_hash == Some(parent))
            && self.agent_id.is_none_or(|agent| assertion.is_signed_by(&agent))
    }

    /// Whether no filter is given: such a query lists what cannot be read, too.
    pub fn is_open(&self) -> bool {
        let Query { lens, half_life, voices, history, limit, cursor, .. } = *self;
        // What is not a filter is taken out, so that a filter to come counts as one.
        *self == Query { lens, half_life, voices, history, limit, cursor, ..Query::default() }
    }

    /// Whether a lens judges an assertion that the filters let through. What was found wrong, and
    /// what was right once, says nothing of what is so, unless it is asked for.
    pub fn judges(&self, assertion: &Assertion, now: Wall) -> bool {
        let is_settled = matches!(assertion.lifecycle, Lifecycle::Deprecated | Lifecycle::Rejected);
        let is_left_out = is_settled && self.lifecycle.is_none();
        self.history || !is_left_out && !assertion.is_over(self.moment(now))
    }

    /// Whether the answer depends on statements about claims, agents and epochs: these are on other
    /// subjects.
    pub fn asks_statements(&self) -> bool {
        self.current_epochs || matches!(self.lens, Some(Lens::Votes | Lens::Trust))
    }

    /// From when on age counts: `as_of`, or now.
    pub fn moment(&self, now: Wall) -> Wall {
        self.as_of.map_or(now, |seconds| Wall(seconds * 1000))
    }
}

pub(super) fn parse_limit(value: &str) -> Result<usize, BadQuery> {
    let within = |count: &usize| (1..=limits::QUERY_LIMIT_MAX).contains(count);
    value.parse().ok().filter(within).ok_or_else(|| bad("limit", value, "1 to 1000"))
}

pub(super) fn parse_name(field: &'static str, value: &str) -> Result<String, BadQuery> {
    match draft::check_name(field, value) {
        Ok(()) => Ok(value.to_owned()),
        Err(_) => Err(bad(field, value, "1 to 4096 bytes without control characters")),
    }
}

fn parse_second(field: &'static str, value: &str) -> Result<u64, BadQuery> {
    let seconds = value.parse().ok().filter(|&at| at <= limits::TIMESTAMP_MAX);
    seconds.ok_or_else(|| bad(field, value, "Unix seconds from 0 to 253402300799"))
}

fn parse_hash(field: &'static str, value: &str) -> Result<Digest, BadQuery> {
    Digest::parse(value).ok_or_else(|| bad(field, value, "64 hex digits"))
}

/// An object behind its type and a colon: the same words in a body, of two types, are two values.
fn parse_object(value: &str) -> Result<Object, BadQuery> {
    let object = value.split_once(':').and_then(|(kind, value)| match kind {
        "Text" => draft::check_text(value).is_ok().then(|| Object::Text(value.to_owned())),
        "Reference" => {
            draft::check_reference(value).is_ok().then(|| Object::Reference(value.to_owned()))
        }
        "Number" => {
            let number = number::is_json(value).then(|| number::parse(value).ok()).flatten()?;
            Some(Object::Number(number + 0.0))
        }
        "Boolean" => value.parse().ok().map(Object::Boolean),
        _ => None,
    });
    let expected = "a type, a colon and a value: Reference:Moon, Text:rock, Boolean:true or \
                    Number:1.5 (a number that a double holds)";
    object.ok_or_else(|| bad("object", value, expected))
}

/// Whether the current epochs alone are asked for.
fn parse_epochs(value: &str) -> Result<bool, BadQuery> {
    match value {
        "all" => Ok(false),
        "current" => Ok(true),
        _ => Err(bad("epochs", value, "all or current")),
    }
}

fn parse_boolean(name: &'static str, value: &str) -> Result<bool, BadQuery> {
    value.parse().map_err(|_| bad(name, value, "true or false"))
}

pub(super) fn bad(name: &'static str, value: &str, expected: &'static str) -> BadQuery {
    BadQuery::Value { name, value: value.chars().take(64).collect(), expected }
}

/// A query that cannot be asked. The caller is at fault; nothing changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BadQuery {
    /// A value out of its bounds.
    Value {
        /// The parameter that has the value.
        name: &'static str,
        /// What it was, cut to 64 characters.
        value: String,
        /// What would be right.
        expected: &'static str,
    },
    /// No parameter of that name.
    Unknown {
        /// The parameter as the request writes it.
        name: String,
        /// Those that there are.
        known: &'static str,
    },
}

impl fmt::Display for BadQuery {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadQuery::Value { name, value, expected } => {
                write!(out, "{name} is {value:?}, it takes {expected}")
            }
            BadQuery::Unknown { name, known } => {
                write!(out, "there is no parameter {name:?}; there are {known}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use fastrand::Rng;

    use super::super::Signature;
    use super::super::tests::{any_draft, check};
    use super::*;

    fn query(pairs: &[(&str, &str)]) -> Result<Query, BadQuery> {
        let mut query = Query::default();
        pairs.iter().try_for_each(|(name, value)| query.set(name, value)).map(|()| query)
    }

    #[test]
    fn values_out_of_bounds_are_refused_and_named() {
        let bad = [
            ("subject", ""),
            ("predicate", "a\0b"),
            ("lifecycle", "APPROVED"),
            ("lifecycle", ""),
            ("lifecycle", "Approved,"),
            ("lifecycle", "Approved, Rejected"),
            ("lifecycle", "!any"),
            ("lifecycle", "!"),
            ("history", "yes"),
            ("epochs", "old"),
            ("explain", "why"),
            ("source_class", "6"),
            ("source_class", "-1"),
            ("as_of", "253402300800"),
            ("as_of", "1.5"),
            ("since", "-1"),
            ("since", "253402300800"),
            ("subject_prefix", ""),
            ("subject_prefix", "a\nb"),
            ("agent_id", "07"),
            ("source_hash", "none"),
            ("parent_hash", ""),
            ("object", "Moon"),
            ("object", "moon:Moon"),
            ("object", "reference:Moon"),
            ("object", "Reference:"),
            ("object", "Boolean:yes"),
            ("object", "Number:1."),
            ("object", "Number:NaN"),
            ("object", "Number:1e400"),
            ("object", "Number:9007199254740993"),
            ("lens", "newest"),
            ("half_life", "0"),
            ("half_life", "-1"),
            ("half_life", "inf"),
            ("half_life", "NaN"),
            ("voices", "all"),
            ("limit", "0"),
            ("limit", "1001"),
            ("limit", "x"),
            ("cursor", ""),
            ("cursor", "1f"),
        ];
        for (name, value) in bad {
            let message = query(&[(name, value)]).expect_err(value).to_string();
            assert!(message.starts_with(&format!("{name} is {value:?}, it takes ")), "{message}");
        }
        let message = query(&[("subjct", "x")]).expect_err("a typing error").to_string();
        assert!(message.contains("\"subjct\""), "{message}");
    }

    #[test]
    fn values_within_bounds_are_taken() {
        let all = [
            ("subject", "s"),
            ("predicate", "p"),
            ("lifecycle", "Approved"),
            ("source_class", "2"),
            ("source_class", "Clinical"),
            ("as_of", "100"),
            ("lens", "hlc"),
            ("half_life", "0.5"),
            ("voices", "claims"),
            ("history", "true"),
            ("epochs", "current"),
            ("explain", "true"),
            ("limit", "1000"),
            ("cursor", "00112233445566778899aabbccddeeff-7-1f"),
        ];
        let query = query(&all).expect("all good");
        assert_eq!(query.source_class, Some(SourceClass::Clinical));
        assert_eq!((query.limit, query.cursor.map(|cursor| cursor.row)), (1000, Some(31)));
        assert_eq!(query.half_life.map(HalfLife::seconds), Some(0.5));
        assert_eq!(query.moment(Wall(5)), Wall(100_000));
    }

    #[test]
    fn a_lens_leaves_out_what_is_over_unless_it_is_asked_for() {
        let mut assertion = check(any_draft(&mut Rng::with_seed(2))).expect("keeps the rules");
        assertion.expires = None;
        let mut judged = |pairs: &[(&str, &str)]| {
            let query = query(pairs).expect("good");
            let mut all = Lifecycle::ALL.to_vec();
            all.retain(|lifecycle| {
                assertion.lifecycle = *lifecycle;
                query.admits(&assertion) && query.judges(&assertion, Wall(0))
            });
            all
        };
        use Lifecycle::{Approved, Deprecated, Proposed, Rejected, UnderReview};
        assert_eq!(judged(&[]), [Proposed, UnderReview, Approved]);
        assert_eq!(judged(&[("history", "true")]), Lifecycle::ALL);
        assert_eq!(judged(&[("lifecycle", "any")]), Lifecycle::ALL);
        let asked = [("lifecycle", "!Rejected")];
        assert_eq!(judged(&asked), [Proposed, UnderReview, Approved, Deprecated]);
        assert_eq!(judged(&[("lifecycle", "rejected,Proposed")]), [Proposed, Rejected]);
        assert_eq!(judged(&[("lifecycle", "approved"), ("history", "true")]), [Approved]);
    }

    #[test]
    fn each_filter_alone_decides() {
        let mut assertion = check(any_draft(&mut Rng::with_seed(1))).expect("keeps the rules");
        assertion.timestamp = 50;
        (assertion.lifecycle, assertion.source_class) = (Lifecycle::Approved, SourceClass::Expert);
        (assertion.subject, assertion.predicate) = ("s".into(), "p".into());
        let signed =
            |agent: u8| Signature { agent_id: [agent; 32], signature: [0; 64], timestamp: 1 };
        assertion.signatures = vec![signed(0xaa), signed(0xbb)];
        assertion.object = Object::Reference("a:b".into());
        (assertion.source_hash, assertion.parent_hash) =
            (Digest([0xdd; 32]), Some(Digest([0xcc; 32])));
        let agents = ["aa", "bb", "cc", "DD"].map(|byte| byte.repeat(32));
        let rows = [
            ("subject", "s", "t"),
            ("predicate", "p", "q"),
            ("lifecycle", "Approved", "Proposed"),
            ("source_class", "Expert", "0"),
            ("as_of", "50", "49"),
            ("since", "50", "51"),
            ("subject_prefix", "s", "su"),
            ("object", "Reference:a:b", "Text:a:b"),
            ("agent_id", agents[1].as_str(), agents[2].as_str()),
            ("source_hash", agents[3].as_str(), agents[0].as_str()),
            ("parent_hash", agents[2].as_str(), agents[3].as_str()),
            ("lifecycle", "approved,under_review", "under_review,deprecated"),
            ("lifecycle", "!Rejected", "!Approved"),
            ("lifecycle", "any", "any,!approved"),
        ];
        assert!(Query::default().admits(&assertion));
        for (name, yes, no) in rows {
            let asked = query(&[(name, yes)]).expect("good");
            assert!(asked.admits(&assertion) && !asked.is_open(), "{name}={yes}");
            assert!(!query(&[(name, no)]).expect("good").admits(&assertion), "{name}={no}");
        }
    }
}
