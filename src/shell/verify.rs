//! The thread that judges signatures, a batch at a time.
//!
//! In: signed assertions. Out: a verdict each. What gathers while one batch is judged is the next
//! batch, so that a busy node pays the price of batches and an idle one waits for nothing. The
//! thread starts with the first signature there is to judge.
//!
//! Never: sees an unsigned assertion, holds more than its bounded queue.

use std::cell::OnceCell;
use std::io;
use std::thread;

use async_channel::{Receiver, Sender};

use crate::base::limits;
use crate::model::{Assertion, Invalid, Sealed, signature};

/// A decode tree of 64 KiB and curve tables: what the thread needs, doubled.
const STACK_BYTES: usize = 256 << 10;

struct Job {
    assertion: Assertion,
    verdict: Sender<Result<(), Invalid>>,
}

/// Judges signatures, or (for development) lets everything pass.
pub struct Verifier {
    jobs: OnceCell<Sender<Job>>,
    skip: bool,
}

impl Verifier {
    /// `skip` accepts any signature (`STEMEDB_UNSAFE_SKIP_SIGNATURES`).
    pub fn new(skip: bool) -> Verifier {
        Verifier { jobs: OnceCell::new(), skip }
    }

    /// Whether there is nothing to judge on this assertion.
    pub fn passes(&self, sealed: &Sealed) -> bool {
        self.skip || !sealed.is_signed()
    }

    /// The verdict on the signatures of one assertion.
    pub async fn verify(&self, sealed: &Sealed) -> Result<(), Invalid> {
        self.submit(sealed).await.get().await
    }

    /// Hands over one assertion; waits only while too many wait already.
    pub async fn submit(&self, sealed: &Sealed) -> Verdict {
        let assertion = if self.passes(sealed) { None } else { sealed.assertion() };
        let Some(assertion) = assertion else { return Verdict(None) };
        let (verdict, answer) = async_channel::bounded(1);
        let jobs = match self.jobs.get() {
            Some(jobs) => jobs,
            None => {
                let started = start().expect("the system has room for one more thread");
                self.jobs.get_or_init(|| started)
            }
        };
        jobs.send(Job { assertion, verdict }).await.expect("the thread ends with its senders");
        Verdict(Some(answer))
    }
}

/// A verdict to come.
pub struct Verdict(Option<Receiver<Result<(), Invalid>>>);

impl Verdict {
    /// Waits for it.
    pub async fn get(self) -> Result<(), Invalid> {
        match self.0 {
            None => Ok(()),
            Some(answer) => answer.recv().await.expect("every job gets a verdict"),
        }
    }
}

fn start() -> io::Result<Sender<Job>> {
    let (sender, receiver) = async_channel::bounded(limits::VERIFY_BATCH_MAX);
    let builder = thread::Builder::new().name("verify".into()).stack_size(STACK_BYTES);
    builder.spawn(move || judge(&receiver))?;
    Ok(sender)
}

fn judge(jobs: &Receiver<Job>) {
    while let Ok(first) = jobs.recv_blocking() {
        let mut batch = vec![first];
        while batch.len() < limits::VERIFY_BATCH_MAX
            && let Ok(job) = jobs.try_recv()
        {
            batch.push(job);
        }
        let assertions: Vec<&Assertion> = batch.iter().map(|job| &job.assertion).collect();
        let verdicts = signature::verify_batch(&assertions);
        for (job, verdict) in batch.iter().zip(verdicts) {
            // A caller that went away needs no verdict.
            let _ = job.verdict.try_send(verdict);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{HlcClock, NodeId, Wall};
    use crate::model::{Draft, Object};
    use futures_lite::future::block_on;

    fn signed(text: &str, good: bool) -> Sealed {
        let mut draft = Draft::new("s".into(), "p".into(), Object::Text(text.into()));
        draft.timestamp = Some(7);
        let mut clock = HlcClock::new(NodeId::NONE);
        let mut claim = draft.check(&mut clock, Wall(0)).expect("a good draft");
        let mut signature = signature::Signer::new(&[3; 32]).sign(&claim, 7);
        signature.signature[5] ^= u8::from(!good);
        claim.signatures.push(signature);
        claim.seal()
    }

    #[test]
    fn good_signatures_pass_and_false_ones_do_not() {
        let verifier = Verifier::new(false);
        for (text, good) in [("a", true), ("b", false), ("c", true)] {
            let verdict = block_on(verifier.verify(&signed(text, good)));
            assert_eq!(verdict.is_ok(), good, "{text}");
        }
        assert_eq!(block_on(Verifier::new(true).verify(&signed("d", false))), Ok(()));
    }
}
