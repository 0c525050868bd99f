//! The pages name files that exist, and stay within the columns of the code.
//!
//! Reads Markdown as text. Never: judges what a page says.

mod source;

use std::fs;
use std::path::{Path, PathBuf};

use source::{complain, root};

/// Folders that a page may name a file of.
const FOLDERS: [&str; 8] =
    ["src/", "tests/", "benches/", "docs/", "vendor-tests/", "proto/", "fuzz/", ".ci/"];

const COLUMNS_MAX: usize = 100;

/// All pages of the project, with their text.
fn pages() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the project") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                folders.push(path);
            } else if name.ends_with(".md") {
                let text = fs::read_to_string(&path).expect("a page is text");
                found.push((path, text));
            }
        }
    }
    assert!(found.len() > 10, "the pages were not found");
    found
}

/// What stands between two marks.
fn between<'a>(text: &'a str, open: &'a str, close: char) -> impl Iterator<Item = &'a str> {
    text.split(open).skip(1).filter_map(move |rest| rest.split(close).next())
}

/// Words in backticks, outside of blocks of code.
fn quoted(text: &str) -> Vec<&str> {
    let blocks = text.split("```").step_by(2);
    blocks.flat_map(|block| block.split('`').skip(1).step_by(2)).collect()
}

/// The file that a quoted word means, if it means one.
fn named_file(word: &str) -> Option<&str> {
    let path = word.split([' ', ':']).next()?;
    let is_name = |part: &str| part.len() > 1 && part.chars().all(|it| it.is_ascii_uppercase());
    let is_pattern = path.contains(['*', '{', '$', '<']) || path.split('/').any(is_name);
    (FOLDERS.iter().any(|folder| path.starts_with(folder)) && !is_pattern).then_some(path)
}

#[test]
fn links_lead_somewhere() {
    let mut wrong = Vec::new();
    for (page, text) in pages() {
        let folder = page.parent().expect("a folder");
        for link in between(&text, "](", ')') {
            let target = link.split('#').next().unwrap_or_default();
            let is_ours = !target.is_empty() && !target.contains("://");
            if is_ours && !folder.join(target).exists() {
                wrong.push(format!("{}: no {target}", page.display()));
            }
        }
    }
    complain(wrong);
}

#[test]
fn files_that_pages_name_exist() {
    let mut wrong = Vec::new();
    for (page, text) in pages().into_iter().filter(|(page, _)| !page.ends_with("CHANGELOG.md")) {
        for path in quoted(&text).into_iter().filter_map(named_file) {
            // A benchmark keeps what it makes beside itself.
            if !path.contains("/target/") && !root().join(Path::new(path)).exists() {
                wrong.push(format!("{}: no {path}", page.display()));
            }
        }
    }
    complain(wrong);
}

/// Lines of prose that are too long, with their numbers. A row of a table is one line, and a block
/// of code shows what a program writes.
fn long_lines(text: &str) -> Vec<(usize, usize)> {
    let mut is_code = false;
    let mut long = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let start = line.trim_start();
        is_code ^= start.starts_with("```");
        let length = line.chars().count();
        if length > COLUMNS_MAX && !is_code && !start.starts_with('|') {
            long.push((index + 1, length));
        }
    }
    long
}

#[test]
fn prose_stays_within_the_columns() {
    let mut wrong = Vec::new();
    for (page, text) in pages() {
        for (line, length) in long_lines(&text) {
            wrong.push(format!("{}:{line}: {length} columns", page.display()));
        }
    }
    complain(wrong);
}

#[test]
fn a_wrong_name_is_seen() {
    let block = "```\n`src/c.rs`\n```";
    let text =
        format!("`fuzz/TARGET` `src/a.rs`, `src/b.rs:7`, `src/*.rs`, {block} `docs/d.md is`");
    let named: Vec<&str> = quoted(&text).into_iter().filter_map(named_file).collect();
    assert_eq!(named, ["src/a.rs", "src/b.rs", "docs/d.md"]);
    assert_eq!(between("[a](b.md) [c](d.md#e)", "](", ')').collect::<Vec<_>>(), ["b.md", "d.md#e"]);
    let long = "x".repeat(101);
    let text = format!("{long}\n| {long} |\n```\n{long}\n```\n{long}\n");
    assert_eq!(long_lines(&text), [(1, 101), (6, 101)]);
}
