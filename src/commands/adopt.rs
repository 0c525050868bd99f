//! `stemedb-edge adopt-cluster DIR ID`: a stopped node is of another cluster from its next start.
//!
//! In: a data directory that no process uses, an id. Out: the id, kept there. Never: touches the
//! directory of a running node, makes one.

use std::io;
use std::path::Path;

use crate::base::ClusterId;
use crate::shell::disk::{Directory, Fault, cluster_id, set_cluster_id};

/// Has the directory belong to the cluster; what to print about it.
pub fn adopt(dir: &Path, cluster: ClusterId) -> Result<String, Fault> {
    if !dir.join("log").is_dir() {
        let missing = io::Error::other("there is no data directory of a node");
        return Err(Fault::new("opening", dir, missing));
    }
    let _held = Directory::open(dir)?;
    // One that cannot be read is no reason to keep it.
    let before = cluster_id(dir).ok().flatten();
    set_cluster_id(dir, cluster)?;
    let before = before.map_or_else(|| "none".to_owned(), |id| id.to_string());
    Ok(format!("{}: the cluster was {before}, it is {cluster} now\n", dir.display()))
}
