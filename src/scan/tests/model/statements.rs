//! Votes, trust and superseded epochs over plain lists.
//!
//! In: claims, a question. Out: what agents state of a claim, an agent or an epoch. Never: shares
//! code with `scan`.

use std::collections::HashMap;

use super::{Rank, Voice, is_there, voices_of};
use crate::base::Digest;
use crate::model::{Assertion, Author, Lifecycle, Object, Query, Voices};
use crate::scan::tests::world::ROOTS;

/// Statements about something by what they are about: subject and predicate.
pub(super) type Statements<'a> = HashMap<(&'a str, &'a str), Vec<&'a (Digest, Assertion)>>;

pub(super) fn statements<'a>(
    claims: &'a [(Digest, Assertion)],
    question: &Query,
    moment: u64,
) -> Statements<'a> {
    let mut all = Statements::new();
    let is_statement = |claim: &Assertion| claim.predicate.starts_with("stemedb:");
    for found in claims.iter().filter(|(_, claim)| is_statement(claim)) {
        if is_there(&found.1, question, moment) {
            all.entry((&found.1.subject, &found.1.predicate)).or_default().push(found);
        }
    }
    all
}

/// What each agent (without a signature: each source) stated last, `None` if it took that back.
pub(super) fn newest_said(
    all: &Statements<'_>,
    about: [u8; 32],
    predicate: &str,
    moment: u64,
) -> HashMap<Voice, Option<f64>> {
    let mut newest: HashMap<Voice, (Rank, Option<f64>)> = HashMap::new();
    let about = Digest(about).to_string();
    for (digest, claim) in all.get(&(about.as_str(), predicate)).into_iter().flatten() {
        let number = match &claim.object {
            Object::Reference(next) if predicate == "stemedb:superseded_by" => {
                let is_epoch = next.len() == 64 && next.chars().all(|it| it.is_ascii_hexdigit());
                if !is_epoch || next.to_lowercase() == about {
                    continue;
                }
                1.0
            }
            Object::Number(number)
                if predicate != "stemedb:superseded_by" && (0.0..=1.0).contains(number) =>
            {
                *number
            }
            _ => continue,
        };
        let is_settled = matches!(claim.lifecycle, Lifecycle::Rejected | Lifecycle::Deprecated);
        let is_expired = claim.expires.is_some_and(|second| second * 1000 <= moment);
        let said = Some(number).filter(|_| !is_settled && !is_expired);
        for voice in voices_of(digest, claim, claim.authors(), Voices::Agents) {
            let rank = (claim.hlc, *digest);
            let known = newest.entry(voice).or_insert((rank, said));
            if rank > known.0 {
                *known = (rank, said);
            }
        }
    }
    newest.into_iter().map(|(voice, (_, said))| (voice, said)).collect()
}

/// The same of root agents alone.
fn roots_said(all: &Statements<'_>, about: [u8; 32], predicate: &str, moment: u64) -> Vec<f64> {
    let said = newest_said(all, about, predicate, moment).into_iter();
    let of_roots = said.filter(|(voice, _)| ROOTS.iter().any(|root| *voice == Voice::Agent(*root)));
    of_roots.filter_map(|(_, said)| said).collect()
}

/// The greatest trust in one of these authors.
pub(super) fn trust_in(all: &Statements<'_>, authors: &[Author], moment: u64) -> f64 {
    let trust = authors.iter().map(|author| match author {
        Author::Unknown => 0.5,
        Author::Agent(agent) => {
            let said = roots_said(all, *agent, "stemedb:trust", moment).into_iter();
            said.reduce(f64::min).unwrap_or(0.5)
        }
    });
    trust.fold(0.0, f64::max)
}

/// Whether a question leaves out the epoch of a claim.
pub(super) fn is_superseded(
    all: &Statements<'_>,
    claim: &Assertion,
    question: &Query,
    moment: u64,
) -> bool {
    let is_over = |epoch| !roots_said(all, epoch, "stemedb:superseded_by", moment).is_empty();
    question.current_epochs && claim.epoch.is_some_and(is_over)
}
