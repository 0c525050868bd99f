//! Which nodes a gateway may ask, and in which order: the owners of a subject's shard, or the one
//! whose rows a cursor names.
//!
//! In: the map of shards, the member list. Out: nodes to ask, or that this node is to answer.
//! Never: lets an API key go to a member that has not shown the cluster key.

use super::recent::WrittenAt;
use crate::base::{Digest, Hlc, NodeId};
use crate::cluster::newcomers::Newcomers;
use crate::cluster::shard::ShardMap;
use crate::journal::Obstacle;
use crate::swim::{State, Swim};

/// Which nodes may answer a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ForwardTarget {
    /// The owners of the shard of this subject.
    Subject(String),
    /// This one alone: another node has other rows. If it takes no part, this node says so.
    Node(NodeId),
    /// The one that took this claim, as long as it is not here.
    Claim(Digest, NodeId),
}

/// What a gateway has to know of a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ForwardRequest {
    /// Who may answer.
    pub target: ForwardTarget,
    /// It claims something, and does not ask.
    pub is_claim: bool,
    /// It carries an API key, which not every host may see.
    pub has_api_key: bool,
    /// The stamp of a claim that brings no time of its own. It is made before the first attempt and
    /// goes with each: two stamps would make two claims of one.
    pub stamp: Option<Hlc>,
    /// Of a question: where the gateway's recent claims on its subject are. Its answer has to
    /// include them.
    pub written: WrittenAt,
}

/// An owner of a shard, as the member list has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Owner {
    /// The member.
    pub node: NodeId,
    /// The address of its HTTP API; empty if no other host reaches that.
    pub api_addr: String,
    /// Whether this node can call it.
    pub is_reachable: bool,
    /// It is not suspected.
    pub is_alive: bool,
    /// Whether it may be handed an API key.
    pub is_key_holder: bool,
    /// It may lack claims of the time before it came.
    pub is_new: bool,
}

/// What this node knows when it decides about a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ForwardView {
    /// Whether this node is an owner, or has the claim.
    pub is_owner: bool,
    /// This node may lack claims of the time before it started.
    pub is_new: bool,
    /// Whether there is one owner at most.
    pub is_sole: bool,
    /// The other owners that take part, in the order of the map.
    pub others: Vec<Owner>,
    /// Why the disk here takes nothing.
    pub obstacle: Option<Obstacle>,
    /// The owner that was asked last has died, or is forgotten.
    pub is_asked_lost: bool,
}

/// An owner that may be asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Candidate {
    /// The member.
    pub node: NodeId,
    /// The address of its HTTP API.
    pub api_addr: String,
}

impl ForwardRequest {
    /// The owners to ask, those last that cannot be called or are suspected, and before them those
    /// that may lack older claims. `None` if this node is one of them, or none has an API that
    /// others reach and may see the API key, or the only node that can answer is gone, or the first
    /// one may lack what the gateway wrote.
    pub(super) fn candidates(&self, view: &ForwardView) -> Option<Vec<Candidate>> {
        // While the disk here takes nothing, a claim goes to another owner. It comes back as a
        // push, by which this node finds out that it can write again. A full disk is an answer
        // (507) from whichever owner has it, so it diverts nothing.
        let is_obstructed = view
            .obstacle
            .is_some_and(|it| matches!(it, Obstacle::ReadOnly | Obstacle::NoDescriptors));
        let is_diverted = self.is_claim && is_obstructed && !view.is_sole;
        // Of the claims before its start this node may have none yet, and the others have all.
        let is_early = !self.is_claim && view.is_new && !view.is_sole && !view.others.is_empty();
        if view.is_owner && !is_diverted && !is_early {
            return None;
        }
        let mut found: Vec<&Owner> = view.others.iter().collect();
        // A shard gets other owners, which is worth a wait. A single node gets no substitute.
        if !found.is_empty() || !matches!(self.target, ForwardTarget::Subject(_)) {
            found.retain(|owner| !owner.api_addr.is_empty());
            found.first()?;
        }
        if self.has_api_key {
            found.retain(|owner| owner.is_key_holder);
            found.first()?;
        }
        let is_late = |owner: &Owner| !self.is_claim && owner.is_new;
        found.sort_by_key(|owner| (!owner.is_reachable, !owner.is_alive, is_late(owner)));
        // The one that is asked first is not known to have what was written. This node can get it.
        let has_written = match (self.written, found.first()) {
            (WrittenAt::Nowhere, _) | (_, None) => true,
            (WrittenAt::One(node), Some(first)) => node == first.node,
            (WrittenAt::Several, Some(_)) => false,
        };
        if !has_written {
            return None;
        }
        let candidate =
            |owner: &Owner| Candidate { node: owner.node, api_addr: owner.api_addr.clone() };
        Some(found.into_iter().map(candidate).collect())
    }
}

impl ForwardView {
    /// What is known of the nodes that may answer, and of the one that was asked last.
    pub(super) fn new(
        target: &ForwardTarget,
        (map, swim, newcomers): (&ShardMap, &Swim, &Newcomers),
        obstacle: Option<Obstacle>,
        asked: Option<NodeId>,
        has: impl Fn(&Digest) -> bool,
    ) -> ForwardView {
        let owners: Vec<NodeId> = match target {
            ForwardTarget::Subject(subject) => map.owners(subject).collect(),
            ForwardTarget::Node(node) | ForwardTarget::Claim(_, node) => vec![*node],
        };
        let is_here = matches!(target, ForwardTarget::Claim(digest, _) if has(digest));
        let owner = |node: &NodeId| {
            let member = swim.member(*node).filter(|member| member.news.state.is_present())?;
            Some(Owner {
                node: *node,
                api_addr: member.news.api_addr.clone(),
                is_reachable: member.is_reachable,
                is_alive: member.news.state == State::Alive,
                is_key_holder: false,
                is_new: newcomers.has(*node),
            })
        };
        // One that leaves answers first.
        let is_lost =
            |node| swim.member(node).is_none_or(|member| member.news.state == State::Dead);
        ForwardView {
            is_owner: owners.contains(&swim.me().node) || is_here,
            is_new: newcomers.is_new_here(),
            is_sole: owners.len() <= 1,
            others: owners.iter().filter_map(owner).collect(),
            obstacle,
            is_asked_lost: asked.is_some_and(is_lost),
        }
    }
}
