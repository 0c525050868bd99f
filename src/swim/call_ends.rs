//! How the calls of this node ended, and what that means by what each was for.
//!
//! In: answers, failures, by the number of their call. Out: members judged, hearsay settled, news
//! taken. Never: takes the answer of another node for that of the one that was meant.

use super::Swim;
use super::calls::{Ack, CallNumber, Event, Failure, Output};
use super::member::Update;
use super::probe::Purpose;
use crate::base::Moment;

impl Swim {
    /// A ping was answered.
    pub fn handle_ack(&mut self, now: Moment, number: CallNumber, ack: Ack) {
        match self.probes.end(number) {
            Some(probe) => {
                if ack.node != self.me.node {
                    self.seeds.answered(&probe.address, ack.node);
                }
                let node = ack.node;
                let is_compared = probe.purpose.compares_lists() && node != self.me.node;
                let digest = ack.digest.filter(|_| is_compared);
                let theirs = digest.and_then(|digest| self.other_list(&ack.updates, digest));
                self.settle_answer(now, &probe.address, ack);
                if let Some(theirs) = theirs {
                    self.send_missing(now, probe.address.clone(), &theirs);
                }
                let is_it = probe.target == Some(node);
                match probe.purpose {
                    Purpose::Judge if is_it => self.local_health.improve(),
                    // Another node has the address now: the one that was meant is gone from there.
                    Purpose::Judge => self.probe_failed(now, probe, Failure::Refused),
                    Purpose::Verify => self.verification_failed(now, &probe, Failure::Refused),
                    Purpose::Greet | Purpose::Disseminate | Purpose::Indirect => {}
                }
                self.start_verifications(now);
            }
            // An answer that came too late to prove anything still brings news.
            None => self.take_news(now, ack),
        }
        self.check();
    }

    /// The node at this address answered a ping that another member asked this node for.
    pub fn handle_answer(&mut self, now: Moment, address: &str, ack: Ack) {
        self.settle_answer(now, address, ack);
        self.check();
    }

    fn settle_answer(&mut self, now: Moment, address: &str, mut ack: Ack) {
        // A node that gives no address is at the one where it was found.
        if ack.addresses.0.is_empty() {
            ack.addresses.0 = address.to_owned();
        }
        if ack.node != self.me.node {
            if self.take_answer(now, address, &ack) {
                ack.updates.retain(|update| update.node != ack.node);
            }
            return self.take_news(now, ack);
        }
        // A node refuses its own calls, so another process answered under this node's id.
        self.hearsay.end(ack.node, address);
        self.note_duplicate(now, address);
    }

    fn take_news(&mut self, now: Moment, ack: Ack) {
        if ack.node != self.me.node {
            self.take_updates(now, ack.node, ack.updates);
        }
    }

    /// Another member answered whether it reached the target.
    pub fn handle_probed(
        &mut self,
        now: Moment,
        number: CallNumber,
        acked: bool,
        news: Vec<Update>,
    ) {
        if let Some(said) = news.first() {
            self.take_updates(now, said.node, news);
        }
        match acked {
            true => self.probes.end_by_relay(number),
            false => self.end_call(now, number, Failure::Silent),
        }
        self.check();
    }

    /// A ping, or a request to probe for this node, ended without an answer.
    pub fn handle_failed(&mut self, now: Moment, number: CallNumber, failure: Failure) {
        self.end_call(now, number, failure);
        self.check();
    }

    fn end_call(&mut self, now: Moment, number: CallNumber, failure: Failure) {
        let Some(probe) = self.probes.end(number) else { return };
        let is_own = failure == Failure::Own;
        if self.seeds.failed(&probe.address, is_own) {
            self.outbox.push_back(Output::Event(Event::OwnSeed(probe.address.clone())));
        }
        // If this node is at the address, the node that was meant is not.
        let failure = if is_own { Failure::Refused } else { failure };
        match probe.purpose {
            Purpose::Judge => self.probe_failed(now, probe, failure),
            Purpose::Verify => {
                self.verification_failed(now, &probe, failure);
                self.start_verifications(now);
            }
            Purpose::Greet | Purpose::Disseminate | Purpose::Indirect => {}
        }
    }
}
