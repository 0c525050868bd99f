//! What an agent signs, signing, and verifying one or many.
//!
//! In: assertions, or a seed. Out: [`Signature`]s and verdicts. By the ZIP 215 rule a verdict does
//! not depend on who verifies, alone or in a batch, so every node judges alike.
//!
//! Never: looks at the clock (a signature does not grow old), draws random numbers (a batch's
//! coefficients are hashed from all that is in it).
//!
//! | part of the message | bytes |
//! |---|---|
//! | `stemedb-edge/claim/v1` and a zero byte | 22 |
//! | BLAKE3 of the claim (see [`claim_bytes`]) | 32 |
//! | the agent's public key | 32 |
//! | the signature's own timestamp, u64 little-endian | 8 |

use std::borrow::Borrow;
use std::convert::Infallible;

use ed25519_zebra::batch::{Item, Verifier};
use ed25519_zebra::{SigningKey, VerificationKey, VerificationKeyBytes};
use rand_core::{TryCryptoRng, TryRng};

use super::assertion::{Assertion, Object, Signature};
use super::draft::Invalid;
use crate::base::limits;

const DOMAIN: &[u8; 22] = b"stemedb-edge/claim/v1\0";

/// The 94 bytes that an agent signs: `docs/wire.md`, section 4.
pub type Message = [u8; 94];

/// The bytes that `agent_id` signs at `timestamp` for this claim.
pub fn message(claim: &Assertion, agent_id: &[u8; 32], timestamp: u64) -> Message {
    message_of(&claim_hash(claim), agent_id, timestamp)
}

fn claim_hash(claim: &Assertion) -> [u8; 32] {
    *blake3::hash(&claim_bytes(claim)).as_bytes()
}

fn message_of(claim: &[u8; 32], agent_id: &[u8; 32], timestamp: u64) -> Message {
    let mut message = [0; 94];
    message[..22].copy_from_slice(DOMAIN);
    message[22..54].copy_from_slice(claim);
    message[54..86].copy_from_slice(agent_id);
    message[86..].copy_from_slice(&timestamp.to_le_bytes());
    message
}

/// The claim in the plainest form a signing client can build: each field in the order of
/// [`Assertion`], without signatures and hlc. Texts follow their length (u32); an absent value is a
/// zero byte, a present one follows a one; numbers are little-endian.
pub fn claim_bytes(claim: &Assertion) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    put_text(&mut out, &claim.subject);
    put_text(&mut out, &claim.predicate);
    match &claim.object {
        Object::Text(text) => {
            out.push(0);
            put_text(&mut out, text);
        }
        Object::Number(number) => {
            out.push(1);
            out.extend_from_slice(&number.to_le_bytes());
        }
        Object::Boolean(boolean) => out.extend_from_slice(&[2, u8::from(*boolean)]),
        Object::Reference(name) => {
            out.push(3);
            put_text(&mut out, name);
        }
    }
    put_option(&mut out, claim.parent_hash.map(|hash| hash.0));
    out.extend_from_slice(&claim.source_hash.0);
    put_option(&mut out, claim.visual_hash);
    put_option(&mut out, claim.epoch);
    put_option(&mut out, claim.expires.map(u64::to_le_bytes));
    out.push(claim.lifecycle.number());
    out.extend_from_slice(&claim.confidence.to_le_bytes());
    out.extend_from_slice(&claim.timestamp.to_le_bytes());
    out.push(claim.source_class.number());
    out
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    let length = u32::try_from(text.len()).expect("the rules keep texts under a megabyte");
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn put_option<const N: usize>(out: &mut Vec<u8>, value: Option<[u8; N]>) {
    out.push(u8::from(value.is_some()));
    out.extend_from_slice(value.as_ref().map_or(&[], |bytes| &bytes[..]));
}

/// Whether only its owner can sign by a public key: it is a point, and not one of small order.
pub fn is_agent(key: &[u8; 32]) -> bool {
    // Of a signature whose R is the neutral point and whose s is zero, 8 k A = 0 is to be shown
    // (`docs/wire.md`, section 4): where A has small order, it is so for every message.
    let mut forged = [0; 64];
    forged[0] = 1;
    let forged = ed25519_zebra::Signature::from_bytes(&forged);
    VerificationKey::try_from(*key).is_ok_and(|key| key.verify(&forged, b"").is_err())
}

/// An agent's secret key, which is never shown.
pub struct Signer(SigningKey);

