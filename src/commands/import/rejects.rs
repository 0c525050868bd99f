//! The lines that the node refused, and why each of them.
//!
//! In: refused lines. Out: a line on standard error for each, and in the file, if there is one, the
//! line as it was, so that the file can be corrected and imported. Never: keeps a line.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};

use super::lines::Line;
use super::tally::printable;

/// Where refused lines go.
pub(super) struct Rejects {
    path: Option<PathBuf>,
    /// Made for the first of them: an import that reaches no node leaves none, and can be tried
    /// again as it is.
    file: Option<BufWriter<File>>,
    /// A bar is drawn where the reasons go.
    is_bar_drawn: bool,
}

impl Rejects {
    /// Into a file that is to be made; one that is there already may be the input.
    pub(super) fn new(path: Option<&Path>) -> Result<Rejects, String> {
        match path {
            Some(path) if path.exists() => Err(is_there(path)),
            _ => {
                let (path, file) = (path.map(Path::to_owned), None);
                Ok(Rejects { path, file, is_bar_drawn: io::stderr().is_terminal() })
            }
        }
    }

    /// Takes a line that was refused.
    pub(super) fn add(&mut self, line: &Line, code: &str, message: &str) -> Result<(), String> {
        let clear = if self.is_bar_drawn { "\r\x1b[K" } else { "" };
        let (number, code, message) = (line.number, printable(code), printable(message));
        // Standard error that is closed is no reason to stop.
        let _ = writeln!(io::stderr(), "{clear}line {number}: {code}: {message}");
        let text = line.original.as_ref().or(line.body.as_ref().ok());
        let (Some(path), Some(text)) = (&self.path, text) else { return Ok(()) };
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(BufWriter::new(create(path)?)),
        };
        let written = file.write_all(text).and_then(|()| file.write_all(b"\n"));
        written.map_err(|error| format!("writing {}: {error}", path.display()))
    }

    /// Writes what is left.
    pub(super) fn flush(&mut self) -> Result<(), String> {
        let (Some(path), Some(file)) = (&self.path, &mut self.file) else { return Ok(()) };
        file.flush().map_err(|error| format!("writing {}: {error}", path.display()))
    }
}

fn create(path: &Path) -> Result<File, String> {
    File::create_new(path).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => is_there(path),
        _ => format!("making {}: {error}", path.display()),
    })
}

fn is_there(path: &Path) -> String {
    format!("{} is there already, --rejects takes a new file", path.display())
}
