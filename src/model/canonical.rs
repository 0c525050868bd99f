//! Canonical bytes: an assertion as an rkyv archive, and the digest that is its id.
//!
//! In: an [`Assertion`], or bytes that are said to be one. Out: [`Sealed`]. Bytes are ours only
//! if encoding what they say gives those very bytes again, so that one assertion has one id; all
//! else is opaque: kept and passed on unread.
//!
//! Never: allocates for, or trusts, a length that foreign bytes name.
//!
//! What the bytes look like stands in `layout.rs`.

use std::fmt;
use std::mem::{offset_of, size_of};
use std::ops::Range;

use bytes::Bytes;
use rkyv::option::ArchivedOption;
use rkyv::rancor::{Failure, Panic};
use rkyv::string::ArchivedString;
use rkyv::with::With;

use super::assertion::{Assertion, Lifecycle, Object, Signature, SourceClass};
use super::draft;
use super::draft::Draft;
use super::layout::{
    INLINE_MAX, ROOT_BYTES, Root, RootHlc, RootObject, RootOf, RootSignature, SIGNATURE_BYTES,
};
use crate::base::{Digest, Hlc, HlcClock, NodeId, Wall, limits};

/// Canonical bytes and their digest; cheap to clone.
#[derive(Clone)]
pub struct Sealed {
    digest: Digest,
    bytes: Bytes,
    read: Option<Read>,
}

/// What is kept of one reading: where texts that the index needs lie in the bytes, and how many
/// signatures there are.
#[derive(Clone, Debug)]
struct Read {
    subject: Range<u32>,
    predicate: Range<u32>,
    /// The name that the object refers to; empty for every other object.
    reference: Range<u32>,
    signatures: u32,
}

impl Assertion {
    /// Its canonical bytes and their digest.
    pub fn seal(&self) -> Sealed {
        let bytes = Bytes::from(encode(self));
        let sealed = Sealed::recovered(Digest::of(&bytes), bytes);
        debug_assert!(sealed.read.is_some(), "an assertion keeps the rules: {self:?}");
        sealed
    }
}

pub(super) fn encode(assertion: &Assertion) -> Vec<u8> {
    let text = match &assertion.object {
        Object::Text(text) | Object::Reference(text) => text.len(),
        Object::Number(_) | Object::Boolean(_) => 0,
    };
    let names = assertion.subject.len() + assertion.predicate.len();
    let signatures = assertion.signatures.len() * SIGNATURE_BYTES;
    let buffer = Vec::with_capacity(names + text + signatures + ROOT_BYTES);
    let wrapped = With::<Assertion, RootOf>::cast(assertion);
    // A Vec takes all bytes, and the limits keep every offset in 32 bits: nothing can fail.
    let Ok(bytes) = rkyv::api::high::to_bytes_in::<_, Panic>(wrapped, buffer);
    bytes
}

impl Sealed {
    /// Takes bytes from outside that are claimed to have a digest.
    pub fn open(claimed: Digest, bytes: Bytes) -> Result<Sealed, Malformed> {
        let sealed = Sealed::open_unnamed(bytes)?;
        if sealed.digest != claimed {
            return Err(Malformed::Digest { claimed, actual: sealed.digest });
        }
        Ok(sealed)
    }

    /// Takes bytes from outside that come without a digest. What does not decode as ours is no
    /// error: it is opaque.
    pub fn open_unnamed(bytes: Bytes) -> Result<Sealed, Malformed> {
        if bytes.is_empty() || bytes.len() > limits::ASSERTION_BYTES_MAX {
            return Err(Malformed::Size { bytes: bytes.len() });
        }
        Ok(Sealed::recovered(Digest::of(&bytes), bytes))
    }

    /// Takes bytes whose digest is known: the log vouches for it by its checksums.
    pub fn recovered(digest: Digest, bytes: Bytes) -> Sealed {
        let read = read(&bytes).map(|root| Read {
            subject: range_of(&bytes, &root.subject),
            predicate: range_of(&bytes, &root.predicate),
            reference: match &root.object {
                RootObject::Reference(name) => range_of(&bytes, name),
                _ => 0..0,
            },
            signatures: root.signatures.len() as u32,
        });
        Sealed { digest, bytes, read }
    }

    /// The id: BLAKE3 of the bytes.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The canonical bytes, or those of another layout as they came.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Whether the bytes are something else than an assertion of ours.
    pub fn is_opaque(&self) -> bool {
        self.read.is_none()
    }

