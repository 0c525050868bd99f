//! House style as a test: line, function and file lengths, headers, names, words that stay out,
//! dependencies that nothing uses.
//!
//! Reads the sources as text. Never: judges generated code.

mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use source::{Source, blanked, complain, root, rust_files};

const COLUMNS_MAX: usize = 100;
const FUNCTION_LINES_MAX: usize = 70;
const FILE_LINES_MAX: usize = 450;
const TEST_LINES_MAX: usize = 160;
const FILE_NAMES_BANNED: [&str; 6] = ["util", "utils", "common", "helpers", "manager", "misc"];
const FOLDERS: [&str; 5] = ["src", "tests", "benches", "fuzz", "vendor-tests"];

/// How many files may define a type of one name: a reader who meets it knows which one is meant.
const FILES_OF_A_NAME_MAX: usize = 2;
/// Names of roles that each machine has.
const NAMES_OF_ROLES: [&str; 3] = ["Config", "Output", "Stats"];

/// All files that are not generated.
fn written() -> Vec<Source> {
    rust_files(&FOLDERS).into_iter().filter(|source| !source.is_generated()).collect()
}

#[test]
fn lines_are_ascii_and_short() {
    let mut wrong = Vec::new();
    for source in written() {
        for (index, line) in source.text.lines().enumerate() {
            let location = format!("{}:{}", source.path.display(), index + 1);
            if line.len() > COLUMNS_MAX {
                wrong.push(format!("{location}: {} columns", line.len()));
            }
            if !line.is_ascii() {
                wrong.push(format!("{location}: not ASCII, write an escape"));
            }
        }
    }
    complain(wrong);
}

/// Whether a line begins a function, whatever its visibility and qualifiers.
fn is_function(line: &str) -> bool {
    let mut rest = line.trim_start();
    if let Some(visible) = rest.strip_prefix("pub") {
        let scope = visible.strip_prefix('(').and_then(|scope| scope.split_once(')'));
        rest = scope.map_or(visible, |(_, rest)| rest).trim_start();
    }
    while let Some((word, behind)) = rest.split_once(' ') {
        match word {
            "fn" => return true,
            "const" | "async" | "unsafe" | "extern" => rest = behind,
            _ if word.starts_with('"') => rest = behind,
            _ => return false,
        }
    }
    false
}

/// Functions of a file that are longer than a page: line and length.
fn long_functions(source: &Source) -> Vec<(usize, usize)> {
    let lines: Vec<&str> = source.text.lines().collect();
    let mut long = Vec::new();
    for (start, line) in lines.iter().enumerate().filter(|(_, line)| is_function(line)) {
        let close = format!("{}}}", " ".repeat(line.len() - line.trim_start().len()));
        let length = lines[start..].iter().position(|line| *line == close);
        if let Some(length) = length.filter(|length| *length >= FUNCTION_LINES_MAX) {
            long.push((start + 1, length + 1));
        }
    }
    long
}

#[test]
fn functions_stay_within_a_page() {
    let mut wrong = Vec::new();
    // A table of cases is one function, however long.
    for source in written().into_iter().filter(|source| !source.path.ends_with("tests.rs")) {
        for (line, length) in long_functions(&source) {
            wrong.push(format!("{}:{line}: {length} lines", source.path.display()));
        }
    }
    complain(wrong);
}

#[test]
fn long_functions_are_seen_whatever_their_visibility() {
    for head in ["fn", "pub fn", "pub(super) fn", "pub(in crate::x) const fn", "async fn"] {
        let text = format!("    {head} f() {{\n{}    }}\n", "        ();\n".repeat(69));
        let source = Source::new("src/x.rs".into(), text);
        assert_eq!(long_functions(&source), [(1, 71)], "{head}");
    }
    assert!(!is_function("    // fn is a word"));
}

#[test]
fn files_have_one_subject_and_say_which() {
    let mut wrong = Vec::new();
    for source in written() {
        let location = source.path.display();
        let stem = source.path.file_stem().expect("a name").to_string_lossy().into_owned();
        if FILE_NAMES_BANNED.contains(&stem.as_str()) {
            wrong.push(format!("{location}: name the subject"));
        }
        if !source.path.starts_with("src") || stem == "tests" {
            continue;
        }
        let code = source.text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        let code_lines = code.lines().count();
        if code_lines > FILE_LINES_MAX {
            wrong.push(format!("{location}: {code_lines} lines"));
        }
        let test_lines = source.text.lines().count() - code_lines;
        if test_lines > TEST_LINES_MAX {
            wrong.push(format!("{location}: {test_lines} test lines belong into a tests.rs"));
        }
        let head: String = source.text.lines().take_while(|line| line.starts_with("//!")).collect();
        if stem != "main" && !head.contains("Never:") {
            wrong.push(format!("{location}: no header with a `Never:` line"));
        }
    }
    complain(wrong);
}

/// The type that a line defines, if it does. An indented `type` is one of a trait.
fn type_defined(line: &str) -> Option<&str> {
    let indent = line.len() - line.trim_start().len();
    let mut words = line.split_whitespace().skip_while(|word| word.starts_with("pub"));
    match words.next()? {
        "struct" | "enum" | "union" | "trait" => {}
        "type" if indent == 0 => {}
        _ => return None,
    }
    words.next()?.split(|letter: char| !letter.is_alphanumeric()).next()
}

