//! What follows from the membership: which members new assertions go to, which to reconcile with,
//! which node holds which shard, and which of them a gateway asks.
//!
//! In: what happens to the membership, new assertions, time. Out: calls to make, pushes, rounds of
//! anti-entropy, news for the operator. Every node that sees the same members computes the same map
//! of shards.
//!
//! Never: decides which member is alive (`swim` does), reads a clock, opens a connection.

pub mod address;
mod backed_off;
mod capabilities;
pub mod clocks;
mod differences;
pub mod forwarding;
pub mod gossip;
pub mod identity;
pub mod newcomers;
pub mod ping;
mod rounds;
mod session_queue;
mod sessions;
pub mod shard;
mod trees;

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use crate::base::{ClusterId, Digest, Moment, NodeId, Random};
use crate::swim::{self, CallNumber, Event, Failure, State, Swim, Update};
use backed_off::BackedOff;
pub use backed_off::Outcome;
use capabilities::Capabilities;
use differences::Differences;
use gossip::{Gossip, Origin, PushEnd, Row};
use identity::{Identity, Tag, View};
use newcomers::Newcomers;
use rounds::Rounds;
use session_queue::SessionQueue;
pub use session_queue::{RoundNumber, SessionNumber, Target};
use shard::ShardMap;

/// How the cluster is tuned; the same on all its nodes where shards are concerned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Config {
    /// How failures are detected.
    pub swim: swim::Config,
    /// Shards that subjects are assigned to. More of them spread subjects more evenly and make
    /// moves smaller; it cannot change later, as no node would find what it stored before.
    pub shards: u32,
    /// Nodes that hold a shard: one fewer may fail before a gateway finds none of them.
    pub replication_factor: u32,
    /// About how often sets are compared; `None` is on request alone. What a push lost stays
    /// missing for so long; a comparison of equal sets costs two small messages.
    pub sync_interval: Option<Duration>,
}

/// What the node wants done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output {
    /// A call of the membership, never [`swim::Output::Event`].
    Swim(swim::Output),
    /// `Gossip` the assertion of a row to a member; its end goes to [`Cluster::handle_pushed`].
    Push {
        /// The member, for the end of the push.
        to: NodeId,
        /// The address of its gRPC.
        rpc_addr: String,
        /// The assertion's number in this node's log.
        row: Row,
    },
    /// A session of anti-entropy with a peer, of a round; the first answer goes to
    /// [`Cluster::handle_session_answered`], the end to [`Cluster::handle_session_over`].
    Sync(SessionNumber, RoundNumber, Target),
    /// A round begins, which the callers that asked until now wait for.
    RoundBegan(RoundNumber),
    /// All sessions of the round have ended.
    RoundOver(RoundNumber),
    /// A change of the membership, for the log and the rest of the node.
    Event(Event),
    /// So many replicas of shards moved to another node.
    Rebalanced(u64),
    /// This node says this of its cluster from now on.
    Tagged(Tag),
}

/// The cluster as one node sees it.
#[derive(Debug)]
pub struct Cluster {
    config: Config,
    /// Which members are alive; all else here follows from its events.
    swim: Swim,
    gossip: Gossip,
    rounds: Rounds,
    /// Which member's set is another one, so that nothing waits for the next round.
    differences: Differences,
    /// What peers do not know, so that it is not asked of them.
    capabilities: Capabilities,
    /// Which peer's session comes next.
    sessions: SessionQueue,
    backed_off: BackedOff,
    newcomers: Newcomers,
    /// The map for the members of now: kept, so that a move can be counted and reported.
    map: ShardMap,
    /// Replicas that moved since the start, for `/metrics`.
    moves: u64,
    identity: Identity,
    /// Every seed's name was found. A name that is not found may stand for a node that has an id.
    are_seeds_found: bool,
    outbox: VecDeque<Output>,
}

