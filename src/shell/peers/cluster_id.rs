//! Which cluster the node belongs to: what is set, what the data directory keeps, what the node
//! learns.
//!
//! In: settings, the directory, the state machine's word. Out: the id at the start; the id kept
//! once it is settled. Never: changes an id that is kept.

use std::cell::Cell;
use std::io;
use std::path::PathBuf;
use std::rc::Rc;

use crate::base::ClusterId;
use crate::config::Settings;
use crate::shell::disk::{self, Fault};
use crate::shell::driver::Driver;
use crate::shell::peers::pool::Pool;

/// The cluster that the node belongs to, as far as it is set or kept.
pub(crate) fn known(settings: &Settings) -> Result<Option<ClusterId>, Fault> {
    let (dir, set) = (&settings.data_dir, settings.cluster_id);
    let kept = disk::cluster_id(dir)?;
    match (set, kept) {
        (Some(set), Some(kept)) if set != kept => {
            let why = format!(
                "it says {kept}, STEMEDB_CLUSTER_ID says {set}: what this node holds is of {kept}. \
                 stemedb-edge adopt-cluster {} {set} makes it one of the other",
                dir.display()
            );
            Err(Fault::new("reading", &dir.join("cluster-id"), io::Error::other(why)))
        }
        _ => Ok(set.or(kept)),
    }
}

/// Says with each call which cluster this node is of, keeps that once it is settled, and judges
/// others' calls by it.
pub(crate) fn follow(driver: &Rc<Driver>, pool: &Pool, dir: PathBuf) {
    let identity = pool.identity();
    let known = Cell::new(disk::cluster_id(&dir).ok().flatten());
    identity.observe_settled(Box::new(move |id| {
        if known.replace(Some(id)) == Some(id) {
            return;
        }
        log::info!("this node is of the cluster {id}");
        if let Err(fault) = disk::keep_cluster_id(&dir, id) {
            log::error!("{fault}: the cluster id is not kept");
        }
    }));
    let judge = driver.clone();
    identity.judge_by(Box::new(move |tag| {
        judge.read(|replica, _| replica.cluster().identity().admit(tag))
    }));
    identity.set_tag(driver.read(|replica, _| replica.cluster().identity().tag()));
}
