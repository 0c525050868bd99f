//! Settings that come from files (`STEMEDB_..._FILE`), read again on SIGHUP.
//!
//! In: requests to reload. Out: new values, handed to who holds the old ones; a log line. A file
//! that cannot be read or used leaves the old value where it is.
//!
//! Never: shows a secret, waits for a file that is no file.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use async_channel::Receiver;
use log::LevelFilter;

use super::{logger, secrets};
use crate::config;

/// The variable of the log level's file.
pub(super) const LOG_LEVEL_FILE: &str = "STEMEDB_LOG_LEVEL_FILE";

/// Reads a file and hands its value over: what is new, for the log, if something is.
type Take = Box<dyn Fn(&Path) -> Result<Option<String>, String>>;

struct Source {
    variable: &'static str,
    path: PathBuf,
    take: Take,
}

/// What is read again, in the order in which it was added.
#[derive(Default)]
pub(super) struct Reload {
    sources: Vec<Source>,
}

impl Reload {
    /// Has a file read again, if the setting comes from one.
    pub(super) fn add(
        &mut self,
        variable: &'static str,
        path: Option<&Path>,
        take: impl Fn(&Path) -> Result<Option<String>, String> + 'static,
    ) {
        if let Some(path) = path {
            self.sources.push(Source { variable, path: path.to_owned(), take: Box::new(take) });
        }
    }

    /// Reads all files again whenever it is asked to.
    pub(super) async fn run(self, asked: Receiver<()>) {
        while asked.recv().await.is_ok() {
            self.reload();
        }
    }

    fn reload(&self) {
        let mut news = Vec::new();
        for Source { variable, path, take } in &self.sources {
            match take(path) {
                Ok(new) => news.extend(new),
                Err(why) => {
                    log::error!("SIGHUP: {variable} {}: {why}; the old value stays", path.display())
                }
            }
        }
        match (self.sources.len(), news.len()) {
            (0, _) => log::info!("SIGHUP: no setting comes from a file that could be read again"),
            (_, 0) => log::info!("SIGHUP: nothing is new"),
            _ => log::info!("SIGHUP: {}", news.join(", ")),
        }
    }
}

/// Opens a file that is read again. A pipe in its place was for the start alone: to open it now
/// would wait for a writer.
pub(super) fn open_again(path: &Path) -> Result<File, String> {
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let opened = OpenOptions::new().read(true).custom_flags(flags).open(path);
    let file = opened.map_err(|error| error.to_string())?;
    let is_file = file.metadata().is_ok_and(|metadata| metadata.is_file());
    if is_file { Ok(file) } else { Err("is no regular file".to_owned()) }
}

/// The log level that a file has.
pub(super) fn level_in(file: Result<File, String>) -> Result<LevelFilter, String> {
    config::log_level(&secrets::line_in(file?)?)
}

/// Takes the log level from its file.
pub(super) fn take_level(path: &Path) -> Result<Option<String>, String> {
    let level = level_in(open_again(path))?;
    let is_new = level != log::max_level();
    if is_new {
        logger::set_level(level);
    }
    Ok(is_new.then(|| format!("the log level is {}", level.as_str().to_ascii_lowercase())))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use super::*;

    #[test]
    fn a_file_that_cannot_be_used_stops_no_other() {
        let taken = Rc::new(Cell::new(0));
        let mut reload = Reload::default();
        for (number, answer) in
            [Err("is wrong".to_owned()), Ok(None), Ok(Some("new".into()))].into_iter().enumerate()
        {
            let taken = taken.clone();
            reload.add("STEMEDB_X_FILE", Some(Path::new("/x")), move |path| {
                assert_eq!(path, Path::new("/x"));
                assert_eq!(taken.replace(number + 1), number);
                answer.clone()
            });
        }
        reload.add("STEMEDB_Y_FILE", None, |_| unreachable!("it comes from no file"));
        reload.reload();
        assert_eq!(taken.get(), 3);
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
