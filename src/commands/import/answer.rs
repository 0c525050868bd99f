//! What the node's answers mean for the lines that were sent.
//!
//! In: a line of the answer to a batch, or an answer to all of it. Out: a fate, or whether it is
//! worth another try. Never: trusts the text of an answer further than its shape.

use hyper::StatusCode;
use nanoserde::DeJson;

use super::tally::Fate;

/// Errors that pass by themselves.
const BUSY: [&str; 6] =
    ["busy", "read_only", "no_descriptors", "at_capacity", "timeout", "replica_overloaded"];
/// Errors that every later line would get, too.
const FULL: [&str; 3] = ["disk_budget", "disk_full", "index_unwritable"];

/// What an answer means for lines whose fate it does not say.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// The node cannot take them now.
    Busy(String),
    /// The node will take no line.
    Hopeless(String),
}

/// A line of the answer to a batch.
pub(super) struct LineAnswer(LineBody);

#[derive(DeJson)]
struct LineBody {
    /// The line of the request, from 1.
    line: u64,
    /// Empty beside an error.
    #[nserde(default)]
    status: String,
    #[nserde(default)]
    error: Problem,
}

#[derive(DeJson)]
struct Refused {
    error: Problem,
}

#[derive(DeJson, Default)]
struct Problem {
    code: String,
    message: String,
}

impl LineAnswer {
    /// `None`: it is no such line.
    pub(super) fn read(text: &[u8]) -> Option<LineAnswer> {
        LineBody::deserialize_json(std::str::from_utf8(text).ok()?).ok().map(LineAnswer)
    }

    /// Where the line is in the request, from 0.
    pub(super) fn index(&self) -> Option<usize> {
        usize::try_from(self.0.line).ok()?.checked_sub(1)
    }

    /// The fate of the line, or what else its answer means.
    pub(super) fn verdict(&self) -> Result<Fate, Verdict> {
        let Problem { code, message } = &self.0.error;
        match (&*self.0.status, &**code) {
            ("created", "") => Ok(Fate::Created),
            ("exists", "") => Ok(Fate::Existed),
            ("", code) if BUSY.contains(&code) => {
                Err(Verdict::Busy(format!("it answers {code}: {message}")))
            }
            ("", code) if FULL.contains(&code) => {
                Err(Verdict::Hopeless(format!("it answers {code}: {message}")))
            }
            ("", code) if !code.is_empty() => {
                // The node sees the lines of a request; the number in the input is ours to say.
                let own = format!("line {} ", self.0.line);
                let message = message.strip_prefix(&own).unwrap_or(message);
                Ok(Fate::Refused { code: code.to_string(), message: message.to_string() })
            }
            _ => Err(Verdict::Hopeless("its answer has lines without a status".to_string())),
        }
    }
}

/// What an answer to a whole batch means, other than 200.
pub(super) fn judge(status: StatusCode, answer: &[u8]) -> Verdict {
    let text = String::from_utf8_lossy(answer);
    let message = match Refused::deserialize_json(&text) {
        Ok(Refused { error: Problem { message, .. } }) => message,
        Err(_) => "no reason given".to_string(),
    };
    match status.as_u16() {
        408 | 429 | 500 | 502 | 503 | 504 => {
            Verdict::Busy(format!("it answers {status}: {message}"))
        }
        401 | 403 | 507 => Verdict::Hopeless(format!("it answers {status}: {message}")),
        _ => Verdict::Hopeless(format!(
            "it answers {status} to POST /v1/assert/batch, is that the API of a stemedb node?"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Result<Fate, Verdict> {
        LineAnswer::read(text.as_bytes()).expect("a line of an answer").verdict()
    }

    #[test]
    fn lines_become_fates_or_patience_or_an_end() {
        assert_eq!(line(r#"{"line":1,"hash":"00","status":"created"}"#), Ok(Fate::Created));
        assert_eq!(line(r#"{"status":"exists","line":3,"more":[1]}"#), Ok(Fate::Existed));
        let refused = r#"{"line":7,"error":{"code":"bad_json","message":"line 7 column 3: no"}}"#;
        let fate = Fate::Refused { code: "bad_json".into(), message: "column 3: no".into() };
        assert_eq!(line(refused), Ok(fate));
        for code in BUSY {
            let text = format!(r#"{{"line":1,"error":{{"code":"{code}","message":""}}}}"#);
            assert!(matches!(line(&text), Err(Verdict::Busy(_))), "{code}");
        }
        for code in FULL {
            let text = format!(r#"{{"line":1,"error":{{"code":"{code}","message":""}}}}"#);
            assert!(matches!(line(&text), Err(Verdict::Hopeless(_))), "{code}");
        }
        assert!(matches!(line(r#"{"line":1}"#), Err(Verdict::Hopeless(_))));
        for other in ["", "<html>", "{}", r#"{"line":"x"}"#] {
            assert!(LineAnswer::read(other.as_bytes()).is_none(), "{other}");
        }
    }

    #[test]
    fn answers_to_all_lines_mean_patience_or_an_end() {
        let judged = |status: u16, answer: &str| {
            judge(StatusCode::from_u16(status).expect("a status"), answer.as_bytes())
        };
        for busy in [408, 429, 500, 502, 503, 504] {
            assert!(matches!(judged(busy, "{}"), Verdict::Busy(_)), "{busy}");
        }
        let full = r#"{"error":{"code":"full","message":"the disk budget is used up"}}"#;
        for (status, answer) in [(507, full), (403, ""), (404, ""), (415, full), (204, "")] {
            assert!(matches!(judged(status, answer), Verdict::Hopeless(_)), "{status}");
        }
    }
}
