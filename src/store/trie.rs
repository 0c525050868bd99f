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
use crate::base::stream::{Sink, Source};

/// Entries of a full page; a leaf page of the Merkle tree has as many.
pub(super) const PAGE_MAX: usize = 64;
/// A page grows by this many entries, so that little room is wasted.
const PAGE_STEP: usize = 4;
/// Nodes per allocation.
const CHUNK: usize = 512;

/// Bytes of a fragment that is the whole key.
pub(super) const WHOLE: usize = 4;
/// Bytes of a fragment that is a window.
pub(super) const WINDOW: usize = 2;

/// What a node may be marked with.
pub(super) trait Mark: Default {
    /// Writes it out.
    fn save(&self, sink: &mut Sink);
    /// Takes in what was written out.
    fn load(source: &mut Source) -> Option<Self>;
}

impl Mark for () {
    fn save(&self, _: &mut Sink) {}

    fn load(_: &mut Source) -> Option<()> {
        Some(())
    }
}

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
pub(super) enum Node {
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
struct Inner<M> {
    children: [Link; 2],
    mark: M,
}

#[derive(Debug)]
struct Page<M, const F: usize> {
    entries: Box<[Entry<F>]>,
    count: u8,
    mark: M,
}

impl<M: Default, const F: usize> Default for Page<M, F> {
    fn default() -> Self {
        Page { entries: Box::default(), count: 0, mark: M::default() }
    }
}

impl<M, const F: usize> Page<M, F> {
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

    fn len(&self) -> usize {
        self.0.last().map_or(0, |last| (self.0.len() - 1) * CHUNK + last.len())
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

/// The trie; `M` is what each node is marked with (the Merkle tree's digests, or nothing).
#[derive(Debug)]
pub(super) struct Trie<M, const F: usize> {
    root: Link,
    inners: Chunks<Inner<M>>,
    pages: Chunks<Page<M, F>>,
    entry_bytes: usize,
}

impl<M: Mark, const F: usize> Trie<M, F> {
    /// Writes it out.
    pub(super) fn save(&self, sink: &mut Sink) {
        sink.put_u32(self.root.0);
        sink.put_u32(self.inners.len() as u32);
        for inner in self.inners.0.iter().flatten() {
            inner.children.iter().for_each(|child| sink.put_u32(child.0));
            inner.mark.save(sink);
        }
        sink.put_u32(self.pages.len() as u32);
        for page in self.pages.0.iter().flatten() {
            sink.put(&[page.count]);
            for entry in page.entries() {
                sink.put(&entry.fragment);
                sink.put(&entry.value);
            }
            page.mark.save(sink);
        }
    }

    /// Takes in what was written out.
    pub(super) fn load(source: &mut Source) -> Option<Trie<M, F>> {
        let mut trie = Trie::new();
        trie.root = Link(source.u32()?);
        for _ in 0..source.u32()? {
            let children = [Link(source.u32()?), Link(source.u32()?)];
            trie.inners.push(Inner { children, mark: M::load(source)? });
        }
        for _ in 0..source.u32()? {
            let [count] = source.bytes()?;
            let entries = (0..count)
                .map(|_| Some(Entry { fragment: source.bytes()?, value: source.bytes()? }));
            let entries = entries.collect::<Option<Vec<Entry<F>>>>()?.into_boxed_slice();
            trie.entry_bytes += size_of_val(&*entries);
            trie.pages.push(Page { entries, count, mark: M::load(source)? });
        }
        Some(trie)
    }
}

impl<M: Default, const F: usize> Trie<M, F> {
    pub(super) fn new() -> Trie<M, F> {
        let (inners, pages) = (Chunks(Vec::new()), Chunks(Vec::new()));
        Trie { root: Link::EMPTY, inners, pages, entry_bytes: 0 }
    }

    pub(super) fn root(&self) -> Node {
        self.root.node()
    }

    pub(super) fn children(&self, inner: u32) -> [Node; 2] {
        self.inners.get(inner).children.map(Link::node)
    }

    pub(super) fn entries(&self, page: u32) -> &[Entry<F>] {
        self.pages.get(page).entries()
    }

    /// The mark of a node that is not empty.
    pub(super) fn mark(&self, node: Node) -> Option<&M> {
        match node {
            Node::Empty => None,
            Node::Inner(index) => Some(&self.inners.get(index).mark),
            Node::Page(index) => Some(&self.pages.get(index).mark),
        }
    }

    pub(super) fn set_mark(&mut self, node: Node, mark: M) {
        match node {
            Node::Empty => {}
            Node::Inner(index) => self.inners.get_mut(index).mark = mark,
            Node::Page(index) => self.pages.get_mut(index).mark = mark,
        }
    }

    /// The values whose keys agree with `key` in all bits that are kept.
    pub(super) fn candidates(&self, key: &Digest) -> impl Iterator<Item = u32> {
        let mut node = self.root.node();
        let mut depth = 0;
        while let Node::Inner(index) = node {
            node = self.inners.get(index).children[usize::from(key.bit(depth))].node();
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
            node = self.inners.get(index).children[usize::from(key.bit(depth))].node();
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

    /// Adds an entry and unmarks the nodes above it. `key_of` gives the key of a value back, for a
    /// split beyond the bits that are kept.
    pub(super) fn insert(&mut self, key: &Digest, value: u32, key_of: impl Fn(u32) -> Digest) {
        let mut depth = 0;
        let mut above: Option<(u32, usize)> = None;
        let mut node = self.root.node();
        while let Node::Inner(index) = node {
            let side = usize::from(key.bit(depth));
            let inner = self.inners.get_mut(index);
            inner.mark = M::default();
            node = inner.children[side].node();
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
            match self.inners.get(inner).children[side].node() {
                Node::Page(page) => index = page,
                _ => {
                    index = self.new_page();
                    self.hang(above, Node::Page(index));
                }
            }
        }
        self.push(index, Entry::new(key, depth, value));
    }

    /// Unmarks the nodes above a key.
    pub(super) fn unmark(&mut self, key: &Digest) {
        let (mut node, mut depth) = (self.root.node(), 0);
        while node != Node::Empty {
            self.set_mark(node, M::default());
            let Node::Inner(index) = node else { return };
            node = self.inners.get(index).children[usize::from(key.bit(depth))].node();
            depth += 1;
        }
    }

    /// Unmarks all nodes.
    pub(super) fn unmark_all(&mut self) {
        self.inners.0.iter_mut().flatten().for_each(|inner| inner.mark = M::default());
        self.pages.0.iter_mut().flatten().for_each(|page| page.mark = M::default());
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
        page.mark = M::default();
        self.entry_bytes += size_of_val(&*page.entries);
    }

    fn hang(&mut self, above: Option<(u32, usize)>, node: Node) {
        match above {
            None => self.root = Link::to(node),
            Some((inner, side)) => self.inners.get_mut(inner).children[side] = Link::to(node),
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
            *self.pages.get_mut(index) = Page { entries, count, mark: M::default() };
            Link::to(Node::Page(index))
        });
        self.inners.push(Inner { children, mark: M::default() })
    }
}
