//! Secrets out of their files.
//!
//! In: where a secret is to be had. Out: the secret, or why not. Never: shows what it read, waits
//! for a file that is no file while the node serves.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use crate::base::Secret;
use crate::config::SecretSource;

/// More than the longest secret and its line end.
const FILE_BYTES_MAX: u64 = 1024;

/// The secret itself; `variable` names it in an error.
pub fn load(source: &SecretSource, variable: &str) -> Result<Secret, String> {
    match source {
        SecretSource::Text(secret) => Ok(secret.clone()),
        SecretSource::File(path) => {
            let secret = File::open(path).map_err(|error| error.to_string()).and_then(|file| {
                warn_if_open(&file, path, variable);
                secret_in(file)
            });
            secret.map_err(|why| format!("{variable}_FILE {}: {why}", path.display()))
        }
    }
}

/// The secret in a file that is read again.
pub(crate) fn load_again(path: &Path, variable: &str) -> Result<Secret, String> {
    let file = open_again(path)?;
    warn_if_open(&file, path, variable);
    secret_in(file)
}

/// Opens a file that is read again. A pipe was for the start alone: to open it now
/// would wait for a writer.
pub(crate) fn open_again(path: &Path) -> Result<File, String> {
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let opened = OpenOptions::new().read(true).custom_flags(flags).open(path);
    let file = opened.map_err(|error| error.to_string())?;
    let is_file = file.metadata().is_ok_and(|metadata| metadata.is_file());
    if is_file { Ok(file) } else { Err("is no regular file".to_owned()) }
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

fn secret_in(file: File) -> Result<Secret, String> {
    Secret::new(&line_in(file)?).map_err(|unfit| unfit.to_string())
}

/// The text of a file, without the end of its line.
pub(crate) fn line_in(file: File) -> Result<String, String> {
    let mut text = String::new();
    file.take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(|error| error.to_string())?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    Ok(line.strip_suffix('\r').unwrap_or(line).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(read_back("hush\n"), Secret::new("hush").map_err(|unfit| unfit.to_string()));
        assert_eq!(read_back("hush\r\n"), Secret::new("hush").map_err(|unfit| unfit.to_string()));
        for wrong in ["", "two\nlines", "two words", &"hush".repeat(1000)] {
            let why = read_back(wrong).expect_err(wrong);
            assert!(why.starts_with("STEMEDB_CLUSTER_KEY_FILE /"), "{why}");
            assert!(!why.contains("hush"), "{why}");
        }
        std::fs::remove_file(&path).expect("just written");
        assert!(load(&source, "STEMEDB_CLUSTER_KEY").expect_err("gone").contains("No such file"));
    }

    #[test]
    fn what_is_no_file_is_not_waited_for() {
        let fifo = std::env::temp_dir().join(format!("stemedb-reload-{}", std::process::id()));
        let made = std::process::Command::new("mkfifo").arg(&fifo).status();
        assert!(made.expect("mkfifo runs").success());
        assert_eq!(open_again(&fifo).map(drop), Err("is no regular file".to_owned()));
        std::fs::remove_file(&fifo).expect("just made");
        assert!(open_again(&fifo).expect_err("gone").contains("No such file"));
    }
}