    /// Whether there is a signature to verify.
    pub fn is_signed(&self) -> bool {
        self.read.as_ref().is_some_and(|read| read.signatures > 0)
    }

    /// Subject and predicate; `None` when opaque.
    pub fn names(&self) -> Option<(&str, &str)> {
        let read = self.read.as_ref()?;
        Some((self.text(&read.subject), self.text(&read.predicate)))
    }

    /// As [`Sealed::names`], as bytes.
    pub fn name_bytes(&self) -> Option<(&[u8], &[u8])> {
        let read = self.read.as_ref()?;
        Some((self.part(&read.subject), self.part(&read.predicate)))
    }

    /// The hash of its parent; `None` when it has none, or is opaque.
    pub fn parent(&self) -> Option<Digest> {
        let field = self.field(offset_of!(Root, parent_hash))?;
        // An option is a byte, and the value (`docs/wire.md`, section 2).
        Digest::from_slice(&field[1..33]).filter(|_| field[0] == 1)
    }

    /// The hash of its source; `None` when it names none, or is opaque.
    pub fn source(&self) -> Option<Digest> {
        let field = self.field(offset_of!(Root, source_hash))?;
        Digest::from_slice(&field[..32]).filter(|source| *source != Digest::ZERO)
    }

    /// The name that its object refers to; `None` when the object is of another type, or it is
    /// opaque.
    pub fn reference(&self) -> Option<&[u8]> {
        let read = self.read.as_ref()?;
        Some(self.part(&read.reference)).filter(|name| !name.is_empty())
    }

    /// The keys of the agents that signed it.
    pub fn agents(&self) -> impl Iterator<Item = &[u8; 32]> {
        let count = self.read.as_ref().map_or(0, |read| read.signatures as usize);
        // Signatures end where the root begins, and each begins with its agent.
        let end = if count > 0 { self.bytes.len() - ROOT_BYTES } else { 0 };
        let signatures =
            self.bytes[end - count * SIGNATURE_BYTES..end].chunks_exact(SIGNATURE_BYTES);
        signatures.map(|one| one.first_chunk().expect("a signature is longer than its agent"))
    }

    /// When the claim was made, Unix seconds; `None` when opaque.
    pub fn timestamp(&self) -> Option<u64> {
        let field = self.field(offset_of!(Root, timestamp))?;
        Some(u64::from_le_bytes(*field.first_chunk()?))
    }

    /// The bytes of the root from an offset on; `None` when opaque.
    fn field(&self, offset: usize) -> Option<&[u8]> {
        self.read.as_ref()?;
        Some(&self.bytes[self.bytes.len() - ROOT_BYTES + offset..])
    }

    fn text(&self, range: &Range<u32>) -> &str {
        std::str::from_utf8(self.part(range)).expect("checked when it was sealed")
    }

    fn part(&self, range: &Range<u32>) -> &[u8] {
        &self.bytes[range.start as usize..range.end as usize]
    }

    /// The assertion; `None` when opaque.
    pub fn assertion(&self) -> Option<Assertion> {
        self.read.as_ref()?;
        read(&self.bytes).map(decode)
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Sealed({}, {} bytes, {:?})", self.digest, self.bytes.len(), self.names())
    }
}

/// Bytes that cannot be what they are said to be. Their sender is at fault; nothing changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Malformed {
    /// No bytes, or too many.
    Size {
        /// The length of the data that came.
        bytes: usize,
    },
    /// They hash to something else.
    Digest {
        /// The hash that the sender named.
        claimed: Digest,
        /// The hash of the bytes that came.
        actual: Digest,
    },
}

impl fmt::Display for Malformed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Malformed::Size { bytes } => write!(
                out,
                "assertion_data has {bytes} bytes, it takes 1 to {}",
                limits::ASSERTION_BYTES_MAX
            ),
            Malformed::Digest { claimed, actual } => {
                write!(
                    out,
                    "assertion_data hashes to {actual}, not to the assertion_hash {claimed}"
                )
            }
        }
    }
}

fn range_of(bytes: &[u8], text: &ArchivedString) -> Range<u32> {
    let start = offset_in(bytes, text.as_ptr());
    let narrow = |offset: usize| u32::try_from(offset).expect("within ASSERTION_BYTES_MAX");
    narrow(start)..narrow(start + text.len())
}

