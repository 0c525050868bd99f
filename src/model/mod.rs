//! What an assertion is: a signed or unsigned claim about a subject, and the rules it keeps.
//!
//! In: a [`Draft`]. Out: an [`Assertion`] that keeps every rule, and its canonical
//! bytes as [`Sealed`]. What the rules are stands in `draft.rs` and in `docs/wire.md`.
//!
//! Never: reads a clock, knows JSON or a peer, changes an assertion once it is made.
//!
//! ```
//! use stemedb_edge::base::{HlcClock, NodeId, Wall};
//! use stemedb_edge::model::{Draft, Object, Sealed, signature};
//!
//! let draft = Draft::new("sky".into(), "is blue".into(), Object::Boolean(true));
//! let mut clock = HlcClock::new(NodeId([1; 16]));
//! let assertion = draft.check(&mut clock, Wall(1_700_000_000_000)).expect("it keeps the rules");
//! signature::verify(&assertion).expect("an unsigned one is fine");
//! let sealed = assertion.seal();
//! let opened = Sealed::open(sealed.digest(), sealed.bytes().clone()).expect("its digest");
//! assert_eq!(opened.assertion(), Some(assertion));
//! ```

mod assertion;
pub mod canonical;
mod conflicts;
mod cursor;
mod draft;
mod layout;
mod listing;
pub mod query;
pub mod signature;
mod statement;

#[cfg(test)]
mod tests;

pub use assertion::{Assertion, Author, Lifecycle, Object, Signature, SourceClass};
pub use canonical::{Malformed, Sealed};
pub use conflicts::ConflictsQuery;
pub use cursor::{Cursor, RowNumbering};
pub use draft::{Draft, Invalid, InvalidKind};
pub use listing::{Listing, NameKind};
pub use query::{BadQuery, HalfLife, Lens, Lifecycles, Query, Voices};
pub use statement::{RootAgents, Said, Statement};
