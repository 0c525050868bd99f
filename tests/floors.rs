//! The house holds: no room imports from its own floor or above, none below the shell touches the
//! world, and every file says what it is for.
//!
//! Reads the sources as text. Never: runs anything of the node.

use std::fs;
use std::path::{Path, PathBuf};

/// Rooms by floor, low to high; neighbours on a floor do not know each other.
const FLOORS: [&[&str]; 9] = [
    &["base"],
    &["model"],
    &["journal", "lens", "sketch", "swim"],
    &["cluster", "store"],
    &["scan", "sync"],
    &["replica", "wire"],
    &["config"],
    &["shell"],
    &["fuzz"],
];

/// Words of the world: sockets, files, clocks, threads, chance, log lines.
const WORLD: [&str; 21] = [
    "Instant::now",
    "SystemTime",
    "std::fs",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "ToSocketAddrs",
    "std::thread",
    "std::env",
    "thread_rng",
    "fastrand::",
    "rustix::",
    "libc::",
    "tokio::",
    "hyper::",
    "log::error!",
    "log::warn!",
    "log::info!",
    "log::debug!",
    "println!",
    "async fn",
];

fn sources() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("src is readable") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let text = fs::read_to_string(&path).expect("a source is text");
                found.push((path, text));
            }
        }
    }
    assert!(found.len() > 10, "the sources were not found");
    found
}

fn room(path: &Path) -> String {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let inner = path.strip_prefix(src).expect("a path below src");
    let first = inner.components().next().expect("a name").as_os_str();
    first.to_string_lossy().trim_end_matches(".rs").to_owned()
}

fn floor(room: &str) -> Option<usize> {
    FLOORS.iter().position(|rooms| rooms.contains(&room))
}

fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line));
    lines.filter(|(_, line)| !line.trim_start().starts_with("//"))
}

/// The rooms a line names by `crate::room`.
fn rooms_named(line: &str) -> Vec<String> {
    let letters = |letter: char| !(letter.is_alphanumeric() || letter == '_');
    let first_word = |text: &str| text.trim().split(letters).next().unwrap_or("").to_owned();
    let mut rooms = Vec::new();
    for rest in line.split("crate::").skip(1) {
        match rest.strip_prefix('{') {
            Some(group) => {
                let group = group.split('}').next().unwrap_or("");
                rooms.extend(group.split(',').map(first_word));
            }
            None => rooms.push(first_word(rest)),
        }
    }
    rooms
}

#[test]
fn rooms_import_only_from_floors_below() {
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let own = room(&path);
        if own == "lib" || own == "main" {
            continue;
        }
        let Some(own_floor) = floor(&own) else {
            wrong.push(format!("{}: the room `{own}` has no floor", path.display()));
            continue;
        };
        for (number, line) in code_lines(&text) {
            for named in rooms_named(line) {
                let allowed = named == own || floor(&named).is_some_and(|below| below < own_floor);
                if !allowed {
                    wrong.push(format!("{}:{number}: {own} imports {named}", path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn nothing_below_the_shell_touches_the_world() {
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let own = room(&path);
        let generated = path.components().any(|part| part.as_os_str() == "pb");
        let outside = matches!(own.as_str(), "shell" | "fuzz" | "main" | "lib");
        if outside || generated || path.ends_with("tests.rs") {
            continue;
        }
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for (number, line) in code_lines(code) {
            for word in WORLD.iter().filter(|word| line.contains(**word)) {
                wrong.push(format!("{}:{number}: `{word}` below the shell", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_test_itself_sees_a_wrong_import() {
    assert_eq!(rooms_named("use crate::store::Store;"), ["store"]);
    assert_eq!(rooms_named("use crate::{base::Digest, shell};"), ["base", "shell"]);
    assert!(floor("store") < floor("sync"));
}
