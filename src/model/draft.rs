//! From a draft to an assertion: every rule that a claim keeps.
//!
//! In: a [`Draft`] with the shape of an assertion. Out: an [`Assertion`], stamped, in its one
//! canonical form (signatures in order, no negative zero), or [`Invalid`] and nothing changed.
//!
//! Never: verifies a signature (`signature.rs` does), reads a clock.

use std::fmt;

use super::assertion::{Assertion, Lifecycle, Object, Signature, SourceClass};
use crate::base::digest::hex;
use crate::base::{Digest, Hlc, HlcClock, NodeId, Wall, limits};

/// A claim before it is checked and stamped; its defaults are [`Draft::new`]'s.
#[derive(Clone, PartialEq, Debug)]
pub struct Draft {
    /// See [`Assertion::subject`].
    pub subject: String,
    /// See [`Assertion::predicate`].
    pub predicate: String,
    /// See [`Assertion::object`].
    pub object: Object,
    /// See [`Assertion::parent_hash`].
    pub parent_hash: Option<Digest>,
    /// See [`Assertion::source_hash`].
    pub source_hash: Digest,
    /// See [`Assertion::visual_hash`].
    pub visual_hash: Option<[u8; 8]>,
    /// See [`Assertion::epoch`].
    pub epoch: Option<[u8; 32]>,
    /// See [`Assertion::expires`].
    pub expires: Option<u64>,
    /// See [`Assertion::lifecycle`].
    pub lifecycle: Lifecycle,
    /// See [`Assertion::signatures`]; any order.
    pub signatures: Vec<Signature>,
    /// See [`Assertion::confidence`].
    pub confidence: f64,
    /// See [`Assertion::timestamp`]; without one the node's clock stamps the claim.
    pub timestamp: Option<u64>,
    /// See [`Assertion::source_class`].
    pub source_class: SourceClass,
    /// The stamp that the claim got before: from a gateway, or from the node whose export this is.
    pub stamp: Option<Hlc>,
    /// The id that the claim is said to have.
    pub hash: Option<Digest>,
}

impl Draft {
    /// A claim that says no more than it must: proposed, unsigned, by an expert, fully confident,
    /// from no named source.
    pub fn new(subject: String, predicate: String, object: Object) -> Draft {
        Draft {
            subject,
            predicate,
            object,
            parent_hash: None,
            source_hash: Digest::ZERO,
            visual_hash: None,
            epoch: None,
            expires: None,
            lifecycle: Lifecycle::Proposed,
            signatures: Vec::new(),
            confidence: 1.0,
            timestamp: None,
            source_class: SourceClass::Expert,
            stamp: None,
            hash: None,
        }
    }

    /// Holds the draft against the rules and stamps it. The clock moves only for a good draft
    /// without a timestamp of its own.
    pub fn check(mut self, clock: &mut HlcClock, wall: Wall) -> Result<Assertion, Invalid> {
        check_name("subject", &self.subject)?;
        check_name("predicate", &self.predicate)?;
        check_object(&self.object)?;
        if !(0.0..=1.0).contains(&self.confidence) {
            return Err(Invalid::Confidence { value: self.confidence });
        }
        if let Some(expires) = self.expires {
            check_timestamp("expires", expires)?;
        }
        self.check_signatures()?;
        self.signatures.sort_unstable_by_key(|signature| signature.agent_id);
        let hlc = self.stamp(clock, wall)?;
        Ok(self.stamped(hlc))
    }

    fn stamp(&self, clock: &mut HlcClock, wall: Wall) -> Result<Hlc, Invalid> {
        if let Some(timestamp) = self.timestamp {
            check_timestamp("timestamp", timestamp)?;
        }
        let own = self.timestamp.map(stamp_of_body);
        match (self.stamp, own) {
            (None, Some(own)) => Ok(own),
            (Some(stamp), Some(own)) if stamp == own => Ok(own),
            (Some(stamp), own) => {
                check_timestamp("hlc.time", stamp.time / 1000)?;
                let fits = own.is_none_or(|own| own.time / 1000 == stamp.time / 1000);
                if !fits || !self.signatures.is_empty() {
                    return Err(Invalid::Stamp);
                }
                // A claim is as good as its bytes, whichever clock stamped it: one that is wrong,
                // or this node's, which may read 1970 while a backup is imported.
                clock.observe(stamp, wall);
                Ok(stamp)
            }
            (None, None) => {
                check_timestamp("this node's clock", wall.seconds())?;
                Ok(clock.tick(wall))
            }
        }
    }

