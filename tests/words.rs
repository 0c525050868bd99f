//! The words of the project are the field's: no word of an older private vocabulary comes back.
//!
//! Reads sources and pages as text, identifiers taken apart at `_` and capitals. Never: judges a
//! word that ordinary English needs.

mod source;

use std::path::Path;

use source::{complain, root};

/// Words that had a second meaning here, and what to write instead.
const REPLACED: [(&str, &str); 26] = [
    ("agenda", "queue"),
    ("anybody", "the component: a client, a peer, a caller"),
    ("bury", "declare dead"),
    ("dealt", "assigned"),
    ("door", "entry point, or the component"),
    ("doors", "entry points, or the components"),
    ("errand", "command"),
    ("everybody", "the component: every client, every peer"),
    ("fenced", "quarantined"),
    ("habits", "capabilities"),
    ("healer", "repair"),
    ("levelled", "converged"),
    ("liar", "Byzantine peer"),
    ("liars", "Byzantine peers"),
    ("mend", "repair"),
    ("mended", "repaired"),
    ("nobody", "no peer, no caller, no reader"),
    ("room", "capacity, space, bytes free"),
    ("rooms", "capacity"),
    ("somebody", "the component: a client, a peer, a caller"),
    ("surroundings", "context"),
    ("told", "disseminated, notified, decoded, listed or logged"),
    ("twin", "duplicate, colliding or tied"),
    ("untold", "not disseminated, not listed"),
    ("whoever", "the component that does it"),
    ("worthless", "useless"),
];

/// What may say such a word: the history, and this list.
const EXCEPT: [&str; 2] = ["CHANGELOG.md", "tests/words.rs"];

const KINDS: [&str; 3] = ["rs", "md", "proto"];

/// All sources and pages below a folder.
fn pages(folder: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            if !matches!(name.as_str(), "target" | ".git" | "golden" | "corpus") {
                pages(&path, found);
            }
        } else if path.extension().is_some_and(|kind| KINDS.iter().any(|it| kind == *it)) {
            let below = path.strip_prefix(root()).expect("a path of the project");
            found.push(below.to_string_lossy().into_owned());
        }
    }
}

/// The words of a line, identifiers taken apart, in small letters.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before = ' ';
    for letter in line.chars() {
        if !letter.is_ascii_alphabetic() || letter.is_ascii_uppercase() && before.is_lowercase() {
            words.push(String::new());
        }
        if letter.is_ascii_alphabetic() {
            words.last_mut().expect("one at least").push(letter.to_ascii_lowercase());
        }
        before = letter;
    }
    words.retain(|word| !word.is_empty());
    words
}

#[test]
fn no_word_of_the_old_vocabulary_is_left() {
    let mut files = Vec::new();
    pages(root(), &mut files);
    files.sort();
    let mut wrong = Vec::new();
    for file in files.iter().filter(|file| !EXCEPT.contains(&file.as_str())) {
        let text = std::fs::read_to_string(root().join(file)).expect("it is text");
        for (number, line) in text.lines().enumerate() {
            for word in words(line) {
                if let Some((_, better)) = REPLACED.iter().find(|(old, _)| *old == word) {
                    wrong.push(format!("{file}:{}: `{word}`: {better}", number + 1));
                }
            }
        }
    }
    complain(wrong);
}

#[test]
fn words_are_found_in_identifiers() {
    let found = words("let has_room = Healer::new(nobody_told, x2);");
    let expected = ["let", "has", "room", "healer", "new", "nobody", "told", "x"];
    assert_eq!(found, expected);
}
