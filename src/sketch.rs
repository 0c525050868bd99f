//! A linear sketch of the set, from which two nodes read what they differ in.
//!
//! In: the ids of all members, one by one. Out: cells; of two sketches' difference, the ids that
//! only one of them has. After "Practical Rateless Set Reconciliation" (Yang, Gilad, Alizadeh,
//! SIGCOMM 2024, sections 4 and 5): any prefix of the cells is a sketch of its own, and some 1.4
//! cells per differing id are enough, however large the sets are. It is kept up with each insert,
//! so that nobody has to walk through the set for it.
//!
//! Never: knows which member an id belongs to, trusts that foreign cells make sense.

mod estimate;

use crate::base::random::{WEYL, mix};
use crate::base::stream::{Sink, Source};
use crate::base::{Digest, Secret, limits};

pub use estimate::{Estimate, LowCounts};

/// A member's name in the sketch: the first 8 bytes of its digest, as a big-endian number.
pub type ShortId = u64;

/// The short id of a digest.
pub fn short_id(digest: &Digest) -> ShortId {
    ShortId::from_be_bytes(*digest.0.first_chunk().expect("a digest has 32 bytes"))
}

/// The members whose digest begins with some bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Part {
    /// How many bits, 1 to [`limits::PART_BITS_MAX`].
    pub bits: u32,
    /// Which.
    pub number: u32,
}

impl Part {
    /// All parts of a set that is split into so many, or somewhat more.
    pub fn all(count: u64) -> impl Iterator<Item = Part> {
        let most = 1 << limits::PART_BITS_ASKED;
        let bits = count.clamp(2, most).next_power_of_two().trailing_zeros();
        (0..1 << bits).map(move |number| Part { bits, number })
    }

    /// Four that make it up; `None` where it is too small for that.
    pub fn split(self) -> Option<[Part; 4]> {
        let bits = self.bits + 2;
        let quarters = [0, 1, 2, 3].map(|quarter| Part { bits, number: self.number * 4 + quarter });
        (bits <= limits::PART_BITS_MAX).then_some(quarters)
    }

    /// Whether a member belongs to it.
    pub fn has(&self, digest: &Digest) -> bool {
        short_id(digest) >> (64 - self.bits) == u64::from(self.number)
    }

    /// Below it there is no member.
    pub fn start(&self) -> Digest {
        let mut start = Digest::ZERO;
        let id = u64::from(self.number) << (64 - self.bits);
        start.0[..8].copy_from_slice(&id.to_be_bytes());
        start
    }
}

/// What decides, unforeseeably for strangers, in which cells an id lies and how it is checked.
/// Nodes that compare have the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Key {
    places: u64,
    checks: u64,
}

impl Key {
    /// The key of a cluster; all clusters without a secret share one.
    pub fn new(cluster: Option<&Secret>) -> Key {
        let secret = cluster.map_or("", Secret::expose);
        let key = blake3::derive_key("stemedb-edge 2026 sketch", secret.as_bytes());
        let half = |from: usize| {
            u64::from_le_bytes(*key[from..].first_chunk().expect("a derived key has 32 bytes"))
        };
        Key { places: half(0), checks: half(8) }
    }

    /// Tells keys apart, and gives nothing of them away.
    pub fn name(&self) -> Digest {
        let (places, checks) = (self.places.to_le_bytes(), self.checks.to_le_bytes());
        Digest::of(&[places, checks].concat())
    }

    fn check(&self, id: ShortId) -> u32 {
        (mix(id ^ self.checks) >> 32) as u32
    }

    /// The cells of an id, rising.
    fn places(self, id: ShortId) -> impl Iterator<Item = usize> {
        let mut way = Way::new(self, id);
        std::iter::from_fn(move || {
            let place = way.place as usize;
            way.step();
            (place < limits::SKETCH_CELLS_MAX).then_some(place)
        })
    }
}

/// An id's way through the cells: always the first, then ever fewer. The step from cell `i` is the
/// paper's (section 5.2) for a density of `1 / (1 + i / 2)`.
struct Way {
    state: u64,
    /// Signed, as all whole numbers here are: others take more instructions to and from a float.
    place: i64,
}

impl Way {
    fn new(key: Key, id: ShortId) -> Way {
        Way { state: mix(id ^ key.places), place: 0 }
    }

