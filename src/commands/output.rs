//! What a command prints at its end.
//!
//! In: text, and the exit code of what the command did. Out: the text on standard output, and the
//! code that the process ends with. Never: takes a full disk for success.

use std::io::{self, Write};
use std::process::ExitCode;

/// Prints `text` and returns `code`, or 1 with a line on standard error where `code` is 0 and the
/// text cannot be written. A reader that closed its end (`| head`) has read enough: no failure.
pub fn print(text: &str, code: u8) -> ExitCode {
    let mut out = io::stdout().lock();
    // What follows the last line break stays in the buffer, and the end of a process that empties
    // it reports no failure.
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => ExitCode::from(code),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::from(code),
        Err(error) => {
            complain(&format!("the output cannot be written: {error}"));
            ExitCode::from(if code == 0 { 1 } else { code })
        }
    }
}

/// Prints why the command failed on standard error, and returns `code`.
pub fn fail(why: &str, code: u8) -> ExitCode {
    complain(why);
    ExitCode::from(code)
}

/// One line on standard error.
pub fn complain(what: &str) {
    // A closed standard error is no reason to stop: nothing is left to say it on.
    let _ = writeln!(io::stderr(), "stemedb-edge: {what}");
}
