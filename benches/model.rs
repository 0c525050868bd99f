//! What canonical bytes and signatures cost, each beside the primitive it is made of, in one run.
//!
//! `cargo bench --bench model`

use std::hint::black_box;
use std::time::Instant;

use ed25519_zebra::VerificationKeyBytes;
use ed25519_zebra::batch::{Item, Verifier};
use stemedb_edge::base::{Digest, HlcClock, NodeId, Wall};
use stemedb_edge::model::signature::{Signer, message, verify, verify_batch};
use stemedb_edge::model::{Assertion, Draft, Object, Sealed};

fn main() {
    let plain = Vec::from_iter((0..1000).map(|number| assertion(number, None)));
    let sealed = Vec::from_iter(plain.iter().map(Assertion::seal));
    println!("canonical bytes of one unsigned assertion: {}", sealed[0].bytes().len());
    let rows: [(&str, &dyn Fn()); 5] = [
        ("BLAKE3 over the bytes", &|| {
            for one in &sealed {
                black_box(Digest::of(black_box(one.bytes())));
            }
        }),
        ("Sealed::recovered", &|| {
            for one in &sealed {
                black_box(Sealed::recovered(one.digest(), black_box(one.bytes().clone())));
            }
        }),
        ("Sealed::open", &|| {
            for one in &sealed {
                let opened = Sealed::open(one.digest(), black_box(one.bytes().clone()));
                black_box(opened.is_ok());
            }
        }),
        ("Sealed::assertion", &|| {
            for one in &sealed {
                black_box(black_box(one).assertion());
            }
        }),
        ("Assertion::seal", &|| {
            for one in &plain {
                black_box(black_box(one).seal());
            }
        }),
    ];
    for (name, body) in rows {
        println!("{name:<24} {:>8.0} ns", nanoseconds(200, 1000, body));
    }
    // A key each, as bad as it gets, and all by one key, as an import has it.
    signatures(256, "a key each");
    signatures(1, "one key");
}

fn signatures(keys: usize, name: &str) {
    let signer = |number: usize| Signer::new(&[1 + (number % keys) as u8; 32]);
    let signed = Vec::from_iter((0..256).map(|number| assertion(number, Some(&signer(number)))));
    let single = nanoseconds(2, 256, &|| {
        assert!(signed.iter().all(|one| verify(one).is_ok()));
    });
    println!("verify, {name}: {single:.0} ns a signature");
    let items = Vec::from_iter(signed.iter().map(item));
    for size in [64, 256] {
        let ours = nanoseconds(8, 256, &|| {
            for batch in signed.chunks(size) {
                assert!(verify_batch(batch).iter().all(Result::is_ok));
            }
        });
        let theirs = nanoseconds(8, 256, &|| {
            for batch in items.chunks(size) {
                let mut verifier = Verifier::new();
                batch.iter().cloned().for_each(|item| verifier.queue(item));
                assert!(verifier.verify(Fast(fastrand::Rng::with_seed(1))).is_ok());
            }
        });
        println!(
            "verify_batch of {size}, {name}: {ours:.0} ns a signature, the bare equation \
             {theirs:.0} ns, {:.2} of its speed",
            theirs / ours
        );
    }
}

/// The best of a few rounds, for one of `count`.
fn nanoseconds(rounds: u32, count: u32, body: &dyn Fn()) -> f64 {
    let once = |_| {
        let start = Instant::now();
        body();
        start.elapsed().as_nanos() as f64 / f64::from(count)
    };
    (0..rounds).map(once).fold(f64::INFINITY, f64::min)
}

fn assertion(number: usize, signer: Option<&Signer>) -> Assertion {
    let mut draft = Draft::new(
        format!("package/example-{number:06}"),
        "description".into(),
        Object::Text(format!("{number:06} ").repeat(14)),
    );
    draft.timestamp = Some(1_700_000_000);
    let mut clock = HlcClock::new(NodeId([1; 16]));
    let claim = draft.clone().check(&mut clock, Wall(0)).expect("keeps the rules");
    draft.signatures.extend(signer.map(|signer| signer.sign(&claim, 1_700_000_001)));
    draft.check(&mut clock, Wall(0)).expect("keeps the rules")
}

fn item(assertion: &Assertion) -> Item {
    let signature = &assertion.signatures[0];
    let message = message(assertion, &signature.agent_id, signature.timestamp);
    let key = VerificationKeyBytes::from(signature.agent_id);
    let bytes = ed25519_zebra::Signature::from_bytes(&signature.signature);
    Item::from((key, bytes, &message))
}

/// Coefficients for the peer: fast and guessable, good enough to be measured against.
struct Fast(fastrand::Rng);

impl rand_core::TryRng for Fast {
    type Error = std::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        Ok(self.0.u32(..))
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        Ok(self.0.u64(..))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Self::Error> {
        self.0.fill(out);
        Ok(())
    }
}

impl rand_core::TryCryptoRng for Fast {}
