//! The pages name files that exist, stay within the columns of the code, and have their figures
//! from `benches/report`.
//!
//! Reads Markdown as text. Never: judges what a page says.

mod source;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use source::{complain, root};

/// Folders that a page may name a file of.
const FOLDERS: [&str; 9] =
    ["src/", "tests/", "benches/", "docs/", "vendor-tests/", "proto/", "fuzz/", "dist/", ".ci/"];

const COLUMNS_MAX: usize = 100;

/// Around what `benches/report` writes; a table's name and a closing of the comment follow.
const REPORT_OPENS: &str = "<!-- benches/report: ";
const REPORT_ENDS: &str = "<!-- end -->";

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

/// The tables that the script registers with `@writes("NAME", ...)`.
fn reported(script: &str) -> BTreeSet<&str> {
    between(script, "@writes(", ')').flat_map(|names| names.split('"').skip(1).step_by(2)).collect()
}

/// The tables that a page has a place for.
fn marked(text: &str) -> impl Iterator<Item = &str> {
    text.split(REPORT_OPENS).skip(1).filter_map(|rest| rest.split(" -->").next())
}

/// Words that begin with a digit, outside of what the script writes and of code.
fn figures_by_hand(text: &str) -> Vec<&str> {
    let rests = text.split(REPORT_OPENS).enumerate().map(|(index, part)| match index {
        0 => part,
        // Without an end all that follows counts as written by hand.
        _ => part.split_once(REPORT_ENDS).map_or(part, |(_, after)| after),
    });
    let prose = rests.flat_map(|rest| rest.split('`').step_by(2));
    let words = prose.flat_map(str::split_whitespace);
    let bare = words.map(|word| word.trim_start_matches(|it: char| !it.is_alphanumeric()));
    bare.filter(|word| word.starts_with(|it: char| it.is_ascii_digit())).collect()
}

#[test]
fn each_table_of_the_report_has_a_place_and_each_place_a_table() {
    let script = fs::read_to_string(root().join("benches/report")).expect("the script is text");
    let reported = reported(&script);
    let pages = pages();
    let marked: BTreeSet<&str> = pages.iter().flat_map(|(_, text)| marked(text)).collect();
    assert!(reported.len() > 10, "the script's tables were not found: {reported:?}");
    let unknown = marked.difference(&reported).map(|name| format!("no table is named {name}"));
    let lost = reported.difference(&marked).map(|name| format!("no page has a marker for {name}"));
    complain(unknown.chain(lost).collect());
}

#[test]
fn figures_of_performance_come_from_the_report() {
    let page = root().join("docs/performance.md");
    let text = fs::read_to_string(page).expect("the page is text");
    let by_hand = figures_by_hand(&text);
    complain(by_hand.iter().map(|word| format!("{word} is in no table of the report")).collect());
}

#[test]
fn a_figure_by_hand_is_seen() {
    let text = "HTTP/2 `of 4` takes (-3 `x` <!-- benches/report: a -->5<!-- end --> 7 s.\n";
    assert_eq!(figures_by_hand(text), ["3", "7"]);
    assert_eq!(figures_by_hand("<!-- benches/report: a -->\n| 8 |\n"), ["8"]);
    assert_eq!(marked(text).collect::<Vec<_>>(), ["a"]);
    let script = "@writes(\"a\", \"b-c\")\ndef a(bench):\n    table(\"d\")\n";
    assert_eq!(reported(script).into_iter().collect::<Vec<_>>(), ["a", "b-c"]);
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
