//! What a start needs beside the runs, so that it reads no record that a run stands for.
//!
//! In: a sound store at the moment of a spill. Out: that store again, its newest rows empty. Never:
//! of a store with damage.

use std::sync::Arc;

use super::Store;
use super::memtable::Memtable;
use super::row::Row;
use super::run::Run;
use super::tree::Tree;
use crate::base::Digest;
use crate::base::stream::{Sink, Source};
use crate::journal::Position;
use crate::sketch::{Sketch, SketchKey};

/// All of a store but its rows.
#[derive(Debug)]
pub struct State {
    /// Fingerprints in the runs are made of it.
    seed: u64,
    opaque: u64,
    /// The start reads the log from here.
    end: Position,
    /// The runs' names; of a spill's state, those that stay as they are. A start that finds others
    /// does without the index.
    runs: Vec<Digest>,
    tree: Tree,
    sketch: Sketch,
}

impl State {
    pub(super) fn of(store: &Store, runs: Vec<Digest>) -> State {
        // Copies, 1.3 MB with the sketch: the store goes on while the index thread writes them.
        let mut tree = store.tree.clone();
        tree.add_pending();
        tree.sum_up();
        State {
            seed: store.seed,
            opaque: store.opaque,
            end: store.end,
            runs,
            tree,
            sketch: store.sketch().clone(),
        }
    }

    /// The run that was spilled with it is written; once more, perhaps.
    pub fn add_run(&mut self, run: Digest) {
        if self.runs.last() != Some(&run) {
            self.runs.push(run);
        }
    }

    /// The runs' names, those with the oldest rows first.
    pub fn runs(&self) -> &[Digest] {
        &self.runs
    }

    /// What its sketch was made under.
    pub fn key(&self) -> SketchKey {
        self.sketch.key()
    }

    /// Where the last record that it knows ends.
    pub fn end(&self) -> Position {
        self.end
    }

    /// How many assertions it knows.
    pub fn len(&self) -> u64 {
        self.tree.len()
    }

    /// Whether it knows none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes it out, but for the sketch's key.
    pub fn save(&self, sink: &mut Sink) {
        [self.seed, self.opaque, self.end.0].iter().for_each(|value| sink.put_u64(*value));
        sink.put_u32(self.runs.len() as u32);
        self.runs.iter().for_each(|run| sink.put(&run.0));
        self.tree.save(sink);
        self.sketch.save(sink);
    }

    /// What was written out. The caller has checked their digest: what they say is not judged here.
    /// `None` if they end too early.
    pub fn load(key: SketchKey, source: &mut Source) -> Option<State> {
        let ([seed, opaque], end, runs) = State::load_head(source)?;
        let (tree, sketch) = (Tree::load(source)?, Sketch::load(key, source)?);
        Some(State { seed, opaque, end, runs, tree, sketch })
    }

    /// Seed and count of opaque assertions, the end, and the names of the runs: what version 2 of
    /// the manifest has, too.
    fn load_head(source: &mut Source) -> Option<([u64; 2], Position, Vec<Digest>)> {
        let counts = [source.u64()?, source.u64()?];
        let end = Position(source.u64()?);
        Some((counts, end, source.list(|source| source.bytes().map(Digest))?))
    }

    /// The end and the runs of a state of this version or of the one before.
    pub fn load_runs(source: &mut Source) -> Option<(Position, Vec<Digest>)> {
        State::load_head(source).map(|(_, end, runs)| (end, runs))
    }

    /// The store, with its runs; `None` if they are others.
    pub fn into_store(self, runs: Vec<Run>) -> Option<Store> {
        let mut rows: Row = 0;
        for run in &runs {
            // A gap or an overlap would give two assertions one number.
            (run.first() == rows).then_some(())?;
            rows += run.len() as Row;
        }
        let fits = runs.iter().map(Run::name).eq(self.runs) && u64::from(rows) == self.tree.len();
        fits.then(|| Store {
            runs: runs.into_iter().map(|run| Arc::new(run.with_seed(self.seed))).collect(),
            newest: Memtable::new(rows),
            tree: self.tree,
            opaque: self.opaque,
            end: self.end,
            ..Store::with_sketch(self.seed, self.sketch)
        })
    }
}

impl Store {
    /// What a start needs beside the runs, if the store is sound and all of it is in runs.
    pub fn state(&self) -> Option<State> {
        let is_all = self.frozen.is_none() && self.newest.len() == 0;
        (is_all && self.is_sound()).then(|| State::of(self, self.runs()))
    }

    /// Whether every record is where it was appended: only of such a store a [`State`] is kept. The
    /// others are few and short-lived, and a start that reads the log finds the same.
    pub(super) fn is_sound(&self) -> bool {
        self.lost.is_empty() && self.moved.is_empty()
    }

    /// Shows the rows of runs whose records lie at a position or behind it. Each page of such a run
    /// is read once.
    pub fn each_since(&self, from: Position, see: &mut dyn FnMut(&Digest, Position)) {
        // Rows are appended in log order, so that positions ascend with rows.
        let has_some = |run: &&Arc<Run>| run.position(run.rows().end - 1) >= from;
        for run in self.runs.iter().rev().take_while(has_some) {
            run.records(&mut |digest, at| {
                if at >= from {
                    see(digest, at);
                }
            });
        }
    }

    /// How many rows are in no run.
    pub fn unspilled(&self) -> usize {
        self.tables().map(Memtable::len).sum()
    }

    /// The names of its runs, those with the oldest rows first.
    pub fn runs(&self) -> Vec<Digest> {
        self.runs.iter().map(|run| run.name()).collect()
    }
}
