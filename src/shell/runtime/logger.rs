//! The log on standard error, written by a thread of its own.
//!
//! In: records of the `log` facade, panics. Out: one line each, whatever is in it. A caller puts
//! the line into a queue and goes on. The thread may wait as long as it likes: for a pipe that no
//! process reads, a terminal stopped by Ctrl-S, a file on a disk that hangs. (To ask before each
//! write whether it would wait gives no answer for terminals and files, and `O_NONBLOCK` would hold
//! for other programs that share the descriptor.)
//!
//! Never: makes a caller wait, drops a line without counting it, lets a text that it is
//! given start a line or move a cursor.

use std::io;
use std::os::fd::AsFd;
use std::panic::{self, PanicHookInfo};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use log::{Level, LevelFilter, Log, Metadata, Record};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::fstat;
use rustix::io::Errno;

use crate::base::calendar::Utc;
use crate::base::limits;
use crate::wire::log_line::{Format, Style};

const STACK_BYTES: usize = 64 << 10;
/// What the logger's own lines are from.
const OWN: &str = "logger";

static LOGGER: OnceLock<Logger> = OnceLock::new();

/// Lines that wait to be written.
#[derive(Default)]
struct Queue {
    text: String,
    /// Lines that did not fit. While there are some, none gets in after them, so that the notice
    /// of the loss stands where it happened.
    dropped: u64,
    /// Lines that were not written since the start. A count in the queue, not an atomic: 32-bit
    /// MIPS and PowerPC have no atomic of 64 bits.
    dropped_total: u64,
    /// The thread writes what it took.
    is_writing: bool,
}

impl Queue {
    /// Takes a line, if it fits.
    fn push(&mut self, line: &str) -> bool {
        let fits = self.text.len() + line.len() <= limits::LOG_QUEUE_BYTES;
        if self.dropped > 0 || !fits {
            self.dropped += 1;
            self.dropped_total += 1;
            return false;
        }
        self.text.push_str(line);
        true
    }

    fn is_empty(&self) -> bool {
        self.text.is_empty() && self.dropped == 0
    }
}

struct Logger {
    style: Style,
    queue: Mutex<Queue>,
    /// The thread waits for lines.
    filled: Condvar,
    /// Who is about to end the process waits for the thread.
    written: Condvar,
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("stemedb_edge") && metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let module = record.target().rsplit("::").next().unwrap_or_default();
            self.put(&self.line(record.level(), module, &record.args().to_string()));
        }
    }

    fn flush(&self) {
        self.drain();
    }
}

impl Logger {
    fn put(&self, line: &str) {
        if self.lock().push(line) {
            self.filled.notify_one();
        }
    }

