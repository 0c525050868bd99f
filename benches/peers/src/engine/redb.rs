//! redb: a copy-on-write B-tree in one file.
//!
//! In: records. Out: each in a write transaction of its own, durable at once (redb's default); the
//! transactions of several threads wait for each other. Never: other settings than redb's own.

use std::path::Path;

use redb::{Database, Durability, ReadableDatabase, TableDefinition};

use super::{Engine, by_threads};
use crate::record::{Record, Work};

const TABLE: TableDefinition<&[u8; 32], &[u8]> = TableDefinition::new("records");

pub struct Redb(Database);

impl Redb {
    pub fn open(dir: &Path) -> Redb {
        Redb(Database::create(dir.join("redb")).expect("a writable directory"))
    }

    fn put(&self, record: &Record) -> Result<(), redb::Error> {
        let mut transaction = self.0.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        transaction.open_table(TABLE)?.insert(&record.key, &record.body[..])?;
        transaction.commit()?;
        Ok(())
    }

    fn get(&self, record: &Record) -> Result<Option<Vec<u8>>, redb::Error> {
        let table = self.0.begin_read()?.open_table(TABLE)?;
        Ok(table.get(&record.key)?.map(|found| found.value().to_vec()))
    }
}

impl Engine for Redb {
    fn write(&mut self, writers: usize, work: &Work) {
        by_threads(writers, work, |_, record| self.put(&record).expect("a good disk"));
    }

    fn read(&mut self, record: &Record) -> Option<Vec<u8>> {
        self.get(record).expect("a good disk")
    }

    fn close(self: Box<Self>) {}
}
