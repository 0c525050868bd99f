//! The index kept beside the log, so that a start reads only what came since
//! (`docs/journal-format.md`, section "The index").
//!
//! In: rows that are to become a run; at the start, the directory again. Out: the run; the index,
//! if nothing speaks against it. Never: trusted without its checksum or beside files that it was
//! not made of; what it says can always be read from the log.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::evidence::Evidence;
use super::file_fault::{Cause, Fault};
use super::layout::{find_segments, sync_directory};
use super::manifest::{self, Manifest, Stamp};
use super::reader::Reader;
use super::record_sum::RecordSum;
use super::recovery::{Recovered, closed_bytes, read_segment};
use crate::base::stream::{Sink, Source};
use crate::base::{Digest, limits};
use crate::journal::{Bodies, Position};
use crate::sketch::SketchKey;
use crate::store::{Pages, Run, Spill, State, Store};

const DIGEST_BYTES: u64 = size_of::<Digest>() as u64;
/// A run that cannot be read ends the process like a log that cannot be written.
const EXIT_DISK: i32 = 74;

/// The index directory of one data directory.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    data: PathBuf,
    /// A sketch that was made under another key is of no use to a start.
    key: SketchKey,
}

/// The file of a run.
#[derive(Debug)]
struct RunFile {
    file: File,
    path: PathBuf,
    checkpoint: Checkpoint,
    /// Pages that were made again and that the file does not take, by their offset in it; as many
    /// as [`limits::INDEX_PAGES_KEPT_MAX`].
    kept: Mutex<BTreeMap<u64, Vec<u8>>>,
}

impl RunFile {
    fn kept(&self) -> MutexGuard<'_, BTreeMap<u64, Vec<u8>>> {
        // Each change is one call, which leaves a map that is whole.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, at: u64, page: &[u8]) -> Result<(), Cause> {
        let file = File::options().write(true).open(&self.path)?;
        file.write_all_at(page, at)?;
        file.sync_data()?;
        let mut written = vec![0; page.len()];
        self.file.read_exact_at(&mut written, at)?;
        let is_it = written == page;
        is_it.then_some(()).ok_or(Cause::Unreadable)
    }
}

impl Pages for RunFile {
    fn read(&self, at: u64, into: &mut [u8]) -> bool {
        match self.kept().get(&at) {
            Some(page) if page.len() == into.len() => {
                into.copy_from_slice(page);
                true
            }
            _ => self.file.read_exact_at(into, at).is_ok(),
        }
    }

    fn restore(&self, at: u64, page: &[u8]) {
        let path = self.path.display();
        match self.write(at, page) {
            Ok(()) => log::warn!("{path}: an unreadable page at byte {at} was made again"),
            Err(error) => {
                log::warn!("{path}: a page at byte {at} was made again, in memory only: {error}");
                let mut kept = self.kept();
                if kept.len() < limits::INDEX_PAGES_KEPT_MAX {
                    kept.insert(at, page.to_vec());
                }
            }
        }
    }

    fn with_log(&self, see: &mut dyn FnMut(&dyn Bodies)) {
        see(&Reader::new(&self.checkpoint.log()));
    }

    /// The next start makes the index anew from the log.
    fn abandon(&self) -> ! {
        let path = self.path.display();
        log::error!("{path} is not what was written: restart to make it anew from the log");
        if let Err(fault) = self.checkpoint.forget() {
            // A start that cannot write to the index reads all of its pages before it trusts it.
            log::warn!("{fault}: the kept index is left as it is");
        }
        log::logger().flush();
        std::process::exit(EXIT_DISK)
    }
}

impl Kept {
    /// The index and what of the log it stands for; `None` if there is none to be trusted.
    pub fn fitting(self) -> Option<(Recovered, Store)> {
        match self {
            Kept::Fits(recovered, store) => Some((recovered, *store)),
            Kept::Nothing | Kept::Differs(_) => None,
        }
    }
}

/// What a start finds of the index.
#[derive(Debug)]
pub enum Kept {
    /// No index is kept.
    Nothing,
    /// It stands for the log up to where that was recovered.
    Fits(Recovered, Box<Store>),
    /// The log is another, or the index is; what that knows may still be true.
    Differs(Evidence),
}

impl Checkpoint {
    /// Of the data directory at this path; the key is the sketch's.
    pub fn new(directory: &Path, key: SketchKey) -> Checkpoint {
        Checkpoint { data: directory.to_owned(), key }
    }

    /// Writes rows to a file of their own. With the state that goes with them, it is also what the
    /// next start takes in.
    pub fn spill(&self, spill: &mut Spill) -> Result<Run, Fault> {
        let run = self.write(spill)?;
        match &mut spill.state {
            Some(state) => {
                state.add_run(run.name());
                self.save(state)?;
                self.sweep(state.runs());
            }
            None => self.forget()?,
        }
        Ok(run)
    }

