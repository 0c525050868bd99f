//! The thread that judges what comes from outside, where that takes long.
//!
//! In: signed assertions, or bodies that a peer gave, many at once. Out: a verdict on each.
//! Signatures that arrive while one batch is judged are the next batch, so that a busy node pays
//! the price of batches and an idle one waits for nothing. The thread starts with the first work
//! there is.
//!
//! Never: sees a single unsigned assertion, holds more than its bounded queue.

use std::cell::OnceCell;
use std::io;
use std::thread;

use crate::base::limits;
use crate::model::{Assertion, Invalid, Malformed, Sealed, signature};
use crate::wire::rpc::ForeignBody;
use async_channel::{Receiver, Sender};

/// A decode tree of 64 KiB and curve tables: what the thread needs, doubled.
const STACK_BYTES: usize = 256 << 10;
/// Bodies of so many bytes are hashed in the time that handing them over takes.
const FEW_BYTES: usize = 64 << 10;

enum Job {
    One(Box<Assertion>, Sender<Result<(), Invalid>>),
    Signed(Vec<Assertion>, Sender<Vec<Result<(), Invalid>>>),
    Many(Vec<ForeignBody>, Sender<Opened>),
}

/// What many bodies turned out to be.
#[derive(Debug, Default)]
pub struct Opened {
    /// Those that are what they are said to be, in order.
    pub good: Vec<Sealed>,
    /// How many bodies are not what they are said to be.
    pub malformed: u64,
    /// What is wrong with one of these.
    pub why: Option<Malformed>,
    /// Those with a signature that is not theirs.
    pub falsely_signed: u64,
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

    /// The verdict on the signatures of one assertion. Waits also while too many wait already.
    pub async fn verify(&self, sealed: &Sealed) -> Result<(), Invalid> {
        let assertion = if self.passes(sealed) { None } else { sealed.assertion() };
        let Some(assertion) = assertion else { return Ok(()) };
        let (verdict, answer) = async_channel::bounded(1);
        self.submit(Job::One(Box::new(assertion), verdict)).await;
        answer.recv().await.expect("every job gets a verdict")
    }

    /// The verdicts on the signatures of some assertions, in their order.
    pub async fn verify_all(&self, all: &[Sealed]) -> Vec<Result<(), Invalid>> {
        let mut verdicts = vec![Ok(()); all.len()];
        let signed = all.iter().enumerate().filter(|(_, sealed)| !self.passes(sealed));
        let signed = signed.filter_map(|(index, sealed)| Some((index, sealed.assertion()?)));
        let (indices, assertions): (Vec<usize>, Vec<Assertion>) = signed.unzip();
        if assertions.is_empty() {
            return verdicts;
        }
        let (answer, judged) = async_channel::bounded(1);
        self.submit(Job::Signed(assertions, answer)).await;
        let judged = judged.recv().await.expect("every job gets a verdict");
        for (index, verdict) in indices.into_iter().zip(judged) {
            verdicts[index] = verdict;
        }
        verdicts
    }

    /// Hashes and reads bodies, and judges their signatures.
    pub async fn open_all(&self, bodies: Vec<ForeignBody>) -> Opened {
        if bodies.iter().map(|body| body.bytes.len()).sum::<usize>() <= FEW_BYTES {
            let opened = open_each(bodies.clone());
            if opened.good.iter().all(|sealed| self.passes(sealed)) {
                return opened;
            }
        }
        let (verdict, answer) = async_channel::bounded(1);
        self.submit(Job::Many(bodies, verdict)).await;
        answer.recv().await.expect("every job gets a verdict")
    }

    async fn submit(&self, job: Job) {
        let jobs = match self.jobs.get() {
            Some(jobs) => jobs,
            None => {
                let started = start(self.skip).expect("the system starts one more thread");
                self.jobs.get_or_init(|| started)
            }
        };
        jobs.send(job).await.expect("the thread ends with its senders");
    }
}

fn start(skip: bool) -> io::Result<Sender<Job>> {
    let (sender, receiver) = async_channel::bounded(limits::VERIFY_BATCH_MAX);
    let builder = thread::Builder::new().name("verify".into()).stack_size(STACK_BYTES);
    builder.spawn(move || {
        while let Ok(job) = receiver.recv_blocking() {
            let next = match job {
                Job::One(assertion, verdict) => judge((assertion, verdict), &receiver),
                many => Some(many),
            };
            // A caller that went away needs no verdict.
            match next {
                Some(Job::Signed(assertions, answer)) => {
                    let _ = answer.try_send(judge_each(&assertions));
                }
                Some(Job::Many(bodies, answer)) => {
                    let _ = answer.try_send(open_and_judge(bodies, skip));
                }
                Some(Job::One(..)) | None => {}
            }
        }
    })?;
    Ok(sender)
}

