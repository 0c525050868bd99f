//! Names of files in the data directory.
//!
//! In: a number, a directory. Out: paths, numbers; names that survive a power cut. Never: opens a
//! segment.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::file_fault::Fault;

/// The file of segment `number`.
pub fn segment_path(log: &Path, number: u64) -> PathBuf {
    log.join(format!("{number:010}.seg"))
}

/// The segments there are, ascending; other files are left alone.
pub fn find_segments(log: &Path) -> Result<Vec<u64>, Fault> {
    let fault = |error| Fault::new("listing", log, error);
    let mut numbers = Vec::new();
    for entry in fs::read_dir(log).map_err(fault)? {
        let name = entry.map_err(fault)?.file_name();
        let stem = name.to_str().and_then(|name| name.strip_suffix(".seg"));
        numbers
            .extend(stem.filter(|stem| stem.len() == 10).and_then(|stem| stem.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Makes names created in a directory durable.
pub fn sync_directory(path: &Path) -> Result<(), Fault> {
    let sync = File::open(path).and_then(|directory| directory.sync_all());
    sync.map_err(|error| Fault::new("syncing", path, error))
}
