//! SQLite: a B-tree with a write-ahead log, flushed at every commit.
//!
//! In: records. Out: each in a transaction of its own, on one connection that the threads
//! share: sixty-four connections that wait for SQLite's own lock are slower. Never: other settings
//! than `journal_mode = wal` and `synchronous = full`.

use std::path::Path;
use std::sync::Mutex;

use rusqlite::{Connection, OptionalExtension};

use super::{Engine, by_threads};
use crate::record::{Record, Work};

pub struct Sqlite(Mutex<Connection>);

impl Sqlite {
    pub fn open(dir: &Path) -> Sqlite {
        let connection = Connection::open(dir.join("sqlite")).expect("a writable directory");
        let prepare = "pragma journal_mode = wal; pragma synchronous = full;
            create table if not exists records(key blob primary key, body blob) without rowid;";
        connection.execute_batch(prepare).expect("a good disk");
        Sqlite(Mutex::new(connection))
    }

    fn put(&self, record: &Record) -> Result<(), rusqlite::Error> {
        let connection = self.0.lock().expect("no thread panicked");
        let mut insert = connection.prepare_cached("insert into records values(?, ?)")?;
        insert.execute((&record.key[..], &record.body[..]))?;
        Ok(())
    }

    fn get(&self, record: &Record) -> Result<Option<Vec<u8>>, rusqlite::Error> {
        let connection = self.0.lock().expect("no thread panicked");
        let mut select = connection.prepare_cached("select body from records where key = ?")?;
        select.query_row((&record.key[..],), |row| row.get(0)).optional()
    }
}

impl Engine for Sqlite {
    fn write(&mut self, writers: usize, work: &Work) {
        by_threads(writers, work, |_, record| self.put(&record).expect("a good disk"));
    }

    fn read(&mut self, record: &Record) -> Option<Vec<u8>> {
        self.get(record).expect("a good disk")
    }

    fn close(self: Box<Self>) {}
}
