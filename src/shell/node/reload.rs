//! Settings that come from files (`STEMEDB_..._FILE`), read again on SIGHUP.
//!
//! In: requests to reload. Out: new values, handed to who holds the old ones; a log line. A file
//! that cannot be read or used leaves the old value where it is.
//!
//! Never: shows a secret.

use std::fs::File;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use async_channel::Receiver;
use futures_lite::future::{self, BoxedLocal};
use log::LevelFilter;

use crate::base::Secret;
use crate::config::{self, SecretSource, Settings};
use crate::shell::api::api_key::ApiKeyCheck;
use crate::shell::driver::Driver;
use crate::shell::grpc;
use crate::shell::peers::key_holders::KeyHolders;
use crate::shell::peers::pool::Pool;
use crate::shell::runtime::logger;
use crate::shell::runtime::reactor::yield_now;
use crate::shell::runtime::secrets::{self, SettingFileError, ValueFileError};
use crate::shell::runtime::supervisor::Supervisor;
use crate::sketch::SketchKey;

/// The variable of the log level's file.
const LOG_LEVEL_FILE: &str = "STEMEDB_LOG_LEVEL_FILE";
/// Hashes that are sketched anew before sockets are served again: some 2 ms.
const REKEY_STEP: usize = 1024;

/// Reads a file and hands its value over: what is new, for the log, if something is.
type Take = Box<dyn Fn(&Path) -> BoxedLocal<Taken>>;
/// What is new, or why nothing could be taken.
type Taken = Result<Option<String>, ValueFileError>;

struct ReloadedFile {
    variable: &'static str,
    path: PathBuf,
    take: Take,
}

/// All that has to do with the cluster key.
pub(crate) type Keyed = (Rc<Driver>, Rc<Pool>, grpc::Server, Rc<KeyHolders>);

/// What is read again, in the order in which it was added.
#[derive(Default)]
pub(crate) struct Reload {
    sources: Vec<ReloadedFile>,
}

impl Reload {
    /// The settings that come from files.
    pub(crate) fn new(settings: &Settings, api_key_check: ApiKeyCheck, keyed: Keyed) -> Reload {
        let mut reload = Reload::default();
        let level = settings.log_level_file.as_deref();
        reload.add(LOG_LEVEL_FILE, level, |path| future::ready(take_level(path)));
        let key = settings.api_key.as_ref().and_then(SecretSource::path);
        reload.add("STEMEDB_ROOT_API_KEY_FILE", key, move |path| {
            let key = secrets::load_again(path, "STEMEDB_ROOT_API_KEY");
            let is_new = key.map(|key| api_key_check.change_key(&key));
            future::ready(is_new.map(|is_new| is_new.then(|| "another root API key".to_owned())))
        });
        let key = settings.cluster_key.as_ref().and_then(SecretSource::path);
        reload.add("STEMEDB_CLUSTER_KEY_FILE", key, move |path| {
            take_cluster_key(secrets::load_again(path, "STEMEDB_CLUSTER_KEY"), keyed.clone())
        });
        reload
    }

    /// Has a file read again, if the setting comes from one.
    fn add<T: Future<Output = Taken> + 'static>(
        &mut self,
        variable: &'static str,
        path: Option<&Path>,
        take: impl Fn(&Path) -> T + 'static,
    ) {
        if let Some(path) = path {
            let take: Take = Box::new(move |path| Box::pin(take(path)));
            self.sources.push(ReloadedFile { variable, path: path.to_owned(), take });
        }
    }

    /// Reads all files again whenever it is asked to.
    pub(crate) async fn run(self, asked: Receiver<()>, supervisor: Rc<Supervisor>) {
        while asked.recv().await.is_ok() {
            supervisor.note_reloading();
            self.reload().await;
            supervisor.note_ready();
        }
    }

    async fn reload(&self) {
        let mut news = Vec::new();
        for ReloadedFile { variable, path, take } in &self.sources {
            match take(path).await {
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

/// The log level to start with.
pub(crate) fn log_level(settings: &Settings) -> Result<LevelFilter, SettingFileError> {
    let Some(path) = &settings.log_level_file else { return Ok(settings.log) };
    let level = File::open(path).map_err(ValueFileError::from).and_then(level_in);
    level.map_err(|why| {
        let (variable, path) = (LOG_LEVEL_FILE.to_owned(), path.clone());
        SettingFileError { variable, path, why }
    })
}

fn level_in(file: File) -> Result<LevelFilter, ValueFileError> {
    config::log_level(&secrets::line_in(file)?).map_err(ValueFileError::UnfitLevel)
}

fn take_level(path: &Path) -> Taken {
    let level = level_in(secrets::open_again(path)?)?;
    let is_new = level != log::max_level();
    if is_new {
        logger::set_level(level);
    }
    Ok(is_new.then(|| format!("the log level is {}", level.as_str().to_ascii_lowercase())))
}

/// The sketch comes first: nodes that let each other in compare sketches of one key.
async fn take_cluster_key(
    key: Result<Secret, ValueFileError>,
    (driver, pool, grpc, holders): Keyed,
) -> Taken {
    let key = key?;
    if grpc.has_key(&key) {
        return Ok(None);
    }
    driver.update(|replica, _, _| replica.begin_rekey(SketchKey::new(Some(&key))));
    while !driver.update(|replica, _, _| replica.rekey_step(REKEY_STEP)) {
        yield_now().await;
    }
    grpc.change_key(&key);
    pool.change_key(&key);
    holders.forget_all();
    Ok(Some("another cluster key".to_owned()))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn a_file_that_cannot_be_used_stops_no_other() {
        let taken = Rc::new(Cell::new(0));
        let mut reload = Reload::default();
        let answers: [fn() -> Taken; 3] =
            [|| Err(ValueFileError::NotRegular), || Ok(None), || Ok(Some("new".into()))];
        for (number, answer) in answers.into_iter().enumerate() {
            let taken = taken.clone();
            reload.add("STEMEDB_X_FILE", Some(Path::new("/x")), move |path| {
                assert_eq!(path, Path::new("/x"));
                assert_eq!(taken.replace(number + 1), number);
                future::ready(answer())
            });
        }
        let take = |_: &Path| future::ready(Err(ValueFileError::NotRegular));
        reload.add("STEMEDB_Y_FILE", None, take);
        assert_eq!(reload.sources.len(), 3);
        future::block_on(reload.reload());
        assert_eq!(taken.get(), 3);
    }
}
