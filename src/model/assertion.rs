//! The parts of an assertion.
//!
//! In: nothing. Out: plain values, with the names and numbers that the wire and the API give them.
//!
//! Never: checks a rule; a [`super::Draft`] does.

use crate::base::{Digest, Hlc, Wall};

/// What is claimed of the subject.
#[derive(Clone, PartialEq, Debug)]
pub enum Object {
    /// Free text; the only value that may be empty or hold control characters.
    Text(String),
    /// A finite number; negative zero is stored as zero.
    Number(f64),
    /// A yes or no, which two sources can only agree or disagree on.
    Boolean(bool),
    /// The name of something else; keeps the rules of a subject, but for its length.
    Reference(String),
}

impl Object {
    /// The name of its kind, as the HTTP API writes it.
    pub fn kind(&self) -> &'static str {
        match self {
            Object::Text(_) => "Text",
            Object::Number(_) => "Number",
            Object::Boolean(_) => "Boolean",
            Object::Reference(_) => "Reference",
        }
    }
}

/// Where a claim stands in its review.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Lifecycle {
    /// New; what a claim is that names no lifecycle.
    Proposed,
    /// A reviewer is looking at it.
    UnderReview,
    /// It was found right.
    Approved,
    /// It was right once.
    Deprecated,
    /// It was found wrong.
    Rejected,
}

impl Lifecycle {
    /// All of them, in the order of their numbers.
    pub const ALL: [Lifecycle; 5] = [
        Lifecycle::Proposed,
        Lifecycle::UnderReview,
        Lifecycle::Approved,
        Lifecycle::Deprecated,
        Lifecycle::Rejected,
    ];

    /// Its name, as the HTTP API writes it.
    pub fn name(self) -> &'static str {
        match self {
            Lifecycle::Proposed => "Proposed",
            Lifecycle::UnderReview => "UnderReview",
            Lifecycle::Approved => "Approved",
            Lifecycle::Deprecated => "Deprecated",
            Lifecycle::Rejected => "Rejected",
        }
    }

    /// Its name in small letters, as StemeDB writes it.
    fn small_name(self) -> &'static str {
        match self {
            Lifecycle::Proposed => "proposed",
            Lifecycle::UnderReview => "under_review",
            Lifecycle::Approved => "approved",
            Lifecycle::Deprecated => "deprecated",
            Lifecycle::Rejected => "rejected",
        }
    }

    /// The one with this name, in either form.
    pub fn parse(name: &str) -> Option<Lifecycle> {
        let mut all = Lifecycle::ALL.into_iter();
        all.find(|lifecycle| lifecycle.name() == name || lifecycle.small_name() == name)
    }

    /// Its number in the canonical bytes.
    pub fn number(self) -> u8 {
        self as u8
    }
}

/// What kind of source makes the claim; a lower number has more authority.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum SourceClass {
    /// Law and regulators.
    Regulatory,
    /// Controlled trials.
    Clinical,
    /// Studies that observed without a control group.
    Observational,
    /// A person who should know; what a claim is that names no class.
    Expert,
    /// Many who might know.
    Community,
    /// Hearsay.
    Anecdotal,
}

impl SourceClass {
    /// All of them, in the order of their numbers.
    pub const ALL: [SourceClass; 6] = [
        SourceClass::Regulatory,
        SourceClass::Clinical,
        SourceClass::Observational,
        SourceClass::Expert,
        SourceClass::Community,
        SourceClass::Anecdotal,
    ];

    /// Its name, as the HTTP API takes it.
    pub fn name(self) -> &'static str {
        match self {
            SourceClass::Regulatory => "Regulatory",
            SourceClass::Clinical => "Clinical",
            SourceClass::Observational => "Observational",
            SourceClass::Expert => "Expert",
            SourceClass::Community => "Community",
            SourceClass::Anecdotal => "Anecdotal",
        }
    }

    /// The one with this very name.
    pub fn parse(name: &str) -> Option<SourceClass> {
        SourceClass::ALL.into_iter().find(|class| class.name() == name)
    }

    /// Its number, 0 to 5.
    pub fn number(self) -> u8 {
        self as u8
    }

    /// The one with this number.
    pub fn from_number(number: u64) -> Option<SourceClass> {
        let index = usize::try_from(number).ok()?;
        SourceClass::ALL.get(index).copied()
    }
}

/// One agent's Ed25519 signature over the claim; see [`super::signature`] and `docs/wire.md`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Signature {
    /// The agent's public key.
    pub agent_id: [u8; 32],
    /// R and s, as RFC 8032 encodes them.
    pub signature: [u8; 64],
    /// When the agent signed, Unix seconds; part of what is signed.
    pub timestamp: u64,
}

/// A claim that keeps every rule of `docs/wire.md`. Made by [`super::Draft::check`] and
/// [`super::Sealed::assertion`] alone.
#[derive(Clone, PartialEq, Debug)]
pub struct Assertion {
    /// What is spoken of.
    pub subject: String,
    /// Which of its properties.
    pub predicate: String,
    /// What that property is said to be.
    pub object: Object,
    /// The assertion that this one answers or replaces.
    pub parent_hash: Option<Digest>,
    /// Names the source's text; zeros when there is none.
    pub source_hash: Digest,
    /// Perceptual hash of the source's picture.
    pub visual_hash: Option<[u8; 8]>,
    /// The epoch that the claim belongs to, by its id.
    pub epoch: Option<[u8; 32]>,
    /// From when on the claim is over, Unix seconds.
    pub expires: Option<u64>,
    /// Where it stands in its review.
    pub lifecycle: Lifecycle,
    /// Who signed; at most one signature per agent, in the order of the agents' keys.
    pub signatures: Vec<Signature>,
    /// How sure the source is, 0 to 1.
    pub confidence: f64,
    /// When the claim was made, Unix seconds; always the seconds of `hlc.time`.
    pub timestamp: u64,
    /// What kind of source makes it.
    pub source_class: SourceClass,
    /// The stamp of the node that took it.
    pub hlc: Hlc,
}

/// Who makes a claim.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Author {
    /// An agent, by its public key.
    Agent([u8; 32]),
    /// No signature says who.
    Unknown,
}

impl Assertion {
    /// Whether it is over by `now`: it is from the second on that it names.
    pub fn is_over(&self, now: Wall) -> bool {
        self.expires.is_some_and(|expires| expires <= now.seconds())
    }

    /// Whether this agent is one of those who signed it.
    pub fn is_signed_by(&self, agent: &[u8; 32]) -> bool {
        self.signatures.iter().any(|signature| signature.agent_id == *agent)
    }

    /// The agents that signed it; of an unsigned one, one author that is not known.
    pub fn authors(&self) -> Vec<Author> {
        let agents = self.signatures.iter().map(|signature| Author::Agent(signature.agent_id));
        let unknown = self.signatures.is_empty().then_some(Author::Unknown);
        agents.chain(unknown).collect()
    }
}
