//! What an index says of a log that it does not fit.
//!
//! In: the runs that can be opened. Out: each record that they know and that is not here. Never:
//! trusts a run with a page that is not what was written.

use crate::base::Digest;
use crate::journal::Position;
use crate::store::Run;

/// What an index says of a log.
#[derive(Debug)]
pub struct Evidence {
    /// It knows every record before this position.
    pub(super) end: Position,
    /// How many records these are.
    pub(super) count: u64,
    /// Those that can be opened.
    runs: Vec<Option<Run>>,
}

impl Evidence {
    pub(super) fn new(end: Position, count: u64, runs: Vec<Option<Run>>) -> Evidence {
        Evidence { end, count, runs }
    }

    /// Shows the records that are not here; false: there may be others, in a run that cannot be
    /// read.
    pub(super) fn missing(
        &self,
        is_here: &dyn Fn(&Digest) -> bool,
        see: &mut dyn FnMut(&Digest, Position),
    ) -> bool {
        let mut is_all = true;
        for run in &self.runs {
            match run.as_ref().filter(|run| run.is_whole()) {
                Some(run) => run.records(&mut |digest, at| {
                    if !is_here(digest) {
                        see(digest, at);
                    }
                }),
                None => is_all = false,
            }
        }
        is_all
    }
}
