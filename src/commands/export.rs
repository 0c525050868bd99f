//! `stemedb-edge export`: every assertion as a line that `import` takes back to the same hash.
//!
//! In: a running node, page by page, or a data directory. Out: on standard output what
//! `GET /v1/assertions/{hash}` shows of each, a line each; on standard error what came of it.
//!
//! Never: holds more than a page, changes anything.

use std::fmt;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::process::ExitCode;

use async_executor::LocalExecutor;
use nanoserde::{DeJson, DeJsonErr};

use crate::base::{Secret, limits};
use crate::commands::check::{self, Scan};
use crate::commands::client;
use crate::commands::output::complain;
use crate::config::{Export, ExportFrom};
use crate::shell::disk;
use crate::shell::runtime::clock;
use crate::shell::runtime::reactor;
use crate::shell::runtime::secrets;
use crate::wire::json::answer;

/// Why an export ends early.
enum End {
    /// The output takes no more lines.
    Output(io::Error),
    /// The directory cannot be read.
    Directory(String),
    /// The node does not answer, or something else than asked for.
    Node(String),
}

/// Exports, and says by the exit code how it went.
pub fn run(export: &Export) -> ExitCode {
    let mut lines =
        ExportedLines { out: BufWriter::new(io::stdout()), count: 0, long: 0, failure: None };
    let exported = match &export.from {
        ExportFrom::Directory(dir) => from_directory(dir, &mut lines),
        ExportFrom::Node(node) => {
            let key = export.api_key.as_ref();
            let key = key.map(|key| secrets::load(key, "STEMEDB_ROOT_API_KEY")).transpose();
            key.map_err(|error| End::Node(error.to_string())).and_then(|key| {
                let reactor = reactor::current().map_err(|error| End::Node(error.to_string()))?;
                let walk = from_node(node.to_string(), key, &mut lines);
                reactor.block_on(&LocalExecutor::new(), walk)
            })
        }
    };
    let (why, code) = match exported.and_then(|short| lines.finish().map(|()| short)) {
        Ok(None) if lines.long == 0 => (None, 0),
        Ok(None) => (None, 1),
        Ok(Some(why)) => (Some(format!("this is not all: {why}")), 1),
        // A copy that is not whole must not pass for one.
        Err(End::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            (Some("this is not all: the output was closed".to_owned()), 1)
        }
        Err(End::Output(error)) => (Some(format!("writing: {error}")), 1),
        Err(End::Directory(why)) => (Some(why), 2),
        Err(End::Node(why)) => (Some(why), 3),
    };
    let long = match lines.long {
        0 => String::new(),
        long => format!(", {long} of them too long for import"),
    };
    complain(&format!("{} assertions exported{long}", lines.count));
    why.iter().for_each(|why| complain(why));
    ExitCode::from(code)
}

/// The output, and what went there.
struct ExportedLines {
    out: BufWriter<io::Stdout>,
    count: u64,
    long: u64,
    failure: Option<io::Error>,
}

impl ExportedLines {
    fn put(&mut self, line: &str) {
        if self.failure.is_none() {
            self.count += 1;
            self.long += u64::from(line.len() > limits::HTTP_BODY_BYTES_MAX);
            self.failure = writeln!(self.out, "{line}").err();
        }
    }

    fn finish(&mut self) -> Result<(), End> {
        let flushed = self.out.flush();
        self.failure.take().map_or(flushed, Err).map_err(End::Output)
    }
}

/// The log's records in their order; the answer says why that is not all.
fn from_directory(dir: &Path, lines: &mut ExportedLines) -> Result<Option<String>, End> {
    let (mut scan, now) = (Scan::begin(dir), clock::wall());
    let recovered = disk::recover(&dir.join("log"), false, |committed| {
        scan.see(&committed);
        lines.put(&answer::assertion(committed.sealed(), now));
    });
    let verdict = recovered.and_then(|recovered| scan.finish(&recovered, None));
    let verdict = verdict.map_err(|fault| End::Directory(fault.to_string()))?;
    Ok((verdict.code != check::WHOLE).then(|| verdict.summary().to_owned()))
}

