//! The gateway of a node: what `src/shell/api/gateway.rs` does for its clients, in the small.
//!
//! In: requests of clients, ends of calls, time. Out: calls to other nodes, what this node is to
//! answer itself, answers. Decides nothing: `cluster::forwarding` says who is asked. Looks whether
//! that asks owners alone, and whether it waits without one for too long.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use stemedb_edge::base::{Digest, FairSlots, Hlc, Moment, NodeId, limits};
use stemedb_edge::cluster::forwarding::recent::WrittenAt;
use stemedb_edge::cluster::forwarding::{
    AttemptEnd, ForwardRefusal, ForwardRequest, ForwardStep, ForwardTarget, Forwarding,
};
use stemedb_edge::cluster::gossip::Origin;
use stemedb_edge::model::{Draft, Object};
use stemedb_edge::replica::Fate;
use stemedb_edge::swim::Failure;
use stemedb_edge::wire::rejection::Rejection;

use super::{Answer, Effect, Message, Node, Purpose, Waiting, wall};
use crate::disk::Disk;

/// A request of a client, as it comes and as it is forwarded.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct HttpRequest {
    /// The client's number of it, never used twice.
    pub(crate) number: u64,
    pub(crate) subject: String,
    /// It claims something, and does not ask.
    pub(crate) is_claim: bool,
    pub(crate) has_api_key: bool,
    /// The stamp of the gateway, as the header says it.
    pub(crate) stamp: Option<Hlc>,
}

/// What a node answers.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum HttpReply {
    /// 201 or 200: it holds the claim of this hash.
    Taken(Digest),
    /// 200: what it found.
    Found,
    /// Any error.
    Refused { is_overloaded: bool },
}

/// To whom a node answers.
#[derive(Clone, Copy, Debug)]
pub(crate) enum HttpCaller {
    /// The gateway of another node, by this call.
    Call(u64),
    /// The client of this node's own gateway.
    Client,
}

/// Which part of an attempt a call is.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum HttpLeg {
    Connect,
    /// With whether its connection was kept from another request.
    Exchange(bool),
}

/// Where a call of the gateway belongs.
#[derive(Clone, Copy, Debug)]
pub(super) struct HttpCall {
    request: u64,
    attempt: u32,
    leg: HttpLeg,
}

/// A request that has no answer yet.
struct Open {
    request: HttpRequest,
    machine: Forwarding,
    attempt: u32,
    /// The node of that attempt.
    asked: Option<NodeId>,
    reply: Option<HttpReply>,
    has_slot: bool,
    /// Since when no node is asked.
    idle: Option<Moment>,
    /// Members that owned the subject's shard at a look, and where their API was.
    owners: BTreeSet<(NodeId, String)>,
}

pub(super) struct Gateway {
    open: BTreeMap<u64, Open>,
    /// Addresses to which a connection is kept.
    kept: BTreeSet<String>,
    slots: FairSlots<()>,
    /// The first promise that was broken.
    pub(super) broken: Option<String>,
    /// A request without an attempt under way for too long, since then.
    pub(super) idle: Option<Moment>,
}

/// When a connection without a sign of life ends by itself: long after the machine's own bound.
const CONNECTION_MAX: Duration = Duration::from_secs(900);
/// Looks of one machine at one time: each owner may have died, and the map be another one.
const LOOKS_MAX: u32 = 16;
/// A machine looks at the map every few milliseconds.
const SLACK: Duration = Duration::from_millis(100);

/// Whether the member at this address has shown the cluster key: all but the first.
pub(crate) fn is_key_holder(address: &str) -> bool {
    !address.starts_with("node0.")
}

impl Gateway {
    pub(super) fn new() -> Gateway {
        let (open, kept, broken, idle) = Default::default();
        let slots = FairSlots::new(limits::QUERIES_WAITING_MAX);
        Gateway { open, kept, slots, broken, idle }
    }

    pub(super) fn next_deadline(&self) -> Option<Moment> {
        self.open.values().filter_map(|open| open.machine.next_deadline()).min()
    }

    /// A connection to this address ended.
    pub(super) fn lost(&mut self, address: &str) {
        self.kept.remove(address);
    }
}

