//! The sources as text, prepared for tests that judge them: comments and literals blanked, test
//! items taken out, imports resolved to modules.
//!
//! In: `src`. Out: its files with line numbers that stand. Never: reads generated code as ours.

#![allow(dead_code, reason = "each test that includes this file uses its own part of it")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Module path of a file below `src`: `store/run.rs` is `["store", "run"]`.
pub(crate) type Module = Vec<String>;

/// One file.
pub(crate) struct Source {
    pub(crate) path: PathBuf,
    pub(crate) text: String,
    /// The text without comments, literals and test items; each line keeps its number.
    pub(crate) code: String,
}

impl Source {
    pub(crate) fn new(path: PathBuf, text: String) -> Source {
        let code = without_tests(&blanked(&text));
        Source { path, text, code }
    }

    /// Lines of code with their numbers.
    pub(crate) fn code_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code.lines().enumerate().map(|(index, line)| (index + 1, line))
    }

    /// Whether all of the file is tests.
    pub(crate) fn is_test(&self) -> bool {
        self.path.components().any(|part| {
            let name = part.as_os_str().to_string_lossy();
            name == "tests" || name == "tests.rs"
        })
    }

    pub(crate) fn is_generated(&self) -> bool {
        self.path.components().any(|part| part.as_os_str() == "pb")
    }
}

/// Where the project is.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All Rust files below some folders of the project.
pub(crate) fn rust_files(folders: &[&str]) -> Vec<Source> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = folders.iter().map(|name| root().join(name)).collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.expect("an entry").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            if path.is_dir() && !matches!(name.as_str(), "target" | "golden") {
                folders.push(path);
            } else if name.ends_with(".rs") {
                let text = fs::read_to_string(&path).expect("a source is text");
                let below = path.strip_prefix(root()).expect("a path of the project").to_owned();
                found.push(Source::new(below, text));
            }
        }
    }
    assert!(found.len() > 10, "the sources were not found");
    found
}

