//! What lenses make of claims, as JSON: a winner and why, who claims what, a winner per class.
//!
//! In: answers of the lenses. Out: what nanoserde writes. Never: rounds a number.

use nanoserde::{SerJson, SerJsonState};

use super::text::{Hex, Nullable, Text, render};
use super::value::{ShownHlc, ShownObject};
use crate::lens::{Claim, CriterionValue, Explanation, Layer, Layers, Resolution, Skepticism};
use crate::scan::Conflict;

#[derive(SerJson)]
struct ResolutionBody<'a> {
    lens: Text<'a>,
    winner: Nullable<Hex<'a>>,
    candidates_count: u64,
    resolution_confidence: f64,
    conflict_score: f64,
    voices_count: u64,
    sampled: bool,
    explanation: Option<ExplanationBody<'a>>,
}

/// Why the winner wins; all but the order is `null` where there is no other claim.
#[derive(SerJson)]
struct ExplanationBody<'a> {
    order: Vec<Text<'a>>,
    runner_up: Nullable<Hex<'a>>,
    decided_by: Nullable<Text<'a>>,
    winner_has: Nullable<CriterionBody<'a>>,
    runner_up_has: Nullable<CriterionBody<'a>>,
}

/// What a claim is compared by.
enum CriterionBody<'a> {
    Count(u64),
    Number(f64),
    Hlc(ShownHlc<'a>),
    Digest(Hex<'a>),
}

impl SerJson for CriterionBody<'_> {
    fn ser_json(&self, depth: usize, state: &mut SerJsonState) {
        match self {
            CriterionBody::Count(count) => count.ser_json(depth, state),
            CriterionBody::Number(number) => number.ser_json(depth, state),
            CriterionBody::Hlc(hlc) => hlc.ser_json(depth, state),
            CriterionBody::Digest(digest) => digest.ser_json(depth, state),
        }
    }
}

fn criterion(value: &CriterionValue) -> CriterionBody<'_> {
    match value {
        CriterionValue::Count(count) => CriterionBody::Count(*count),
        CriterionValue::Number(number) => CriterionBody::Number(*number),
        CriterionValue::Hlc(stamp) => CriterionBody::Hlc(ShownHlc(stamp)),
        CriterionValue::Digest(digest) => CriterionBody::Digest(Hex(&digest.0)),
    }
}

fn explained(explanation: &Explanation) -> ExplanationBody<'_> {
    let next = explanation.runner_up.as_ref();
    ExplanationBody {
        order: explanation.order.iter().map(|criterion| Text(criterion.name())).collect(),
        runner_up: Nullable(next.map(|next| Hex(&next.digest.0))),
        decided_by: Nullable(next.map(|next| Text(next.decided_by.name()))),
        winner_has: Nullable(next.map(|next| criterion(&next.winner_has))),
        runner_up_has: Nullable(next.map(|next| criterion(&next.runner_up_has))),
    }
}

/// What a lens makes of many.
pub(super) struct ShownResolution<'a>(pub(super) &'a Resolution);

impl SerJson for ShownResolution<'_> {
    fn ser_json(&self, depth: usize, state: &mut SerJsonState) {
        let resolution = self.0;
        let body = ResolutionBody {
            lens: Text(resolution.lens.name()),
            winner: Nullable(resolution.winner.as_ref().map(|winner| Hex(&winner.0))),
            candidates_count: resolution.candidates_count,
            resolution_confidence: resolution.resolution_confidence,
            conflict_score: resolution.conflict_score,
            voices_count: resolution.voices_count,
            sampled: resolution.sampled,
            explanation: resolution.explanation.as_ref().map(explained),
        };
        body.ser_json(depth, state);
    }
}

#[derive(SerJson)]
struct SkepticBody<'a> {
    status: Text<'a>,
    conflict_score: f64,
    conflict_class: Text<'a>,
    claims: Vec<ClaimBody<'a>>,
    claims_count: u64,
    candidates_count: u64,
    voices_count: u64,
    sampled: bool,
}

