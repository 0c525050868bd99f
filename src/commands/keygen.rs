//! Signing keys in files: making one, reading one.
//!
//! In: a path. Out: a new key file and its agent id, or a [`Signer`]. A key file is the 32-byte
//! seed of RFC 8032 as hex and a line feed, readable by its owner alone.
//!
//! Never: overwrites a file, prints a seed.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::base::digest::{hex, parse_hex};
use crate::model::signature::Signer;

/// A key file is 65 bytes; past this it is some other file.
const KEY_FILE_BYTES_MAX: u64 = 128;

/// Why a key file is not made, or not read.
#[derive(Debug)]
pub enum KeyError {
    /// The system gives no random bytes.
    Random(io::Error),
    /// There is such a file: what it held would be lost.
    Exists(PathBuf),
    /// The file cannot be made or written.
    Make(PathBuf, io::Error),
    /// The file cannot be read.
    Read(PathBuf, io::Error),
    /// The file holds something else than 64 hex digits.
    NoKey(PathBuf),
}

impl fmt::Display for KeyError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyError::Random(error) => write!(out, "drawing a random key: {error}"),
            KeyError::Exists(file) => {
                let file = file.display();
                write!(out, "{file} exists, a key is never overwritten: name another file")
            }
            KeyError::Make(file, error) => write!(out, "making {}: {error}", file.display()),
            KeyError::Read(file, error) => {
                write!(out, "reading the key {}: {error}", file.display())
            }
            KeyError::NoKey(file) => {
                let takes = "it takes 64 hex digits, as stemedb-edge keygen writes them";
                write!(out, "{} is no key: {takes}", file.display())
            }
        }
    }
}

/// Makes a key file; the agent id that belongs to it.
pub fn make(file: &Path) -> Result<[u8; 32], KeyError> {
    let seed = random_seed().map_err(KeyError::Random)?;
    write_new(file, &seed).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => KeyError::Exists(file.to_owned()),
        _ => KeyError::Make(file.to_owned(), error),
    })?;
    Ok(Signer::new(&seed).agent_id())
}

fn random_seed() -> io::Result<[u8; 32]> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(io::Error::other)?;
    Ok(seed)
}

fn write_new(file: &Path, seed: &[u8; 32]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut key = options.write(true).create_new(true).mode(0o600).open(file)?;
    let written = writeln!(key, "{}", hex(seed)).and_then(|()| key.sync_all());
    let synced = written.and_then(|()| sync_directory_of(file));
    if synced.is_err() {
        // Half a key is none; that this fails as well is nothing the user needs to hear of.
        let _ = std::fs::remove_file(file);
    }
    synced
}

/// Without this a power cut may lose the file's name.
fn sync_directory_of(file: &Path) -> io::Result<()> {
    let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
}

/// A key read from its file, and whether others than its owner may read that file.
pub struct Key {
    /// Signs with the key of the file.
    pub signer: Signer,
    /// The file's mode lets others in.
    pub is_open_to_others: bool,
}

/// Reads a key file of any mode; the caller warns of one that others may read.
pub fn read(file: &Path) -> Result<Key, KeyError> {
    let fail = |error: io::Error| KeyError::Read(file.to_owned(), error);
    let opened = File::open(file).map_err(fail)?;
    let mode = opened.metadata().map_err(fail)?.permissions().mode();
    let mut text = String::new();
    let limited = opened.take(KEY_FILE_BYTES_MAX).read_to_string(&mut text);
    let mut seed = [0; 32];
    match limited {
        Err(error) if error.kind() != io::ErrorKind::InvalidData => return Err(fail(error)),
        Ok(_) if parse_hex(text.trim(), &mut seed) => {}
        _ => return Err(KeyError::NoKey(file.to_owned())),
    }
    Ok(Key { signer: Signer::new(&seed), is_open_to_others: mode & 0o077 != 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory that is removed with its content.
    struct TestFolder(std::path::PathBuf);

    impl TestFolder {
        fn new(name: &str) -> TestFolder {
            let name = format!("stemedb-keygen-{}-{name}", std::process::id());
            let path = std::env::temp_dir().join(name);
            std::fs::create_dir_all(&path).expect("a temporary directory");
            TestFolder(path)
        }
    }

    impl Drop for TestFolder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_made_key_is_private_and_reads_back() {
        let folder = TestFolder::new("made");
        let file = folder.0.join("agent.key");
        let agent_id = make(&file).expect("a new key");
        let key = read(&file).expect("the key just made");
        assert_eq!(key.signer.agent_id(), agent_id);
        assert!(!key.is_open_to_others);
        let mode = std::fs::metadata(&file).expect("is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_ne!(make(&folder.0.join("other.key")).expect("another key"), agent_id);
    }

    #[test]
    fn a_key_is_never_overwritten() {
        let folder = TestFolder::new("kept");
        let file = folder.0.join("agent.key");
        std::fs::write(&file, "precious").expect("a file");
        assert!(matches!(make(&file), Err(KeyError::Exists(_))));
        assert_eq!(std::fs::read(&file).expect("is there"), b"precious");
        assert!(matches!(make(&folder.0.join("no/such/folder")), Err(KeyError::Make(..))));
    }

    #[test]
    fn what_is_no_key_is_refused_and_loose_modes_are_reported() {
        let folder = TestFolder::new("read");
        let file = folder.0.join("agent.key");
        let good = "ab".repeat(32);
        for bad in ["", "ab", &good[1..], &format!("{good}00"), &"z".repeat(64), &good.repeat(9)] {
            std::fs::write(&file, bad).expect("a file");
            assert!(matches!(read(&file), Err(KeyError::NoKey(_))), "{bad:?}");
        }
        std::fs::write(&file, [0xff; 64]).expect("a file");
        assert!(matches!(read(&file), Err(KeyError::NoKey(_))));
        std::fs::write(&file, format!("  {good}\n")).expect("a file");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).expect("ours");
        assert!(read(&file).expect("a key").is_open_to_others);
        assert!(matches!(read(&folder.0.join("none")), Err(KeyError::Read(..))));
        assert!(matches!(read(&folder.0), Err(KeyError::Read(..))));
    }
}
