//! The calls of this node, and how they end.
//!
//! In: answers, failures, connections that ended. Out: what each call was for hears of it. Never:
//! takes a second end for a call.

use std::time::Duration;

use stemedb_edge::base::Moment;
use stemedb_edge::cluster::gossip::{Origin, PushEnd};
use stemedb_edge::cluster::identity::Tag;
use stemedb_edge::cluster::ping::{Next, Unacked, UnackedCause};
use stemedb_edge::swim::{CallNumber, Failure, Update};
use stemedb_edge::sync::{Reply, WireBytes};

use super::{Answer, Call, Effect, Message, Node, Purpose, Waiting};
use crate::disk::Disk;

impl Node {
    pub(super) fn call(
        &mut self,
        purpose: Purpose,
        address: String,
        message: Message,
        timeout: Duration,
    ) {
        let number = self.next_call;
        self.next_call += 1;
        self.calls.insert(number, (purpose, address.clone()));
        let tag = self.tag();
        self.effects.push(Effect::Call(Call { number, address, message, timeout, tag }));
    }

    pub(super) fn ping(
        &mut self,
        (number, is_first): (CallNumber, bool),
        address: String,
        news: (Vec<Update>, Option<u64>),
        timeout: Duration,
    ) {
        let message = Message::Ping(news.0.clone(), news.1);
        let purpose = Purpose::Ping { number, news, timeout, is_first };
        self.call(purpose, address, message, timeout);
    }

    /// A call of ours was answered; one that has ended already is passed over.
    pub(crate) fn answered(
        &mut self,
        now: Moment,
        number: u64,
        (answer, tag): (Answer, Tag),
        disk: &Disk,
    ) {
        let Some((purpose, address)) = self.calls.remove(&number) else { return };
        if let Purpose::Http(call) = purpose {
            return self.http_ended(now, call, address, Ok(answer));
        }
        self.connected.insert(address.clone());
        let replica = &mut self.replica;
        match (purpose, answer) {
            (Purpose::Ping { number, .. }, Answer::Ack(ack, set)) => {
                let set = set.filter(|_| !self.is_plain);
                replica.handle_ack(now, number, (&address, ack, set), Some(tag));
            }
            (Purpose::AskProbe(call), Answer::Probed(acked, news)) => {
                replica.handle_probed(now, call, acked, news);
            }
            (Purpose::Relay(request, node, news), Answer::Ack(ack, set)) => {
                let target = (node, &*address);
                let (_, acked) = replica.handle_relayed(now, target, (ack, set), Some(tag));
                self.effects.push(Effect::Answer(request, Answer::Probed(acked, news)));
            }
            (Purpose::Push(to, row), Answer::Pushed(is_taken)) => {
                let end = if is_taken { PushEnd::Taken } else { PushEnd::Refused };
                replica.handle_pushed((to, row), end);
            }
            (Purpose::Session(id, number), Answer::Sync(Reply::Records(records))) => {
                replica.handle_span(now, (id, number), records.span, disk);
                self.opened.push_back((id, number, Reply::Records(records), false));
            }
            (Purpose::Session(id, number), Answer::Sync(reply)) => {
                replica.handle_reply(now, (id, number), Ok(reply), WireBytes::default(), disk);
            }
            (Purpose::Repair, Answer::Sync(Reply::Fetched { good, .. })) => {
                if good.is_empty() {
                    replica.handle_fetched();
                }
                self.fetched = good.len();
                for sealed in good {
                    self.offer(sealed, Origin::AntiEntropy, Waiting::Repair, disk);
                }
            }
            (_, answer) => panic!("an answer of another kind: {answer:?}"),
        }
    }

    /// A call of ours came to nothing: in time, or because no process listens.
    pub(crate) fn failed(&mut self, now: Moment, number: u64, failure: Failure, disk: &Disk) {
        let Some((purpose, address)) = self.calls.remove(&number) else { return };
        if let Purpose::Http(call) = purpose {
            return self.http_ended(now, call, address, Err(failure));
        }
        let had_connection = self.connected.contains(&address);
        if failure == Failure::Refused {
            self.connected.remove(&address);
        }
        let replica = &mut self.replica;
        match purpose {
            Purpose::Ping { number, news, timeout, is_first } => {
                let unacked = Unacked {
                    is_first,
                    had_connection,
                    cause: match failure {
                        Failure::Silent => UnackedCause::Late,
                        Failure::Refused => UnackedCause::Broken,
                        Failure::Own => UnackedCause::Error,
                    },
                    is_own: failure == Failure::Own,
                    // What is open breaks; what is dialled is refused.
                    is_refused: failure == Failure::Refused && !had_connection,
                    is_foreign: false,
                };
                match unacked.next() {
                    Next::Again => self.ping((number, false), address, news, timeout),
                    Next::Failed { failure, abandons_connection } => {
                        if abandons_connection {
                            self.connected.remove(&address);
                        }
                        replica.handle_probe_failed(now, number, failure);
                    }
                }
            }
            Purpose::AskProbe(number) => replica.handle_unprobed(now, number, (&address, false)),
            Purpose::Relay(request, _, news) => {
                self.effects.push(Effect::Answer(request, Answer::Probed(false, news)));
            }
            Purpose::Push(to, row) => {
                let is_late = failure == Failure::Silent;
                let end = if is_late { PushEnd::Failed } else { PushEnd::Refused };
                replica.handle_pushed((to, row), end);
            }
            Purpose::Repair => replica.handle_fetched(),
            Purpose::Http(_) => {}
            Purpose::Session(id, number) => {
                let why = Err("no answer".to_owned());
                replica.handle_reply(now, (id, number), why, WireBytes::default(), disk);
            }
        }
    }

    /// A connection to this address ended.
    pub(crate) fn lost(&mut self, now: Moment, address: &str) {
        self.connected.remove(address);
        self.gateway.lost(address);
        self.replica.handle_lost(now, address);
    }
}