#[derive(SerJson)]
struct ClaimBody<'a> {
    object: Nullable<ShownObject<'a>>,
    weight_share: f64,
    assertions_count: u64,
    voices_count: u64,
    assertions: Vec<Hex<'a>>,
    agents: Option<Vec<Hex<'a>>>,
    sources: Option<Vec<Hex<'a>>>,
    voices_left_out: Option<u64>,
}

pub(super) fn skeptic(skepticism: &Skepticism) -> String {
    let body = SkepticBody {
        status: Text(skepticism.status.name()),
        conflict_score: skepticism.conflict_score,
        conflict_class: Text(skepticism.conflict_class.name()),
        claims: skepticism.claims.iter().map(claimed).collect(),
        claims_count: skepticism.claims_count,
        candidates_count: skepticism.candidates_count,
        voices_count: skepticism.voices_count,
        sampled: skepticism.sampled,
    };
    render(&body, 1024)
}

fn claimed(claim: &Claim) -> ClaimBody<'_> {
    let backers = claim.backers.as_ref();
    ClaimBody {
        object: Nullable(claim.object.as_ref().map(ShownObject)),
        weight_share: claim.weight_share,
        voices_count: claim.voices_count,
        assertions_count: claim.assertions_count,
        assertions: claim.assertions.iter().map(|digest| Hex(&digest.0)).collect(),
        agents: backers.map(|it| it.agents.iter().map(|agent| Hex(agent)).collect()),
        sources: backers.map(|it| it.sources.iter().map(|source| Hex(&source.0)).collect()),
        voices_left_out: backers.map(|it| it.left_out),
    }
}

/// The answer to a search for conflicts.
#[derive(SerJson)]
struct ConflictsBody<'a> {
    conflicts: Vec<ConflictBody<'a>>,
}

#[derive(SerJson)]
struct ConflictBody<'a> {
    subject: Text<'a>,
    predicate: Text<'a>,
    conflict_score: f64,
    conflict_class: Text<'a>,
    status: Text<'a>,
    claims_count: u64,
    candidates_count: u64,
    voices_count: u64,
    sampled: bool,
}

pub(super) fn conflicts(worst: &[Conflict]) -> String {
    let body = ConflictsBody { conflicts: worst.iter().map(conflict).collect() };
    render(&body, 512 * worst.len())
}

fn conflict(conflict: &Conflict) -> ConflictBody<'_> {
    let found = &conflict.found;
    ConflictBody {
        subject: Text(&conflict.subject),
        predicate: Text(&conflict.predicate),
        conflict_score: found.conflict_score,
        conflict_class: Text(found.conflict_class.name()),
        status: Text(found.status.name()),
        claims_count: found.claims_count,
        candidates_count: found.candidates_count,
        voices_count: found.voices_count,
        sampled: found.sampled,
    }
}

#[derive(SerJson)]
struct LayersBody<'a> {
    layers: Vec<LayerBody<'a>>,
    cross_class_conflict: f64,
    winner: Nullable<Hex<'a>>,
    candidates_count: u64,
}

#[derive(SerJson)]
struct LayerBody<'a> {
    source_class: u8,
    source_class_name: Text<'a>,
    winner: Hex<'a>,
    candidates_count: u64,
    conflict_score: f64,
    voices_count: u64,
    sampled: bool,
}

pub(super) fn layered(layers: &Layers) -> String {
    let body = LayersBody {
        layers: layers.layers.iter().map(layer).collect(),
        cross_class_conflict: layers.cross_class_conflict,
        winner: Nullable(layers.winner.as_ref().map(|winner| Hex(&winner.0))),
        candidates_count: layers.candidates_count,
    };
    render(&body, 1024)
}

fn layer(layer: &Layer) -> LayerBody<'_> {
    LayerBody {
        source_class: layer.source_class.number(),
        source_class_name: Text(layer.source_class.name()),
        winner: Hex(&layer.winner.0),
        candidates_count: layer.candidates_count,
        voices_count: layer.voices_count,
        conflict_score: layer.conflict_score,
        sampled: layer.sampled,
    }
}