/// Where `part` lies in `bytes`.
fn offset_in<T>(bytes: &[u8], part: *const T) -> usize {
    (part as usize).wrapping_sub(bytes.as_ptr() as usize)
}

/// The archive in `bytes`, if they are ours: it is sound, in the one canonical form, and keeps the
/// rules. No allocation; cost is one pass over the texts.
fn read(bytes: &[u8]) -> Option<&Root> {
    if bytes.len() > limits::ASSERTION_BYTES_MAX {
        return None;
    }
    let root = rkyv::access::<Root, Failure>(bytes).ok()?;
    (is_canonical(bytes, root) && keeps_rules(root)).then_some(root)
}

/// Whether encoding what `root` says would give exactly `bytes`: every part lies where the encoder
/// puts it, no byte is unused, and what fills gaps is what the encoder fills them with.
fn is_canonical(bytes: &[u8], root: &Root) -> bool {
    let mut at = 0;
    let texts = [&root.subject, &root.predicate];
    for text in texts.into_iter().chain(object_text(&root.object)) {
        if !is_text_in_place(bytes, text, &mut at) {
            return false;
        }
    }
    let base = bytes.len() - ROOT_BYTES;
    let fields = &bytes[base..];
    at == offset_in(bytes, root.signatures.as_ptr())
        && at + root.signatures.len() * SIGNATURE_BYTES == base
        && (!matches!(root.object, RootObject::Boolean(_))
            || is_blank(&fields[offset_of!(Root, object) + 2..offset_of!(Root, parent_hash)]))
        && is_none_blank(&root.parent_hash, &fields[offset_of!(Root, parent_hash)..])
        && is_none_blank(&root.visual_hash, &fields[offset_of!(Root, visual_hash)..])
        && is_none_blank(&root.epoch, &fields[offset_of!(Root, epoch)..])
        && is_none_blank(&root.expires, &fields[offset_of!(Root, expires)..])
}

fn object_text(object: &RootObject) -> Option<&ArchivedString> {
    match object {
        RootObject::Text(text) | RootObject::Reference(text) => Some(text),
        RootObject::Number(_) | RootObject::Boolean(_) => None,
    }
}

fn is_text_in_place(bytes: &[u8], text: &ArchivedString, at: &mut usize) -> bool {
    if text.len() > INLINE_MAX {
        let here = offset_in(bytes, text.as_ptr()) == *at;
        *at += text.len();
        return here;
    }
    let own = offset_in(bytes, text);
    bytes[own + text.len()..own + INLINE_MAX].iter().all(|&byte| byte == 0xff)
}

fn is_none_blank<T>(option: &ArchivedOption<T>, field: &[u8]) -> bool {
    option.is_some() || is_blank(&field[..size_of::<ArchivedOption<T>>()])
}

fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().all(|&byte| byte == 0)
}

/// The rules of `draft.rs`, for what comes in as bytes.
fn keeps_rules(root: &Root) -> bool {
    let timestamp = root.timestamp.to_native();
    let hlc = hlc_of(&root.hlc);
    let signed = !root.signatures.is_empty();
    let confidence = root.confidence.to_native();
    draft::check_name("subject", &root.subject).is_ok()
        && draft::check_name("predicate", &root.predicate).is_ok()
        && keeps_object_rules(&root.object)
        && (0.0..=1.0).contains(&confidence)
        && confidence.is_sign_positive()
        && timestamp <= limits::TIMESTAMP_MAX
        && root.expires.as_ref().is_none_or(|at| at.to_native() <= limits::TIMESTAMP_MAX)
        && hlc.time / 1000 == timestamp
        && (!signed || hlc == draft::stamp_of_body(timestamp))
        && root.signatures.len() <= limits::SIGNATURES_MAX
        && root.signatures.is_sorted_by(|one, next| one.agent_id < next.agent_id)
        && root.signatures.iter().all(|one| one.timestamp.to_native() <= limits::TIMESTAMP_MAX)
}

fn keeps_object_rules(object: &RootObject) -> bool {
    match object {
        RootObject::Text(text) => draft::check_text(text).is_ok(),
        RootObject::Number(number) => {
            let number = number.to_native();
            number.is_finite() && (number != 0.0 || number.is_sign_positive())
        }
        RootObject::Boolean(_) => true,
        RootObject::Reference(name) => draft::check_reference(name).is_ok(),
    }
}

