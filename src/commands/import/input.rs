//! The input of an import, read and signed on a thread of its own.
//!
//! In: a file or the standard input. Out: batches of lines. Never: waits for more input before it
//! hands over the lines that are there.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::thread;

use async_channel::{Receiver, Sender};

use super::lines::{Line, Lines};
use super::sign;
use crate::config::Import;
use crate::model::signature::Signer;
use crate::shell::runtime::clock;

/// Bytes of lines in one request; a line may go beyond them.
const BATCH_BYTES: usize = 256 << 10;
/// Lines in one request: with eight of them the node has as many to work on as it takes at a time.
const BATCH_LINES: usize = 1024;
/// Batches that wait for a sender.
const BATCHES_MAX: usize = 2;
/// Memory for a line's parse tree, doubled.
const READER_STACK_BYTES: usize = 1 << 20;
/// Bytes taken from the input by one read: what is here is sent, so a batch is no larger.
const INPUT_BYTES: usize = 2 * BATCH_BYTES;

/// The input, through a buffer that shows what is there already.
pub(super) type Reader = BufReader<Box<dyn Read + Send>>;

/// What the reading thread takes with it.
pub(super) struct Input {
    pub(super) reader: Reader,
    pub(super) signer: Option<Signer>,
    /// Lines that are changed by their signing are kept as they were, too.
    pub(super) keeps_originals: bool,
}

/// The input, and its length where that is known.
pub(super) fn open(import: &Import) -> Result<(Reader, Option<u64>), String> {
    let Some(path) = &import.file else {
        return Ok((BufReader::with_capacity(INPUT_BYTES, Box::new(io::stdin())), None));
    };
    let fail = |error: io::Error| format!("reading {}: {error}", path.display());
    let file = File::open(path).map_err(fail)?;
    let metadata = file.metadata().map_err(fail)?;
    let total = metadata.is_file().then_some(metadata.len());
    let mut reader: Reader = BufReader::with_capacity(INPUT_BYTES, Box::new(file));
    if reader.fill_buf().map_err(fail)?.starts_with(&[0x1f, 0x8b]) {
        let path = path.display();
        return Err(format!("{path} is compressed: zcat {path} | stemedb-edge import -"));
    }
    Ok((reader, total))
}

/// The thread ends by itself: at the end of the input, or when no sender takes its lines any more.
/// A read that blocks for ever ends with the process.
pub(super) fn spawn_reader(input: Input) -> io::Result<Receiver<io::Result<Vec<Line>>>> {
    let (sender, batches) = async_channel::bounded(BATCHES_MAX);
    let thread = thread::Builder::new().name("reader".into()).stack_size(READER_STACK_BYTES);
    thread.spawn(move || read_lines(input, &sender))?;
    Ok(batches)
}

fn read_lines(input: Input, batches: &Sender<io::Result<Vec<Line>>>) {
    let mut lines = Lines::new(input.reader);
    let (mut batch, mut bytes) = (Vec::new(), 0);
    loop {
        let line = match lines.next() {
            Ok(Some(line)) => line,
            other => {
                let _ = batches.send_blocking(Ok(batch));
                if let Err(error) = other {
                    let _ = batches.send_blocking(Err(error));
                }
                return;
            }
        };
        let line = match &input.signer {
            Some(signer) => signed(line, signer, input.keeps_originals),
            None => line,
        };
        bytes += line.body.as_ref().map_or(0, Vec::len);
        batch.push(line);
        // What a slow input has brought goes out before the next read blocks.
        if bytes >= BATCH_BYTES || batch.len() >= BATCH_LINES || !lines.is_next_here() {
            if batches.send_blocking(Ok(std::mem::take(&mut batch))).is_err() {
                return;
            }
            bytes = 0;
        }
    }
}

fn signed(line: Line, signer: &Signer, keeps_original: bool) -> Line {
    let original = line.body.as_ref().ok().filter(|_| keeps_original).cloned();
    let body = line.body.and_then(|body| sign::signed(body, signer, clock::wall()));
    Line { body, original, ..line }
}