/// Judges one assertion and those that wait behind it; the answer is a job that came between.
fn judge(
    first: (Box<Assertion>, Sender<Result<(), Invalid>>),
    jobs: &Receiver<Job>,
) -> Option<Job> {
    let (mut batch, mut between) = (vec![first], None);
    while batch.len() < limits::VERIFY_BATCH_MAX && between.is_none() {
        match jobs.try_recv() {
            Ok(Job::One(assertion, verdict)) => batch.push((assertion, verdict)),
            Ok(many) => between = Some(many),
            Err(_) => break,
        }
    }
    let assertions: Vec<&Assertion> = batch.iter().map(|(assertion, _)| &**assertion).collect();
    let verdicts = signature::verify_batch(&assertions);
    for ((_, answer), verdict) in batch.iter().zip(verdicts) {
        // As above.
        let _ = answer.try_send(verdict);
    }
    between
}

fn judge_each(assertions: &[Assertion]) -> Vec<Result<(), Invalid>> {
    assertions.chunks(limits::VERIFY_BATCH_MAX).flat_map(signature::verify_batch).collect()
}

fn open_each(bodies: Vec<ForeignBody>) -> Opened {
    let mut opened = Opened { good: Vec::with_capacity(bodies.len()), ..Opened::default() };
    for ForeignBody { claimed, bytes } in bodies {
        let sealed = match claimed {
            Some(claimed) => Sealed::open(claimed, bytes),
            None => Sealed::open_unnamed(bytes),
        };
        match sealed {
            Ok(sealed) => opened.good.push(sealed),
            Err(malformed) => {
                opened.malformed += 1;
                opened.why = Some(malformed);
            }
        }
    }
    opened
}

fn open_and_judge(bodies: Vec<ForeignBody>, skip: bool) -> Opened {
    let mut opened = open_each(bodies);
    if skip || !opened.good.iter().any(Sealed::is_signed) {
        return opened;
    }
    let mut verdicts = Vec::with_capacity(opened.good.len());
    for some in opened.good.chunks(limits::VERIFY_BATCH_MAX) {
        let signed = some.iter().filter(|sealed| sealed.is_signed());
        let assertions: Vec<Assertion> = signed.filter_map(Sealed::assertion).collect();
        let mut judged = signature::verify_batch(&assertions).into_iter();
        verdicts.extend(some.iter().map(|sealed| match sealed.is_signed() {
            true => judged.next().is_some_and(|verdict| verdict.is_ok()),
            false => true,
        }));
    }
    let all = opened.good.len();
    let mut verdicts = verdicts.into_iter();
    opened.good.retain(|_| verdicts.next().unwrap_or(false));
    opened.falsely_signed = (all - opened.good.len()) as u64;
    opened
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

    #[test]
    fn each_of_many_bodies_gets_its_own_verdict() {
        let few = [("a", true), ("b", false), ("c", true)].map(|(text, good)| signed(text, good));
        let long = "x".repeat(1000);
        let many = (0..300).map(|number| signed(&format!("{long}{number}"), number % 100 != 7));
        for (all, falsely_signed) in [(few.to_vec(), 1), (many.collect(), 3)] {
            let mut bodies: Vec<ForeignBody> = all.iter().map(body).collect();
            bodies[0].claimed = None;
            bodies.push(ForeignBody { claimed: Some(all[1].digest()), ..body(&all[0]) });
            bodies.push(ForeignBody { claimed: None, bytes: bytes::Bytes::new() });
            let opened = block_on(Verifier::new(false).open_all(bodies.clone()));
            assert_eq!((opened.malformed, opened.falsely_signed), (2, falsely_signed));
            assert_eq!(opened.why, Some(Malformed::Size { bytes: 0 }));
            let good =
                |opened: &Opened| -> Vec<_> { opened.good.iter().map(Sealed::digest).collect() };
            let is_good = |sealed: &&Sealed| block_on(Verifier::new(false).verify(sealed)).is_ok();
            let expected: Vec<_> = all.iter().filter(is_good).map(Sealed::digest).collect();
            assert_eq!(good(&opened), expected);
            let unjudged = block_on(Verifier::new(true).open_all(bodies));
            assert_eq!((unjudged.good.len(), unjudged.falsely_signed), (all.len(), 0));
        }
    }

    fn body(sealed: &Sealed) -> ForeignBody {
        ForeignBody { claimed: Some(sealed.digest()), bytes: sealed.bytes().clone() }
    }
}
