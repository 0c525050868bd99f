//! Every lens against plain lists: what counts, who wins, how sure that is.
//!
//! In: claims. Out: answers of whole scans over a store in memory, in slices and passes as a node
//! makes them. Never: a file.

mod conflicts;
mod model;
mod random;
mod statements;
mod successions;
mod world;