    fn check_signatures(&self) -> Result<(), Invalid> {
        let count = self.signatures.len();
        if count > limits::SIGNATURES_MAX {
            return Err(Invalid::SignatureCount { count });
        }
        if count > 0 && self.timestamp.is_none() {
            return Err(Invalid::SignedWithoutTimestamp);
        }
        for (index, signature) in self.signatures.iter().enumerate() {
            check_timestamp("timestamp of a signature", signature.timestamp)?;
            let agent_id = signature.agent_id;
            if self.signatures[..index].iter().any(|earlier| earlier.agent_id == agent_id) {
                return Err(Invalid::SignedTwice { agent_id });
            }
        }
        Ok(())
    }

    fn stamped(self, hlc: Hlc) -> Assertion {
        Assertion {
            subject: self.subject,
            predicate: self.predicate,
            object: match self.object {
                Object::Number(number) => Object::Number(number + 0.0),
                other => other,
            },
            parent_hash: self.parent_hash,
            source_hash: self.source_hash,
            visual_hash: self.visual_hash,
            epoch: self.epoch,
            expires: self.expires,
            lifecycle: self.lifecycle,
            signatures: self.signatures,
            // Adding zero turns the negative zero into the positive one and nothing else.
            confidence: self.confidence + 0.0,
            timestamp: hlc.time / 1000,
            source_class: self.source_class,
            hlc,
        }
    }
}

/// The stamp of a claim that brings its own timestamp: a function of the body alone, so that every
/// node gives it the same id.
pub(super) fn stamp_of_body(timestamp: u64) -> Hlc {
    Hlc { time: timestamp * 1000, counter: 0, node: NodeId::NONE }
}

fn check_object(object: &Object) -> Result<(), Invalid> {
    match object {
        Object::Text(text) => check_text(text),
        Object::Number(number) if !number.is_finite() => Err(Invalid::NotFinite),
        Object::Number(_) | Object::Boolean(_) => Ok(()),
        Object::Reference(name) => check_reference(name),
    }
}

pub(super) fn check_text(text: &str) -> Result<(), Invalid> {
    check_length("object value", text, limits::TEXT_BYTES_MAX)
}

pub(super) fn check_reference(name: &str) -> Result<(), Invalid> {
    check_printable("object value", name, limits::TEXT_BYTES_MAX)
}

pub(super) fn check_name(field: &'static str, name: &str) -> Result<(), Invalid> {
    check_printable(field, name, limits::NAME_BYTES_MAX)
}

fn check_printable(field: &'static str, name: &str, max: usize) -> Result<(), Invalid> {
    if name.is_empty() {
        return Err(Invalid::Empty { field, max });
    }
    check_length(field, name, max)?;
    // Most names are plain ASCII, which a few wide instructions recognise.
    if name.bytes().fold(true, |plain, byte| plain & matches!(byte, b' '..=b'~')) {
        return Ok(());
    }
    match name.char_indices().find(|(_, letter)| letter.is_control()) {
        None => Ok(()),
        Some((at, letter)) => Err(Invalid::Control { field, at, letter }),
    }
}

fn check_length(field: &'static str, text: &str, max: usize) -> Result<(), Invalid> {
    let bytes = text.len();
    if bytes > max { Err(Invalid::TooLong { field, bytes, max }) } else { Ok(()) }
}

fn check_timestamp(field: &'static str, value: u64) -> Result<(), Invalid> {
    if value > limits::TIMESTAMP_MAX {
        return Err(Invalid::Timestamp { field, value });
    }
    Ok(())
}

