//! What a search for conflicts asks for.
//!
//! In: names and values, as a URL has them. Out: a [`ConflictsQuery`] within its bounds. Never:
//! looks anything up.

use super::query::{BadQuery, Query, bad, parse_name};

/// Which pairs of a subject and a predicate are asked about, and how their claims are judged.
#[derive(Clone, PartialEq, Debug)]
pub struct ConflictsQuery {
    /// How claims are judged, and how many pairs are listed at most. It has no subject.
    pub of: Query,
    /// What the subject begins with.
    pub prefix: String,
    /// The least score, 0 to 1.
    pub min_score: f64,
}

impl Default for ConflictsQuery {
    fn default() -> ConflictsQuery {
        ConflictsQuery { of: Query::default(), prefix: String::new(), min_score: 0.0 }
    }
}

impl ConflictsQuery {
    /// Takes one parameter of a URL; of two with the same name the later one stays.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), BadQuery> {
        match name {
            "prefix" => self.prefix = parse_name("prefix", value)?,
            "min_score" => {
                let within = |score: &f64| (0.0..=1.0).contains(score);
                let score = value.parse().ok().filter(within);
                self.min_score = score.ok_or_else(|| bad("min_score", value, "0 to 1"))?;
            }
            name => self.of.set(name, value)?,
        }
        Ok(())
    }
}
