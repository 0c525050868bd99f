//! A fuzzer's bytes as numbers, texts and claims.
//!
//! In: bytes. Out: what a body asks for next. Never: fails; after the end all is zero or empty.

use crate::base::{Digest, HlcClock, NodeId, Wall};
use crate::model::{Draft, Lifecycle, Object, Sealed, Signature, SourceClass};

/// Takes numbers and texts off the front of an input; after its end all are zero or empty.
pub(super) struct Input<'a>(pub(super) &'a [u8]);

impl<'a> Input<'a> {
    pub(super) fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }

    pub(super) fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or(0)
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        let number = u16::from_le_bytes([self.byte(), self.byte()]);
        usize::from(number) % bound.max(1)
    }

    /// A length in one byte, and so many bytes.
    pub(super) fn bytes(&mut self) -> &'a [u8] {
        let length = self.byte();
        self.take(usize::from(length))
    }

    pub(super) fn text(&mut self) -> String {
        String::from_utf8_lossy(self.bytes()).into_owned()
    }

    /// Small ones, and those at the ends of what 64 bits hold, are as likely as all others.
    pub(super) fn number(&mut self) -> u64 {
        let kind = self.byte();
        match kind >> 6 {
            0 => u64::from(kind),
            1 => u64::MAX - u64::from(kind & 0x3f),
            2 => 1 << (kind & 0x3f),
            _ => self.take(8).iter().fold(0, |number, byte| number << 8 | u64::from(*byte)),
        }
    }
}

/// A claim made of the input; `None` if that breaks a rule.
pub(super) fn claim(input: &mut Input<'_>) -> Option<Sealed> {
    let (subject, predicate) = (input.text(), input.text());
    let object = match input.byte() % 4 {
        0 => Object::Text(input.text()),
        1 => Object::Number(f64::from_bits(input.number())),
        2 => Object::Boolean(input.byte() & 1 == 0),
        _ => Object::Reference(input.text()),
    };
    let mut draft = Draft::new(subject, predicate, object);
    let flags = input.byte();
    draft.timestamp = Some(input.number() % (1 << 38));
    draft.parent_hash = (flags & 1 != 0).then(|| Digest::of(&[input.byte()]));
    draft.visual_hash = (flags & 2 != 0).then(|| input.number().to_le_bytes());
    draft.epoch = (flags & 4 != 0).then(|| Digest::of(&[input.byte()]).0);
    draft.expires = (flags & 16 != 0).then(|| input.number() % (1 << 38));
    if flags & 8 != 0 {
        draft.confidence = f64::from_bits(input.number());
    }
    draft.lifecycle = Lifecycle::ALL[input.below(Lifecycle::ALL.len())];
    draft.source_class = SourceClass::ALL[input.below(SourceClass::ALL.len())];
    draft.signatures = (0..flags >> 6)
        .map(|_| Signature {
            agent_id: [input.byte(); 32],
            signature: [input.byte(); 64],
            timestamp: input.number() % (1 << 38),
        })
        .collect();
    let checked = draft.check(&mut HlcClock::new(NodeId::NONE), Wall(0));
    Some(checked.ok()?.seal())
}
