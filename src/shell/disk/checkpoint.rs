//! The index kept beside the log, so that a start reads only what came since
//! (`docs/journal-format.md`, section "The index").
//!
//! In: rows that are to become a run; at the start, the directory again. Out: the run; the index,
//! if nothing speaks against it. Never: trusted without its checksum or beside files that it was
//! not made of; what it says can always be read from the log.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::recovery::{Recovered, closed_bytes, read_segment};
use super::{Fault, Reader, find_segments, segment_path, sync_directory};
use crate::base::Digest;
use crate::base::stream::{Sink, Source};
use crate::journal::Position;
use crate::sketch::Key;
use crate::store::{Pages, Run, Spill, State, Store};

const MAGIC: [u8; 8] = *b"STEMEIDX";
const VERSION: u32 = 2;
const DIGEST_BYTES: u64 = size_of::<Digest>() as u64;
/// A run that cannot be read ends the process like a log that cannot be written.
const EXIT_DISK: i32 = 74;

/// The index directory of one data directory.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    directory: PathBuf,
    key: Key,
}

/// The file of a run.
#[derive(Debug)]
struct RunFile {
    file: File,
    path: PathBuf,
    checkpoint: Checkpoint,
}

impl Pages for RunFile {
    fn read(&self, at: u64, into: &mut [u8]) -> bool {
        self.file.read_exact_at(into, at).is_ok()
    }

    /// The next start makes the index anew from the log.
    fn give_up(&self) -> ! {
        let path = self.path.display();
        log::error!("{path} is not what was written: restart to make it anew from the log");
        if let Err(fault) = self.checkpoint.forget() {
            log::error!("{fault}: remove it by hand before the restart");
        }
        log::logger().flush();
        std::process::exit(EXIT_DISK)
    }
}

/// A segment file as it was: nobody writes to one without leaving a mark here.
#[derive(PartialEq, Eq)]
struct Stamp {
    number: u64,
    length: u64,
    seconds: u64,
    nanos: u32,
}

impl Stamp {
    fn of(log: &Path, number: u64) -> io::Result<Stamp> {
        let found = fs::metadata(segment_path(log, number))?;
        let (seconds, nanos) = (found.mtime().cast_unsigned(), found.mtime_nsec() as u32);
        Ok(Stamp { number, length: found.len(), seconds, nanos })
    }

    fn save(&self, sink: &mut Sink) {
        [self.number, self.length, self.seconds].iter().for_each(|value| sink.put_u64(*value));
        sink.put_u32(self.nanos);
    }

    fn load(source: &mut Source) -> Option<Stamp> {
        let [number, length, seconds] = [source.u64()?, source.u64()?, source.u64()?];
        Some(Stamp { number, length, seconds, nanos: source.u32()? })
    }
}

impl Checkpoint {
    /// Of the data directory at this path; the key is the sketch's.
    pub fn new(directory: &Path, key: Key) -> Checkpoint {
        Checkpoint { directory: directory.to_owned(), key }
    }

