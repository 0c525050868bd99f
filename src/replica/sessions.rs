//! Runs of anti-entropy.
//!
//! In: a peer, its answers, what became of the assertions that came from it, members that died.
//! Out: calls for the peer, offers, a report. Never: knows how sets are compared.

use super::run::{Run, SESSIONS, SessionId, offer_of, ticket_of};
use super::{Fate, Output, Replica};
use crate::base::{Moment, NodeId, Ticket};
use crate::cluster::{Outcome, SessionNumber};
use crate::journal::{Arrival, Bodies};
use crate::store::Root;
use crate::sync::{
    self, Progress, Reply, Session, SessionCounts, SessionReport, Span, Stored, WireBytes,
};

impl Replica {
    /// Starts the session of the queue with `peer`; `root` is this node's, see
    /// [`Replica::root_step`]. Sessions before decide how it finds out what differs.
    pub fn handle_sync(
        &mut self,
        now: Moment,
        (number, peer): (SessionNumber, NodeId),
        root: Root,
        bodies: &dyn Bodies,
    ) -> SessionId {
        let id = self.next_session;
        self.next_session = (id + 1) % SESSIONS;
        let session = Session::new(root.digest, root.count, self.peers.strategy(peer));
        // A pull of a million rows may outlast many connections.
        let session = session.resuming(self.ranges.pulled());
        let run = Run { session, number, peer, root: root.digest, mark: self.damages.mark() };
        self.sessions.insert(id, run);
        self.drain_session(now, id, bodies);
        id
    }

    /// A caller asks for sessions with all peers now.
    pub fn handle_sync_request(&mut self, now: Moment) {
        self.cluster.handle_sync_request(now);
        self.pump_cluster();
    }

    /// The session that [`crate::cluster::Output::Sync`] asked for is over, or could not begin.
    pub fn handle_session_over(&mut self, now: Moment, number: SessionNumber) {
        self.cluster.handle_session_over(now, number);
        self.pump_cluster();
    }

    /// A session's peer answered, or the call failed for the reason given.
    pub fn handle_reply(
        &mut self,
        now: Moment,
        call: (SessionId, u32),
        reply: Result<Reply, String>,
        bytes: WireBytes,
        bodies: &dyn Bodies,
    ) {
        let (id, number) = call;
        if let Some(Run { session, number: of, mark, .. }) = self.sessions.get_mut(&id) {
            if reply.is_ok() {
                self.cluster.handle_session_answered(*of);
            }
            if matches!(reply, Ok(Reply::Roots { count, .. }) if count < self.store.len()) {
                // A peer that has less cannot have brought what was damaged here.
                *mark = 0;
            }
            session.count_bytes(bytes);
            match reply {
                Ok(reply) => session.handle_reply(number, reply, &self.store, bodies),
                Err(reason) => session.handle_failed(number, reason),
            }
            // A pull that breaks off is resumed by the next session from here.
            if let Some(cursor) = session.pulled() {
                self.ranges.note_pulled(cursor);
            }
            self.drain_session(now, id, bodies);
        }
    }

    /// An answer with records arrived; its assertions follow by [`Replica::handle_reply`].
    pub fn handle_span(
        &mut self,
        now: Moment,
        call: (SessionId, u32),
        span: Span,
        bodies: &dyn Bodies,
    ) {
        let (id, number) = call;
        if let Some(Run { session, .. }) = self.sessions.get_mut(&id) {
            session.handle_span(number, span);
            self.drain_session(now, id, bodies);
        }
    }

    /// Other work was done since a session yielded.
    pub fn handle_yielded(&mut self, now: Moment, id: SessionId, bodies: &dyn Bodies) {
        if let Some(Run { session, .. }) = self.sessions.get_mut(&id) {
            session.handle_resumed();
            self.drain_session(now, id, bodies);
        }
    }

    /// Sessions that ended since the start, by peer.
    pub fn session_counts(&self) -> impl Iterator<Item = (NodeId, SessionCounts)> {
        self.peers.counts()
    }

    /// Anti-entropy under way: with whom, and how far.
    pub fn syncs(&self) -> impl Iterator<Item = (NodeId, Progress)> {
        self.sessions.values().map(|run| (run.peer, run.session.progress()))
    }

    /// A member is gone, or cannot be called: it answers no call of a session that is under way. To
    /// wait for their ends would keep the session for [`crate::base::limits::CALL_MAX`].
    pub(super) fn end_sessions_with(&mut self, node: NodeId, why: &str) {
        for run in self.sessions.iter_mut().map(|(_, run)| run).filter(|run| run.peer == node) {
            run.session.handle_gone(why.to_owned());
        }
    }

    /// What became of an assertion that a session offered; it may be over.
    pub(super) fn answer_session(&mut self, ticket: Ticket, fate: Fate) {
        let (id, number) = offer_of(ticket);
        if let Some(Run { session, .. }) = self.sessions.get_mut(&id) {
            session.handle_stored(number, stored(fate));
        }
    }

    pub(super) fn drain_session(&mut self, now: Moment, id: SessionId, bodies: &dyn Bodies) {
        // Taken out, so that an offer can borrow the rest of the replica.
        let Some(mut run) = self.sessions.remove(&id) else { return };
        loop {
            match run.session.poll_output(&self.store, bodies) {
                None => {
                    self.sessions.insert(id, run);
                    break;
                }
                Some(sync::Output::Done) => {
                    let report = run.session.report().clone();
                    self.note_converged(&report, run.mark);
                    self.cluster.handle_synced(now, run.peer, outcome(&report));
                    self.peers.handle_ended(run.peer, &report, run.root);
                    self.outbox.push_back(Output::Synced(id, report));
                    break;
                }
                Some(sync::Output::Yield) => self.outbox.push_back(Output::Yield(id)),
                Some(sync::Output::Call(number, request)) => {
                    self.outbox.push_back(Output::Call(id, number, request));
                }
                Some(sync::Output::Offer(number, sealed)) => {
                    let ticket = ticket_of(id, number);
                    if let Some(fate) = self.take(ticket, sealed, Arrival::Given, bodies) {
                        run.session.handle_stored(number, stored(fate));
                    }
                }
            }
        }
        self.start_write(now);
        self.check();
    }
}

fn outcome(report: &SessionReport) -> Outcome {
    Outcome {
        is_useless: report.is_useless,
        is_whole: report.error.is_none(),
        held: report.peer_count,
        sent: report.sent,
    }
}

/// The end of a session's offer: whether the assertion was new, or why it was not taken.
fn stored(fate: Fate) -> Stored {
    match fate {
        Fate::Created => Stored::New,
        Fate::Exists => Stored::Known,
        Fate::Refused(refusal) => Stored::Failed(refusal.to_string()),
    }
}
