//! `stemedb-edge backup DIR TARGET`: a copy of a data directory to start a node on.
//!
//! In: a data directory, in use or not; a directory to be made. Out: the copy, whole or not at all,
//! read again, and a word on what it is. The node's id stays behind, for two live nodes must not
//! share one.
//!
//! Never: changes the original, writes into a directory that has something in it.

use std::fs;
use std::io;
use std::path::Path;

use crate::commands::check::{Scan, Verdict};
use crate::shell::disk::{
    Copied, Fault, cluster_id, copy, recover, set_cluster_id, sync_directory,
};

/// Copies the data directory `dir` to `target`; what to print about it, and whether that is all.
pub fn back_up(dir: &Path, target: &Path) -> Result<Verdict, Fault> {
    let mut scan = Scan::begin(dir);
    make_empty(target)?;
    let (partial, log) = (target.join("log.partial"), target.join("log"));
    fs::create_dir(&partial).map_err(|error| Fault::new("creating", &partial, error))?;
    let copied = copy(&dir.join("log"), &partial).inspect_err(|_| {
        // What is left of it says by its name that it is no copy.
        let _ = fs::remove_dir_all(&partial);
    })?;
    fs::rename(&partial, &log).map_err(|error| Fault::new("renaming", &partial, error))?;
    sync_directory(target)?;
    // What is in the copy is of that cluster.
    if let Some(id) = cluster_id(dir)? {
        set_cluster_id(target, id)?;
    }
    let recovered = recover(&log, false, |committed| scan.see(&committed))?;
    let verdict = scan.finish(&recovered, Some(target))?;
    Ok(Verdict { text: summary(dir, target, &copied) + &verdict.text, ..verdict })
}

fn make_empty(target: &Path) -> Result<(), Fault> {
    let fault = |error| Fault::new("creating", target, error);
    fs::create_dir_all(target).map_err(fault)?;
    match fs::read_dir(target).map_err(fault)?.next() {
        None => Ok(()),
        Some(_) => Err(fault(io::Error::other("there is something in it"))),
    }
}

fn summary(dir: &Path, target: &Path, copied: &Copied) -> String {
    let Copied { linked, copied, bytes, tail } = copied;
    let mut text = format!(
        "{}: {} segments, {linked} of them linked; {bytes} bytes",
        target.display(),
        linked + copied
    );
    if let Some(tail) = tail {
        text += &format!(", up to segment {} offset {}", tail.segment(), tail.offset());
    }
    text.push('\n');
    if let Ok(id) = fs::read_to_string(dir.join("node-id")) {
        text += &format!(
            "A node started on it is a new one. To take the place of the old one, once that is \
             gone for good, it needs --node-id {}\n",
            id.trim()
        );
    }
    text
}