#[test]
fn a_type_name_stands_in_two_files_at_most() {
    let mut files: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in written().into_iter().filter(|source| source.path.starts_with("src")) {
        for name in blanked(&source.text).lines().filter_map(type_defined) {
            files.entry(name.to_owned()).or_default().insert(source.path.display().to_string());
        }
    }
    assert!(files.len() > 200, "the types were not found");
    let wrong = files.iter().filter(|(name, files)| {
        files.len() > FILES_OF_A_NAME_MAX && !NAMES_OF_ROLES.contains(&name.as_str())
    });
    complain(wrong.map(|(name, files)| format!("{name} stands in {files:?}")).collect());
}

#[test]
fn definitions_of_types_are_seen() {
    for line in
        ["pub(super) struct Row(u64);", "enum Row {", "    trait Row<T> {", "type Row = u8;"]
    {
        assert_eq!(type_defined(line), Some("Row"), "{line}");
    }
    for line in ["    type Output = u8;", "let row = Row;", "", "pub fn row() {}"] {
        assert_eq!(type_defined(line), None, "{line}");
    }
}

#[test]
fn words_that_stay_out() {
    let marks = ["TO DO", "FIX ME", "X X X"].map(|mark| mark.replace(' ', ""));
    let skips = ["#[ ignore", "thread:: sleep("].map(|mark| mark.replace(' ', ""));
    let mut wrong = Vec::new();
    for source in written() {
        for (index, line) in source.text.lines().enumerate() {
            let location = format!("{}:{}", source.path.display(), index + 1);
            let mut words = line.split(|letter: char| !letter.is_alphanumeric());
            if words.any(|word| marks.iter().any(|mark| mark == word)) {
                wrong.push(format!("{location}: an unfinished mark"));
            }
            // A bench may look every few milliseconds whether a peer is up.
            let is_bench = source.path.starts_with("benches");
            if !is_bench && skips.iter().any(|mark| line.contains(mark.as_str())) {
                wrong.push(format!("{location}: a skipped or sleeping test"));
            }
        }
        if !source.path.starts_with("src") || source.is_test() {
            continue;
        }
        for (number, line) in source.code_lines() {
            let location = format!("{}:{number}", source.path.display());
            if line.contains(".unwrap()") {
                wrong.push(format!("{location}: a bare unwrap"));
            }
            // 32-bit MIPS and PowerPC have none, which `cargo check` for this machine does not see.
            if line.contains("AtomicU64") || line.contains("AtomicI64") {
                wrong.push(format!("{location}: an atomic that not every target has"));
            }
            if line.contains(".detach()") && !source.path.ends_with("tasks.rs") {
                wrong.push(format!("{location}: a task without an owner"));
            }
        }
    }
    complain(wrong);
}

/// The names below a heading of a Cargo manifest.
fn dependencies(manifest: &str) -> Vec<String> {
    let section = manifest.split("\n[dependencies]\n").nth(1).unwrap_or_default();
    let section = section.split("\n[").next().unwrap_or_default();
    let names = section.lines().filter_map(|line| line.split_once('='));
    names.map(|(name, _)| name.trim().to_owned()).collect()
}

#[test]
fn every_dependency_is_used_and_has_its_reason() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("a manifest");
    let reasons = fs::read_to_string(root().join("docs/dependencies.md")).expect("the page");
    let code: String = rust_files(&["src"]).iter().map(|source| source.code.as_str()).collect();
    let words = code.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
    let words: BTreeSet<&str> = words.collect();
    let mut wrong = Vec::new();
    let names = dependencies(&manifest);
    assert!(names.len() > 10, "{names:?}");
    for name in names {
        if !words.contains(name.replace('-', "_").as_str()) {
            wrong.push(format!("Cargo.toml: nothing uses {name}"));
        }
        let cells = reasons.lines().filter_map(|line| line.strip_prefix("| ")?.split(" |").next());
        if !cells.flat_map(|cell| cell.split(", ")).any(|word| word == name) {
            wrong.push(format!("docs/dependencies.md: no line for {name}"));
        }
    }
    complain(wrong);
}

/// The workspaces beside this one are built with `--locked`: one whose lock file is older than the
/// manifest stops, and no step of the test command builds them all.
#[test]
fn each_lock_file_knows_every_dependency() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("a manifest");
    let mut wrong = Vec::new();
    for folder in ["", "benches/grpc", "benches/peers", "benches/reconcile", "benches/swim", "fuzz"]
    {
        let path = root().join(folder).join("Cargo.lock");
        let lock = fs::read_to_string(&path).expect("a lock file");
        let mut packages = lock.split("\n[[package]]\n");
        let node = packages.find(|package| package.starts_with("name = \"stemedb-edge\"\n"));
        // A name with two versions has its version behind it.
        let words: BTreeSet<&str> = node.expect("it has the node").split(['"', ' ']).collect();
        let missing = dependencies(&manifest).into_iter().filter(|it| !words.contains(it.as_str()));
        wrong.extend(missing.map(|name| format!("{}: {name} is missing", path.display())));
    }
    complain(wrong);
}
