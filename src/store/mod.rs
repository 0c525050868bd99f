//! Stand-in. Never: landed.
#![allow(missing_docs)]
use crate::base::*;
use crate::journal::*;
use std::collections::*;
pub type Row = u32;
#[derive(Debug, Default)]
pub struct Store {
    rows: Vec<(Position, Digest)>,
    by: BTreeMap<Digest, Row>,
}
impl Store {
    pub fn new(_seed: u64) -> Store {
        Store::default()
    }
    pub fn apply(&mut self, c: &Committed, _b: &dyn Bodies) -> bool {
        let d = c.sealed().digest();
        if self.by.contains_key(&d) {
            return false;
        }
        self.by.insert(d, self.rows.len() as u32);
        self.rows.push((c.position(), d));
        true
    }
    pub fn find(&self, d: &Digest, b: &dyn Bodies) -> Option<Position> {
        self.find_row(d, b).and_then(|r| self.position(r))
    }
    pub fn find_row(&self, d: &Digest, _b: &dyn Bodies) -> Option<Row> {
        self.by.get(d).copied()
    }
    pub fn position(&self, r: Row) -> Option<Position> {
        self.rows.get(r as usize).map(|r| r.0)
    }
    pub fn len(&self) -> u64 {
        self.rows.len() as u64
    }
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
    pub fn root_step(&mut self, _budget: usize, _b: &dyn Bodies) -> Option<Digest> {
        let mut v = vec![];
        for d in self.by.keys() {
            v.extend(d.0)
        }
        Some(Digest::of(&v))
    }
    pub fn leaves(&self, after: Option<Digest>, max: usize, _b: &dyn Bodies) -> Vec<Digest> {
        self.by.keys().filter(|d| after.is_none_or(|a| **d > a)).take(max).copied().collect()
    }
    pub fn select(
        &self,
        _s: Option<&str>,
        _p: Option<&str>,
        before: Option<Row>,
    ) -> impl Iterator<Item = (Row, Position)> + '_ {
        let end = before.map_or(self.rows.len(), |b| b as usize).min(self.rows.len());
        (0..end).rev().map(|r| (r as Row, self.rows[r].0))
    }
}