impl Cluster {
    /// A node alone, of a cluster of its own; `me` is how others hear of it.
    pub fn new(config: Config, me: Update, seed: u64, now: Moment) -> Cluster {
        let map = ShardMap::new(config.shards, config.replication_factor, [me.node]);
        let gossip = Gossip::new(me.node);
        // Each machine draws from a sequence of its own: a change in one must not move the others.
        let mut random = Random::new(seed.wrapping_add(3));
        let own = [random.bits(), random.bits()].map(u64::to_be_bytes);
        let mut proposal = ClusterId([0; 16]);
        proposal.0.copy_from_slice(own.as_flattened());
        let alone = identity::Origin { kept: None, proposal, has_seeds: false, is_new: true };
        Cluster {
            config,
            swim: Swim::new(config.swim, me, seed, now),
            gossip,
            rounds: Rounds::new(config.sync_interval, seed.wrapping_add(2), now),
            differences: Differences::new(config.sync_interval.is_some()),
            capabilities: Capabilities::default(),
            sessions: SessionQueue::default(),
            backed_off: BackedOff::default(),
            newcomers: Newcomers::new(config.sync_interval.is_some()),
            map,
            moves: 0,
            identity: Identity::new(alone, config.swim.probe_interval, now),
            are_seeds_found: false,
            outbox: VecDeque::new(),
        }
    }

    /// The same node, of the cluster that `origin` says.
    pub fn identified(mut self, origin: identity::Origin, now: Moment) -> Cluster {
        self.identity = Identity::new(origin, self.config.swim.probe_interval, now);
        self
    }

    /// The cluster that this node belongs to.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Whether every seed's name was found, so that their addresses are all there are.
    pub fn handle_seeds_found(&mut self, are_all: bool) {
        self.are_seeds_found = are_all;
    }

    /// `node` answered a ping at `address` and says `tag` of its cluster. False if it is of another
    /// one: it is as if another node had answered.
    pub fn handle_tag(
        &mut self,
        now: Moment,
        (node, address): (NodeId, &str),
        tag: Option<Tag>,
    ) -> bool {
        let is_seed = self.swim.is_seed(node, address);
        let is_ours = self.identify(|identity| identity.handle_tag(now, node, tag, is_seed));
        // A duplicate of this node's id reaches the membership whatever its cluster: two nodes with
        // one id harm both clusters.
        is_ours || node == self.swim.me().node
    }

    /// An event of the membership: `event` applies it to [`Swim`], whose outputs are settled after.
    pub(crate) fn with_swim<T>(&mut self, now: Moment, event: impl FnOnce(&mut Swim) -> T) -> T {
        let answer = event(&mut self.swim);
        self.settle(now);
        answer
    }

    /// The member at `via` did not say whether it reaches a target; `is_unknown`: it does not know
    /// the call, and is not asked again.
    pub fn handle_unprobed(
        &mut self,
        now: Moment,
        number: CallNumber,
        (via, is_unknown): (&str, bool),
    ) {
        if is_unknown {
            self.capabilities.note_no_probe_for(via);
        }
        self.with_swim(now, |swim| swim.handle_failed(now, number, Failure::Silent));
    }

    /// An assertion is new here.
    pub fn handle_new(&mut self, (row, digest): (Row, &Digest), origin: Origin) {
        self.gossip.handle_new((row, digest), origin);
        self.pump_gossip();
        self.check();
    }

    /// An assertion is new here by anti-entropy.
    pub fn handle_fetched(&mut self, new: (Row, &Digest)) {
        self.gossip.handle_fetched(new);
    }

    /// An assertion that is here already was pushed to this node.
    pub fn handle_known(&mut self, digest: &Digest, origin: Origin) {
        self.gossip.handle_known(digest, origin);
        self.pump_gossip();
    }

    /// A push of [`Output::Push`] ended.
    pub fn handle_pushed(&mut self, push: (NodeId, Row), end: PushEnd) {
        self.gossip.handle_pushed(push, end);
        self.pump_gossip();
        self.check();
    }

