//! `stemedb-edge put`, `get` and `query`: one request to a node, where there is no curl.
//!
//! In: a claim, a hash, parameters. Out: on standard output what the node answered, on standard
//! error why it did not. Never: asks twice: a claim without a timestamp would be another one.

use std::fmt::Write as _;
use std::io::{self, Read};
use std::process::ExitCode;
use std::time::Duration;

use async_executor::LocalExecutor;
use http::Method;
use nanoserde::DeJson;

use crate::base::digest::parse_hex;
use crate::base::limits;
use crate::commands::client::{self, ApiError};
use crate::commands::import;
use crate::commands::output;
use crate::config::{ApiTarget, ClaimWords, Get, ObjectKind, Put, QueryOptions};
use crate::shell::runtime::reactor;
use crate::shell::runtime::secrets;
use crate::wire::json;

/// A claim waits for a flush of a slow disk, a long query for others.
const PATIENCE: Duration = Duration::from_secs(60);

/// The node refused, or has no such assertion.
const EXIT_REFUSED: u8 = 1;
/// There is nothing to send.
const EXIT_UNUSABLE: u8 = 2;
/// The node does not answer.
const EXIT_SILENT: u8 = 3;

#[derive(DeJson)]
struct AssertedBody {
    hash: String,
    status: String,
}

#[derive(DeJson)]
struct FoundBody {
    hash: String,
}

#[derive(DeJson)]
struct PageBody {
    assertions: Vec<FoundBody>,
}

/// Puts a claim, and prints its hash and whether it is new.
pub fn put(put: &Put) -> ExitCode {
    let asked = body(put).and_then(|body| ask(&put.to, Method::POST, "/v1/assert", body));
    print(asked.and_then(|text| {
        let asserted: AssertedBody = read(&put.to, "/v1/assert", &text)?;
        Ok(format!("{} {}", asserted.hash, asserted.status))
    }))
}

/// What a node says, read as `T`: any web server answers 200 to some path.
fn read<T: DeJson>(target: &ApiTarget, path: &str, text: &str) -> Result<T, (String, u8)> {
    T::deserialize_json(text).map_err(|error| other(target, path, error.to_string()))
}

fn other(target: &ApiTarget, path: &str, why: String) -> (String, u8) {
    let error = ApiError::OtherShape(path.to_owned(), why);
    (format!("{}: {error}", target.at), EXIT_SILENT)
}

/// Prints an assertion.
pub fn get(get: &Get) -> ExitCode {
    let path = format!("/v1/assertions/{}", get.hash);
    let asked = ask(&get.from, Method::GET, &path, String::new());
    print(asked.and_then(|text| {
        let found: FoundBody = read(&get.from, &path, &text)?;
        if found.hash != get.hash.to_string() {
            return Err(other(&get.from, &path, format!("the assertion {}", found.hash)));
        }
        Ok(text)
    }))
}

/// Prints a page of assertions, and what a lens makes of them.
pub fn query(options: &QueryOptions) -> ExitCode {
    let pairs = options.parameters.iter();
    let pairs = pairs.map(|(name, value)| format!("{}={}", encoded(name), encoded(value)));
    let path = format!("/v1/query?{}", pairs.collect::<Vec<_>>().join("&"));
    let asked = ask(&options.at, Method::GET, &path, String::new());
    print(asked.and_then(|text| {
        let page: PageBody = read(&options.at, "/v1/query", &text)?;
        match page.assertions.iter().find(|found| !parse_hex(&found.hash, &mut [0; 32])) {
            Some(found) => Err(other(&options.at, "/v1/query", format!("hash {}", found.hash))),
            None => Ok(text),
        }
    }))
}

/// The answer, or why there is none and the exit code that says so.
type AnswerOrExit = Result<String, (String, u8)>;

