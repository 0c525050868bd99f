//! Adds a signature to a body without touching what stands in it.
//!
//! In: a line, and the draft that it says. Out: the same line with a signature, and a timestamp
//! where there was none, since a signature needs one. The signature bears the claim's own time, so
//! that the same line signed again is the same assertion.
//!
//! Never: writes a field anew: numbers and texts stay as their author wrote them.

use std::ops::Range;

use super::lines::{self, Unfit};
use crate::base::digest::hex;
use crate::base::{HlcClock, NodeId, Wall, limits};
use crate::model::signature::Signer;
use crate::model::{Draft, Signature};
use crate::wire::json;
use crate::wire::rejection::Rejection;

/// The line with a signature of `signer` added, or as it is if that agent signed it already.
pub(super) fn signed(line: Vec<u8>, signer: &Signer, now: Wall) -> Result<Vec<u8>, Unfit> {
    let draft = json::parse_draft(&line).map_err(Rejection::from)?;
    let signed = sign(line, draft, signer, now)?;
    match signed.len() {
        bytes if bytes > limits::HTTP_BODY_BYTES_MAX => Err(lines::too_long(bytes as u64)),
        _ => Ok(signed),
    }
}

/// The line as it is if the agent signed it already.
fn sign(line: Vec<u8>, mut draft: Draft, signer: &Signer, now: Wall) -> Result<Vec<u8>, Unfit> {
    let agent_id = signer.agent_id();
    if draft.signatures.iter().any(|signature| signature.agent_id == agent_id) {
        return Ok(line);
    }
    let fields = top_fields(&line).filter(|fields| {
        (fields.timestamp.is_some() || draft.timestamp.is_none())
            && (fields.signatures.is_some() || draft.signatures.is_empty())
    });
    let Some(fields) = fields else {
        return Err(Unfit {
            code: "unsignable",
            message: "timestamp and signatures must be written plainly and once to be signed"
                .into(),
        });
    };
    let (is_timed, is_signed) = (draft.timestamp.is_some(), !draft.signatures.is_empty());
    let timestamp = *draft.timestamp.get_or_insert(now.seconds());
    // The stamp is no part of what is signed, so that any clock will do.
    let checked = draft.check(&mut HlcClock::new(NodeId::NONE), now);
    let claim = checked.map_err(Rejection::Invalid)?;
    let signature = signature_json(&signer.sign(&claim, timestamp));
    let timestamp = (!is_timed).then(|| timestamp.to_string());
    Ok(spliced(&line, &fields, timestamp, signature, is_signed))
}

fn signature_json(signature: &Signature) -> String {
    format!(
        r#"{{"agent_id":"{}","signature":"{}","timestamp":{}}}"#,
        hex(&signature.agent_id),
        hex(&signature.signature),
        signature.timestamp
    )
}

