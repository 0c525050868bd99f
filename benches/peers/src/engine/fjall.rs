//! fjall: a log-structured merge tree with a journal.
//!
//! In: records. Out: each inserted, then made durable by fdatasync of the journal, which covers
//! what other threads inserted meanwhile. Never: other settings than fjall's own.

use std::path::Path;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use super::{Engine, by_threads};
use crate::record::{Record, Work};

pub struct Fjall {
    // Before the database, which waits at its end for what its keyspaces do.
    records: Keyspace,
    database: Database,
}

impl Fjall {
    pub fn open(dir: &Path) -> Fjall {
        let database = Database::builder(dir.join("fjall")).open().expect("a writable directory");
        let records = database.keyspace("records", KeyspaceCreateOptions::default);
        Fjall { records: records.expect("a good disk"), database }
    }

    fn put(&self, record: &Record) -> Result<(), fjall::Error> {
        self.records.insert(record.key, &record.body[..])?;
        self.database.persist(PersistMode::SyncData)
    }
}

impl Engine for Fjall {
    fn write(&mut self, writers: usize, work: &Work) {
        by_threads(writers, work, |_, record| self.put(&record).expect("a good disk"));
    }

    fn read(&mut self, record: &Record) -> Option<Vec<u8>> {
        self.records.get(record.key).expect("a good disk").map(|found| found.to_vec())
    }

    fn close(self: Box<Self>) {}
}
