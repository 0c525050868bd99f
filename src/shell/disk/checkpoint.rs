//! The index kept beside the log, so that a start reads only what came since
//! (`docs/journal-format.md`, section "The index checkpoint").
//!
//! In: a sound index of a log at rest; at the start, the file again. Out: the index, if nothing
//! speaks against it. Never: trusted without its checksum or beside files that it was not made of;
//! what it says can always be read from the log.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::recovery::{Recovered, read_segment};
use super::{Fault, Reader, find_segments, segment_path, sync_directory};
use crate::base::Digest;
use crate::base::stream::{Sink, Source};
use crate::journal::Position;
use crate::sketch::Key;
use crate::store::Store;

const MAGIC: [u8; 8] = *b"STEMEIDX";
const VERSION: u32 = 1;
const DIGEST_BYTES: u64 = size_of::<Digest>() as u64;

/// The index checkpoint of one data directory.
#[derive(Clone)]
pub struct Checkpoint {
    directory: PathBuf,
    key: Key,
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

    /// Writes the index of a log that ends at `tail`, takes so many bytes and does not change
    /// meanwhile. A store that is not sound has no checkpoint.
    pub fn save(&self, store: &Store, tail: Position, bytes: u64) -> Result<(), Fault> {
        if !store.is_sound() {
            return self.forget();
        }
        let new = self.directory.join("index.new");
        let written = self.write(&new, store, (tail, bytes));
        written.map_err(|error| {
            // What is left of it is of no use to anybody.
            let _ = fs::remove_file(&new);
            Fault::new("writing", &new, error)
        })?;
        let renamed = fs::rename(&new, self.path());
        renamed.map_err(|error| Fault::new("renaming", &new, error))?;
        sync_directory(&self.directory)
    }

    fn write(&self, new: &Path, store: &Store, log: (Position, u64)) -> io::Result<()> {
        let mut file = BufWriter::new(File::create(new)?);
        let mut hasher = blake3::Hasher::new();
        let mut outcome = Ok(());
        let mut take = |bytes: &[u8]| {
            hasher.update(bytes);
            if outcome.is_ok() {
                outcome = file.write_all(bytes);
            }
        };
        let mut sink = Sink::new(&mut take);
        self.put_head(&mut sink, store.len(), log)?;
        store.save(&mut sink);
        outcome?;
        file.write_all(hasher.finalize().as_bytes())?;
        file.into_inner()?.sync_all()
    }

    fn put_head(&self, sink: &mut Sink, count: u64, log: (Position, u64)) -> io::Result<()> {
        sink.put(&MAGIC);
        sink.put_u32(VERSION);
        sink.put(&self.key.name().0);
        [log.0.0, log.1, count].iter().for_each(|value| sink.put_u64(*value));
        let numbers = find_segments(&self.log()).map_err(|fault| fault.source)?;
        sink.put_u32(numbers.len() as u32);
        for number in numbers {
            Stamp::of(&self.log(), number)?.save(sink);
        }
        Ok(())
    }

    /// Removes it, if there is one: it tells of records that cannot be read any more.
    pub fn forget(&self) -> Result<(), Fault> {
        match fs::remove_file(self.path()) {
            Ok(()) => sync_directory(&self.directory),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(Fault::new("removing", &self.path(), error)),
        }
    }

    /// The index and what of the log it stands for; `None` if there is none to be trusted.
    pub fn load(&self) -> Option<(Recovered, Store)> {
        let length = fs::metadata(self.path()).ok()?.len().checked_sub(DIGEST_BYTES)?;
        let trusted = self.is_intact(length).ok().filter(|intact| *intact).and_then(|_| {
            let mut file = BufReader::new(File::open(self.path()).ok()?.take(length));
            self.read(&mut Source::new(&mut |buffer| file.read_exact(buffer).ok()))
        });
        if trusted.is_none() {
            log::warn!("the index checkpoint does not fit the log: reading all of it");
        }
        trusted
    }

    fn is_intact(&self, length: u64) -> io::Result<bool> {
        let mut file = File::open(self.path())?;
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
        let (tail, bytes, count) = (Position(source.u64()?), source.u64()?, source.u64()?);
        let stamps = source.list(Stamp::load)?;
        let is_open_as_it_was = self.compare(&stamps, tail)?;
        let store = Store::load(self.key, source)?;
        let fits = is_open_as_it_was || self.knows_segment(&store, tail);
        fits.then(|| (Recovered::until(tail, bytes, count), store))
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

    fn path(&self) -> PathBuf {
        self.directory.join("index")
    }

    fn log(&self) -> PathBuf {
        self.directory.join("log")
    }
}
