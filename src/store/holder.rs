//! What holds a row: a table in memory, or a run.
//!
//! In: a row's number, a name. Out: what that table or run says. Never: adds a rule of its own.

use super::memtable::Memtable;
use super::row::{Column, Name, Row};
use super::run::Run;
use super::section::PositionPage;
use crate::journal::Position;

/// Where the columns of a row are: the memtable (or one that is being spilled), or a run.
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
            Holder::Run(run) => run.position_page(row).since(row),
        }
    }

    /// The page with the position of this row, where that has to be read; the caller keeps it.
    pub(super) fn position_page(&self, row: Row) -> Option<PositionPage> {
        match self {
            Holder::Table(_) => None,
            Holder::Run(run) => Some(run.position_page(row)),
        }
    }

    /// The one of two names by which a row that has both is found with fewer looks. `None`: no row
    /// has both.
    pub(super) fn rarer(
        &self,
        one: (Column, Name),
        other: (Column, Name),
    ) -> Option<(Column, Name)> {
        match self {
            Holder::Table(table) => table.rarer(one, other),
            Holder::Run(run) => run.rarer(one, other),
        }
    }

    /// False: no row here has this name.
    pub(super) fn may_have(&self, name: Name, column: Column) -> bool {
        match self {
            Holder::Table(_) => true,
            Holder::Run(run) => run.may_have(name, column),
        }
    }

    pub(super) fn named(&self, name: Name, column: Column, before: Row) -> Vec<Row> {
        match self {
            Holder::Table(table) => table.named(name, column, before),
            Holder::Run(run) => run.named(name, column, before),
        }
    }

    /// May take out of rows that are here, ascending, those that have not this name.
    pub(super) fn keep_named(&self, rows: &mut Vec<Row>, name: Name, column: Column) {
        match self {
            // In memory rows of a name are a list: to walk it may take longer than to read the
            // bodies.
            Holder::Table(_) => {}
            Holder::Run(run) => run.keep_named(rows, name, column),
        }
    }
}