fn decode(root: &Root) -> Assertion {
    Assertion {
        subject: root.subject.as_str().to_owned(),
        predicate: root.predicate.as_str().to_owned(),
        object: match &root.object {
            RootObject::Text(text) => Object::Text(text.as_str().to_owned()),
            RootObject::Number(number) => Object::Number(number.to_native()),
            RootObject::Boolean(boolean) => Object::Boolean(*boolean),
            RootObject::Reference(name) => Object::Reference(name.as_str().to_owned()),
        },
        parent_hash: root.parent_hash.as_ref().map(|hash| Digest(hash.0)),
        source_hash: Digest(root.source_hash.0),
        visual_hash: root.visual_hash.as_ref().copied(),
        epoch: root.epoch.as_ref().copied(),
        expires: root.expires.as_ref().map(|expires| expires.to_native()),
        lifecycle: Lifecycle::ALL[root.lifecycle as usize],
        signatures: root.signatures.iter().map(signature_of).collect(),
        confidence: root.confidence.to_native(),
        timestamp: root.timestamp.to_native(),
        source_class: SourceClass::ALL[root.source_class as usize],
        hlc: hlc_of(&root.hlc),
    }
}

fn signature_of(signature: &RootSignature) -> Signature {
    Signature {
        agent_id: signature.agent_id,
        signature: signature.signature,
        timestamp: signature.timestamp.to_native(),
    }
}

fn hlc_of(hlc: &RootHlc) -> Hlc {
    Hlc { time: hlc.time.to_native(), counter: hlc.counter.to_native(), node: NodeId(hlc.node.0) }
}

/// Fuzz body: bytes are ours exactly if decoding, checking and encoding them the long way gives
/// the same bytes again.
#[doc(hidden)]
pub fn fuzz(bytes: &[u8]) {
    let sealed = Sealed::recovered(Digest::ZERO, Bytes::copy_from_slice(bytes));
    let long_way = rkyv::access::<Root, Failure>(bytes).ok().map(decode).filter(|decoded| {
        let signed = !decoded.signatures.is_empty();
        let mut draft =
            Draft::new(decoded.subject.clone(), decoded.predicate.clone(), decoded.object.clone());
        draft.signatures.clone_from(&decoded.signatures);
        draft.confidence = decoded.confidence;
        draft.timestamp = Some(decoded.timestamp);
        draft.expires = decoded.expires;
        let checked = draft.check(&mut HlcClock::new(NodeId::NONE), Wall(0));
        checked.is_ok_and(|checked| {
            checked.signatures == decoded.signatures
                && checked.confidence.to_bits() == decoded.confidence.to_bits()
                && !matches!(decoded.object, Object::Number(zero) if zero.to_bits() == 1 << 63)
                && decoded.hlc.time / 1000 == decoded.timestamp
                && (!signed || decoded.hlc == checked.hlc)
                && encode(decoded) == bytes
        })
    });
    assert_eq!(sealed.assertion(), long_way, "both checks of what is ours agree");
    assert_eq!(
        (sealed.is_opaque(), sealed.names().is_none()),
        (long_way.is_none(), long_way.is_none())
    );
    let opened = Sealed::open_unnamed(Bytes::copy_from_slice(bytes));
    assert_eq!(opened.is_ok(), (1..=limits::ASSERTION_BYTES_MAX).contains(&bytes.len()));
    if let Ok(opened) = opened {
        let again = |claimed| Sealed::open(claimed, opened.bytes().clone());
        assert!(again(opened.digest()).is_ok() && again(Digest::ZERO).is_err());
    }
    if let (Some(names), Some(decoded)) = (sealed.names(), long_way) {
        assert_eq!(names, (&*decoded.subject, &*decoded.predicate));
        assert_eq!(sealed.is_signed(), !decoded.signatures.is_empty());
        let agents = decoded.signatures.iter().map(|signature| &signature.agent_id);
        assert!(sealed.agents().eq(agents));
        let source = Some(decoded.source_hash).filter(|source| *source != Digest::ZERO);
        assert_eq!((sealed.parent(), sealed.source()), (decoded.parent_hash, source));
        let reference = match &decoded.object {
            Object::Reference(name) => Some(name.as_bytes()),
            _ => None,
        };
        assert_eq!((sealed.reference(), sealed.timestamp()), (reference, Some(decoded.timestamp)));
        assert_eq!(decoded.seal().bytes(), bytes);
    }
}
