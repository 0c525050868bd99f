//! Every lens and filter against plain lists: what counts, who wins, how sure that is, what is
//! listed.
//!
//! In: claims. Out: answers of whole scans over a store in memory, in slices and passes as a node
//! makes them. Never: a file.

mod conflicts;
mod lists;
mod model;
mod random;
mod statements;
mod successions;
mod world;
