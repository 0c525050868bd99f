//! What holds a row: a table in memory, or a run.
//!
//! In: a row's number, a name. Out: what that table or run says. Never: adds a rule of its own.

use super::memtable::Memtable;
use super::{Name, Row, Run};
use crate::journal::Position;

/// What holds a row.
#[derive(Clone, Copy)]
pub(super) enum Holder<'a> {
    Table(&'a Memtable),
    Run(&'a Run),
}

impl Holder<'_> {
    pub(super) fn first(&self) -> Row {
        match self {
            Holder::Table(table) => table.first(),
            Holder::Run(run) => run.first(),
        }
    }

    pub(super) fn position(&self, row: Row) -> Position {
        match self {
            Holder::Table(table) => table.position(row),
            Holder::Run(run) => run.position(row),
        }
    }

    pub(super) fn positions(&self, row: Row) -> Vec<Position> {
        match self {
            Holder::Table(table) => table.positions(row),
            Holder::Run(run) => run.positions(row),
        }
    }

    pub(super) fn count(&self, name: Name, is_subject: bool) -> usize {
        match self {
            Holder::Table(table) => table.count(name, is_subject),
            Holder::Run(run) => run.count(name, is_subject),
        }
    }

    pub(super) fn named(&self, name: Name, is_subject: bool, before: Row) -> Vec<Row> {
        match self {
            Holder::Table(table) => table.named(name, is_subject, before),
            Holder::Run(run) => run.named(name, is_subject, before),
        }
    }
}