    /// This node's set has this digest now.
    pub fn handle_set(&mut self, now: Moment, own: u64) {
        self.differences.handle_own(now, own);
    }

    /// A node answered a ping with this digest of its set; one of the standard has none.
    pub fn handle_set_digest(&mut self, now: Moment, node: NodeId, theirs: Option<u64>) {
        let member = self.swim.member(node);
        let is_member = member.is_some_and(|member| member.news.state.is_present());
        if self.capabilities.note_digest(node, theirs.is_some()) && is_member {
            self.rebalance();
        }
        if let Some(theirs) = theirs.filter(|_| is_member) {
            self.differences.handle_answer(now, node, theirs);
        }
    }

    /// Anti-entropy with a member ended; if it was useless, rounds pass by for a while.
    pub fn handle_synced(&mut self, now: Moment, node: NodeId, outcome: Outcome) {
        self.backed_off.handle_synced(now, node, outcome);
        if outcome.is_whole {
            self.newcomers.handle_converged(node);
        }
        self.check();
    }

    /// Members that rounds pass by because sessions with them were useless.
    pub fn backed_off(&self, now: Moment) -> usize {
        self.backed_off.count(now)
    }

    /// Time passed; safe to call early or late.
    pub fn handle_timeout(&mut self, now: Moment) {
        self.swim.handle_timeout(now);
        self.settle(now);
        if self.identity.next_deadline().is_some_and(|due| due <= now) {
            let view = self.view();
            self.identify(|identity| identity.handle_timeout(now, &view));
        }
        let is_reachable =
            |node: &NodeId| self.swim.member(*node).is_some_and(|member| member.is_reachable);
        let is_trusted = |node: &NodeId| !self.backed_off.has(now, *node) && is_reachable(node);
        let present = self.swim.present().map(|news| news.node).filter(is_trusted);
        let due = self.rounds.handle_timeout(now, present);
        let is_busy = |node| self.gossip.is_pushing_to(node) || self.sessions.is_busy(now);
        let different = self.differences.handle_timeout(now, is_busy);
        // A member that is back may still be backed off: coming back clears nothing.
        let due = due.into_iter().chain(different).filter(is_trusted);
        let targets: Vec<Target> = due.filter_map(|node| self.target(node)).collect();
        if !targets.is_empty() {
            self.sessions.add(targets);
        }
        // A peer may have been silent for long enough, too.
        self.pump_sessions(now);
        self.check();
    }

    /// When [`Cluster::handle_timeout`] wants to be called next.
    pub fn next_deadline(&self) -> Option<Moment> {
        let own = [
            self.rounds.next_deadline(),
            self.differences.next_deadline(),
            self.identity.next_deadline(),
            self.sessions.next_deadline(),
        ];
        self.swim.next_deadline().into_iter().chain(own.into_iter().flatten()).min()
    }