    fn step(&mut self) {
        self.state = self.state.wrapping_add(WEYL);
        // In (0, 1], so that the root is finite.
        let chance = ((mix(self.state) >> 11) as i64 + 1) as f64 / (1_u64 << 53) as f64;
        let step = (self.place as f64 + 1.5) * (1.0 / chance.sqrt() - 1.0);
        self.place += rounded_up(step).max(1);
    }
}

/// `ceil` of what is not negative, which without SSE 4.1 is a call.
fn rounded_up(step: f64) -> i64 {
    let whole = step as i64;
    whole + i64::from(step > whole as f64)
}

/// The sum (exclusive or) of the ids that lie in a cell, and of their checks.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Cell {
    /// Of the ids.
    pub ids: ShortId,
    /// Of the checks.
    pub checks: u32,
}

impl Cell {
    fn add(&mut self, other: Cell) {
        self.ids ^= other.ids;
        self.checks ^= other.checks;
    }
}

/// A cell that is kept: the sum of the ids, that of their checks, and in the upper half how many
/// they are. Numbers, because memory for zeros of these is not touched before it is used.
type Kept = [u64; 2];

fn cell_of([ids, rest]: Kept) -> Cell {
    Cell { ids, checks: rest as u32 }
}

fn count_of([_, rest]: Kept) -> u32 {
    (rest >> 32) as u32
}

/// A cell, and which of a group's members lies in it.
struct Step {
    place: u16,
    member: u8,
}

/// About so many cells hold an id.
const STEPS: usize = 24;

const _: () = assert!(limits::SKETCH_CELLS_MAX <= 1 << 16 && GROUP <= 1 << 8);

/// The sketch of one node's set.
#[derive(Clone, Debug)]
pub struct Sketch {
    key: Key,
    cells: Vec<Kept>,
}

/// Ids whose ways are looked for side by side: each step of a way waits for the one before, and
/// several take little longer than one.
const LANES: usize = 4;
/// Ids that are taken in at a time: their ways are known before the first cell is touched, so that
/// cells are fetched side by side as well.
const GROUP: usize = 64;

impl Sketch {
    /// The sketch of an empty set; its memory is touched by the first members.
    pub fn new(key: Key) -> Sketch {
        Sketch::of_cells(key, limits::SKETCH_CELLS_MAX)
    }

    /// As [`Sketch::new`], but only the first cells of it.
    pub fn of_cells(key: Key, cells: usize) -> Sketch {
        let cells = cells.clamp(1, limits::SKETCH_CELLS_MAX);
        Sketch { key, cells: vec![[0; 2]; cells] }
    }

    /// Takes in new members.
    pub fn insert(&mut self, ids: &[ShortId]) {
        let mut steps = Vec::with_capacity(ids.len().min(GROUP) * STEPS);
        for group in ids.chunks(GROUP) {
            self.find_steps(group, &mut steps);
            let checks: Vec<u32> = group.iter().map(|id| self.key.check(*id)).collect();
            for Step { place, member } in steps.drain(..) {
                let kept = &mut self.cells[usize::from(place)];
                kept[0] ^= group[usize::from(member)];
                kept[1] = (kept[1] ^ u64::from(checks[usize::from(member)])).wrapping_add(1 << 32);
            }
        }
    }

    /// All cells that members of a group lie in.
    fn find_steps(&self, group: &[ShortId], steps: &mut Vec<Step>) {
        let (key, end) = (self.key, self.cells.len() as i64);
        let mut rest = (0..).zip(group).map(|(member, id)| (member, Way::new(key, *id)));
        let mut go = |member: u8, way: &mut Way| {
            steps.push(Step { place: way.place as u16, member });
            way.step();
        };
        let mut lanes: Vec<(u8, Way)> = rest.by_ref().take(LANES).collect();
        while !lanes.is_empty() {
            lanes.iter_mut().for_each(|(member, way)| go(*member, way));
            // Whose way is at its end gives its lane to the next.
            lanes.retain_mut(|lane| {
                let next = if lane.1.place < end { None } else { Some(rest.next()) };
                next.is_none_or(|next| next.map(|next| *lane = next).is_some())
            });
        }
    }

    /// Writes the cells out.
    pub fn save(&self, sink: &mut Sink) {
        for kept in &self.cells {
            sink.put_u64(kept[0]);
            sink.put_u64(kept[1]);
        }
    }

    /// Takes the cells in again that were written out under the same key.
    pub fn load(key: Key, source: &mut Source) -> Option<Sketch> {
        let mut sketch = Sketch::new(key);
        for kept in &mut sketch.cells {
            *kept = [source.u64()?, source.u64()?];
        }
        Some(sketch)
    }

