//! What `POST /v1/assert/batch` answers: an object a line.
//!
//! In: the number of a line, and what became of its claim. Out: a line of the answer, with its line
//! feed. Never: knows a status.

use super::answer::{Presence, error, write_asserted};
use crate::base::Digest;

/// The claim of a line was taken.
pub fn taken(line: u64, digest: &Digest, presence: Presence, out: &mut String) {
    begin(line, out);
    write_asserted(digest, presence, out);
    out.push_str("}\n");
}

/// The claim of a line was not taken.
pub fn refused(line: u64, code: &str, message: &str, out: &mut String) {
    begin(line, out);
    // The same object as of an error of a request, behind the number.
    let error = error(code, message);
    out.push_str(&error[1..]);
    out.push('\n');
}

fn begin(line: u64, out: &mut String) {
    out.push_str("{\"line\":");
    out.push_str(&line.to_string());
    out.push(',');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_is_an_object() {
        let mut out = String::new();
        taken(7, &Digest([0xab; 32]), Presence::New, &mut out);
        refused(12, "bad_json", "line 12 column 1: \"no\"\n", &mut out);
        let hash = "ab".repeat(32);
        let first = format!("{{\"line\":7,\"hash\":\"{hash}\",\"status\":\"created\"}}\n");
        let second = "{\"line\":12,\"error\":{\"code\":\"bad_json\",\
                      \"message\":\"line 12 column 1: \\\"no\\\"\\n\"}}\n";
        assert_eq!(out, first + second);
    }
}
