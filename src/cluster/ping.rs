//! What a ping without an ack means: whether to try once more, and what the membership counts it
//! as.
//!
//! In: how a try ended, as the connection showed it. Out: another try, or a failure. Never: tries
//! more than twice, takes an error of the peer for silence.

use crate::swim::Failure;

/// Why a try had no ack.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UnackedCause {
    /// The connection broke, or none could be made.
    Broken,
    /// Nothing came within the time.
    Late,
    /// The peer answered with an error.
    Error,
}

/// A try of a ping that had no ack.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unacked {
    /// Whether it was the first.
    pub is_first: bool,
    /// Whether a connection was open before it.
    pub had_connection: bool,
    /// Why there was no ack.
    pub cause: UnackedCause,
    /// The call came back to this process.
    pub is_own: bool,
    /// The host refused the connection: no process listens.
    pub is_refused: bool,
    /// A node of another cluster answered.
    pub is_foreign: bool,
}

/// What follows from a ping without an ack.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// Ping once more at once: the connection was the fault.
    Again,
    /// The ping has failed.
    Failed {
        /// What the membership counts it as.
        failure: Failure,
        /// Whether to abandon the connection, so that the next call dials.
        abandons_connection: bool,
    },
}

impl Unacked {
    /// What to do now.
    pub fn next(self) -> Next {
        // A connection that was open before the try may have been dead for hours, behind a router
        // that forgot it. That says nothing of the peer; a dial does.
        if self.is_first && self.had_connection && self.cause == UnackedCause::Broken {
            return Next::Again;
        }
        let failure = match self {
            Unacked { is_own: true, .. } => Failure::Own,
            // As if no node of ours listened there.
            Unacked { is_refused: true, .. } | Unacked { is_foreign: true, .. } => Failure::Refused,
            _ => Failure::Silent,
        };
        // On a connection that is cut, all calls would wait for their time; the address of a
        // service that led back here may lead to another node the next time.
        let is_cut = self.is_first && self.cause == UnackedCause::Late;
        Next::Failed { failure, abandons_connection: is_cut || self.is_own }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SILENT: Unacked = Unacked {
        is_first: true,
        had_connection: false,
        cause: UnackedCause::Late,
        is_own: false,
        is_refused: false,
        is_foreign: false,
    };

    fn failed(failure: Failure, abandons_connection: bool) -> Next {
        Next::Failed { failure, abandons_connection }
    }

    #[test]
    fn a_ping_is_tried_twice_only_where_an_open_connection_broke() {
        let broke = Unacked { had_connection: true, cause: UnackedCause::Broken, ..SILENT };
        assert_eq!(broke.next(), Next::Again);
        let again = Unacked { is_first: false, is_refused: true, ..broke };
        assert_eq!(again.next(), failed(Failure::Refused, false));
        let dialled = Unacked { had_connection: false, ..broke };
        assert_eq!(dialled.next(), failed(Failure::Silent, false));
        for cause in [UnackedCause::Late, UnackedCause::Error] {
            assert_ne!(Unacked { cause, ..broke }.next(), Next::Again);
        }
    }

    #[test]
    fn what_the_membership_counts_it_as() {
        assert_eq!(SILENT.next(), failed(Failure::Silent, true));
        let second = Unacked { is_first: false, ..SILENT };
        assert_eq!(second.next(), failed(Failure::Silent, false), "it has a connection of its own");
        let error = Unacked { cause: UnackedCause::Error, ..SILENT };
        assert_eq!(error.next(), failed(Failure::Silent, false));
        assert_eq!(Unacked { is_foreign: true, ..error }.next(), failed(Failure::Refused, false));
        let own = Unacked { is_own: true, is_foreign: true, ..error };
        assert_eq!(own.next(), failed(Failure::Own, true));
    }
}
