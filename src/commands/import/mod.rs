//! `stemedb-edge import`: lines of a file into a running node.
//!
//! In: a file or the standard input, one body of `POST /v1/assert` a line. Out: requests, several
//! in flight; a report. A thread reads (and signs), tasks send; the lines between them are bounded.
//!
//! Never: holds more than a few lines, ends because of a bad one.

mod lines;
mod post;
mod sign;
mod tally;

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Read, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use async_channel::{Receiver, Sender};
use async_executor::LocalExecutor;
use futures_lite::future;

use crate::base::Secret;
use crate::commands::keygen;
use crate::config::{Endpoint, Import};
use crate::model::signature::Signer;
use crate::shell::runtime::clock;
use crate::shell::runtime::reactor::{self, Timer};
use crate::shell::runtime::resolve;
use crate::shell::runtime::secrets;
use crate::shell::runtime::signals::{Signal, Signals};
use lines::{Line, Lines};
use tally::{Fate, Tally};

/// Bytes of lines that travel together from the reading thread.
const BATCH_BYTES: usize = 16 << 10;
/// Batches that wait for a sender.
const BATCHES_MAX: usize = 4;
/// Memory for a line's parse tree, doubled.
const READER_STACK_BYTES: usize = 1 << 20;
/// Lines handed out that no sender has taken yet.
const HANDED_OUT_MAX: usize = 16;
/// Bytes taken from the input by one read.
const INPUT_BYTES: usize = 64 << 10;
/// How often the bar is drawn.
const BAR_INTERVAL: Duration = Duration::from_millis(200);

/// Why the program ends.
#[derive(Debug)]
enum End {
    /// The input is at its end.
    Done,
    /// Nothing was sent: key, file or host cannot be used.
    Unusable(String),
    /// The node is out of reach, full or no node.
    Node(String),
    /// The input broke off.
    Input(String),
    /// A signal asked to stop.
    Signal(Signal),
}

/// Imports, reports on standard output, and says by its exit code how it went.
pub fn run(import: &Import) -> ExitCode {
    let (end, job) = match Job::prepare(import) {
        Err(why) => (End::Unusable(why), None),
        Ok((job, input)) => {
            let job = Rc::new(job);
            (carry_out(&job, input, import.concurrency), Some(job))
        }
    };
    let refused = job.as_ref().map_or(0, |job| job.tally.borrow().refused());
    if let Some(job) = job.filter(|job| job.next.get() > 1 || matches!(end, End::Done)) {
        // A closed output is no reason to change the exit code.
        let _ = write!(io::stdout(), "{}", job.tally.borrow());
        job.say_how_far(&end);
    }
    match end {
        End::Done if refused == 0 => ExitCode::SUCCESS,
        End::Done => ExitCode::from(1),
        End::Unusable(why) => fail(&why, 2),
        End::Input(why) => fail(&why, 1),
        End::Node(why) => fail(&why, 3),
        // As shells say it.
        End::Signal(signal) => ExitCode::from(128 + signal.number()),
    }
}

fn fail(why: &str, code: u8) -> ExitCode {
    complain(why);
    ExitCode::from(code)
}

/// A line on standard error; one that is closed is no reason to stop.
fn complain(what: &str) {
    let _ = writeln!(io::stderr(), "stemedb-edge: {what}");
}

/// What the tasks of one import share.
struct Job {
    addresses: Vec<SocketAddr>,
    host: String,
    api_key: Option<Secret>,
    total: Option<u64>,
    handed_out: Sender<Line>,
    lines: Receiver<Line>,
    tally: RefCell<Tally>,
    /// Lines that have no fate yet, and the first that no sender took.
    in_flight: RefCell<BTreeSet<u64>>,
    next: Cell<u64>,
    taken_bytes: Cell<u64>,
    last_answer: Cell<Instant>,
    /// Why a request has to be made again, while it has.
    trouble: RefCell<Option<String>>,
    end: RefCell<Option<End>>,
}

/// The input, through a buffer that shows what is there already.
type Reader = BufReader<Box<dyn Read + Send>>;

/// What the reading thread takes with it.
struct Input {
    reader: Reader,
    signer: Option<Signer>,
}

impl Job {
    fn prepare(import: &Import) -> Result<(Job, Input), String> {
        let signer = import.key.as_deref().map(keygen::read).transpose()?.map(|key| {
            if key.is_open_to_others {
                complain("warning: others may read the key, chmod 600 keeps it yours");
            }
            key.signer
        });
        let (reader, total) = open(import)?;
        let addresses = resolve(&import.to)?;
        let api_key = import.api_key.as_ref();
        let api_key = api_key.map(|key| secrets::load(key, "STEMEDB_ROOT_API_KEY")).transpose()?;
        let (handed_out, lines) = async_channel::bounded(HANDED_OUT_MAX);
        let job = Job {
            addresses,
            host: import.to.to_string(),
            api_key,
            total,
            handed_out,
            lines,
            tally: RefCell::default(),
            in_flight: RefCell::default(),
            next: Cell::new(1),
            taken_bytes: Cell::new(0),
            last_answer: Cell::new(Instant::now()),
            trouble: RefCell::default(),
            end: RefCell::default(),
        };
        Ok((job, Input { reader, signer }))
    }

