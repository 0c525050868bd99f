//! A binary trie of pages: up to 64 entries per page, split at the next bit when one more comes.
//!
//! In: keys of 32 bytes and a value of 4. Out: the values whose key may be the one looked for. An
//! entry keeps a fragment of its key. One of two bytes is a window that starts at the page's depth
//! (rounded down to a byte) and moves on with it: the path to the page knows the bits before, and
//! where a split needs bits beyond, the key is asked for again. One of four bytes is all of the key
//! that counts, and stays.
//!
//! Never: keeps more of a key than its fragment, moves more than one page for an insert.

use crate::base::Digest;

/// Entries of a full page.
const PAGE_MAX: usize = 64;
/// A page grows by this many entries, so that little room is wasted.
const PAGE_STEP: usize = 4;
/// Nodes per allocation.
const CHUNK: usize = 512;

/// Bytes of a fragment that is the whole key.
pub(super) const WHOLE: usize = 4;
/// Bytes of a fragment that is a window.
pub(super) const WINDOW: usize = 2;

/// A fragment of the key, and four bytes of value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry<const F: usize> {
    fragment: [u8; F],
    value: [u8; 4],
}

impl<const F: usize> Entry<F> {
    fn new(key: &Digest, depth: usize, value: u32) -> Entry<F> {
        Entry { fragment: fragment(key, depth), value: value.to_le_bytes() }
    }

    pub(super) fn fragment(&self) -> [u8; F] {
        self.fragment
    }

    pub(super) fn value(&self) -> u32 {
        u32::from_le_bytes(self.value)
    }

    /// Bit `depth` of the key, for a page whose fragments start at `start`.
    fn bit(&self, depth: usize, start: usize) -> bool {
        let place = depth - start;
        self.fragment[place / 8] >> (7 - place % 8) & 1 == 1
    }
}

/// The first bit of the fragments of a page at this depth.
fn start<const F: usize>(depth: usize) -> usize {
    if F == WHOLE { 0 } else { (depth / 8).min(32 - F) * 8 }
}

fn fragment<const F: usize>(key: &Digest, depth: usize) -> [u8; F] {
    let byte = start::<F>(depth) / 8;
    *key.0[byte..].first_chunk().expect("a fragment starts early enough")
}

/// A place in the trie: nothing, an inner node, or a page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Node {
    Empty,
    Inner(u32),
    Page(u32),
}

/// Four bytes of it: the top bit says page, all ones say nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Link(u32);

const PAGE_BIT: u32 = 1 << 31;

impl Link {
    const EMPTY: Link = Link(u32::MAX);

    fn to(node: Node) -> Link {
        match node {
            Node::Empty => Link::EMPTY,
            Node::Inner(index) => Link(index),
            Node::Page(index) => Link(index | PAGE_BIT),
        }
    }

    fn node(self) -> Node {
        match self {
            Link::EMPTY => Node::Empty,
            Link(link) if link & PAGE_BIT != 0 => Node::Page(link & !PAGE_BIT),
            Link(link) => Node::Inner(link),
        }
    }
}

#[derive(Debug)]
struct Page<const F: usize> {
    entries: Box<[Entry<F>]>,
    count: u8,
}

impl<const F: usize> Default for Page<F> {
    fn default() -> Self {
        Page { entries: Box::default(), count: 0 }
    }
}

impl<const F: usize> Page<F> {
    fn entries(&self) -> &[Entry<F>] {
        &self.entries[..usize::from(self.count)]
    }

    fn push(&mut self, entry: Entry<F>) {
        let count = usize::from(self.count);
        if count == self.entries.len() {
            let mut grown = Vec::with_capacity(count + PAGE_STEP);
            grown.extend_from_slice(&self.entries);
            grown.resize(count + PAGE_STEP, entry);
            self.entries = grown.into_boxed_slice();
        }
        self.entries[count] = entry;
        self.count += 1;
    }
}

/// A list in chunks: grows without copying.
#[derive(Debug)]
struct Chunks<T>(Vec<Vec<T>>);

impl<T> Chunks<T> {
    fn push(&mut self, item: T) -> u32 {
        if self.0.last().is_none_or(|chunk| chunk.len() == CHUNK) {
            self.0.push(Vec::with_capacity(CHUNK));
        }
        let whole = (self.0.len() - 1) * CHUNK;
        let chunk = self.0.last_mut().expect("just made");
        chunk.push(item);
        u32::try_from(whole + chunk.len() - 1).expect("fewer nodes than rows")
    }

    fn get(&self, index: u32) -> &T {
        &self.0[index as usize / CHUNK][index as usize % CHUNK]
    }

    fn get_mut(&mut self, index: u32) -> &mut T {
        &mut self.0[index as usize / CHUNK][index as usize % CHUNK]
    }

    fn bytes(&self) -> usize {
        self.0.len() * CHUNK * size_of::<T>() + self.0.capacity() * size_of::<Vec<T>>()
    }
}

/// The trie.
#[derive(Debug)]
pub(super) struct Trie<const F: usize> {
    root: Link,
    inners: Chunks<[Link; 2]>,
    pages: Chunks<Page<F>>,
    entry_bytes: usize,
}

impl<const F: usize> Trie<F> {
    pub(super) fn new() -> Trie<F> {
        let (inners, pages) = (Chunks(Vec::new()), Chunks(Vec::new()));
        Trie { root: Link::EMPTY, inners, pages, entry_bytes: 0 }
    }

