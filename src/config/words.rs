//! The words of a command line that is wrong, and commands that take words and nothing else.
//!
//! In: arguments. Out: as many words as the command takes, the help that was asked for, or what is
//! wrong. Never: opens what the words name.

use std::ffi::OsString;
use std::fmt;

use lexopt::{Arg, Parser};

use super::help::{self, Topic};
use super::values::Parsed;

/// What is wrong with the command line or the environment; the caller must change it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Usage(pub(super) Vec<String>);

impl fmt::Display for Usage {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0.join("\nstemedb-edge: "))
    }
}

impl From<lexopt::Error> for Usage {
    fn from(error: lexopt::Error) -> Usage {
        wrong(error.to_string())
    }
}

pub(super) fn wrong(problem: String) -> Usage {
    Usage(vec![problem])
}

/// What the words after a command ask for.
pub(super) enum Words<const COUNT: usize> {
    /// As many words as the command takes.
    Given([OsString; COUNT]),
    /// Its help, which is this.
    Help(String),
}

/// Reads `COUNT` words and nothing else; `takes` is the error if there are not so many.
pub(super) fn take<const COUNT: usize>(
    parser: &mut Parser,
    topic: Topic,
    takes: &str,
) -> Result<Words<COUNT>, Usage> {
    let mut words: Vec<OsString> = Vec::new();
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Short('h') | Arg::Long("help") => return Ok(Words::Help(help::text(topic))),
            Arg::Value(word) if words.len() < COUNT && !word.is_empty() => words.push(word),
            other => return Err(unexpected(other, topic)),
        }
    }
    <[OsString; COUNT]>::try_from(words).map(Words::Given).map_err(|_| wrong(takes.to_string()))
}

/// What the arguments of a command ask for.
pub(super) enum OptionsOrHelp<T> {
    /// To carry it out with these options.
    For(T),
    /// Its help, which is this.
    Help(String),
}

impl<T> OptionsOrHelp<T> {
    /// The help of a topic.
    pub(super) fn help(topic: Topic) -> OptionsOrHelp<T> {
        OptionsOrHelp::Help(help::text(topic))
    }
}

/// The value of a flag, as `parse` reads it.
pub(super) fn text_value<T>(
    parser: &mut Parser,
    flag: &str,
    parse: impl Fn(&str) -> Parsed<T>,
) -> Result<T, Usage> {
    let value = parser.value()?;
    let value = value.to_string_lossy();
    parse(&value).map_err(|hint| wrong(format!("--{flag} '{value}': {hint}")))
}

pub(super) fn unexpected(argument: Arg<'_>, topic: Topic) -> Usage {
    let command = match topic {
        Topic::Node => "serve",
        Topic::Import => "import",
        Topic::Keygen => "keygen",
        Topic::Check => "check",
        Topic::Backup => "backup",
        Topic::AdoptCluster => "adopt-cluster",
        Topic::Export => "export",
        Topic::Put => "put",
        Topic::Get => "get",
        Topic::Query => "query",
        Topic::Status => "status",
        Topic::Demo => "demo",
    };
    let argument = match argument {
        Arg::Short(letter) => format!("-{letter}"),
        Arg::Long(flag) => format!("--{flag}"),
        Arg::Value(word) => format!("'{}'", word.to_string_lossy()),
    };
    wrong(format!("{command} does not take {argument}, see stemedb-edge {command} --help"))
}