/// A rule that a claim breaks. Its sender is at fault; nothing changed.
#[derive(Clone, PartialEq, Debug)]
pub enum Invalid {
    /// A name without a letter.
    Empty {
        /// Its field in the body.
        field: &'static str,
        /// The bound, in bytes of UTF-8.
        max: usize,
    },
    /// More bytes than the field takes.
    TooLong {
        /// Its field in the body.
        field: &'static str,
        /// The length of its text.
        bytes: usize,
        /// The bound, in bytes of UTF-8.
        max: usize,
    },
    /// A control character (Unicode's Cc, NUL among them) in a name.
    Control {
        /// The field of the name.
        field: &'static str,
        /// The offset of the character in the name, in bytes.
        at: usize,
        /// The character, which the error shows by its code point.
        letter: char,
    },
    /// A number that is infinite or none at all.
    NotFinite,
    /// A confidence outside 0 to 1.
    Confidence {
        /// The confidence that the body names.
        value: f64,
    },
    /// A time after the year 9999.
    Timestamp {
        /// Its field in the body.
        field: &'static str,
        /// The time that the body names, in Unix seconds.
        value: u64,
    },
    /// The stamp of another node is not one of this timestamp, or of a signed claim.
    Stamp,
    /// The claim has another id than it is said to have.
    Hash {
        /// What it is said to have.
        claimed: Digest,
        /// The id that its bytes hash to.
        actual: Digest,
    },
    /// More signatures than one assertion takes.
    SignatureCount {
        /// How many signatures the draft has.
        count: usize,
    },
    /// Signatures, but no timestamp: the agents signed one, so the body must say which.
    SignedWithoutTimestamp,
    /// Two signatures of one agent.
    SignedTwice {
        /// The public key of the agent, which the error shows.
        agent_id: [u8; 32],
    },
    /// A signature that does not verify; found by `signature.rs`.
    SignatureWrong {
        /// The agent that did not sign this.
        agent_id: [u8; 32],
    },
}

/// Which of the two answers an [`Invalid`] asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InvalidKind {
    /// The body's shape or values (HTTP 400).
    Input,
    /// Well-formed, but signed wrongly (HTTP 422).
    Signature,
}

impl Invalid {
    /// Whether the body or a signature is at fault.
    pub fn kind(&self) -> InvalidKind {
        match self {
            Invalid::SignatureWrong { .. } => InvalidKind::Signature,
            _ => InvalidKind::Input,
        }
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Invalid::Empty { field, max } => {
                write!(out, "{field} is empty, it takes 1 to {max} bytes")
            }
            Invalid::TooLong { field, bytes, max } => {
                write!(out, "{field} has {bytes} bytes, at most {max} are allowed")
            }
            Invalid::Control { field, at, letter } => write!(
                out,
                "{field} has the control character U+{:04X} at byte {at}, it takes none",
                u32::from(*letter)
            ),
            Invalid::NotFinite => write!(out, "object value is not a finite number"),
            Invalid::Confidence { value } => {
                write!(out, "confidence is {value}, it takes 0 to 1")
            }
            Invalid::Timestamp { field, value } => write!(
                out,
                "{field} is {value}, it takes Unix seconds from 0 to {}",
                limits::TIMESTAMP_MAX
            ),
            Invalid::Stamp => write!(
                out,
                "hlc is not one of this claim: its time lies in the second of timestamp, and that \
                 of a signed claim is the timestamp's own"
            ),
            Invalid::Hash { claimed, actual } => {
                write!(out, "this claim hashes to {actual}, not to the hash {claimed} it names")
            }
            Invalid::SignatureCount { count } => write!(
                out,
                "there are {count} signatures, at most {} are allowed",
                limits::SIGNATURES_MAX
            ),
            Invalid::SignedWithoutTimestamp => {
                write!(out, "timestamp is missing, a signed claim names the one it was signed with")
            }
            Invalid::SignedTwice { agent_id } => {
                write!(out, "agent {} signed twice, each may sign once", hex(agent_id))
            }
            Invalid::SignatureWrong { agent_id } => write!(
                out,
                "the signature of agent {} does not verify over this claim (docs/wire.md says \
                 what is signed)",
                hex(agent_id)
            ),
        }
    }
}