impl Signer {
    /// From the 32-byte seed of RFC 8032.
    pub fn new(seed: &[u8; 32]) -> Signer {
        Signer(SigningKey::from(*seed))
    }

    /// The agent's public key.
    pub fn agent_id(&self) -> [u8; 32] {
        VerificationKeyBytes::from(&self.0).into()
    }

    /// Signs a claim; always the same signature for the same claim and time.
    pub fn sign(&self, claim: &Assertion, timestamp: u64) -> Signature {
        let agent_id = self.agent_id();
        let signature = self.0.sign(&message(claim, &agent_id, timestamp)).to_bytes();
        Signature { agent_id, signature, timestamp }
    }
}

/// Verifies every signature of one assertion; an unsigned one is fine.
pub fn verify(assertion: &Assertion) -> Result<(), Invalid> {
    verify_batch(std::slice::from_ref(assertion)).pop().expect("one verdict for each assertion")
}

/// Verifies every signature of many assertions, one verdict each. Good batches cost about half of
/// what their signatures cost one by one; a batch with a wrong one in it is gone through singly.
pub fn verify_batch<A: Borrow<Assertion>>(assertions: &[A]) -> Vec<Result<(), Invalid>> {
    let mut verdicts = vec![Ok(()); assertions.len()];
    let mut batch = Vec::new();
    for (index, assertion) in assertions.iter().map(A::borrow).enumerate() {
        if assertion.signatures.is_empty() {
            continue;
        }
        let claim = claim_hash(assertion);
        for signature in &assertion.signatures {
            batch.push(Pending { index, signature, claim });
            if batch.len() == limits::SIGNATURE_BATCH_MAX {
                settle(&mut batch, &mut verdicts);
            }
        }
    }
    settle(&mut batch, &mut verdicts);
    verdicts
}

/// A signature to verify, and whose verdict it is.
struct Pending<'a> {
    index: usize,
    signature: &'a Signature,
    claim: [u8; 32],
}

impl Pending<'_> {
    fn message(&self) -> Message {
        message_of(&self.claim, &self.signature.agent_id, self.signature.timestamp)
    }

    fn is_good(&self) -> bool {
        VerificationKey::try_from(self.signature.agent_id).is_ok_and(|key| {
            let signature = ed25519_zebra::Signature::from_bytes(&self.signature.signature);
            key.verify(&signature, &self.message()).is_ok()
        })
    }
}

fn settle(batch: &mut Vec<Pending<'_>>, verdicts: &mut [Result<(), Invalid>]) {
    if batch.len() < 2 || !is_good_batch(batch) {
        for pending in batch.iter() {
            // The first wrong signature of an assertion names its verdict.
            if verdicts[pending.index].is_ok() && !pending.is_good() {
                let agent_id = pending.signature.agent_id;
                verdicts[pending.index] = Err(Invalid::SignatureWrong { agent_id });
            }
        }
    }
    batch.clear();
}

fn is_good_batch(batch: &[Pending<'_>]) -> bool {
    let mut verifier = Verifier::new();
    let mut transcript = blake3::Hasher::new_derive_key("stemedb-edge 2026 signature batch");
    for pending in batch {
        let message = pending.message();
        transcript.update(&message);
        transcript.update(&pending.signature.signature);
        let key = VerificationKeyBytes::from(pending.signature.agent_id);
        let signature = ed25519_zebra::Signature::from_bytes(&pending.signature.signature);
        verifier.queue(Item::from((key, signature, &message)));
    }
    verifier.verify(Coefficients(transcript.finalize_xof())).is_ok()
}

/// The batch equation's random coefficients, drawn from a hash of keys, signatures and messages:
/// who wants to choose them must choose the batch first.
struct Coefficients(blake3::OutputReader);

impl TryRng for Coefficients {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.0.fill(&mut bytes);
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        self.0.fill(out);
        Ok(())
    }
}

impl TryCryptoRng for Coefficients {}

#[cfg(test)]
mod tests {
    use fastrand::Rng;

    use super::super::tests::{any_draft, check};
    use super::*;

    /// A random claim signed by `agents` agents.
    fn signed(rng: &mut Rng, agents: usize) -> Assertion {
        let mut draft = any_draft(rng);
        draft.timestamp = Some(1_700_000_000);
        draft.signatures.clear();
        let claim = check(draft.clone()).expect("keeps the rules");
        for _ in 0..agents {
            let signer = Signer::new(&[rng.u8(..); 32].map(|byte: u8| byte ^ rng.u8(..)));
            draft.signatures.push(signer.sign(&claim, rng.u64(0..100)));
        }
        check(draft).expect("keeps the rules")
    }

