//! One method: its path, and how its calls have ended.
//!
//! In: codes of ended calls. Out: counts. Never: calls a service.

use std::cell::Cell;

use crate::wire::grpc::Code;

/// A method of a service; without names, the one that calls of unknown methods count for.
pub(super) struct Method {
    pub(super) path: String,
    pub(super) service: &'static str,
    pub(super) name: &'static str,
    by_code: [Cell<u64>; Code::ALL.len()],
}

impl Method {
    pub(super) fn new(service: &'static str, name: &'static str) -> Method {
        Method { path: format!("/{service}/{name}"), service, name, by_code: Default::default() }
    }

    /// Counts a call that ended.
    pub(super) fn count(&self, code: Code) {
        let count = &self.by_code[code as usize];
        count.set(count.get() + 1);
    }

    /// The codes that calls ended with, and how many.
    pub(super) fn counts(&self) -> impl Iterator<Item = (Code, u64)> {
        let counts = Code::ALL.into_iter().zip(&self.by_code);
        counts.map(|(code, count)| (code, count.get())).filter(|(_, count)| *count > 0)
    }
}
