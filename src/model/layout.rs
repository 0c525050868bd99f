//! The layout of canonical bytes, as rkyv derives it.
//!
//! In: the model's own types (each `...Of` mirrors one, field by field). Out: the archived types
//! that lie in the bytes. Never: a map, a shared pointer or padding, so that equal assertions have
//! equal bytes on every machine.
//!
//! An archive (rkyv 0.8, little-endian, unaligned, 32-bit offsets) is, from its first byte on: the
//! subject, the predicate and the object's text, each only if longer than 8 bytes; the signatures,
//! 104 bytes each; the root, 195 bytes. `docs/wire.md` has it byte by byte.

#![allow(dead_code, reason = "rkyv reads the remote types' fields, never those of the mirrors")]

use std::mem::{offset_of, size_of};

use rkyv::with::Map;
use rkyv::{Archive, Serialize};

use super::assertion::{Assertion, Lifecycle, Object, Signature, SourceClass};
use crate::base::{Digest, Hlc, NodeId};

#[derive(Archive, Serialize)]
#[rkyv(remote = Assertion, archived = Root)]
pub(super) struct RootOf {
    pub(super) subject: String,
    pub(super) predicate: String,
    #[rkyv(with = ObjectOf)]
    pub(super) object: Object,
    #[rkyv(with = Map<DigestOf>)]
    pub(super) parent_hash: Option<Digest>,
    #[rkyv(with = DigestOf)]
    pub(super) source_hash: Digest,
    pub(super) visual_hash: Option<[u8; 8]>,
    pub(super) epoch: Option<[u8; 32]>,
    pub(super) expires: Option<u64>,
    #[rkyv(with = LifecycleOf)]
    pub(super) lifecycle: Lifecycle,
    #[rkyv(with = Map<SignatureOf>)]
    pub(super) signatures: Vec<Signature>,
    pub(super) confidence: f64,
    pub(super) timestamp: u64,
    #[rkyv(with = SourceClassOf)]
    pub(super) source_class: SourceClass,
    #[rkyv(with = HlcOf)]
    pub(super) hlc: Hlc,
}

#[derive(Archive, Serialize)]
#[rkyv(remote = Object, archived = RootObject)]
pub(super) enum ObjectOf {
    Text(String),
    Number(f64),
    Boolean(bool),
    Reference(String),
}

#[derive(Archive, Serialize)]
#[rkyv(remote = Lifecycle, archived = RootLifecycle)]
#[rkyv(derive(Clone, Copy))]
pub(super) enum LifecycleOf {
    Proposed,
    UnderReview,
    Approved,
    Deprecated,
    Rejected,
}

#[derive(Archive, Serialize)]
#[rkyv(remote = SourceClass, archived = RootSourceClass)]
#[rkyv(derive(Clone, Copy))]
pub(super) enum SourceClassOf {
    Regulatory,
    Clinical,
    Observational,
    Expert,
    Community,
    Anecdotal,
}

#[derive(Archive, Serialize)]
#[rkyv(remote = Signature, archived = RootSignature)]
pub(super) struct SignatureOf {
    pub(super) agent_id: [u8; 32],
    pub(super) signature: [u8; 64],
    pub(super) timestamp: u64,
}

#[derive(Archive, Serialize)]
#[rkyv(remote = Digest, archived = RootDigest)]
pub(super) struct DigestOf(pub(super) [u8; 32]);

#[derive(Archive, Serialize)]
#[rkyv(remote = NodeId, archived = RootNodeId)]
pub(super) struct NodeIdOf(pub(super) [u8; 16]);

#[derive(Archive, Serialize)]
#[rkyv(remote = Hlc, archived = RootHlc)]
pub(super) struct HlcOf {
    pub(super) time: u64,
    pub(super) counter: u32,
    #[rkyv(with = NodeIdOf)]
    pub(super) node: NodeId,
}

pub(super) const ROOT_BYTES: usize = size_of::<Root>();
pub(super) const SIGNATURE_BYTES: usize = size_of::<RootSignature>();
/// A string of up to this many bytes lies in the root itself.
pub(super) const INLINE_MAX: usize = 8;

// The layout that docs/wire.md promises; a new compiler or rkyv that moves a byte does not build.
const _: () = assert!(ROOT_BYTES == 195 && SIGNATURE_BYTES == 104);
const _: () = assert!(offset_of!(Root, predicate) == 8 && offset_of!(Root, object) == 16);
const _: () = assert!(offset_of!(Root, parent_hash) == 25 && offset_of!(Root, source_hash) == 58);
const _: () = assert!(offset_of!(Root, visual_hash) == 90 && offset_of!(Root, epoch) == 99);
const _: () = assert!(offset_of!(Root, expires) == 132 && offset_of!(Root, lifecycle) == 141);
const _: () = assert!(offset_of!(Root, signatures) == 142 && offset_of!(Root, confidence) == 150);
const _: () = assert!(offset_of!(Root, timestamp) == 158 && offset_of!(Root, source_class) == 166);
const _: () = assert!(offset_of!(Root, hlc) == 167);
