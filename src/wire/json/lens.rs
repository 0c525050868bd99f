//! What lenses make of claims, as JSON: a winner, who claims what, a winner per class.
//!
//! In: answers of the lenses. Out: what nanoserde writes. Never: rounds a number.

use nanoserde::{SerJson, SerJsonState};

use super::text::{Hex, Nullable, Text, render};
use super::value::ShownObject;
use crate::lens::{Claim, Layer, Layers, Resolution, Skepticism};

#[derive(SerJson)]
struct ResolutionBody<'a> {
    lens: Text<'a>,
    winner: Nullable<Hex<'a>>,
    candidates_count: u64,
    resolution_confidence: f64,
    conflict_score: f64,
    voices_count: u64,
    sampled: bool,
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
    ClaimBody {
        object: Nullable(claim.object.as_ref().map(ShownObject)),
        weight_share: claim.weight_share,
        voices_count: claim.voices_count,
        assertions_count: claim.assertions_count,
        assertions: claim.assertions.iter().map(|digest| Hex(&digest.0)).collect(),
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
