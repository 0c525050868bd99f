//! A line of the log: for people, for programs, for journald.
//!
//! In: time, level, module, text. Out: one line, whatever is in the text. journald keeps time and
//! priority itself; it takes the latter from `<3>` at the start of a line (sd-daemon(3)).
//!
//! Never: lets a text start a line or move a cursor.

use log::Level;
use nanoserde::SerJson;

use super::foreign;
use super::json::text::{Text, render};
use crate::base::calendar::Utc;

/// The form of lines, as `STEMEDB_LOG_FORMAT` names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// `2026-11-27T00:10:25.123Z INFO node: stopped`.
    Text,
    /// An object a line: `time`, `level`, `target`, `message`.
    Json,
}

/// How lines look where they go to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Style {
    /// The format of `STEMEDB_LOG_FORMAT`.
    pub format: Format,
    /// journald reads them: it adds the time itself and takes the level from a prefix.
    pub is_journal: bool,
}

#[derive(SerJson)]
struct Object<'a> {
    time: Text<'a>,
    level: Text<'a>,
    target: Text<'a>,
    message: Text<'a>,
}

impl Style {
    /// A line with its end.
    pub fn line(self, time: Utc, level: Level, module: &str, text: &str) -> String {
        let text = foreign::escaped(text.chars());
        let priority = if self.is_journal { priority(level) } else { "" };
        match self.format {
            Format::Text if self.is_journal => format!("{priority}{module}: {text}\n"),
            Format::Text => format!("{time} {level} {module}: {text}\n"),
            Format::Json => {
                let object = Object {
                    time: Text(&time.to_string()),
                    level: Text(level.as_str()),
                    target: Text(module),
                    message: Text(&text),
                };
                format!("{priority}{}\n", render(&object, text.len() + 100))
            }
        }
    }
}

/// Of syslog(3); INFO is 6, as 5 ("notice") is for what is worth one.
fn priority(level: Level) -> &'static str {
    match level {
        Level::Error => "<3>",
        Level::Warn => "<4>",
        Level::Info => "<6>",
        Level::Debug | Level::Trace => "<7>",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(format: Format, is_journal: bool, text: &str) -> String {
        Style { format, is_journal }.line(Utc(7), Level::Warn, "calls", text)
    }

    const EVIL: &str = "a \"b\\\n<3>c\u{1b}[2J\u{2028}d \u{fc}";
    const TAMED: &str = "a \"b\\\\n<3>c\\u{1b}[2J\\u{2028}d \u{fc}\n";

    #[test]
    fn a_text_is_one_line_in_each_format() {
        let text = line(Format::Text, false, EVIL);
        assert_eq!(text, format!("1970-01-01T00:00:00.007Z WARN calls: {TAMED}"));
        assert_eq!(line(Format::Text, true, EVIL), format!("<4>calls: {TAMED}"));
        let json = line(Format::Json, false, EVIL);
        let expected = "{\"time\":\"1970-01-01T00:00:00.007Z\",\"level\":\"WARN\",\
             \"target\":\"calls\",\"message\":\"a \\\"b\\\\\\\\n<3>c\\\\u{1b}[2J\\\\u{2028}d \u{fc}\
             \"}\n";
        assert_eq!(json, expected);
        assert_eq!(line(Format::Json, true, EVIL), format!("<4>{expected}"));
    }
}