    fn line(&self, level: Level, module: &str, text: &str) -> String {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        self.style.line(Utc(ms), level, module, text)
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nothing is left half done in a queue.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until all is written, for a time that is bounded.
    fn drain(&self) {
        let busy = |queue: &mut Queue| !queue.is_empty() || queue.is_writing;
        let _ = self.written.wait_timeout_while(self.lock(), limits::LOG_DRAIN_MAX, busy);
    }

    /// What waits to be written, and how many lines did not fit after it.
    fn next_batch(&self) -> (String, u64) {
        let mut queue = self.lock();
        queue.is_writing = false;
        if queue.is_empty() {
            self.written.notify_all();
        }
        let waiting = self.filled.wait_while(queue, |queue| queue.is_empty());
        let mut queue = waiting.unwrap_or_else(PoisonError::into_inner);
        queue.is_writing = true;
        (std::mem::take(&mut queue.text), std::mem::take(&mut queue.dropped))
    }

    /// The thread's work: each line with one call, as other programs may write to the same file.
    fn write_all(&self) -> ! {
        let mut lost = 0;
        // The end of the last line that was written in part, as to a disk that was full.
        let mut is_torn = false;
        let mut put = |line: &str| {
            is_torn = is_torn && write(b"\n").is_err();
            let written = if is_torn { Err(0) } else { write(line.as_bytes()) };
            is_torn |= written.is_err_and(|count| count > 0);
            written.is_ok()
        };
        loop {
            let (text, dropped) = self.next_batch();
            for line in text.split_inclusive('\n') {
                if !put(line) {
                    self.lock().dropped_total += 1;
                    lost += 1;
                }
            }
            lost += dropped;
            if lost > 0 {
                let notice = format!("{lost} log lines were dropped: nothing took them");
                if put(&self.line(Level::Warn, OWN, &notice)) {
                    lost = 0;
                }
            }
        }
    }
}

/// Starts logging; threads inherit what signals are blocked, so that comes before.
pub fn start(level: LevelFilter, format: Format) -> io::Result<()> {
    let stream = std::env::var("JOURNAL_STREAM").ok();
    let is_journal = stream.is_some_and(|stream| is_open_at(&stream, io::stderr()));
    let logger = LOGGER.get_or_init(|| Logger {
        style: Style { format, is_journal },
        queue: Mutex::default(),
        filled: Condvar::new(),
        written: Condvar::new(),
    });
    // A logger that is there already is this one.
    if log::set_logger(logger).is_ok() {
        panic::set_hook(Box::new(note_panic));
        let builder = thread::Builder::new().name("log".into()).stack_size(STACK_BYTES);
        builder.spawn(|| logger.write_all())?;
    }
    set_level(level);
    Ok(())
}

/// Logs from now on what is of this level or above.
pub fn set_level(level: LevelFilter) {
    log::set_max_level(level);
    if level > log::STATIC_MAX_LEVEL {
        log::warn!("this build has no {level} lines: {} is the most", log::STATIC_MAX_LEVEL);
    }
}

/// Writes an error whatever the level is, and waits until it is out, for a time that is bounded.
pub fn last_words(module: &str, text: &str) {
    if let Some(logger) = LOGGER.get() {
        // A burst before it must not fill the queue.
        logger.drain();
        logger.put(&logger.line(Level::Error, module, text));
        logger.drain();
    }
}

/// Waits until all lines are out, for a time that is bounded.
pub fn drain() {
    if let Some(logger) = LOGGER.get() {
        logger.drain();
    }
}

/// Lines that were not written since the start.
pub fn dropped() -> u64 {
    LOGGER.get().map_or(0, |logger| logger.lock().dropped_total)
}

/// The hook of the standard library writes to standard error itself, and may wait there for ever.
fn note_panic(info: &PanicHookInfo<'_>) {
    let name = thread::current().name().unwrap_or("unnamed").to_owned();
    let at = info.location().map(ToString::to_string).unwrap_or_default();
    let what = info.payload_as_str().unwrap_or("no text");
    last_words("panic", &format!("thread {name} failed at {at}: {what}"));
}

/// Whether a descriptor is what systemd.exec(5) says journald reads: `DEVICE:INODE`. The variable
/// alone is no proof, as it is inherited by programs whose output goes elsewhere.
fn is_open_at(stream: &str, descriptor: impl AsFd) -> bool {
    let Ok(stat) = fstat(descriptor) else { return false };
    stream == format!("{}:{}", stat.st_dev, stat.st_ino)
}

/// Writes a line, however long that takes; `Err`: so many of its bytes.
fn write(line: &[u8]) -> Result<(), usize> {
    let output = io::stderr();
    let mut count = 0;
    while count < line.len() {
        match rustix::io::write(&output, &line[count..]) {
            Ok(more) => count += more,
            Err(Errno::INTR) => {}
            // Another program that shares the descriptor wants it so.
            Err(Errno::AGAIN) => {
                poll(&mut [PollFd::new(&output, PollFlags::OUT)], None).map_err(|_| count)?;
            }
            Err(_) => return Err(count),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_queue_is_bounded_and_nothing_gets_in_after_a_loss() {
        let mut queue = Queue::default();
        let long = "x".repeat(limits::LOG_QUEUE_BYTES - 1);
        assert!(queue.push(&long) && !queue.push("yy") && !queue.push("z"));
        assert_eq!((queue.text.len(), queue.dropped, queue.dropped_total), (long.len(), 2, 2));
    }

    /// What this very test program writes when it runs one of its tests with a variable set.
    fn run_again(test: &str, read: bool) -> String {
        let program = std::env::current_exe().expect("a test has a path");
        let mut command = Command::new(program);
        command.args(["--exact", test, "--nocapture"]).env(VARIABLE, "1");
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let mut output = child.stderr.take().expect("piped");
        let mut text = String::new();
        if read {
            output.read_to_string(&mut text).expect("UTF-8");
        }
        let status = child.wait().expect("our child");
        assert!(!status.success(), "a panic fails the test");
        text
    }

    const VARIABLE: &str = "STEMEDB_TEST_PANIC";

    #[test]
    fn a_panic_is_logged_before_the_end() {
        if std::env::var_os(VARIABLE).is_some() {
            start(LevelFilter::Off, Format::Text).expect("a thread");
            // More than a pipe holds.
            for _ in 0..2 {
                last_words("test", &"x".repeat(60_000));
            }
            panic!("made up\nfor the test");
        }
        let name = "shell::runtime::logger::tests::a_panic_is_logged_before_the_end";
        let text = run_again(name, true);
        let logged = text.lines().find(|line| line.contains(" ERROR panic: "));
        assert!(
            logged.is_some_and(|line| line.ends_with(": made up\\nfor the test")),
            "{logged:?}"
        );
        assert_eq!(run_again(name, false), "");
    }
}
