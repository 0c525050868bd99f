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
    file: Option<(PathBuf, BufWriter<File>)>,
    /// A bar is drawn where the reasons go.
    is_bar_drawn: bool,
}

impl Rejects {
    /// Into a file that is made; one that is there already may be the input.
    pub(super) fn new(path: Option<&Path>) -> Result<Rejects, String> {
        let open = |path: &Path| match File::create_new(path) {
            Ok(file) => Ok((path.to_owned(), BufWriter::new(file))),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(format!("{} is there already, --rejects takes a new file", path.display()))
            }
            Err(error) => Err(format!("making {}: {error}", path.display())),
        };
        let file = path.map(open).transpose()?;
        Ok(Rejects { file, is_bar_drawn: io::stderr().is_terminal() })
    }

    /// Takes a line that was refused.
    pub(super) fn add(&mut self, line: &Line, code: &str, message: &str) -> Result<(), String> {
        let clear = if self.is_bar_drawn { "\r\x1b[K" } else { "" };
        let (number, code, message) = (line.number, printable(code), printable(message));
        // Standard error that is closed is no reason to stop.
        let _ = writeln!(io::stderr(), "{clear}line {number}: {code}: {message}");
        let text = line.original.as_ref().or(line.body.as_ref().ok());
        let (Some((path, file)), Some(text)) = (&mut self.file, text) else { return Ok(()) };
        let written = file.write_all(text).and_then(|()| file.write_all(b"\n"));
        written.map_err(|error| format!("writing {}: {error}", path.display()))
    }

    /// Writes what is left.
    pub(super) fn flush(&mut self) -> Result<(), String> {
        let Some((path, file)) = &mut self.file else { return Ok(()) };
        file.flush().map_err(|error| format!("writing {}: {error}", path.display()))
    }
}