    #[test]
    fn a_signature_covers_every_field_but_the_stamp() {
        let good = signed(&mut Rng::with_seed(1), 1);
        assert_eq!(verify(&good), Ok(()));
        let changes: [fn(&mut Assertion); 16] = [
            |a| a.subject.push('x'),
            |a| a.predicate.push('x'),
            |a| a.object = Object::Text("other".into()),
            |a| a.object = Object::Reference("other".into()),
            |a| a.parent_hash = Some(crate::base::Digest([77; 32])),
            |a| a.source_hash.0[3] ^= 1,
            |a| a.visual_hash = Some([77; 8]),
            |a| a.epoch = Some([77; 32]),
            |a| a.expires = Some(77),
            |a| a.lifecycle = super::super::Lifecycle::ALL[(a.lifecycle as usize + 1) % 5],
            |a| a.confidence = 0.123,
            |a| a.timestamp += 1,
            |a| a.source_class = super::super::SourceClass::ALL[(a.source_class as usize + 1) % 6],
            |a| a.signatures[0].timestamp += 1,
            |a| a.signatures[0].agent_id[0] ^= 1,
            |a| a.signatures[0].signature[40] ^= 1,
        ];
        for (index, change) in changes.into_iter().enumerate() {
            let mut changed = good.clone();
            change(&mut changed);
            let agent_id = changed.signatures[0].agent_id;
            let verdict = verify(&changed);
            assert_eq!(verdict, Err(Invalid::SignatureWrong { agent_id }), "change {index}");
        }
    }

    #[test]
    fn a_key_by_which_every_client_can_sign_is_no_agent() {
        assert!(is_agent(&Signer::new(&[1; 32]).agent_id()));
        // The neutral point, one of order 4, and bytes that are no point.
        for (first, rest) in [(1, 0), (0, 0), (2, 2)] {
            let mut key = [rest; 32];
            key[0] = first;
            assert!(!is_agent(&key), "{key:?}");
        }
    }

    #[test]
    fn text_cannot_move_between_fields() {
        let mut rng = Rng::with_seed(2);
        let mut one = signed(&mut rng, 0);
        (one.subject, one.predicate) = ("ab".into(), "c".into());
        let mut two = one.clone();
        (two.subject, two.predicate) = ("a".into(), "bc".into());
        assert_ne!(claim_bytes(&one), claim_bytes(&two));
    }

    #[test]
    fn a_batch_finds_exactly_the_wrong_ones() {
        let mut rng = Rng::with_seed(3);
        let mut assertions: Vec<Assertion> =
            (0..40).map(|index| signed(&mut rng, index % 4)).collect();
        assert!(verify_batch(&assertions).iter().all(Result::is_ok));
        for index in [2, 7, 39] {
            assertions[index].confidence = 0.111;
        }
        let wrong: Vec<usize> = verify_batch(&assertions)
            .iter()
            .enumerate()
            .filter_map(|(index, verdict)| verdict.is_err().then_some(index))
            .collect();
        assert_eq!(wrong, [2, 7, 39]);
        for assertion in &assertions {
            assert_eq!(
                verify_batch(std::slice::from_ref(assertion)).pop(),
                Some(verify(assertion))
            );
        }
    }

    #[test]
    fn more_signatures_than_a_batch_takes_are_verified_in_several() {
        let mut rng = Rng::with_seed(4);
        let mut assertions = vec![signed(&mut rng, 2); limits::SIGNATURE_BATCH_MAX];
        assert!(verify_batch(&assertions).iter().all(Result::is_ok));
        assertions[limits::SIGNATURE_BATCH_MAX - 1].epoch = Some([12; 32]);
        let verdicts = verify_batch(&assertions);
        assert!(verdicts.iter().rev().skip(1).all(Result::is_ok));
        assert!(verdicts[limits::SIGNATURE_BATCH_MAX - 1].is_err());
    }

    #[test]
    fn a_key_that_is_no_point_is_a_wrong_signature() {
        let mut assertion = signed(&mut Rng::with_seed(5), 2);
        assertion.signatures[1].agent_id = [2; 32];
        let verdict = verify(&assertion);
        assert_eq!(verdict, Err(Invalid::SignatureWrong { agent_id: [2; 32] }));
    }
}