fn ask(target: &ApiTarget, method: Method, path: &str, body: String) -> AnswerOrExit {
    let unusable = |why: String| (why, EXIT_UNUSABLE);
    let key = target.api_key.as_ref();
    let key = key.map(|key| secrets::load(key, "STEMEDB_ROOT_API_KEY")).transpose();
    let key = key.map_err(|error| unusable(error.to_string()))?;
    let reactor = reactor::current().map_err(|error| unusable(error.to_string()))?;
    let at = target.at.to_string();
    let asking = client::ask_within(PATIENCE, &at, method, path, body, key.as_ref());
    let failed = |error: ApiError, code| (format!("{at}: {error}"), code);
    match reactor.block_on(&LocalExecutor::new(), asking) {
        Ok((status, text)) if status.is_success() => Ok(text),
        Ok((status, text)) => {
            let path = path.split('?').next().unwrap_or(path).to_owned();
            Err(failed(ApiError::Status(path, status, text), EXIT_REFUSED))
        }
        Err(error) => Err(failed(error, EXIT_SILENT)),
    }
}

fn print(asked: AnswerOrExit) -> ExitCode {
    match asked {
        Ok(text) => output::print(&format!("{text}\n"), 0),
        Err((why, code)) => output::fail(&why, code),
    }
}

fn body(put: &Put) -> AnswerOrExit {
    let unusable = |why: String| (why, EXIT_UNUSABLE);
    let mut body = match &put.claim {
        Some(claim) => body_of(claim).into_bytes(),
        None => read_body().map_err(unusable)?,
    };
    if let Some(file) = &put.key {
        body = import::signed(body, file).map_err(unusable)?;
    }
    String::from_utf8(body).map_err(|_| unusable("the body is not UTF-8".to_owned()))
}

fn read_body() -> Result<Vec<u8>, String> {
    let max = limits::HTTP_BODY_BYTES_MAX;
    let mut body = Vec::new();
    let read = io::stdin().take(max as u64 + 1).read_to_end(&mut body);
    read.map_err(|error| format!("reading the standard input: {error}"))?;
    match body.len() > max {
        true => Err(format!("the body is too large, at most {max} bytes are allowed")),
        false => Ok(body),
    }
}

/// The body that `POST /v1/assert` takes.
fn body_of(claim: &ClaimWords) -> String {
    let [subject, predicate, value] = &claim.words;
    let (kind, value) = match claim.kind {
        ObjectKind::Text => ("Text", json::quoted(value)),
        ObjectKind::Reference => ("Reference", json::quoted(value)),
        ObjectKind::Number => ("Number", value.clone()),
        ObjectKind::Boolean => ("Boolean", value.clone()),
    };
    let (subject, predicate) = (json::quoted(subject), json::quoted(predicate));
    let object = format!(r#"{{"type":"{kind}","value":{value}}}"#);
    let mut body = format!(r#"{{"subject":{subject},"predicate":{predicate},"object":{object}"#);
    for (name, value, is_number) in &claim.fields {
        let value = if *is_number { value.clone() } else { json::quoted(value) };
        write!(body, r#","{name}":{value}"#).expect("writing to a String cannot fail");
    }
    body + "}"
}

/// Percent-encoded, but for what RFC 3986 calls unreserved.
fn encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => out.push(char::from(byte)),
            _ => write!(out, "%{byte:02X}").expect("writing to a String cannot fail"),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_become_a_body_whatever_is_in_them() {
        let claim = |kind, value: &str| ClaimWords {
            words: ["a \"quoted\" \\ s".to_owned(), "p\n".to_owned(), value.to_owned()],
            kind,
            fields: vec![
                ("confidence", "0.50".to_owned(), true),
                ("lifecycle", "Approved\",\"x\":\"".to_owned(), false),
            ],
        };
        assert_eq!(
            body_of(&claim(ObjectKind::Number, "1e2")),
            "{\"subject\":\"a \\\"quoted\\\" \\\\ s\",\"predicate\":\"p\\n\",\
             \"object\":{\"type\":\"Number\",\"value\":1e2},\"confidence\":0.50,\
             \"lifecycle\":\"Approved\\\",\\\"x\\\":\\\"\"}"
        );
        let text = body_of(&claim(ObjectKind::Text, "1e2"));
        assert!(text.contains("{\"type\":\"Text\",\"value\":\"1e2\"}"), "{text}");
    }

    #[test]
    fn what_separates_parameters_is_escaped() {
        assert_eq!(encoded("a-b.c_d~9"), "a-b.c_d~9");
        assert_eq!(encoded("a b&c=d/\u{e4}+"), "a%20b%26c%3Dd%2F%C3%A4%2B");
    }
}
