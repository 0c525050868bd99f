//! Values of settings out of their files: secrets, and lines that are none.
//!
//! In: where a value is to be had. Out: the value, or why not. Never: shows what it read, waits for
//! a file that is no file while the node serves.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::base::Secret;
use crate::base::secret::UnfitSecret;
use crate::config::{SecretSource, Takes};

/// More than the longest secret and its line end.
const FILE_BYTES_MAX: u64 = 1024;

/// Why a file gives no value. None of it shows what is in the file.
#[derive(Debug)]
pub enum ValueFileError {
    /// The system does not open or read it.
    Unreadable(io::Error),
    /// It is a pipe or the like, where a file is read again.
    NotRegular,
    /// Its line is no secret.
    UnfitSecret(UnfitSecret),
    /// Its line is no level of the log.
    UnfitLevel(Takes),
}

impl fmt::Display for ValueFileError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ValueFileError::Unreadable(error) => error.fmt(out),
            ValueFileError::NotRegular => out.write_str("is no regular file"),
            ValueFileError::UnfitSecret(unfit) => unfit.fmt(out),
            ValueFileError::UnfitLevel(takes) => takes.fmt(out),
        }
    }
}

impl From<io::Error> for ValueFileError {
    fn from(error: io::Error) -> ValueFileError {
        ValueFileError::Unreadable(error)
    }
}

/// Which setting cannot be had from its file, and why.
#[derive(Debug)]
pub struct SettingFileError {
    /// The variable that names the file.
    pub variable: String,
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub why: ValueFileError,
}

impl fmt::Display for SettingFileError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}: {}", self.variable, self.path.display(), self.why)
    }
}

/// The secret itself; `variable` names it in an error.
pub fn load(source: &SecretSource, variable: &str) -> Result<Secret, SettingFileError> {
    match source {
        SecretSource::Text(secret) => Ok(secret.clone()),
        SecretSource::File(path) => {
            let secret = File::open(path).map_err(ValueFileError::from).and_then(|file| {
                warn_if_open(&file, path, variable);
                secret_in(file)
            });
            secret.map_err(|why| {
                let (variable, path) = (format!("{variable}_FILE"), path.clone());
                SettingFileError { variable, path, why }
            })
        }
    }
}

/// The secret in a file that is read again.
pub(crate) fn load_again(path: &Path, variable: &str) -> Result<Secret, ValueFileError> {
    let file = open_again(path)?;
    warn_if_open(&file, path, variable);
    secret_in(file)
}

/// Opens a file that is read again. A pipe was for the start alone: to open it now
/// would wait for a writer.
pub(crate) fn open_again(path: &Path) -> Result<File, ValueFileError> {
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let is_file = file.metadata().is_ok_and(|metadata| metadata.is_file());
    if is_file { Ok(file) } else { Err(ValueFileError::NotRegular) }
}

fn warn_if_open(file: &File, path: &Path, variable: &str) {
    let mode = file.metadata().map(|metadata| metadata.permissions().mode());
    if mode.is_ok_and(is_open) {
        let path = path.display();
        log::warn!("{variable}_FILE {path} can be read by every user: chmod 0600 {path}");
    }
}

/// Whether others than owner and group may read it.
fn is_open(mode: u32) -> bool {
    mode & 0o004 != 0
}

fn secret_in(file: File) -> Result<Secret, ValueFileError> {
    Secret::new(&line_in(file)?).map_err(ValueFileError::UnfitSecret)
}

/// The text of a file, without the end of its line.
pub(crate) fn line_in(file: File) -> io::Result<String> {
    let mut text = String::new();
    file.take(FILE_BYTES_MAX).read_to_string(&mut text)?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    Ok(line.strip_suffix('\r').unwrap_or(line).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_missing(why: &ValueFileError) -> bool {
        let kind = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
        matches!(why, ValueFileError::Unreadable(error) if kind(error))
    }

    #[test]
    fn a_file_that_every_user_can_read_is_open() {
        for (mode, expected) in [(0o600, false), (0o640, false), (0o644, true), (0o604, true)] {
            assert_eq!(is_open(0o100_000 | mode), expected, "{mode:o}");
        }
    }

    #[test]
    fn a_file_holds_one_line_that_never_shows() {
        let path = std::env::temp_dir().join(format!("stemedb-secret-{}", std::process::id()));
        let source = SecretSource::File(path.clone());
        let read_back = |text: &str| {
            std::fs::write(&path, text).expect("a writable folder");
            load(&source, "STEMEDB_CLUSTER_KEY")
        };
        let hush = Secret::new("hush").expect("a secret");
        assert!(read_back("hush\n").is_ok_and(|secret| secret == hush));
        assert!(read_back("hush\r\n").is_ok_and(|secret| secret == hush));
        for wrong in ["", "two\nlines", "two words", &"hush".repeat(1000)] {
            let why = read_back(wrong).expect_err(wrong).to_string();
            assert!(why.starts_with("STEMEDB_CLUSTER_KEY_FILE /"), "{why}");
            assert!(!why.contains("hush"), "{why}");
        }
        std::fs::remove_file(&path).expect("just written");
        let gone = load(&source, "STEMEDB_CLUSTER_KEY").expect_err("gone");
        assert!(is_missing(&gone.why), "{gone}");
    }

    #[test]
    fn what_is_no_file_is_not_waited_for() {
        let fifo = std::env::temp_dir().join(format!("stemedb-reload-{}", std::process::id()));
        let made = std::process::Command::new("mkfifo").arg(&fifo).status();
        assert!(made.expect("mkfifo runs").success());
        assert!(matches!(open_again(&fifo), Err(ValueFileError::NotRegular)));
        std::fs::remove_file(&fifo).expect("just made");
        assert!(is_missing(&open_again(&fifo).expect_err("gone")));
    }
}
