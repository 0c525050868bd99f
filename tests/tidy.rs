//! House style as a test: line, function and file lengths, headers, names, words that stay out.
//!
//! Reads the sources as text. Never: judges generated code.

use std::fs;
use std::path::{Path, PathBuf};

const COLUMNS_MAX: usize = 100;
const FUNCTION_LINES_MAX: usize = 70;
const FILE_LINES_MAX: usize = 450;
const TEST_LINES_MAX: usize = 160;
const FILE_NAMES_BANNED: [&str; 6] = ["util", "utils", "common", "helpers", "manager", "misc"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = ["src", "tests", "benches", "fuzz", "vendor-tests"]
        .iter()
        .map(|name| root().join(name))
        .collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.expect("an entry").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            if path.is_dir() && !matches!(name.as_str(), "target" | "pb" | "golden") {
                folders.push(path);
            } else if name.ends_with(".rs") {
                let text = fs::read_to_string(&path).expect("a source is text");
                found.push((path, text));
            }
        }
    }
    assert!(found.len() > 10, "the sources were not found");
    found
}

fn complain(wrong: Vec<String>) {
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn lines_are_ascii_and_short() {
    let mut wrong = Vec::new();
    for (path, text) in rust_files() {
        for (index, line) in text.lines().enumerate() {
            let place = format!("{}:{}", path.display(), index + 1);
            if line.len() > COLUMNS_MAX {
                wrong.push(format!("{place}: {} columns", line.len()));
            }
            if !line.is_ascii() {
                wrong.push(format!("{place}: not ASCII, write an escape"));
            }
        }
    }
    complain(wrong);
}

#[test]
fn functions_stay_within_a_page() {
    let mut wrong = Vec::new();
    // A table of cases is one function, however long.
    for (path, text) in rust_files().into_iter().filter(|(path, _)| !path.ends_with("tests.rs")) {
        let lines: Vec<&str> = text.lines().collect();
        for (start, line) in lines.iter().enumerate() {
            let code = line.trim_start();
            let head = ["fn ", "pub fn ", "pub(crate) fn ", "async fn ", "pub async fn "];
            if !head.iter().any(|head| code.starts_with(head)) {
                continue;
            }
            let close = format!("{}}}", " ".repeat(line.len() - code.len()));
            let length = lines[start..].iter().position(|line| *line == close);
            if let Some(length) = length.filter(|length| *length >= FUNCTION_LINES_MAX) {
                wrong.push(format!("{}:{}: {} lines", path.display(), start + 1, length + 1));
            }
        }
    }
    complain(wrong);
}

#[test]
fn files_have_one_subject_and_say_which() {
    let mut wrong = Vec::new();
    for (path, text) in rust_files() {
        let place = path.display();
        let stem = path.file_stem().expect("a name").to_string_lossy().into_owned();
        if FILE_NAMES_BANNED.contains(&stem.as_str()) {
            wrong.push(format!("{place}: name the subject"));
        }
        if !path.starts_with(root().join("src")) || stem == "tests" {
            continue;
        }
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        let code_lines = code.lines().count();
        if code_lines > FILE_LINES_MAX {
            wrong.push(format!("{place}: {code_lines} lines"));
        }
        let test_lines = text.lines().count() - code_lines;
        if test_lines > TEST_LINES_MAX {
            wrong.push(format!("{place}: {test_lines} test lines belong into a tests.rs"));
        }
        let head: String = text.lines().take_while(|line| line.starts_with("//!")).collect();
        if stem != "main" && !head.contains("Never:") {
            wrong.push(format!("{place}: no header with a `Never:` line"));
        }
    }
    complain(wrong);
}

#[test]
fn words_that_stay_out() {
    let marks = ["TO DO", "FIX ME", "X X X"].map(|mark| mark.replace(' ', ""));
    let skips = ["#[ ignore", "thread:: sleep("].map(|mark| mark.replace(' ', ""));
    let mut wrong = Vec::new();
    for (path, text) in rust_files() {
        for (index, line) in text.lines().enumerate() {
            let place = format!("{}:{}", path.display(), index + 1);
            if line
                .split(|letter: char| !letter.is_alphanumeric())
                .any(|word| marks.iter().any(|mark| mark == word))
            {
                wrong.push(format!("{place}: an unfinished mark"));
            }
            // A bench may look now and then whether a peer is up.
            let is_bench = path.starts_with(root().join("benches"));
            if !is_bench && skips.iter().any(|mark| line.contains(mark.as_str())) {
                wrong.push(format!("{place}: a skipped or sleeping test"));
            }
        }
        if !path.starts_with(root().join("src")) || path.ends_with("tests.rs") {
            continue;
        }
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for (index, line) in code.lines().enumerate() {
            let place = format!("{}:{}", path.display(), index + 1);
            if line.contains(".unwrap()") && !line.trim_start().starts_with("//") {
                wrong.push(format!("{place}: a bare unwrap"));
            }
            if line.contains(".detach()") && !path.ends_with("tasks.rs") {
                wrong.push(format!("{place}: a task that nobody holds"));
            }
        }
    }
    complain(wrong);
}
