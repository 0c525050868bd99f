//! The object and the stamp of a claim, as answers show them.
//!
//! In: values of the model. Out: what nanoserde writes. Never: writes a number that is not finite.

use nanoserde::{SerJson, SerJsonState};

use super::text::{Hex, Text};
use crate::base::Hlc;
use crate::model::Object;

#[derive(SerJson)]
struct ObjectBody<'a> {
    #[nserde(rename = "type")]
    kind: Text<'a>,
    value: ValueBody<'a>,
}

enum ValueBody<'a> {
    Text(&'a str),
    Number(f64),
    Boolean(bool),
}

impl SerJson for ValueBody<'_> {
    fn ser_json(&self, depth: usize, state: &mut SerJsonState) {
        match self {
            ValueBody::Text(text) => Text(text).ser_json(depth, state),
            ValueBody::Number(number) => {
                assert!(number.is_finite(), "the model lets no other number in");
                number.ser_json(depth, state);
            }
            ValueBody::Boolean(boolean) => boolean.ser_json(depth, state),
        }
    }
}

/// An object with its type.
pub(super) struct ShownObject<'a>(pub(super) &'a Object);

impl SerJson for ShownObject<'_> {
    fn ser_json(&self, depth: usize, state: &mut SerJsonState) {
        let value = match self.0 {
            Object::Text(text) | Object::Reference(text) => ValueBody::Text(text),
            Object::Number(number) => ValueBody::Number(*number),
            Object::Boolean(boolean) => ValueBody::Boolean(*boolean),
        };
        ObjectBody { kind: Text(self.0.kind()), value }.ser_json(depth, state);
    }
}

#[derive(SerJson)]
struct HlcBody<'a> {
    time: u64,
    counter: u32,
    node: Hex<'a>,
}

/// A stamp, field by field.
pub(super) struct ShownHlc<'a>(pub(super) &'a Hlc);

impl SerJson for ShownHlc<'_> {
    fn ser_json(&self, depth: usize, state: &mut SerJsonState) {
        let Hlc { time, counter, node } = self.0;
        HlcBody { time: *time, counter: *counter, node: Hex(&node.0) }.ser_json(depth, state);
    }
}
