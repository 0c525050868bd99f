//! Plain numbers and bytes in a row, written out and taken in again.
//!
//! In: values, or whoever hands out bytes. Out: bytes, or values; `None` where they end too early.
//! Never: knows what the bytes mean, holds them.

/// Where values go.
pub struct Sink<'a>(&'a mut dyn FnMut(&[u8]));

impl<'a> Sink<'a> {
    /// Hands all bytes to `take`, a few at a time.
    pub fn new(take: &'a mut dyn FnMut(&[u8])) -> Sink<'a> {
        Sink(take)
    }

    /// Bytes as they are.
    pub fn put(&mut self, bytes: &[u8]) {
        (self.0)(bytes);
    }

    /// Four bytes, little-endian.
    pub fn put_u32(&mut self, value: u32) {
        self.put(&value.to_le_bytes());
    }

    /// Eight bytes, little-endian.
    pub fn put_u64(&mut self, value: u64) {
        self.put(&value.to_le_bytes());
    }
}

/// Where values come from.
pub struct Source<'a>(&'a mut dyn FnMut(&mut [u8]) -> Option<()>);

impl<'a> Source<'a> {
    /// `fill` fills what it is given, or says that there is not so much.
    pub fn new(fill: &'a mut dyn FnMut(&mut [u8]) -> Option<()>) -> Source<'a> {
        Source(fill)
    }

    /// Fills the buffer.
    pub fn fill(&mut self, buffer: &mut [u8]) -> Option<()> {
        (self.0)(buffer)
    }

    /// So many bytes.
    pub fn bytes<const N: usize>(&mut self) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Some(bytes)
    }

    /// Four bytes, little-endian.
    pub fn u32(&mut self) -> Option<u32> {
        self.bytes().map(u32::from_le_bytes)
    }

    /// Eight bytes, little-endian.
    pub fn u64(&mut self) -> Option<u64> {
        self.bytes().map(u64::from_le_bytes)
    }

    /// As many items as are counted first, four bytes.
    pub fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count = self.u32()?;
        (0..count).map(|_| item(self)).collect()
    }
}
