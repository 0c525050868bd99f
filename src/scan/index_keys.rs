//! Which keys of a query the index has.
//!
//! In: a query. Out: keys for the store, or that there are none. Never: looks anything up.

use crate::base::Digest;
use crate::model::{Object, Query};
use crate::store::RowKey;

/// What the index finds the candidates of a query by. Without one, it looks at every row.
pub(super) fn keys(query: &Query) -> impl Iterator<Item = RowKey<'_>> {
    let reference = match &query.object {
        Some(Object::Reference(name)) => Some(RowKey::Reference(name)),
        _ => None,
    };
    // Claims without a source stand under none.
    let source = query.source_hash.as_ref().filter(|source| **source != Digest::ZERO);
    [
        query.subject.as_deref().map(RowKey::Subject),
        query.predicate.as_deref().map(RowKey::Predicate),
        query.parent_hash.as_ref().map(RowKey::Parent),
        reference,
        query.agent_id.as_ref().map(RowKey::Agent),
        source.map(RowKey::Source),
    ]
    .into_iter()
    .flatten()
}

/// Whether a query has filters of which none has an index.
pub(super) fn is_scan(query: &Query) -> bool {
    keys(query).next().is_none() && !query.is_open()
}