impl Node {
    /// A client asks the gateway; what ends it is [`Effect::Replied`].
    pub(crate) fn ask_gateway(&mut self, now: Moment, mut request: HttpRequest) {
        if request.is_claim {
            let wall = wall(now, self.wall_skew);
            let stamp = self.replica.stamp(wall);
            self.check_stamp(stamp, wall);
            request.stamp = Some(stamp);
        }
        let forward = ForwardRequest {
            target: ForwardTarget::Subject(request.subject.clone()),
            is_claim: request.is_claim,
            has_api_key: request.has_api_key,
            stamp: request.stamp,
            written: WrittenAt::Nowhere,
        };
        let open = Open {
            machine: Forwarding::new(now, forward),
            attempt: 0,
            asked: None,
            reply: None,
            has_slot: false,
            idle: Some(now),
            owners: BTreeSet::new(),
            request,
        };
        self.gateway.open.insert(open.request.number, open);
    }

    /// Every request goes as far as it can now.
    pub(super) fn go_on_with_gateway(&mut self, now: Moment, disk: &Disk) {
        let numbers: Vec<u64> = self.gateway.open.keys().copied().collect();
        for number in numbers {
            let mut open = self.gateway.open.remove(&number).expect("just listed");
            if open.idle.is_some_and(|idle| now > idle + limits::GATEWAY_REMAP_MAX + SLACK) {
                self.gateway.idle = open.idle;
            }
            let mut is_over = self.do_steps(now, &mut open, disk);
            let mut looks = 0;
            while !is_over && open.machine.next_deadline().is_some_and(|deadline| deadline <= now) {
                looks += 1;
                if looks > LOOKS_MAX {
                    self.gateway.broken = Some(format!("request {number} never waits"));
                    break;
                }
                self.look(now, &mut open);
                is_over = self.do_steps(now, &mut open, disk);
            }
            if is_over && open.has_slot {
                self.gateway.slots.give_back(&());
            }
            if !is_over {
                self.gateway.open.insert(number, open);
            }
        }
    }

    /// Lets the machine see map and members as they are.
    fn look(&mut self, now: Moment, open: &mut Open) {
        let cluster = self.replica.cluster();
        let obstacle = self.replica.queue().obstacle();
        let known = (cluster.map(), cluster.swim(), cluster.newcomers());
        let mut view = open.machine.view(known, obstacle, |_| false);
        for owner in &mut view.others {
            owner.is_key_holder = is_key_holder(&owner.api_addr);
        }
        let owners = cluster.map().owners(&open.request.subject);
        let owners = owners.filter(|owner| *owner != self.replica.node());
        let news = owners.filter_map(|owner| cluster.swim().member(owner));
        let may_see = |at: &str| !open.request.has_api_key || is_key_holder(at);
        let news = news.map(|member| &member.news).filter(|news| may_see(&news.api_addr));
        open.owners.extend(news.map(|news| (news.node, news.api_addr.clone())));
        open.machine.handle_timeout(now, &view);
        let asked = open.machine.asked().filter(|_| view.is_asked_lost);
        if let Some(asked) = asked.filter(|asked| Some(asked.node) == open.asked) {
            let broken = format!("a request waits for {}, which is dead", asked.api_addr);
            self.gateway.broken = Some(broken);
        }
    }

    /// Does what the machine says; true if the request is over.
    fn do_steps(&mut self, now: Moment, open: &mut Open, disk: &Disk) -> bool {
        while let Some(step) = open.machine.poll_step() {
            match step {
                ForwardStep::AnswerHere(stamp) => {
                    let request = HttpRequest { stamp, ..open.request.clone() };
                    self.answer_http(now, HttpCaller::Client, request, disk);
                    return true;
                }
                ForwardStep::TakeSlot => {
                    open.has_slot = self.gateway.slots.take(());
                    open.machine.handle_slot(now, open.has_slot);
                }
                ForwardStep::Ask(attempt) => {
                    let address = attempt.candidate.api_addr;
                    let is_owner = open.owners.contains(&(attempt.candidate.node, address.clone()));
                    if !is_owner {
                        let number = open.request.number;
                        let broken = format!("request {number} goes to {address}, no candidate");
                        self.gateway.broken = Some(broken);
                    }
                    (open.attempt, open.asked) = (attempt.number, Some(attempt.candidate.node));
                    open.request.stamp = attempt.stamp;
                    open.idle = None;
                    let is_kept = attempt.may_reuse && self.gateway.kept.remove(&address);
                    match is_kept {
                        true => self.exchange(open, address, true),
                        false => {
                            let (message, most) = (Message::Connect, attempt.connect_max);
                            self.call_http(open, HttpLeg::Connect, address, message, most);
                        }
                    }
                }
                ForwardStep::Failed(_) => open.idle = Some(now),
                ForwardStep::Answered => {
                    let answer = open.reply.take().ok_or(None);
                    self.effects.push(Effect::Replied(open.request.number, answer));
                    return true;
                }
                ForwardStep::Refuse(why) => {
                    self.effects.push(Effect::Replied(open.request.number, Err(Some(why))));
                    return true;
                }
            }
        }
        false
    }

