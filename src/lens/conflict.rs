//! How serious it is that claims disagree.
//!
//! In: values, their score, the classes of their sources. Out: [`ConflictClass`]. Never: says who
//! is right.

use crate::model::SourceClass;

/// From this score on a conflict may be active.
const ACTIVE_SCORE_MIN: f64 = 0.4;
/// The class of least authority whose word makes a conflict active.
const ACTIVE_CLASS: SourceClass = SourceClass::Observational;

/// How serious a conflict is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ConflictClass {
    /// One value, or none.
    Unanimous,
    /// Several values.
    Disagreement,
    /// Several values that disagree much, two of them at least from sources of authority.
    Active,
}

impl ConflictClass {
    /// Of values that disagree by a score, each with the best class of its sources.
    pub(super) fn of(classes: impl Iterator<Item = Option<SourceClass>>, score: f64) -> Self {
        let (mut values, mut sides) = (0, 0);
        for class in classes {
            values += 1;
            // A lower class has more authority.
            sides += u32::from(class.is_some_and(|class| class <= ACTIVE_CLASS));
        }
        match values {
            0 | 1 => ConflictClass::Unanimous,
            _ if score >= ACTIVE_SCORE_MIN && sides > 1 => ConflictClass::Active,
            _ => ConflictClass::Disagreement,
        }
    }

    /// Its name, as the HTTP API gives it.
    pub fn name(self) -> &'static str {
        match self {
            ConflictClass::Unanimous => "none",
            ConflictClass::Disagreement => "disagreement",
            ConflictClass::Active => "active_disagreement",
        }
    }
}