    /// Writes rows to a file of their own, and leaves what a start takes in as it is.
    pub fn write(&self, spill: &Spill) -> Result<Run, Fault> {
        let index = self.directory();
        if index.is_file() {
            // That of an older build.
            fs::remove_file(&index).map_err(|error| Fault::new("removing", &index, error))?;
        }
        fs::create_dir_all(&index).map_err(|error| Fault::new("making", &index, error))?;
        let (name, _) = self.replace(
            &index.join("new"),
            |sink| Ok(spill.write(sink)),
            |name| self.run_path(name),
        )?;
        let run = self.open(&name);
        run.ok_or_else(|| Fault::new("reading", &self.run_path(&name), Cause::Unreadable))
    }

    /// Keeps what a start needs beside the runs.
    pub fn save(&self, state: &State) -> Result<(), Fault> {
        let put = |sink: &mut Sink| {
            let mut hasher = blake3::Hasher::new();
            let mut take = |bytes: &[u8]| {
                hasher.update(bytes);
                sink.put(bytes);
            };
            let mut hashed = Sink::new(&mut take);
            self.put_head(state.key(), &mut hashed)?;
            state.save(&mut hashed);
            drop(hashed);
            let digest = hasher.finalize();
            sink.put(digest.as_bytes());
            Ok(())
        };
        self.replace(&self.directory().join("new"), put, |()| self.manifest()).map(|_| ())
    }

    /// Writes a file whole, or leaves things as they were.
    fn replace<T>(
        &self,
        new: &Path,
        put: impl FnOnce(&mut Sink) -> Result<T, Cause>,
        path: impl FnOnce(&T) -> PathBuf,
    ) -> Result<(T, PathBuf), Fault> {
        let written = write_whole(new, put).map_err(|error| {
            // What is left of it is of no use.
            let _ = fs::remove_file(new);
            Fault::new("writing", new, error)
        })?;
        let path = path(&written);
        fs::rename(new, &path).map_err(|error| Fault::new("renaming", new, error))?;
        sync_directory(&self.directory())?;
        Ok((written, path))
    }

    fn put_head(&self, key: SketchKey, sink: &mut Sink) -> Result<(), Cause> {
        let numbers = find_segments(&self.log()).map_err(|fault| fault.cause)?;
        let stamps = numbers.into_iter().map(|number| Stamp::of(&self.log(), number));
        manifest::save_head(key, &stamps.collect::<Result<Vec<_>, _>>()?, sink);
        Ok(())
    }

    /// Removes what a start would take in, if there is something: it names records that cannot be
    /// read any more.
    pub fn forget(&self) -> Result<(), Fault> {
        match fs::remove_file(self.manifest()) {
            Ok(()) => sync_directory(&self.directory()),
            Err(error) if is_absent(&error) => Ok(()),
            Err(error) => Err(Fault::new("removing", &self.manifest(), error)),
        }
    }

    /// Removes what a start would take in, and all runs but those in use.
    pub fn keep_only(&self, runs: &[Digest]) -> Result<(), Fault> {
        self.forget()?;
        self.sweep(runs);
        Ok(())
    }

    /// Removes the files of runs that no start will take in; those in use stay readable.
    fn sweep(&self, keep: &[Digest]) {
        let Ok(found) = fs::read_dir(self.directory()) else { return };
        let keep: Vec<PathBuf> = keep.iter().map(|name| self.run_path(name)).collect();
        let runs = found.flatten().map(|entry| entry.path());
        for path in runs.filter(|path| path.extension().is_some_and(|it| it == "run")) {
            if !keep.contains(&path) {
                // What stays behind is removed the next time.
                let _ = fs::remove_file(path);
            }
        }
    }

    /// The index and what of the log it stands for, or what else is known of it.
    pub fn load(&self) -> Kept {
        if !self.manifest().exists() {
            return Kept::Nothing;
        }
        let Some(manifest) = self.read_manifest() else {
            log::warn!("the kept index cannot be read: reading all of the log");
            return self.evidence_before().map_or(Kept::Nothing, Kept::Differs);
        };
        let evidence = self.evidence_of(&manifest.state);
        match self.fit(manifest) {
            Some((recovered, store)) => Kept::Fits(recovered, Box::new(store)),
            None => {
                log::warn!("the kept index does not fit the log: reading all of it");
                Kept::Differs(evidence)
            }
        }
    }

    /// What the index knows, whether or not it fits the log.
    pub fn evidence(&self) -> Option<Evidence> {
        match self.read_manifest() {
            Some(manifest) => Some(self.evidence_of(&manifest.state)),
            None => self.evidence_before(),
        }
    }

    /// What an index of the version before knows.
    fn evidence_before(&self) -> Option<Evidence> {
        let (end, names) = self.read_intact(manifest::load_before)?;
        let runs: Vec<Option<Run>> = names.iter().map(|name| self.open(name)).collect();
        let rows = runs.iter().map(|run| run.as_ref().map(|run| run.rows().len() as u64));
        // With a run that cannot be opened, more may be missing than the others show.
        let count = rows.sum::<Option<u64>>().unwrap_or(u64::MAX);
        Some(Evidence::new(end, count, runs))
    }

    fn evidence_of(&self, state: &State) -> Evidence {
        let runs = state.runs().iter().map(|name| self.open(name)).collect();
        Evidence::new(state.end(), state.len(), runs)
    }

