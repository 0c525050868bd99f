//! The fields of a JSON object by name, and which of them an object had.
//!
//! In: the fields that an object may have. Out: the ones that it lacks, or has beside others.
//! Never: holds a value.

/// The fields that an object may have, each with its name.
pub(super) type Fields<F> = [(&'static str, F)];

/// Which of its fields an object had.
#[derive(Debug)]
pub(super) struct Seen<'f, F> {
    fields: &'f Fields<F>,
    /// A bit for each of `fields`, in their order.
    bits: u32,
}

impl<'f, F: Copy + PartialEq> Seen<'f, F> {
    pub(super) fn none(fields: &'f Fields<F>) -> Seen<'f, F> {
        debug_assert!(fields.len() <= 32, "each field has a bit");
        Seen { fields, bits: 0 }
    }

    /// Notes the field at `index`; false if it was there already.
    pub(super) fn note(&mut self, index: usize) -> bool {
        let is_new = self.bits >> index & 1 == 0;
        self.bits |= 1 << index;
        is_new
    }

    /// The name of the first field of `required` that the object lacks.
    pub(super) fn missing(&self, required: &[F]) -> Option<&'static str> {
        let lacks = |index: usize| self.bits >> index & 1 == 0;
        let mut fields = self.fields.iter().enumerate();
        let found = fields.find(|(index, (_, field))| lacks(*index) && required.contains(field));
        found.map(|(_, (name, _))| *name)
    }

    /// Whether the object has a field that is not one of these.
    pub(super) fn has_others_than(&self, fields: &[F]) -> bool {
        let has = |index: usize| self.bits >> index & 1 == 1;
        let mut all = self.fields.iter().enumerate();
        all.any(|(index, (_, field))| has(index) && !fields.contains(field))
    }
}
