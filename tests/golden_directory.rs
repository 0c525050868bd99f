//! The data directory that version 0.1.0 left behind, whole and with one flipped bit. Every later
//! version opens both: these files are never written anew, a later format gets files of its own.

use std::fs;
use std::path::{Path, PathBuf};

use stemedb_edge::commands::check;
use stemedb_edge::shell::disk::{Recovered, recover};

/// Which of the records the flipped bit is in.
const DAMAGED: usize = 2;

fn directory(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/0.1.0").join(name)
}

/// The records as they were written, one hash a line.
fn written() -> Vec<String> {
    let text = fs::read_to_string(directory("hashes")).expect("a committed file");
    text.lines().map(str::to_owned).collect()
}

fn open(name: &str) -> (Vec<String>, Recovered) {
    let mut found = Vec::new();
    let recovered = recover(&directory(name).join("log"), false, |committed| {
        assert!(!committed.sealed().is_opaque(), "it is an assertion of this layout");
        found.push(committed.sealed().digest().to_string());
    });
    (found, recovered.expect("a released version's log opens"))
}

#[test]
fn the_directory_of_0_1_0_opens() {
    let (found, recovered) = open("whole");
    assert_eq!(found, written());
    assert_eq!((recovered.damages, recovered.torn_bytes), (0, 0));
    let verdict = check::check(&directory("whole"));
    assert_eq!(verdict.code, check::WHOLE, "{}", verdict.text);
}

#[test]
fn the_damaged_directory_of_0_1_0_opens_without_its_damaged_record() {
    let mut expected = written();
    let damaged = expected.remove(DAMAGED);
    let (found, recovered) = open("damaged");
    assert_eq!(found, expected);
    assert_eq!((recovered.damages, recovered.torn_bytes), (1, 0));
    let verdict = check::check(&directory("damaged"));
    assert_eq!(verdict.code, check::DAMAGED, "{}", verdict.text);
    assert!(verdict.text.contains(&damaged), "{}", verdict.text);
}