    /// Hands the lines of each batch to the next free sender, until the input or the import ends.
    async fn deal(&self, batches: Receiver<io::Result<Vec<Line>>>) {
        while let Ok(batch) = batches.recv().await {
            match batch {
                Ok(batch) => {
                    for line in batch {
                        if self.handed_out.send(line).await.is_err() {
                            return;
                        }
                    }
                }
                Err(error) => self.stop(End::Input(format!("reading the input: {error}"))),
            }
        }
        self.handed_out.close();
    }

    /// The next line, or `None` at the end, whatever kind of end it is.
    async fn next_line(&self) -> Option<Line> {
        let line = self.lines.recv().await.ok().filter(|_| !self.is_stopped())?;
        self.in_flight.borrow_mut().insert(line.number);
        self.next.set(line.number + 1);
        self.taken_bytes.set(line.end);
        Some(line)
    }

    fn settle(&self, number: u64, fate: Fate) {
        self.in_flight.borrow_mut().remove(&number);
        self.tally.borrow_mut().add(number, fate);
    }

    /// Ends the import; the first reason counts.
    fn stop(&self, end: End) {
        self.end.borrow_mut().get_or_insert(end);
        self.handed_out.close();
    }

    fn is_stopped(&self) -> bool {
        self.end.borrow().is_some()
    }

    /// After an early end, where to go on from.
    fn say_how_far(&self, end: &End) {
        if matches!(end, End::Done) {
            return;
        }
        let first_open = self.in_flight.borrow().first().copied().unwrap_or(self.next.get());
        complain(&format!("stopped; line {first_open} is the first without an answer"));
    }
}

/// The input, and its length where that is known.
fn open(import: &Import) -> Result<(Reader, Option<u64>), String> {
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

fn resolve(to: &Endpoint) -> Result<Vec<SocketAddr>, String> {
    match future::block_on(resolve::resolve(&to.to_string())) {
        Ok(addresses) if !addresses.is_empty() => Ok(addresses),
        Ok(_) => Err(format!("looking up {}: no address", to.host)),
        Err(error) => Err(format!("looking up {}: {error}", to.host)),
    }
}

fn carry_out(job: &Rc<Job>, input: Input, concurrency: usize) -> End {
    let prepared =
        reactor::current().and_then(|reactor| Ok((reactor, Signals::new(Signal::STOPS)?)));
    let (reactor, signals) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => return End::Unusable(format!("preparing to wait: {error}")),
    };
    let executor = LocalExecutor::new();
    let sending = async {
        // A first connection shows at once whether there is a node at all.
        let first = match post::connect(&job.addresses).await {
            Ok(link) => link,
            Err(why) => return job.stop(End::Node(format!("{}: {why}", job.host))),
        };
        let batches = match spawn_reader(input) {
            Ok(batches) => batches,
            Err(error) => {
                return job.stop(End::Unusable(format!("starting a thread: {error}")));
            }
        };
        let mut link = Some(first);
        let senders: Vec<_> = (0..concurrency)
            .map(|_| executor.spawn(post::send_lines(job.clone(), link.take())))
            .collect();
        let sending = async {
            for sender in senders {
                sender.await;
            }
        };
        let dealing = async {
            job.deal(batches).await;
            future::pending().await
        };
        // The senders decide: after a stop the dealer may still wait for an input that is silent.
        future::or(sending, dealing).await;
    };
    let waiting = async {
        match signals.next().await {
            Ok(signal) => job.stop(End::Signal(signal)),
            Err(error) => job.stop(End::Unusable(format!("waiting for signals: {error}"))),
        }
    };
    reactor.block_on(&executor, future::or(future::or(sending, waiting), draw_bar(job)));
    job.end.borrow_mut().take().unwrap_or(End::Done)
}

/// Draws on a terminal until it is dropped.
async fn draw_bar(job: &Job) {
    struct Clear;
    impl Drop for Clear {
        fn drop(&mut self) {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
    if !io::stderr().is_terminal() {
        return future::pending().await;
    }
    let (started, _clear) = (Instant::now(), Clear);
    loop {
        Timer::after(BAR_INTERVAL).await;
        let bar = job.tally.borrow().bar(job.taken_bytes.get(), job.total, started.elapsed());
        let trouble = match &*job.trouble.borrow() {
            Some(why) => format!("  waiting: {why}"),
            None => String::new(),
        };
        let _ = write!(io::stderr(), "\r{bar}{trouble}\x1b[K");
    }
}

/// The thread ends by itself: at the end of the input, or when no sender takes its lines any more.
/// A read that blocks for ever ends with the process.
fn spawn_reader(input: Input) -> io::Result<Receiver<io::Result<Vec<Line>>>> {
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
        let body = match &input.signer {
            Some(signer) => line.body.and_then(|body| sign::signed(body, signer, clock::wall())),
            None => line.body,
        };
        let line = Line { body, ..line };
        bytes += line.body.as_ref().map_or(0, Vec::len);
        batch.push(line);
        // What a slow input has brought goes out before the next read blocks.
        if bytes >= BATCH_BYTES || !lines.is_next_here() {
            if batches.send_blocking(Ok(std::mem::take(&mut batch))).is_err() {
                return;
            }
            bytes = 0;
        }
    }
}
