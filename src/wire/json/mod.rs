//! JSON, in and out.
//!
//! In: assert bodies from outside, what the modules below answer. Out: drafts and text. Bodies are
//! read by a strict reader of our own, answers are written by nanoserde: `ARCHITECTURE.md` says
//! why.
//!
//! Never: derives anything on a type of the model.

pub mod answer;
pub mod batch;
mod clock;
pub mod cluster;
mod draft;
mod fields;
pub mod health;
mod lens;
mod names;
mod reader;
pub(super) mod text;
mod value;

#[cfg(test)]
mod tests;

pub use draft::{AssertBody, fuzz, parse as parse_draft, parse_body, parse_vote};
pub use reader::Malformed;
pub use text::quoted;