fn spliced(
    line: &[u8],
    fields: &Fields,
    timestamp: Option<String>,
    signature: String,
    is_signed: bool,
) -> Vec<u8> {
    let mut edits: Vec<(Range<usize>, String)> = Vec::new();
    let front = fields.open..fields.open;
    match (timestamp, &fields.timestamp) {
        (None, _) => {}
        (Some(text), Some(null)) => edits.push((null.clone(), text)),
        (Some(text), None) => edits.push((front.clone(), format!(r#""timestamp":{text},"#))),
    }
    match &fields.signatures {
        // Right after the bracket, before the signatures of others.
        Some(list) if is_signed => {
            edits.push((list.start + 1..list.start + 1, format!("{signature},")));
        }
        Some(empty) => edits.push((empty.clone(), format!("[{signature}]"))),
        None => edits.push((front, format!(r#""signatures":[{signature}],"#))),
    }
    edits.sort_by_key(|(range, _)| range.start);
    let mut out = Vec::with_capacity(line.len() + 320);
    let mut copied = 0;
    for (range, text) in edits {
        out.extend_from_slice(&line[copied..range.start]);
        out.extend_from_slice(text.as_bytes());
        copied = range.end;
    }
    out.extend_from_slice(&line[copied..]);
    out
}

/// Where things stand in the object of a line.
#[derive(PartialEq, Eq, Debug)]
struct Fields {
    /// Right after its opening brace.
    open: usize,
    /// Where the value of `timestamp` is in the line.
    timestamp: Option<Range<usize>>,
    /// Where the value of `signatures` is in the line.
    signatures: Option<Range<usize>>,
}

/// Finds the two fields in an object that a parser found well-formed; `None` if one of them is
/// there twice, or if the line is not what the parser said.
fn top_fields(line: &[u8]) -> Option<Fields> {
    let mut at = skip_blanks(line, 0);
    if *line.get(at)? != b'{' {
        return None;
    }
    at += 1;
    let mut fields = Fields { open: at, timestamp: None, signatures: None };
    loop {
        at = skip_blanks(line, at);
        match *line.get(at)? {
            b'}' => return Some(fields),
            b',' => at += 1,
            b'"' => {
                let key = at..skip_text(line, at)?;
                at = skip_blanks(line, key.end);
                if *line.get(at)? != b':' {
                    return None;
                }
                at = skip_blanks(line, at + 1);
                let value = at..skip_value(line, at)?;
                at = value.end;
                let slot = match &line[key] {
                    b"\"timestamp\"" => &mut fields.timestamp,
                    b"\"signatures\"" => &mut fields.signatures,
                    _ => continue,
                };
                if slot.replace(value).is_some() {
                    return None;
                }
            }
            _ => return None,
        }
    }
}

fn skip_blanks(line: &[u8], mut at: usize) -> usize {
    while line.get(at).is_some_and(u8::is_ascii_whitespace) {
        at += 1;
    }
    at
}

/// From an opening quote to past its closing one.
fn skip_text(line: &[u8], start: usize) -> Option<usize> {
    let mut at = start + 1;
    loop {
        match *line.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// From the start of a value to the comma, brace or blank after it.
fn skip_value(line: &[u8], start: usize) -> Option<usize> {
    let mut at = start;
    let mut depth = 0;
    loop {
        match *line.get(at)? {
            b'"' => at = skip_text(line, at)?,
            b'{' | b'[' => (at, depth) = (at + 1, depth + 1),
            b'}' | b']' if depth > 0 => (at, depth) = (at + 1, depth - 1),
            byte if depth == 0 && (b",}]".contains(&byte) || byte.is_ascii_whitespace()) => {
                return (at > start).then_some(at);
            }
            _ => at += 1,
        }
        if depth == 0 && matches!(line[at - 1], b'"' | b'}' | b']') {
            return Some(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Object, signature};

    const NOW: Wall = Wall(1_800_000_000_123);

    fn draft(timestamp: Option<u64>, signatures: Vec<Signature>) -> Draft {
        let object = Object::Number(0.1);
        let draft = Draft::new("s".to_string(), "p".to_string(), object);
        Draft { timestamp, signatures, ..draft }
    }

    fn try_sign(line: &str, draft: Draft) -> Result<String, Unfit> {
        let signer = Signer::new(&[7; 32]);
        let line = sign(line.as_bytes().to_vec(), draft, &signer, NOW)?;
        Ok(String::from_utf8(line).expect("was text and stays text"))
    }

    /// The signature that belongs to `draft(Some(timestamp), _)`, verified.
    fn expected(timestamp: u64) -> String {
        let signer = Signer::new(&[7; 32]);
        let check = |draft: Draft| {
            draft.check(&mut HlcClock::new(NodeId::NONE), NOW).expect("keeps the rules")
        };
        let made = signer.sign(&check(draft(Some(timestamp), Vec::new())), timestamp);
        let whole = check(draft(Some(timestamp), vec![made]));
        assert_eq!(signature::verify(&whole), Ok(()));
        signature_json(&made)
    }

    #[test]
    fn only_what_is_missing_is_added() {
        let (old, new) = (expected(5), expected(1_800_000_000));
        for (line, timestamp, wanted) in [
            (
                r#" {"subject":"s","confidence":1.00,"timestamp":5,}"#,
                Some(5),
                format!(
                    r#" {{"signatures":[{old}],"subject":"s","confidence":1.00,"timestamp":5,}}"#
                ),
            ),
            (
                r#"{"subject":"s"}"#,
                None,
                format!(r#"{{"timestamp":1800000000,"signatures":[{new}],"subject":"s"}}"#),
            ),
            (
                r#"{"signatures":[ ] ,"timestamp": null }"#,
                None,
                format!(r#"{{"signatures":[{new}] ,"timestamp": 1800000000 }}"#),
            ),
            (
                r#"{"timestamp":5,"signatures":null,"object":{"timestamp":"}\""}}"#,
                Some(5),
                format!(
                    r#"{{"timestamp":5,"signatures":[{old}],"object":{{"timestamp":"}}\""}}}}"#
                ),
            ),
        ] {
            assert_eq!(try_sign(line, draft(timestamp, Vec::new())), Ok(wanted));
        }
    }

    #[test]
    fn signatures_of_others_stay_and_none_is_made_twice() {
        let other = Signature { agent_id: [9; 32], signature: [1; 64], timestamp: 5 };
        let line = format!(r#"{{"timestamp":5,"signatures":[{}]}}"#, signature_json(&other));
        let twice = try_sign(&line, draft(Some(5), vec![other])).expect("can be signed");
        let wanted = format!("[{},{}]", expected(5), signature_json(&other));
        assert!(twice.contains(&wanted), "{twice}");
        let own = Signature { agent_id: Signer::new(&[7; 32]).agent_id(), ..other };
        assert_eq!(try_sign("{}", draft(Some(5), vec![own])), Ok("{}".to_string()));
    }

    #[test]
    fn what_the_scanner_cannot_place_is_refused() {
        for line in [
            r#"{"\u0074imestamp":5}"#,
            r#"{"timestamp":5,"timestamp":5}"#,
            r#"[{"timestamp":5}]"#,
            r#"{"timestamp":5"#,
            r#"{"timestamp""#,
            r#"{"timestamp"#,
            r#"{"timestamp":"#,
            r#"{"a\"#,
            "",
        ] {
            let refused = try_sign(line, draft(Some(5), Vec::new()));
            assert!(refused.is_err_and(|unfit| unfit.code == "unsignable"), "{line}");
        }
        let empty = Draft { subject: String::new(), ..draft(None, Vec::new()) };
        assert!(try_sign("{}", empty).is_err_and(|unfit| unfit.code == "invalid_assertion"));
    }

    #[test]
    fn a_signed_line_is_a_body_whose_signature_verifies() {
        let signer = Signer::new(&[7; 32]);
        for fields in [r#""timestamp":5"#, r#""timestamp":null,"signatures":[]"#, r#""expires":7"#]
        {
            let object = r#"{"type":"Number","value":1e2}"#;
            let line =
                format!(r#"{{"subject":"\u00e4","predicate":"p","object":{object},{fields}}}"#);
            let line = signed(line.into_bytes(), &signer, NOW).expect("can be signed");
            let draft = json::parse_draft(&line).expect("is still a body");
            assert_eq!(draft.signatures.len(), 1);
            let claim =
                draft.check(&mut HlcClock::new(NodeId::NONE), NOW).expect("keeps the rules");
            assert_eq!(signature::verify(&claim), Ok(()));
            assert_eq!(signed(line.clone(), &signer, NOW), Ok(line), "not twice");
        }
        let refused = signed(b"{\"subject\":1}".to_vec(), &signer, NOW);
        assert!(refused.is_err_and(|unfit| unfit.code == "bad_json"));
    }

    #[test]
    fn no_input_makes_the_scanner_fall() {
        let mut random = fastrand::Rng::with_seed(3);
        let letters = br#"{}[]",:\ 0a"#;
        for _ in 0..200_000 {
            let length = random.usize(..20);
            let mut line: Vec<u8> = vec![b'{'];
            line.extend((0..length).map(|_| letters[random.usize(..letters.len())]));
            if let Some(fields) = top_fields(&line) {
                assert!(fields.open <= line.len());
            }
        }
    }
}
