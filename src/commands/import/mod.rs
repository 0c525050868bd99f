//! `stemedb-edge import`: lines of a file into a running node.
//!
//! In: a file or the standard input, one body of `POST /v1/assert` a line. Out: requests of
//! `POST /v1/assert/batch`, several in flight; refused lines with their reasons; a report. A thread
//! reads (and signs), tasks send; the batches between them are bounded.
//!
//! Never: holds more than a few batches, ends because of a bad line.

mod answer;
mod input;
mod job;
mod lines;
mod post;
mod rejects;
mod sign;
mod tally;

use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant};

use async_executor::LocalExecutor;
use futures_lite::future;

use crate::commands::keygen;
use crate::commands::output::{self, complain, fail};
use crate::config::{Endpoint, Import};
use crate::model::signature::Signer;
use crate::shell::runtime::clock;
use crate::shell::runtime::reactor::{self, Timer};
use crate::shell::runtime::resolve;
use crate::shell::runtime::secrets;
use crate::shell::runtime::signals::{Signal, Signals};
use input::Input;
use job::{End, Job};
use rejects::Rejects;

/// How often the bar is drawn.
const BAR_INTERVAL: Duration = Duration::from_millis(200);

/// Imports, reports on standard output, and says by its exit code how it went.
pub fn run(import: &Import) -> ExitCode {
    let (end, job) = match prepare(import) {
        Err(why) => (End::Unusable(why), None),
        Ok((job, input)) => {
            let job = Rc::new(job);
            (carry_out(&job, input, import.concurrency), Some(job))
        }
    };
    let refused = job.as_ref().map_or(0, |job| job.tally.borrow().refused());
    if let Some(job) = job.filter(|job| job.next.get() > 1 || matches!(end, End::Done)) {
        let printed = output::print(&job.tally.borrow().to_string(), u8::from(refused > 0));
        say_how_far(&job, &end);
        if matches!(end, End::Done) {
            return printed;
        }
    }
    match end {
        End::Done => ExitCode::from(u8::from(refused > 0)),
        End::Unusable(why) => fail(&why, 2),
        End::Input(why) | End::Rejects(why) => fail(&why, 1),
        End::Node(why) => fail(&why, 3),
        // As shells say it.
        End::Signal(signal) => ExitCode::from(128 + signal.number()),
    }
}

/// The body of a claim with a signature of the key in `file`, and a timestamp if it had none.
pub(super) fn signed(body: Vec<u8>, file: &Path) -> Result<Vec<u8>, String> {
    sign::signed(body, &signer(file)?, clock::wall()).map_err(|unfit| unfit.message)
}

fn signer(file: &Path) -> Result<Signer, String> {
    let key = keygen::read(file).map_err(|error| error.to_string())?;
    if key.is_open_to_others {
        complain("warning: others may read the key, chmod 600 keeps it yours");
    }
    Ok(key.signer)
}

fn prepare(import: &Import) -> Result<(Job, Input), String> {
    let signer = import.key.as_deref().map(signer).transpose()?;
    let (reader, total) = input::open(import)?;
    let addresses = resolve(&import.to)?;
    let api_key = import.api_key.as_ref();
    let api_key = api_key.map(|key| secrets::load(key, "STEMEDB_ROOT_API_KEY")).transpose();
    let api_key = api_key.map_err(|error| error.to_string())?;
    let rejects = Rejects::new(import.rejects.as_deref())?;
    let job = Job::new((addresses, import.to.to_string()), api_key, total, rejects);
    Ok((job, Input { reader, signer, keeps_originals: import.rejects.is_some() }))
}

/// After an early end, where to go on from.
fn say_how_far(job: &Job, end: &End) {
    if matches!(end, End::Done) {
        return;
    }
    let first_open = job.in_flight.borrow().first().copied().unwrap_or(job.next.get());
    complain(&format!("stopped; line {first_open} is the first without an answer"));
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
        match input::spawn_reader(input) {
            Ok(batches) => job.batches.get_or_init(|| batches),
            Err(error) => {
                return job.stop(End::Unusable(format!("starting a thread: {error}")));
            }
        };
        let mut link = Some(first);
        let senders: Vec<_> = (0..concurrency)
            .map(|_| executor.spawn(post::send_lines(job.clone(), link.take())))
            .collect();
        for sender in senders {
            sender.await;
        }
    };
    let waiting = async {
        match signals.next().await {
            Ok(signal) => job.stop(End::Signal(signal)),
            Err(error) => job.stop(End::Unusable(format!("waiting for signals: {error}"))),
        }
    };
    reactor.block_on(&executor, future::or(future::or(sending, waiting), draw_bar(job)));
    job.keep_rejects();
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
