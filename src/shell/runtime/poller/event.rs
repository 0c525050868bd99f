//! What a wait reports.
//!
//! Never: says more than the kernel did.

/// Events taken by one wait.
pub(super) const EVENTS_MAX: usize = 256;

/// What became of one descriptor since the last wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event {
    /// What the descriptor was added with.
    pub(crate) key: u64,
    /// A read may find something.
    pub(crate) is_readable: bool,
    /// A write may find space.
    pub(crate) is_writable: bool,
    /// The peer will send no more, whatever is still to be read.
    pub(crate) has_ended: bool,
    /// Both directions are closed: a write fails at once.
    pub(crate) is_broken: bool,
}
