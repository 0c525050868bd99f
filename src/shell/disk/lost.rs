//! Records that were in the log and are not there any more.
//!
//! In: an index that does not fit the log, and what earlier starts wrote down. Out: the hash of
//! each record that neither log nor store has, as damage to be repaired; a file of them, for the
//! index that knew them is about to be replaced. Never: reads a record.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::checkpoint::Checkpoint;
use super::evidence::Evidence;
use super::file_fault::Fault;
use super::layout::sync_directory;
use super::recovery::Recovered;
use crate::base::digest::parse_hex;
use crate::base::{Digest, limits};
use crate::journal::damage::Damage;
use crate::journal::record::FRAME_HEAD_BYTES;
use crate::journal::{Bodies, Position};
use crate::store::Store;

/// Shows every record that an index or an earlier start knows of and that is not here. False: an
/// index knew others that cannot be listed.
pub fn find_missing(
    dir: &Path,
    evidence: Option<&Evidence>,
    is_here: &dyn Fn(&Digest) -> bool,
    see: &mut dyn FnMut(&Digest, Position),
) -> io::Result<bool> {
    match File::open(list(dir)) {
        Ok(file) => {
            for line in BufReader::new(file).lines() {
                // A line that is none names nothing.
                if let Some((digest, at)) = read_line(&line?)
                    && !is_here(&digest)
                {
                    see(&digest, at);
                }
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    Ok(evidence.is_none_or(|evidence| evidence.missing(is_here, see)))
}

impl Checkpoint {
    /// Adds to what recovery found every record that the index or an earlier start knows of and
    /// that is not in the store. False: it could not be written down, so the index is to be kept.
    pub fn find_lost(
        &self,
        evidence: Option<Evidence>,
        (store, bodies): (&Store, &dyn Bodies),
        recovered: &mut Recovered,
    ) -> bool {
        // With as many rows as the index knows none is missing.
        let evidence = evidence.filter(|it| store.rows_before(it.end) < it.count);
        let list = list(self.data());
        let named: BTreeSet<Digest> =
            recovered.damages_listed.iter().filter_map(|damage| damage.digest).collect();
        let is_here =
            |digest: &Digest| named.contains(digest) || store.find(digest, bodies).is_some();
        let find = |see: &mut dyn FnMut(&Digest, Position)| {
            let found = find_missing(self.data(), evidence.as_ref(), &is_here, see);
            found.map_err(|error| Fault::new("reading", &list, error))
        };
        let mut lost = Lost::default();
        let is_all = find(&mut |digest, at| lost.add(digest, at)).unwrap_or_else(|fault| {
            log::error!("{fault}: what it lists is not asked for");
            false
        });
        if lost.count == 0 {
            // An empty list is none, and one that stays is read again.
            let _ = fs::remove_file(&list);
            return true;
        }
        let written = match &evidence {
            Some(_) => write_list(&list, find),
            None => Ok(()),
        };
        log::error!(
            "{} records that were in the log are not there any more; {} lists them",
            lost.count,
            list.display()
        );
        if let Some(evidence) = evidence.filter(|_| is_all) {
            recovered.forget_nameless(evidence.end);
        }
        lost.join(recovered);
        match written {
            Ok(()) => true,
            Err(fault) => {
                log::warn!("{fault}: the index that knows them is kept instead");
                false
            }
        }
    }
}

/// Records that are not there, as damage.
#[derive(Default)]
struct Lost {
    count: u64,
    /// The first [`limits::DAMAGES_MAX`] of them.
    listed: Vec<Damage>,
}

impl Lost {
    fn add(&mut self, digest: &Digest, at: Position) {
        self.count += 1;
        if self.listed.len() < limits::DAMAGES_MAX {
            let bytes = FRAME_HEAD_BYTES as u64;
            self.listed.push(Damage { at, bytes, digest: Some(*digest) });
        }
    }

    fn join(self, recovered: &mut Recovered) {
        recovered.damages += self.count;
        let capacity = limits::DAMAGES_MAX - recovered.damages_listed.len();
        recovered.damages_listed.extend(self.listed.into_iter().take(capacity));
    }
}

/// Writes the list of records that a directory's log lacks, as `find` shows them.
pub fn list_missing(
    dir: &Path,
    find: impl FnOnce(&mut dyn FnMut(&Digest, Position)) -> Result<bool, Fault>,
) -> Result<(), Fault> {
    write_list(&list(dir), find)
}

/// The list of records that an earlier start missed: a line each, hash and position.
fn list(dir: &Path) -> PathBuf {
    dir.join("lost")
}

fn read_line(line: &str) -> Option<(Digest, Position)> {
    let (digest, at) = line.split_once(' ')?;
    let mut hash = Digest::ZERO;
    parse_hex(digest, &mut hash.0).then_some(())?;
    Some((hash, Position(at.parse().ok()?)))
}

/// Writes the list beside the old one and renames it, so that a crash leaves one of them whole.
fn write_list(
    list: &Path,
    find: impl FnOnce(&mut dyn FnMut(&Digest, Position)) -> Result<bool, Fault>,
) -> Result<(), Fault> {
    let fault = |error| Fault::new("writing", list, error);
    let new = list.with_extension("new");
    let mut file = BufWriter::new(File::create(&new).map_err(fault)?);
    let mut outcome = Ok(());
    find(&mut |digest, at| {
        if outcome.is_ok() {
            outcome = writeln!(file, "{digest} {}", at.0);
        }
    })?;
    let flushed = outcome.and_then(|()| file.into_inner()?.sync_all());
    flushed.and_then(|()| fs::rename(&new, list)).map_err(fault)?;
    sync_directory(list.parent().unwrap_or(Path::new(".")))
}