/// What a page shows of an entry and of the page behind it.
#[derive(DeJson)]
struct Entry {
    hash: String,
    #[nserde(default)]
    opaque: bool,
}

/// What a node says that it holds.
#[derive(DeJson)]
struct Health {
    assertions_count: u64,
    damaged_count: u64,
}

#[derive(DeJson)]
struct Rest {
    #[nserde(default)]
    next_cursor: String,
}

/// The node's assertions, newest first; those that come meanwhile are not among them. The answer
/// says why that is not all: a page leaves out what cannot be read.
async fn from_node(
    at: String,
    key: Option<Secret>,
    lines: &mut ExportedLines,
) -> Result<Option<String>, End> {
    let fail = |why: &dyn fmt::Display| End::Node(format!("{at}: {why}"));
    let health = || client::get::<Health>(&at, "/v1/health", key.as_ref());
    let get = async |path: &str| {
        client::get_text(&at, path, key.as_ref()).await.map_err(|error| fail(&error))
    };
    let no_page = |path: &str, error: &DeJsonErr| format!("{path} answers no page: {error}");
    let before = health().await.map_err(|error| fail(&error))?.assertions_count;
    let mut cursor = String::new();
    loop {
        let limit = limits::QUERY_LIMIT_MAX;
        let mut path = format!("/v1/query?limit={limit}");
        if !cursor.is_empty() {
            path += &format!("&cursor={cursor}");
        }
        let page = get(&path).await?;
        for text in entries(&page) {
            let entry = Entry::deserialize_json(text);
            let entry = entry.map_err(|error| fail(&no_page(&path, &error)))?;
            if entry.opaque {
                let path = format!("/v1/assertions/{}", entry.hash);
                lines.put(&get(&path).await?);
            } else {
                lines.put(text);
            }
        }
        if let Some(error) = lines.failure.take() {
            return Err(End::Output(error));
        }
        let rest = Rest::deserialize_json(&page);
        let rest = rest.map_err(|error| fail(&no_page(&path, &error)))?;
        if rest.next_cursor.is_empty() {
            let damaged = health().await.map_err(|error| fail(&error))?.damaged_count;
            let short = before.saturating_sub(lines.count);
            return Ok((damaged > 0 || short > 0).then(|| {
                let short = format!("{short} assertions fewer than it said it had");
                format!("{damaged} damaged records in the node's log, {short}")
            }));
        }
        cursor = rest.next_cursor;
    }
}

/// The elements of the first array of a page, as they stand there.
fn entries(page: &str) -> impl Iterator<Item = &str> {
    let mut rest = page.split_once('[').map_or("", |(_, rest)| rest);
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches(|letter: char| letter == ',' || letter.is_whitespace());
        let length = rest.starts_with('{').then(|| object_length(rest))??;
        let (entry, behind) = rest.split_at(length);
        rest = behind;
        Some(entry)
    })
}

/// The bytes of the object that a text begins with; `None` if it has no end.
fn object_length(text: &str) -> Option<usize> {
    let (mut depth, mut in_string, mut escaped) = (0, false, false);
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' if !in_string => depth += 1,
            b'}' if !in_string => {
                depth -= 1;
                if depth == 0 {
                    return Some(index + 1);
                }
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_falls_into_its_entries_whatever_stands_in_their_texts() {
        let texts = [r#"{"a":{"b":"}]{[,"}}"#, r#"{"c":"\\\""}"#, r#"{"d":"\\"}"#];
        let page = format!(r#"{{"assertions":[{}],"next_cursor":"[{{"}}"#, texts.join(","));
        assert_eq!(entries(&page).collect::<Vec<_>>(), texts);
        assert_eq!(entries(r#"{"assertions":[]}"#).count(), 0);
        assert_eq!(entries(r#"{"assertions":[{"a":1"#).count(), 0);
        assert_eq!(entries("").count(), 0);
    }
}
