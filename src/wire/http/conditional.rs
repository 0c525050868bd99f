//! Conditional reads of one assertion (RFC 9110, section 13; RFC 8246).
//!
//! In: an assertion, and the headers of a request. Out: the tag of what is shown of it, how long
//! that may be kept, and whether the client has it. Never: knows what else an answer says.

use http::header::{HeaderMap, HeaderValue, IF_NONE_MATCH};

use crate::base::Wall;
use crate::model::Sealed;

/// What tells one representation of an assertion from another, and how long it holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Validators {
    /// `ETag`.
    pub tag: HeaderValue,
    /// `Cache-Control`.
    pub cache: HeaderValue,
}

impl Validators {
    /// Of what is shown of an assertion at a time. An id names bytes that never change; what is
    /// shown besides are `not_yet` and `expired`, until the time of both has come. `is_keyed`: the
    /// node asks for a key, which a cache that several clients share does not know.
    pub fn of(sealed: &Sealed, now: Wall, is_keyed: bool) -> Validators {
        let (mut state, mut is_settled) = ("", true);
        if let Some(assertion) = sealed.assertion() {
            let is_over = assertion.is_over(now);
            let is_early = now.is_before(assertion.hlc.time);
            state = match (is_early, is_over) {
                (false, false) => "",
                (true, false) => "-not-yet",
                (false, true) => "-expired",
                (true, true) => "-not-yet-expired",
            };
            is_settled = !is_early && (is_over || assertion.expires.is_none());
        }
        let tag = HeaderValue::from_str(&format!("\"{}{state}\"", sealed.digest()));
        let cache = match (is_settled, is_keyed) {
            (true, false) => "public, max-age=31536000, immutable",
            (true, true) => "private, max-age=31536000, immutable",
            // It changes at a time that no cache has to know.
            (false, false) => "no-cache",
            (false, true) => "private, no-cache",
        };
        let tag = tag.expect("hex and hyphens");
        Validators { tag, cache: HeaderValue::from_static(cache) }
    }

    /// Whether `If-None-Match` names it: weakly compared, as RFC 9110 13.1.2 has it.
    pub fn are_known(&self, headers: &HeaderMap) -> bool {
        let own = self.tag.as_bytes();
        let lines = headers.get_all(IF_NONE_MATCH).into_iter();
        let mut named = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
        named.any(|tag| {
            let tag = tag.trim_ascii();
            tag == b"*" || tag.strip_prefix(b"W/").unwrap_or(tag) == own
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{HlcClock, NodeId};
    use crate::model::{Draft, Object};

    fn of(timestamp: u64, expires: Option<u64>, now: u64) -> (String, String) {
        let mut draft = Draft::new("s".into(), "p".into(), Object::Boolean(true));
        draft.timestamp = Some(timestamp);
        draft.expires = expires;
        let mut clock = HlcClock::new(NodeId::NONE);
        let sealed = draft.check(&mut clock, Wall(0)).expect("a good draft").seal();
        let validators = Validators::of(&sealed, Wall(now * 1000), false);
        let digest = sealed.digest().to_string();
        let text = |value: &HeaderValue| value.to_str().expect("ASCII").replace(&digest, "HASH");
        (text(&validators.tag), text(&validators.cache))
    }

    #[test]
    fn what_can_change_is_asked_for_again_and_has_another_tag() {
        let immutable = "public, max-age=31536000, immutable";
        for (timestamp, expires, tag, cache) in [
            (100, None, "\"HASH\"", immutable),
            (100, Some(50), "\"HASH-expired\"", immutable),
            (100, Some(2000), "\"HASH\"", "no-cache"),
            (2000, None, "\"HASH-not-yet\"", "no-cache"),
            (2000, Some(50), "\"HASH-not-yet-expired\"", "no-cache"),
        ] {
            assert_eq!(of(timestamp, expires, 1000), (tag.to_owned(), cache.to_owned()));
        }
    }
}
