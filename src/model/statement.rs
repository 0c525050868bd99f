//! Claims about a claim, an agent or an epoch: votes, trust, epochs that are superseded.
//!
//! In: assertions. Out: what they state. A statement is an assertion like any other, so that it is
//! signed, stored and replicated as one; its predicate is a reserved name, its subject the hash,
//! the key or the epoch that it is about, as 64 lower-case hex digits.
//!
//! Never: says whose votes count, looks a statement up; the scan does.

use std::sync::Arc;

use super::assertion::{Assertion, Lifecycle, Object};
use crate::base::{Digest, Wall};

/// What a statement is about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Statement {
    /// How much a claim is to count under the lens `votes`: a number from 0 to 1.
    Vote,
    /// How much an agent is trusted under the lens `trust`: a number from 0 to 1.
    Trust,
    /// That an epoch is over, and another one follows: a reference to its id.
    Supersession,
}

impl Statement {
    /// The predicate of such claims.
    pub fn predicate(self) -> &'static str {
        match self {
            Statement::Vote => "stemedb:vote",
            Statement::Trust => "stemedb:trust",
            Statement::Supersession => "stemedb:superseded_by",
        }
    }

    /// Whether claims with a predicate are statements.
    pub fn is_one(predicate: &str) -> bool {
        let all = [Statement::Vote, Statement::Trust, Statement::Supersession];
        all.iter().any(|statement| statement.predicate() == predicate)
    }

    /// What a claim with that predicate states; `None` if its object is of no use for that.
    pub fn said(self, claim: &Assertion, moment: Wall) -> Option<Said> {
        let number = match (self, &claim.object) {
            (Statement::Vote | Statement::Trust, Object::Number(number)) => *number,
            (Statement::Supersession, Object::Reference(next)) => {
                // An epoch does not follow itself.
                let next = Digest::parse(next).filter(|next| next.to_string() != claim.subject);
                next.map(|_| 1.0)?
            }
            _ => return None,
        };
        if !(0.0..=1.0).contains(&number) {
            return None;
        }
        // The newest counts, so that this is how an agent takes back what it said.
        let is_settled = matches!(claim.lifecycle, Lifecycle::Deprecated | Lifecycle::Rejected);
        let is_withdrawn = is_settled || claim.is_over(moment);
        Some(if is_withdrawn { Said::Nothing } else { Said::Number(number) })
    }
}

/// What an agent says last.
#[derive(Clone, Copy, PartialEq, PartialOrd, Debug)]
pub enum Said {
    /// It took back what it had said: the claim is Deprecated, Rejected or over.
    Nothing,
    /// A number from 0 to 1; that an epoch is superseded is 1.
    Number(f64),
}

/// The agents whose statements about agents and epochs count, by their public keys. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RootAgents(Arc<[[u8; 32]]>);

impl RootAgents {
    /// These, in any order.
    pub fn new(mut keys: Vec<[u8; 32]>) -> RootAgents {
        keys.sort_unstable();
        keys.dedup();
        RootAgents(keys.into())
    }

    /// Whether an agent is one of them.
    pub fn has(&self, agent: &[u8; 32]) -> bool {
        self.0.binary_search(agent).is_ok()
    }

    /// Whether there are none: then no such statement counts.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
