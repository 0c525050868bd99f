//! Lists of names, as JSON text.
//!
//! In: a page of names with what is known of them. Out: the fields of the answer.
//!
//! Never: changes the order of names.

use nanoserde::SerJson;

use super::text::{Text, render};
use crate::model::NameKind;
use crate::scan::NameCount;

/// A page of names, where the next one begins, and how many claims were looked at for it.
pub(super) fn page(
    kind: NameKind,
    names: &[(String, NameCount)],
    (next, scanned): (Option<&str>, Option<u64>),
) -> String {
    let bytes = names.iter().map(|(name, _)| name.len() + 96).sum();
    let names = Some(names.iter().map(named).collect());
    let (subjects, predicates) = match kind {
        NameKind::Subjects => (names, None),
        NameKind::Predicates => (None, names),
    };
    let next_cursor = next.map(str::to_owned);
    render(&NamesPage { subjects, predicates, next_cursor, scanned }, bytes)
}

#[derive(SerJson)]
struct NamesPage<'a> {
    subjects: Option<Vec<NameBody<'a>>>,
    predicates: Option<Vec<NameBody<'a>>>,
    next_cursor: Option<String>,
    scanned: Option<u64>,
}

#[derive(SerJson)]
struct NameBody<'a> {
    name: Text<'a>,
    assertions_count: u64,
    newest_timestamp: u64,
}

fn named((name, count): &(String, NameCount)) -> NameBody<'_> {
    NameBody {
        name: Text(name),
        assertions_count: count.assertions,
        newest_timestamp: count.newest,
    }
}