    /// Writes rows to a file of their own. With the state that goes with them, it is also what the
    /// next start takes in.
    pub fn spill(&self, spill: &mut Spill) -> Result<Run, Fault> {
        let index = self.index();
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
        let run = self.open(&name).ok_or_else(|| {
            let unreadable = io::Error::other("it is not what was written");
            Fault::new("reading", &self.run_path(&name), unreadable)
        })?;
        match &mut spill.state {
            Some(state) => {
                state.add_run(name);
                self.save(state)?;
                self.sweep(state.runs());
            }
            None => self.forget()?,
        }
        Ok(run)
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
            self.put_head(&mut hashed)?;
            state.save(&mut hashed);
            drop(hashed);
            let digest = hasher.finalize();
            sink.put(digest.as_bytes());
            Ok(())
        };
        self.replace(&self.index().join("new"), put, |()| self.manifest()).map(|_| ())
    }

    /// Writes a file whole, or leaves things as they were.
    fn replace<T>(
        &self,
        new: &Path,
        put: impl FnOnce(&mut Sink) -> io::Result<T>,
        path: impl FnOnce(&T) -> PathBuf,
    ) -> Result<(T, PathBuf), Fault> {
        let written = write_whole(new, put).map_err(|error| {
            // What is left of it is of no use to anybody.
            let _ = fs::remove_file(new);
            Fault::new("writing", new, error)
        })?;
        let path = path(&written);
        fs::rename(new, &path).map_err(|error| Fault::new("renaming", new, error))?;
        sync_directory(&self.index())?;
        Ok((written, path))
    }

    fn put_head(&self, sink: &mut Sink) -> io::Result<()> {
        sink.put(&MAGIC);
        sink.put_u32(VERSION);
        sink.put(&self.key.name().0);
        let numbers = find_segments(&self.log()).map_err(|fault| fault.source)?;
        sink.put_u32(numbers.len() as u32);
        for number in numbers {
            Stamp::of(&self.log(), number)?.save(sink);
        }
        Ok(())
    }

    /// Removes what a start would take in, if there is something: it tells of records that cannot
    /// be read any more.
    pub fn forget(&self) -> Result<(), Fault> {
        match fs::remove_file(self.manifest()) {
            Ok(()) => sync_directory(&self.index()),
            Err(error) if is_absent(&error) => Ok(()),
            Err(error) => Err(Fault::new("removing", &self.manifest(), error)),
        }
    }

    /// Removes what is left of an index that is of no use.
    pub fn clear(&self) -> Result<(), Fault> {
        self.forget()?;
        self.sweep(&[]);
        Ok(())
    }

    /// Removes the files of runs that no start will take in; those in use stay readable.
    fn sweep(&self, keep: &[Digest]) {
        let Ok(found) = fs::read_dir(self.index()) else { return };
        let keep: Vec<PathBuf> = keep.iter().map(|name| self.run_path(name)).collect();
        let runs = found.flatten().map(|entry| entry.path());
        for path in runs.filter(|path| path.extension().is_some_and(|it| it == "run")) {
            if !keep.contains(&path) {
                // What stays behind is removed the next time.
                let _ = fs::remove_file(path);
            }
        }
    }

    /// The index and what of the log it stands for; `None` if there is none to be trusted.
    pub fn load(&self) -> Option<(Recovered, Store)> {
        let length = fs::metadata(self.manifest()).ok().map(|found| found.len());
        let trusted = length.and_then(|length| {
            let length = length.checked_sub(DIGEST_BYTES)?;
            self.is_intact(length).ok().filter(|is_intact| *is_intact)?;
            let mut file = File::open(self.manifest()).ok()?.take(length);
            self.read(&mut Source::new(&mut |window| file.read(window).unwrap_or(0)))
        });
        if trusted.is_none() && length.is_some() {
            log::warn!("the kept index does not fit the log: reading all of it");
        }
        trusted
    }

    fn is_intact(&self, length: u64) -> io::Result<bool> {
        let mut file = File::open(self.manifest())?;
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader((&mut file).take(length))?;
        let mut digest = [0; DIGEST_BYTES as usize];
        file.read_exact(&mut digest)?;
        Ok(hasher.finalize() == digest)
    }

    fn read(&self, source: &mut Source) -> Option<(Recovered, Store)> {
        let is_ours = source.bytes()? == MAGIC && source.u32()? == VERSION;
        if !is_ours || source.bytes()? != self.key.name().0 {
            return None;
        }
        let stamps = source.list(Stamp::load)?;
        let state = State::load(self.key, source)?;
        let (tail, count) = (state.end(), state.len());
        let is_open_as_it_was = self.compare(&stamps, tail)?;
        let runs = state.runs().iter().map(|name| self.open(name)).collect::<Option<_>>()?;
        let store = state.into_store(runs)?;
        let bytes = closed_bytes(&self.log(), tail)?;
        let fits = is_open_as_it_was || self.knows_segment(&store, tail);
        fits.then(|| (Recovered::until(tail, bytes, count), store))
    }

    fn open(&self, name: &Digest) -> Option<Run> {
        let path = self.run_path(name);
        let file = File::open(&path).ok()?;
        let length = file.metadata().ok()?.len();
        let file = RunFile { file, path, checkpoint: self.clone() };
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

    /// Reads the segment that was open, up to the tail: every record has to be where the index
    /// says.
    fn knows_segment(&self, store: &Store, tail: Position) -> bool {
        let reader = Reader::new(&self.log());
        let mut strangers = 0;
        let found = read_segment(&self.log(), tail.segment(), |at, digest| {
            let is_known = at >= tail || store.find(digest, &reader) == Some(at);
            strangers += u64::from(!is_known);
        });
        found.is_ok_and(|found| {
            let is_whole = found.damages_told.iter().all(|damage| damage.at >= tail);
            strangers == 0 && is_whole && found.tail >= tail
        })
    }

    fn index(&self) -> PathBuf {
        self.directory.join("index")
    }

    fn manifest(&self) -> PathBuf {
        self.index().join("manifest")
    }

    fn run_path(&self, name: &Digest) -> PathBuf {
        let mut file = name.to_string();
        file.truncate(16);
        self.index().join(file + ".run")
    }

    fn log(&self) -> PathBuf {
        self.directory.join("log")
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn write_whole<T>(path: &Path, put: impl FnOnce(&mut Sink) -> io::Result<T>) -> io::Result<T> {
    let mut file = BufWriter::new(File::create(path)?);
    let mut outcome = Ok(());
    let mut take = |bytes: &[u8]| {
        if outcome.is_ok() {
            outcome = file.write_all(bytes);
        }
    };
    let written = put(&mut Sink::new(&mut take))?;
    outcome?;
    file.into_inner()?.sync_all()?;
    Ok(written)
}