    fn exchange(&mut self, open: &Open, address: String, is_kept: bool) {
        let message = Message::Http(open.request.clone());
        let leg = HttpLeg::Exchange(is_kept);
        self.call_http(open, leg, address, message, CONNECTION_MAX);
    }

    fn call_http(
        &mut self,
        open: &Open,
        leg: HttpLeg,
        address: String,
        message: Message,
        timeout: Duration,
    ) {
        let call = HttpCall { request: open.request.number, attempt: open.attempt, leg };
        self.call(Purpose::Http(call), address, message, timeout);
    }

    /// A call of the gateway was answered, or came to nothing.
    pub(super) fn http_ended(
        &mut self,
        now: Moment,
        call: HttpCall,
        address: String,
        answer: Result<Answer, Failure>,
    ) {
        if let (HttpLeg::Exchange(_), Ok(_)) = (call.leg, &answer) {
            self.gateway.kept.insert(address.clone());
        }
        // The machine may have gone on to another node, whose answer is the one that counts.
        let Some(mut open) = self.gateway.open.remove(&call.request) else { return };
        if open.attempt == call.attempt {
            match answer {
                Ok(Answer::Connected) => self.exchange(&open, address, false),
                Ok(Answer::Http(reply)) => {
                    open.reply = Some(reply);
                    let is_overloaded = reply == HttpReply::Refused { is_overloaded: true };
                    let end = AttemptEnd::Answered { is_overloaded };
                    open.machine.handle_attempt_ended(now, call.attempt, end);
                }
                Ok(other) => panic!("no answer to HTTP: {other:?}"),
                Err(failure) => {
                    open.reply = None;
                    let was_kept = call.leg == HttpLeg::Exchange(true);
                    let end = AttemptEnd::Broken { was_kept, why: format!("{failure:?}") };
                    open.machine.handle_attempt_ended(now, call.attempt, end);
                }
            }
        }
        self.gateway.open.insert(call.request, open);
    }

    /// The API of this node: a request that was forwarded, or that its gateway left to it.
    pub(super) fn answer_http(
        &mut self,
        now: Moment,
        caller: HttpCaller,
        request: HttpRequest,
        disk: &Disk,
    ) {
        if !request.is_claim {
            return self.reply_http((caller, request.number), HttpReply::Found);
        }
        let value = Object::Number(request.number as f64 + 0.5);
        let mut draft = Draft::new(request.subject, "p".into(), value);
        draft.stamp = request.stamp;
        let Ok(sealed) = self.replica.seal(draft, wall(now, self.wall_skew)) else {
            let reply = HttpReply::Refused { is_overloaded: false };
            return self.reply_http((caller, request.number), reply);
        };
        let digest = sealed.digest();
        self.effects.push(Effect::Sealed(request.number, digest));
        let waiting = Waiting::Http((caller, request.number), digest);
        self.offer(sealed, Origin::Here, waiting, disk);
    }

    /// What became of a claim, as the statuses of the API say it.
    pub(super) fn reply_fate(&mut self, to: (HttpCaller, u64), digest: Digest, fate: Fate) {
        let reply = match fate {
            Fate::Created | Fate::Exists => HttpReply::Taken(digest),
            Fate::Refused(refusal) => {
                let (status, _) = Rejection::Log(refusal).status();
                HttpReply::Refused { is_overloaded: status.as_u16() == 503 }
            }
        };
        self.reply_http(to, reply);
    }

    fn reply_http(&mut self, (caller, request): (HttpCaller, u64), reply: HttpReply) {
        if let HttpReply::Taken(digest) = reply {
            self.effects.push(Effect::Vouched(digest));
        }
        self.effects.push(match caller {
            HttpCaller::Call(call) => Effect::Answer(call, Answer::Http(reply)),
            HttpCaller::Client => Effect::Replied(request, Ok(reply)),
        });
    }
}

/// What a client of a gateway gets: a node's answer, or why there is none; `None`: an answer that
/// no node gave.
pub(crate) type ClientAnswer = Result<HttpReply, Option<ForwardRefusal>>;