    /// What decides where ids lie.
    pub fn key(&self) -> Key {
        self.key
    }

    /// How many cells there are.
    pub fn len(&self) -> usize {
        self.cells.len()
    }

    /// Never.
    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    /// Cells from one on; fewer at the end of the sketch.
    pub fn cells(&self, from: usize, count: usize) -> Vec<Cell> {
        let end = from.saturating_add(count).min(self.cells.len());
        let cells = (from.min(end)..end).map(|place| self.cell(place));
        cells.collect()
    }

    fn cell(&self, place: usize) -> Cell {
        cell_of(self.cells[place])
    }

    /// How many members it is of, modulo 2^32: all lie in the first cell.
    pub fn members(&self) -> u32 {
        self.count(0)
    }

    fn count(&self, place: usize) -> u32 {
        count_of(self.cells[place])
    }

    /// Heap bytes, once members have touched them.
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.cells)
    }
}

fn density(place: usize) -> f64 {
    1.0 / (1.0 + place as f64 / 2.0)
}

/// From this cell on the lower 24 bits of a check do: an id that seems to be alone has to lie in
/// this very cell as well, which is the less likely by chance the later the cell. Over all cells
/// of a decoding that leaves under one mistake in 10^8 ids.
pub const NARROW_FROM: usize = 64;

/// What counts of the checks in a cell.
fn narrow(checks: u32, place: usize) -> u32 {
    if place < NARROW_FROM { checks } else { checks & 0xff_ffff }
}

/// The difference of two sketches, being decoded.
#[derive(Debug)]
pub struct Difference {
    key: Key,
    cells: Vec<Cell>,
    found: Vec<ShortId>,
}

/// How far a decoding came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decoded {
    /// Everything: [`Difference::found`] is the whole difference.
    All,
    /// More cells are needed.
    Part,
    /// No two sets have these cells.
    Nonsense,
}

impl Difference {
    /// Of the first cells of their sketch and of ours.
    pub fn new(ours: &Sketch, theirs: &[Cell]) -> Difference {
        let mut difference = Difference { key: ours.key, cells: Vec::new(), found: Vec::new() };
        difference.extend(ours, theirs);
        difference
    }

    /// Goes on with the next cells of their sketch. Both sets must be what they were.
    pub fn extend(&mut self, ours: &Sketch, theirs: &[Cell]) {
        let from = self.cells.len();
        let room = ours.cells.len().saturating_sub(from);
        for (place, their) in (from..).zip(theirs.iter().take(room)) {
            let mut cell = ours.cell(place);
            cell.add(*their);
            cell.checks = narrow(cell.checks, place);
            self.cells.push(cell);
        }
        let end = self.cells.len();
        for id in &self.found {
            let check = self.key.check(*id);
            let places = self.key.places(*id).take_while(|place| *place < end);
            for place in places.skip_while(|place| *place < from) {
                self.cells[place].add(Cell { ids: *id, checks: narrow(check, place) });
            }
        }
    }

    /// Cells so far.
    pub fn len(&self) -> usize {
        self.cells.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    /// What was decoded.
    pub fn found(&self) -> &[ShortId] {
        &self.found
    }

    /// Decodes what can be: a cell with one id in it gives that id away, which empties others. The
    /// work is bounded by the cells, whatever they hold.
    pub fn decode(&mut self) -> Decoded {
        let mut open: Vec<usize> = (0..self.cells.len()).rev().collect();
        while let Some(place) = open.pop() {
            let cell = self.cells[place];
            if cell == Cell::default() || !self.is_single(cell, place) {
                continue;
            }
            if self.found.len() >= self.cells.len() {
                return Decoded::Nonsense;
            }
            self.found.push(cell.ids);
            let (check, end) = (self.key.check(cell.ids), self.cells.len());
            for other in self.key.places(cell.ids).take_while(|other| *other < end) {
                self.cells[other].add(Cell { ids: cell.ids, checks: narrow(check, other) });
                open.push(other);
            }
        }
        let is_empty = self.cells.iter().all(|cell| *cell == Cell::default());
        if is_empty { Decoded::All } else { Decoded::Part }
    }

    /// Whether one id is all there is in a cell.
    fn is_single(&self, cell: Cell, place: usize) -> bool {
        narrow(self.key.check(cell.ids), place) == cell.checks
            && self.key.places(cell.ids).find(|other| *other >= place) == Some(place)
    }
}

#[cfg(test)]
mod tests;
