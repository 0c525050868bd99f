//! Who says that a value is so: one voice per agent and value.
//!
//! In: a claim, and those of its authors who still stand behind it. Out: a key per voice. Never:
//! tells two claims of one voice apart.

use super::candidate::ValueKey;
use crate::model::{Assertion, Author};

/// A value, and who says it; voices of one value are neighbours.
pub(super) type VoiceKey = [u8; 32];

/// The voices of these authors of a claim.
pub(super) fn voice_keys(
    value: ValueKey,
    claim: &Assertion,
    of: &[Author],
) -> impl Iterator<Item = VoiceKey> {
    of.iter().map(move |author| {
        let mut hasher = blake3::Hasher::new();
        match author {
            Author::Agent(key) => hasher.update(&[1]).update(key),
            // A source is all that is known of a claim that has no signature.
            Author::Unknown => hasher.update(&[0]).update(&claim.source_hash.0),
        };
        let mut key = [0; 32];
        key[..16].copy_from_slice(&value);
        key[16..].copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        key
    })
}

/// The value of a voice.
pub(super) fn value_of(voice: &VoiceKey) -> ValueKey {
    *voice.first_chunk().expect("half of 32 bytes")
}