/// Fails with all that is wrong.
pub(crate) fn complain(wrong: Vec<String>) {
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Comments, strings and characters as blanks.
pub(crate) fn blanked(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < bytes.len() {
        let end = end_of_literal(bytes, at);
        match end {
            Some(end) => {
                out.extend(text[at..end].chars().map(|it| if it == '\n' { it } else { ' ' }));
                at = end;
            }
            None => {
                let letter = text[at..].chars().next().expect("not at the end");
                out.push(letter);
                at += letter.len_utf8();
            }
        }
    }
    out
}

/// Where the comment or literal that begins here ends.
fn end_of_literal(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = &bytes[at..];
    let find = |word: &[u8], from: usize| {
        let found = rest[from..].windows(word.len()).position(|it| it == word);
        found.map_or(bytes.len(), |found| at + from + found + word.len())
    };
    if rest.starts_with(b"//") {
        return Some(find(b"\n", 0).saturating_sub(1).max(at + 2));
    }
    if rest.starts_with(b"/*") {
        return Some(find(b"*/", 2));
    }
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let is_begun = at == 0 || !is_word(bytes[at - 1]);
    let raw = rest.strip_prefix(b"b").unwrap_or(rest);
    if is_begun && raw.starts_with(b"r") {
        let hashes = raw[1..].iter().take_while(|byte| **byte == b'#').count();
        if raw.get(1 + hashes) == Some(&b'"') {
            let close = [b"\"".as_slice(), &vec![b'#'; hashes]].concat();
            return Some(find(&close, rest.len() - raw.len() + 2 + hashes));
        }
    }
    match rest[0] {
        b'"' => {
            let mut end = 1;
            while end < rest.len() && rest[end] != b'"' {
                end += if rest[end] == b'\\' { 2 } else { 1 };
            }
            Some((at + end + 1).min(bytes.len()))
        }
        // A lifetime has no second quote behind one character.
        b'\'' if rest.get(1) == Some(&b'\\') => Some(find(b"'", 3)),
        b'\'' if rest.get(2) == Some(&b'\'') => Some(at + 3),
        _ => None,
    }
}

/// Blanked text with each item under `#[cfg(test)]` blank as well.
fn without_tests(blanked: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    let mut out = String::with_capacity(blanked.len());
    let mut rest = blanked;
    while let Some(at) = rest.find(MARK) {
        out.push_str(&rest[..at]);
        let item = at + MARK.len();
        let end = item + end_of_item(&rest[item..]);
        out.extend(rest[at..end].chars().map(|it| if it == '\n' { it } else { ' ' }));
        rest = &rest[end..];
    }
    out + rest
}

/// The length of the item at the front: to its semicolon, comma or closing brace.
fn end_of_item(blanked: &str) -> usize {
    let mut rest = blanked.trim_start();
    while let Some(attribute) = rest.strip_prefix("#[") {
        rest = attribute.split_once(']').map_or("", |(_, rest)| rest).trim_start();
    }
    let is_use = rest.trim_start_matches("pub ").starts_with("use ");
    let mut depth = 0;
    for (at, letter) in blanked.char_indices() {
        match letter {
            '(' | '[' | '{' => depth += 1,
            '}' if depth == 1 && !is_use => return at + 1,
            // The struct or the list around it ends.
            ')' | ']' | '}' if depth == 0 => return at,
            ')' | ']' | '}' => depth -= 1,
            ';' | ',' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    blanked.len()
}

/// The files of `src` that are neither tests nor generated, by module.
pub(crate) fn modules() -> BTreeMap<Module, Source> {
    let sources = rust_files(&["src"]).into_iter();
    let ours = sources.filter(|source| !source.is_test() && !source.is_generated());
    ours.map(|source| (module_of(&source.path), source)).collect()
}

fn module_of(path: &Path) -> Module {
    let inner = path.strip_prefix("src").expect("a path below src").with_extension("");
    let parts = inner.components().map(|part| part.as_os_str().to_string_lossy().into_owned());
    let mut module: Module = parts.collect();
    if module.last().is_some_and(|last| last == "mod" || last == "lib") {
        module.pop();
    }
    module
}

/// Each path of ours that a file names, from the crate's root on, with its line.
pub(crate) fn named_paths(
    module: &[String],
    code: &str,
    children: &[&str],
) -> Vec<(usize, Module)> {
    let mut named = Vec::new();
    let mut line = 1;
    let mut rest = code;
    let is_word = |letter: char| letter.is_alphanumeric() || letter == '_';
    let mut before = '\n';
    while let Some(letter) = rest.chars().next() {
        let word: String = rest.chars().take_while(|it| is_word(*it)).collect();
        let is_path = rest[word.len()..].starts_with("::") && !is_word(before) && before != ':';
        let is_ours = matches!(word.as_str(), "crate" | "super" | "self")
            || children.contains(&word.as_str());
        if is_path && is_ours {
            for path in use_tree(rest).0 {
                named.extend(from_root(module, &path).map(|path| (line, path)));
            }
        }
        let step = word.len().max(letter.len_utf8());
        line += rest[..step].matches('\n').count();
        before = rest[..step].chars().last().unwrap_or(before);
        rest = &rest[step..];
    }
    named
}

/// The paths of a use tree, or of one path in code; and how long the tree is.
pub(crate) fn use_tree(text: &str) -> (Vec<Module>, usize) {
    let is_word = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == '*';
    let skip = |at: usize| at + (text[at..].len() - text[at..].trim_start().len());
    let mut prefix: Module = Vec::new();
    let mut at = 0;
    loop {
        at = skip(at);
        let word: String = text[at..].chars().take_while(|it| is_word(*it)).collect();
        if word.is_empty() {
            break;
        }
        at += word.len();
        prefix.push(word);
        if !text[at..].starts_with("::") {
            return (vec![prefix], at);
        }
        at = skip(at + 2);
        if text[at..].starts_with('{') {
            break;
        }
    }
    if !text[at..].starts_with('{') {
        return (vec![prefix], at);
    }
    at += 1;
    let mut paths = Vec::new();
    loop {
        at = skip(at);
        match text[at..].chars().next() {
            None => break,
            Some('}') => {
                at += 1;
                break;
            }
            Some(',') => at += 1,
            Some(_) => {
                let (inner, length) = use_tree(&text[at..]);
                paths.extend(inner.into_iter().map(|path| [prefix.clone(), path].concat()));
                at += length.max(1);
                // A name may have another one here.
                at += text[at..].find([',', '}']).unwrap_or(text[at..].len());
            }
        }
    }
    (paths, at)
}

fn from_root(module: &[String], path: &[String]) -> Option<Module> {
    let mut base = match path.first()?.as_str() {
        "crate" => Vec::new(),
        _ => module.to_vec(),
    };
    let mut rest = path.iter().skip_while(|word| matches!(word.as_str(), "crate" | "self"));
    let mut words = Vec::new();
    for word in rest.by_ref() {
        match word.as_str() {
            "super" => drop(base.pop()),
            "self" => {}
            _ => words.push(word.clone()),
        }
    }
    Some([base, words].concat())
}

/// The file that a path from the root leads into.
pub(crate) fn file_of(path: &[String], modules: &BTreeMap<Module, Source>) -> Option<Module> {
    (0..=path.len()).rev().map(|length| path[..length].to_vec()).find(|it| modules.contains_key(it))
}