    /// The next thing to do; drain until `None` after every other call.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outbox.pop_front()
    }

    /// The membership as it is now; events change it through this machine alone.
    pub fn swim(&self) -> &Swim {
        &self.swim
    }

    /// The pushes of new assertions.
    pub fn gossip(&self) -> &Gossip {
        &self.gossip
    }

    /// Sessions of anti-entropy that began because a member's digest was another one.
    pub fn differences(&self) -> u64 {
        self.differences.sessions()
    }

    /// Members that may lack claims of the time before they came.
    pub fn newcomers(&self) -> &Newcomers {
        &self.newcomers
    }

    /// The map of shards.
    pub fn map(&self) -> &ShardMap {
        &self.map
    }

    /// Replicas of shards that moved since the start.
    pub fn moves(&self) -> u64 {
        self.moves
    }

    /// Takes in what the membership says, and draws the consequences.
    fn settle(&mut self, now: Moment) {
        let mut is_changed = false;
        while let Some(output) = self.swim.poll_output() {
            let event = match output {
                swim::Output::Event(event) => event,
                // As if it had not answered in time: the target is pinged again beside it.
                swim::Output::AskProbe { number, via, .. }
                    if !self.capabilities.has_probe_for(&via) =>
                {
                    self.swim.handle_failed(now, number, Failure::Silent);
                    continue;
                }
                call => {
                    self.outbox.push_back(Output::Swim(call));
                    continue;
                }
            };
            match &event {
                // One of the two lacks what was written while they did not see each other.
                Event::Changed(node, Some(State::Alive)) => {
                    self.rounds.handle_back(now, *node);
                    self.newcomers.handle_back(*node);
                }
                Event::Changed(node, state) => {
                    if !matches!(state, Some(State::Suspect)) {
                        self.differences.handle_gone(*node);
                        self.newcomers.handle_gone(*node);
                    }
                    if state.is_none() {
                        self.capabilities.forget(*node);
                    }
                    self.rounds.handle_gone(*node);
                }
                Event::Moved(..)
                | Event::Duplicate(_)
                | Event::OwnSeed(_)
                | Event::Reachable(..)
                | Event::Unanswered(..) => {}
            }
            is_changed |= matches!(event, Event::Changed(..) | Event::Reachable(..));
            self.outbox.push_back(Output::Event(event));
        }
        if is_changed {
            self.rebalance();
            self.identity.handle_change(now);
            self.pump_gossip();
        }
        self.check();
    }

    /// The invariants between the machines; those of each are its own.
    fn check(&self) {
        let is_alone = self.swim.present().next().is_none();
        debug_assert_eq!(self.gossip.is_alone(), is_alone, "a queue for each member");
        let (shards, factor) = (self.config.shards, self.config.replication_factor);
        debug_assert_eq!((self.map.shards(), self.map.factor()), (shards, factor));
    }

    /// Has the identity change, and says so if it did.
    fn identify<T>(&mut self, change: impl FnOnce(&mut Identity) -> T) -> T {
        let before = self.identity.tag();
        let answer = change(&mut self.identity);
        let tag = self.identity.tag();
        if tag != before {
            self.outbox.push_back(Output::Tagged(tag));
        }
        answer
    }

    fn view(&self) -> View {
        let swim = &self.swim;
        View {
            present: swim.present().map(|news| news.node).collect(),
            is_whole: self.are_seeds_found && swim.unmatched_seeds().next().is_none(),
            is_first: self.are_seeds_found && swim.are_seeds_own(),
            unproven: swim.unproven(),
        }
    }

    fn rebalance(&mut self) {
        let others: BTreeSet<NodeId> = self.swim.present().map(|news| news.node).collect();
        let unreachable = self.swim.members().filter(|member| !member.is_reachable);
        let unreachable = unreachable.map(|member| member.news.node);
        let unreachable = unreachable.filter(|node| others.contains(node)).collect();
        self.gossip.handle_members(&others, unreachable, self.capabilities.plain());
        // Suspects stay in the map: a false suspicion would move shards there and back.
        let live = others.into_iter().chain([self.swim.me().node]);
        let map = ShardMap::new(self.config.shards, self.config.replication_factor, live);
        // Most events change no member that takes part, and an equal map has no moves.
        if map != self.map {
            let moved = map.moves_from(&self.map);
            self.moves += moved;
            self.map = map;
            self.outbox.push_back(Output::Rebalanced(moved));
        }
    }

    fn pump_gossip(&mut self) {
        while let Some(push) = self.gossip.poll_output() {
            match self.target(push.to) {
                Some(Target { rpc_addr, .. }) => {
                    self.outbox.push_back(Output::Push { to: push.to, rpc_addr, row: push.row });
                }
                // It left between the choice and the push: its queue must not wait for an end.
                None => self.gossip.handle_pushed((push.to, push.row), PushEnd::Failed),
            }
        }
    }
}
