//! What every connection of a server is served with.
//!
//! In: nothing. Out: the parts side by side. Never: does anything with them.

use std::rc::Rc;

use super::links::Links;
use super::methods::Methods;
use super::state::ServerState;

/// The table of methods, the list of connections, and what these know of each other.
pub(super) struct Shared {
    pub(super) methods: Methods,
    pub(super) links: Rc<Links>,
    pub(super) state: Rc<ServerState>,
}