    fn read_manifest(&self) -> Option<Manifest> {
        self.read_intact(|source| Manifest::load(self.key, source))
    }

    /// What `read` makes of the manifest, if that has the digest at its end.
    fn read_intact<T>(&self, read: impl FnOnce(&mut Source) -> Option<T>) -> Option<T> {
        let length = fs::metadata(self.manifest()).ok()?.len().checked_sub(DIGEST_BYTES)?;
        self.is_intact(length).ok().filter(|is_intact| *is_intact)?;
        let mut file = File::open(self.manifest()).ok()?.take(length);
        read(&mut Source::new(&mut |window| file.read(window).unwrap_or(0)))
    }

    fn is_intact(&self, length: u64) -> io::Result<bool> {
        let mut file = File::open(self.manifest())?;
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader((&mut file).take(length))?;
        let mut digest = [0; DIGEST_BYTES as usize];
        file.read_exact(&mut digest)?;
        Ok(hasher.finalize() == digest)
    }

    /// Takes the index for what it is, if nothing of the log speaks against it.
    fn fit(&self, Manifest { key, stamps, state }: Manifest) -> Option<(Recovered, Store)> {
        (key == self.key.name()).then_some(())?;
        let (tail, count) = (state.end(), state.len());
        let is_open_as_it_was = self.compare(&stamps, tail)?;
        let runs = state.runs().iter().map(|name| self.open(name)).collect::<Option<Vec<_>>>()?;
        // A bad page that shows later can only be forgotten where the index can be written.
        let draft = self.directory().join("new");
        let is_writable = File::create(&draft).and_then(|_| fs::remove_file(&draft)).is_ok();
        (is_writable || runs.iter().all(Run::is_whole)).then_some(())?;
        let store = state.into_store(runs)?;
        let bytes = closed_bytes(&self.log(), tail)?;
        let fits = is_open_as_it_was || self.knows_segment(&store, tail);
        fits.then(|| (Recovered::until(tail, bytes, count), store))
    }

    fn open(&self, name: &Digest) -> Option<Run> {
        let path = self.run_path(name);
        let file = File::open(&path).ok()?;
        let length = file.metadata().ok()?.len();
        let file = RunFile { file, path, checkpoint: self.clone(), kept: Mutex::default() };
        Run::open(Box::new(file), length).filter(|run| run.name() == *name)
    }

    /// Whether the segment that was open is as it was; `None` if a closed one is not.
    fn compare(&self, stamps: &[Stamp], tail: Position) -> Option<bool> {
        let numbers = find_segments(&self.log()).ok()?;
        let closed = numbers.iter().filter(|number| **number < tail.segment());
        let were_closed = stamps.iter().filter(|stamp| stamp.number < tail.segment());
        if closed.count() != were_closed.clone().count() {
            return None;
        }
        let is_same =
            |stamp: &Stamp| Stamp::of(&self.log(), stamp.number).ok().as_ref() == Some(stamp);
        if !were_closed.clone().all(is_same) {
            return None;
        }
        Some(stamps.iter().find(|stamp| stamp.number == tail.segment()).is_some_and(is_same))
    }

    /// Reads the segment that was open, up to the tail: it has to hold the records that the index
    /// has there, each at its position.
    fn knows_segment(&self, store: &Store, tail: Position) -> bool {
        let first = Position::first_of(tail.segment());
        let (mut logged, mut indexed) = (RecordSum::default(), RecordSum::default());
        let found = read_segment(&self.log(), tail.segment(), |at, digest| {
            if at < tail {
                logged.add(digest, at);
            }
        });
        let is_whole = found.is_ok_and(|found| {
            found.damages_listed.iter().all(|damage| damage.at >= tail) && found.tail >= tail
        });
        // Page by page: a look-up for each record takes 30 s for 100,000 of them on an emulated
        // Cortex-A7, which is every start after a kill.
        store.each_since(first, &mut |digest, at| indexed.add(digest, at));
        is_whole && logged == indexed
    }

    /// The directory of the kept index, `DIR/index`.
    pub fn directory(&self) -> PathBuf {
        self.data.join("index")
    }

    /// The data directory that it belongs to.
    pub(super) fn data(&self) -> &Path {
        &self.data
    }

    fn manifest(&self) -> PathBuf {
        self.directory().join("manifest")
    }

    fn run_path(&self, name: &Digest) -> PathBuf {
        let mut file = name.to_string();
        file.truncate(16);
        self.directory().join(file + ".run")
    }

    fn log(&self) -> PathBuf {
        self.data.join("log")
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn write_whole<T>(
    path: &Path,
    put: impl FnOnce(&mut Sink) -> Result<T, Cause>,
) -> Result<T, Cause> {
    let mut file = BufWriter::new(File::create(path)?);
    let mut outcome = Ok(());
    let mut take = |bytes: &[u8]| {
        if outcome.is_ok() {
            outcome = file.write_all(bytes);
        }
    };
    let written = put(&mut Sink::new(&mut take))?;
    outcome?;
    file.into_inner().map_err(io::Error::from)?.sync_all()?;
    Ok(written)
}