    /// All entries, in no order.
    pub(super) fn all(&self) -> impl Iterator<Item = &Entry<F>> {
        self.pages.0.iter().flatten().flat_map(Page::entries)
    }

    /// Shows the values of all keys that agree with `key` in its first `depth` bits, and of some
    /// more where there are few.
    pub(super) fn under(&self, key: &Digest, depth: usize, mut see: impl FnMut(u32)) {
        let mut node = self.root.node();
        for place in 0..depth {
            let Node::Inner(index) = node else { break };
            node = self.inners.get(index)[usize::from(key.bit(place))].node();
        }
        let mut below = vec![node];
        while let Some(node) = below.pop() {
            match node {
                Node::Empty => {}
                Node::Inner(index) => below.extend(self.inners.get(index).map(Link::node)),
                Node::Page(index) => {
                    self.pages.get(index).entries().iter().for_each(|entry| see(entry.value()));
                }
            }
        }
    }

    /// The values whose keys agree with `key` in all bits that are kept.
    pub(super) fn candidates(&self, key: &Digest) -> impl Iterator<Item = u32> {
        let mut node = self.root.node();
        let mut depth = 0;
        while let Node::Inner(index) = node {
            node = self.inners.get(index)[usize::from(key.bit(depth))].node();
            depth += 1;
        }
        let entries = match node {
            Node::Page(index) => self.pages.get(index).entries(),
            _ => &[],
        };
        let wanted: [u8; F] = fragment(key, depth);
        entries.iter().filter(move |entry| entry.fragment == wanted).map(Entry::value)
    }

    /// Replaces the value of the entry that agrees with `key` and has the value `old`.
    pub(super) fn replace(&mut self, key: &Digest, old: u32, new: u32) {
        let mut node = self.root.node();
        let mut depth = 0;
        while let Node::Inner(index) = node {
            node = self.inners.get(index)[usize::from(key.bit(depth))].node();
            depth += 1;
        }
        let Node::Page(index) = node else { return };
        let (from, to) = (Entry::new(key, depth, old), Entry::new(key, depth, new));
        let page = self.pages.get_mut(index);
        let entries = &mut page.entries[..usize::from(page.count)];
        if let Some(entry) = entries.iter_mut().find(|entry| **entry == from) {
            *entry = to;
        }
    }

    /// Adds an entry. `key_of` gives the key of a value back, for a
    /// split beyond the bits that are kept.
    pub(super) fn insert(&mut self, key: &Digest, value: u32, key_of: impl Fn(u32) -> Digest) {
        let mut depth = 0;
        let mut above: Option<(u32, usize)> = None;
        let mut node = self.root.node();
        while let Node::Inner(index) = node {
            let side = usize::from(key.bit(depth));
            node = self.inners.get(index)[side].node();
            above = Some((index, side));
            depth += 1;
        }
        let Node::Page(mut index) = node else {
            let page = self.new_page();
            self.hang(above, Node::Page(page));
            self.push(page, Entry::new(key, depth, value));
            return;
        };
        while usize::from(self.pages.get(index).count) == PAGE_MAX {
            let inner = self.split(index, depth, &key_of);
            self.hang(above, Node::Inner(inner));
            let side = usize::from(key.bit(depth));
            above = Some((inner, side));
            depth += 1;
            match self.inners.get(inner)[side].node() {
                Node::Page(page) => index = page,
                _ => {
                    index = self.new_page();
                    self.hang(above, Node::Page(index));
                }
            }
        }
        self.push(index, Entry::new(key, depth, value));
    }

    /// Heap bytes, the allocator's own not counted.
    pub(super) fn bytes(&self) -> usize {
        self.inners.bytes() + self.pages.bytes() + self.entry_bytes
    }

    fn new_page(&mut self) -> u32 {
        self.pages.push(Page::default())
    }

    fn push(&mut self, page: u32, entry: Entry<F>) {
        let page = self.pages.get_mut(page);
        self.entry_bytes -= size_of_val(&*page.entries);
        page.push(entry);
        self.entry_bytes += size_of_val(&*page.entries);
    }

    fn hang(&mut self, above: Option<(u32, usize)>, node: Node) {
        match above {
            None => self.root = Link::to(node),
            Some((inner, side)) => self.inners.get_mut(inner)[side] = Link::to(node),
        }
    }

    /// Turns a page into an inner node over two. The page itself becomes the left one, or the only
    /// one; an empty side stays empty.
    fn split(&mut self, index: u32, depth: usize, key_of: impl Fn(u32) -> Digest) -> u32 {
        let page = std::mem::take(self.pages.get_mut(index));
        self.entry_bytes -= size_of_val(&*page.entries);
        let from = start::<F>(depth);
        let moved = start::<F>(depth + 1) != from;
        let mut sides: [Vec<Entry<F>>; 2] = Default::default();
        for entry in page.entries() {
            let side = usize::from(entry.bit(depth, from));
            let value = entry.value();
            let kept = if moved { Entry::new(&key_of(value), depth + 1, value) } else { *entry };
            sides[side].push(kept);
        }
        let mut spare = Some(index);
        let children = sides.map(|entries| {
            if entries.is_empty() {
                return Link::EMPTY;
            }
            let index = spare.take().unwrap_or_else(|| self.new_page());
            let count = u8::try_from(entries.len()).expect("a page's count");
            self.entry_bytes += entries.len() * size_of::<Entry<F>>();
            let entries = entries.into_boxed_slice();
            *self.pages.get_mut(index) = Page { entries, count };
            Link::to(Node::Page(index))
        });
        self.inners.push(children)
    }
}
