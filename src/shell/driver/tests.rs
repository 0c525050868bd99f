//! The commit path of a driver with a real disk thread and no other task than that of the disk.

use std::time::Duration;

use async_executor::LocalExecutor;
use futures_lite::future;

use super::*;
use crate::cluster::Cluster;
use crate::journal::{CommitQueue, Position};
use crate::model::Object;
use crate::shell::disk::{Checkpoint, Directory};
use crate::sketch::SketchKey;
use crate::store::Store;
use crate::swim::{self, State, Update};

fn driver(folder: &std::path::Path) -> Rc<Driver> {
    let directory = Directory::open(folder).expect("an unlocked directory");
    let tail = Position::first_of(0);
    let disk = Disk::start(&directory, tail).expect("a writable directory");
    let me = Update {
        node: NodeId([1; 16]),
        rpc_addr: "127.0.0.1:1".into(),
        api_addr: "127.0.0.1:2".into(),
        state: State::Alive,
        lamport: 0,
        incarnation: 1,
    };
    let config = cluster::Config {
        swim: swim::Config { probe_interval: Duration::from_secs(1) },
        shards: 1,
        replication_factor: 1,
        sync_interval: None,
    };
    let queue = CommitQueue::new(journal::Config::default(), tail, 0);
    let replica = Replica::new(Cluster::new(config, me, 1, Moment::ZERO), queue, Store::new(1));
    let indexer = Indexer::new(Checkpoint::new(folder, SketchKey::new(None)));
    let reader = Reader::new(directory.log());
    Driver::new(replica, (disk, indexer, reader), Verifier::new(true))
}

#[test]
fn what_tasks_offer_in_one_round_is_one_batch_that_no_other_task_starts() {
    let folder = std::env::temp_dir().join(format!("stemedb-driver-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a temporary directory");
    let driver = driver(&folder);
    let batches: Rc<RefCell<Vec<usize>>> = Rc::default();
    let seen = batches.clone();
    driver.observe_flushes(Box::new(move |report| seen.borrow_mut().push(report.records)));
    let executor = LocalExecutor::new();
    let claims = (0..20).map(|number| {
        let driver = driver.clone();
        executor.spawn(async move {
            let draft = Draft::new(format!("s{number}"), "p".into(), Object::Boolean(true));
            driver.assert(draft).await.expect("a good claim").created
        })
    });
    let claims: Vec<_> = claims.collect();
    let all = async {
        for claim in claims {
            assert!(claim.await);
        }
    };
    let disk = async { panic!("the disk failed: {}", driver.run_disk().await) };
    reactor::current().expect("a reactor").block_on(&executor, future::or(all, disk));
    assert_eq!(*batches.borrow(), [20]);
    driver.stop();
    std::fs::remove_dir_all(&folder).expect("our own directory");
}
