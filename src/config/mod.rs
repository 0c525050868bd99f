//! The command line and the environment, checked: what the program was asked to do.
//!
//! In: arguments and variables, as main read them. Out: a [`Command`] that can be carried out, or
//! one line for each thing that is wrong with it.
//!
//! Never: reads the environment itself, touches a file or a socket.

mod help;
mod requests;
mod settings;
mod table;
mod takes;
mod values;
mod words;

pub use requests::{
    ApiTarget, ClaimWords, Get, ObjectKind, Put, QueryOptions, StatusForm, StatusOptions,
};
pub use settings::{SecretSource, Settings, log_level};
pub use takes::Takes;
pub use values::Endpoint;
pub use words::Usage;

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use lexopt::{Arg, Parser};

use crate::base::{ClusterId, limits};
use help::Topic;
use table::{PREFIX, RawSettings, SETTINGS, SettingOrigin};
use values::api_address;
use words::{OptionsOrHelp, Words, take, text_value, unexpected, wrong};

/// What the program was asked to do.
#[derive(Clone, PartialEq, Debug)]
pub enum Command {
    /// Run a node until it is stopped by a signal.
    Serve(Box<Settings>),
    /// Send lines to a running node.
    Import(Import),
    /// Make a signing key.
    Keygen {
        /// Where to; must not exist.
        file: PathBuf,
    },
    /// Verify a data directory.
    Check {
        /// The directory; a node may use it meanwhile.
        dir: PathBuf,
    },
    /// Copy a data directory.
    Backup {
        /// The directory; a node may use it meanwhile.
        dir: PathBuf,
        /// Where to; made, or empty.
        target: PathBuf,
    },
    /// Have a data directory belong to another cluster.
    AdoptCluster {
        /// The directory of a node that is stopped.
        dir: PathBuf,
        /// The cluster that the node of this directory joins at its next start.
        cluster: ClusterId,
    },
    /// Write every assertion as a line.
    Export(Export),
    /// Put one claim.
    Put(Put),
    /// Show one assertion.
    Get(Get),
    /// Show what is claimed.
    Query(QueryOptions),
    /// Show the cluster as a node sees it.
    Status(StatusOptions),
    /// Run three nodes to look at.
    Demo,
    /// Print this text: help, version or settings.
    Print(String),
}

/// What to import, and where to.
#[derive(Clone, PartialEq, Debug)]
pub struct Import {
    /// The file of lines; `None` is the standard input.
    pub file: Option<PathBuf>,
    /// The node's HTTP API.
    pub to: Endpoint,
    /// The key to sign with.
    pub key: Option<PathBuf>,
    /// Batches in flight, each on a connection of its own.
    pub concurrency: usize,
    /// A new file for the lines that are refused.
    pub rejects: Option<PathBuf>,
    /// The key that the node asks for.
    pub api_key: Option<SecretSource>,
}

/// What to export, and the key for it.
#[derive(Clone, PartialEq, Debug)]
pub struct Export {
    /// The node or the data directory that is exported.
    pub from: ExportFrom,
    /// The key that the node asks for.
    pub api_key: Option<SecretSource>,
}

/// Where the assertions of an export are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ExportFrom {
    /// At a node's HTTP API.
    Node(Endpoint),
    /// A data directory, in use or not.
    Directory(PathBuf),
}

const COMMANDS: [&str; 13] = [
    "serve",
    "import",
    "export",
    "keygen",
    "check",
    "backup",
    "adopt-cluster",
    "put",
    "get",
    "query",
    "status",
    "demo",
    "help",
];
/// Requests of an import in flight, of up to 1,024 lines each: what a node writes in one flush, and
/// as many that wait for the next.
const IMPORT_REQUESTS: u32 = 8;
const NODE_OPTIONS: [&str; 3] = ["help", "version", "print-settings"];

/// Reads the arguments (without the program's name) and the environment.
pub fn parse(
    arguments: impl IntoIterator<Item = OsString>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Command, Usage> {
    let mut parser = Parser::from_args(arguments);
    let command = parser
        .try_raw_args()
        .and_then(|mut raw| raw.next_if(|word| COMMANDS.iter().any(|&name| word == name)));
    match command.as_ref().and_then(|word| word.to_str()) {
        Some("import") => parse_import(&mut parser, own_api(environment)?),
        Some("export") => parse_export(&mut parser, own_api(environment)?),
        Some("put") => {
            Ok(asked(requests::parse_put(&mut parser, own_api(environment)?)?, Command::Put))
        }
        Some("get") => {
            Ok(asked(requests::parse_get(&mut parser, own_api(environment)?)?, Command::Get))
        }
        Some("query") => {
            Ok(asked(requests::parse_query(&mut parser, own_api(environment)?)?, Command::Query))
        }
        Some("status") => {
            Ok(asked(requests::parse_status(&mut parser, own_api(environment)?)?, Command::Status))
        }
        Some("backup") => parse_backup(&mut parser),
        Some("adopt-cluster") => parse_adopt(&mut parser),
        Some("demo") => match parser.next()? {
            None => Ok(Command::Demo),
            Some(Arg::Short('h') | Arg::Long("help")) => {
                Ok(Command::Print(help::text(Topic::Demo)))
            }
            Some(other) => Err(unexpected(other, Topic::Demo)),
        },
        Some("keygen") => {
            let takes = "keygen takes the file to make: stemedb-edge keygen FILE";
            let words = take(&mut parser, Topic::Keygen, takes)?;
            Ok(command_of(words, |[file]| Command::Keygen { file: file.into() }))
        }
        Some("check") => {
            let takes = "check takes a data directory: stemedb-edge check DIR";
            let words = take(&mut parser, Topic::Check, takes)?;
            Ok(command_of(words, |[dir]| Command::Check { dir: dir.into() }))
        }
        Some("help") => Ok(Command::Print(help::text(Topic::Node))),
        _ => parse_serve(&mut parser, environment),
    }
}

/// The command that `make` makes of the options, or the print of the help.
fn asked<T>(asked: OptionsOrHelp<T>, make: impl FnOnce(T) -> Command) -> Command {
    match asked {
        OptionsOrHelp::For(options) => make(options),
        OptionsOrHelp::Help(text) => Command::Print(text),
    }
}

/// The command that `make` makes of the words, or the print of the help.
fn command_of<const COUNT: usize>(
    words: Words<COUNT>,
    make: impl FnOnce([OsString; COUNT]) -> Command,
) -> Command {
    match words {
        Words::Given(words) => make(words),
        Words::Help(text) => Command::Print(text),
    }
}

fn parse_serve(
    parser: &mut Parser,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Command, Usage> {
    let mut raw = RawSettings::default();
    let mut is_print = false;
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Short('h') | Arg::Long("help") => {
                return Ok(Command::Print(help::text(Topic::Node)));
            }
            Arg::Short('V') | Arg::Long("version") => {
                return Ok(Command::Print(help::VERSION.to_string()));
            }
            Arg::Long("print-settings") => is_print = true,
            Arg::Long(flag) => {
                let Some(index) = SETTINGS.iter().position(|setting| setting.flag() == flag) else {
                    return Err(unknown_flag(flag));
                };
                let value = if SETTINGS[index].is_switch() {
                    switch_value(parser)
                } else {
                    parser.value()?
                };
                raw.put(index, value, SettingOrigin::Flag);
            }
            Arg::Short(letter) => return Err(unknown_short(letter)),
            Arg::Value(word) => return Err(unknown_word(&word)),
        }
    }
    let mut warnings = put_environment(&mut raw, environment);
    let mut settings = Settings::check(&raw).map_err(Usage)?;
    settings.warnings.append(&mut warnings);
    Ok(if is_print { Command::Print(raw.to_string()) } else { Command::Serve(Box::new(settings)) })
}

/// A switch alone means true; the word after it is its value only if it says yes or no.
fn switch_value(parser: &mut Parser) -> OsString {
    if let Some(value) = parser.optional_value() {
        return value;
    }
    let says = |word: &OsStr| word.to_str().and_then(values::is_true).is_some();
    let next = parser.try_raw_args().and_then(|mut raw| raw.next_if(says));
    next.unwrap_or_else(|| "true".into())
}

/// Takes the variables that are settings. Others may bear the prefix for reasons of their own
/// (container platforms make some), so only a likely slip of the pen is worth a warning.
fn put_environment(
    raw: &mut RawSettings,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Vec<String> {
    let mut warnings = Vec::new();
    for (variable, value) in environment {
        let Some(name) = variable.to_str().filter(|name| name.starts_with(PREFIX)) else {
            continue;
        };
        let variables = || SETTINGS.iter().map(|setting| setting.variable);
        if let Some(index) = variables().position(|variable| variable == name) {
            raw.put(index, value, SettingOrigin::Environment);
        } else if let Some(meant) = nearest_name(name, PREFIX, variables()) {
            warnings.push(format!("{name} is no setting, did you mean {meant}?"));
        }
    }
    warnings.sort_unstable();
    warnings
}

fn nearest_name<'a>(
    name: &str,
    prefix: &'static str,
    names: impl Iterator<Item = &'a str>,
) -> Option<String> {
    let stem = name.strip_prefix(prefix)?;
    let meant = help::nearest(stem, names.filter_map(|name| name.strip_prefix(prefix)))?;
    Some(format!("{prefix}{meant}"))
}

fn unknown_flag(flag: &str) -> Usage {
    let flags: Vec<String> = SETTINGS.iter().map(|setting| setting.flag()).collect();
    let known = flags.iter().map(String::as_str).chain(NODE_OPTIONS);
    wrong(match help::nearest(flag, known) {
        Some(meant) => format!("unknown flag --{flag}, did you mean --{meant}?"),
        None => format!("unknown flag --{flag}, stemedb-edge --help lists all"),
    })
}

fn unknown_short(letter: char) -> Usage {
    wrong(format!("unknown flag -{letter}, stemedb-edge --help lists all"))
}

fn unknown_word(word: &OsStr) -> Usage {
    let word = word.to_string_lossy();
    wrong(if COMMANDS.contains(&&*word) {
        format!("'{word}' is a command and comes first: stemedb-edge {word} ...")
    } else {
        match help::nearest(&word, COMMANDS.into_iter()) {
            Some(meant) => format!("unknown command '{word}', did you mean {meant}?"),
            None => format!("unknown command '{word}', stemedb-edge --help lists all"),
        }
    })
}

/// The node of this environment, and the key that it asks its clients for: a command beside a node
/// shares its variables.
fn own_api(
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<ApiTarget, Usage> {
    let mut raw = RawSettings::default();
    put_environment(&mut raw, environment);
    let (at, api_key) = Settings::own_api(&raw).map_err(Usage)?;
    Ok(ApiTarget { at, api_key })
}

/// What looks like an address is one; a directory of such a name is `./NAME`.
fn parse_export(parser: &mut Parser, own: ApiTarget) -> Result<Command, Usage> {
    let (mut from, mut api_key) = (None, own.api_key);
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Short('h') | Arg::Long("help") => {
                return Ok(Command::Print(help::text(Topic::Export)));
            }
            Arg::Long("api-key-file") => api_key = Some(SecretSource::File(parser.value()?.into())),
            Arg::Value(word) if from.is_none() && !word.is_empty() => {
                let address = word.to_str().map(api_address);
                let is_url = word.to_string_lossy().contains("://");
                from = Some(match address {
                    Some(Ok(endpoint)) => ExportFrom::Node(endpoint),
                    Some(Err(hint)) if is_url => {
                        return Err(wrong(format!("'{}': {hint}", word.to_string_lossy())));
                    }
                    _ => ExportFrom::Directory(word.into()),
                });
            }
            other => return Err(unexpected(other, Topic::Export)),
        }
    }
    let from = from.unwrap_or(ExportFrom::Node(own.at));
    Ok(Command::Export(Export { from, api_key }))
}

fn parse_backup(parser: &mut Parser) -> Result<Command, Usage> {
    let takes = "backup takes a data directory and where to: stemedb-edge backup DIR TARGET";
    let words = take(parser, Topic::Backup, takes)?;
    Ok(command_of(words, |[dir, target]| Command::Backup {
        dir: dir.into(),
        target: target.into(),
    }))
}

fn parse_adopt(parser: &mut Parser) -> Result<Command, Usage> {
    let takes = "adopt-cluster takes a data directory and a cluster id: \
                 stemedb-edge adopt-cluster DIR ID";
    match take(parser, Topic::AdoptCluster, takes)? {
        Words::Given([dir, id]) => {
            let id = id.to_string_lossy();
            let cluster = values::cluster_id(&id);
            let cluster = cluster.map_err(|hint| wrong(format!("'{id}': {hint}")))?;
            Ok(Command::AdoptCluster { dir: dir.into(), cluster })
        }
        Words::Help(text) => Ok(Command::Print(text)),
    }
}

fn parse_import(parser: &mut Parser, own: ApiTarget) -> Result<Command, Usage> {
    let ApiTarget { at: mut to, mut api_key } = own;
    let mut source: Option<OsString> = None;
    let (mut key, mut rejects, mut concurrency) = (None, None, IMPORT_REQUESTS);
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Short('h') | Arg::Long("help") => {
                return Ok(Command::Print(help::text(Topic::Import)));
            }
            Arg::Long("to") => to = text_value(parser, "to", api_address)?,
            Arg::Long("api-key-file") => api_key = Some(SecretSource::File(parser.value()?.into())),
            Arg::Long("key") => key = Some(PathBuf::from(parser.value()?)),
            Arg::Long("rejects") => rejects = Some(PathBuf::from(parser.value()?)),
            Arg::Long("concurrency") => {
                concurrency = text_value(parser, "concurrency", |text| {
                    values::count(text, 1..=limits::IMPORT_CONNECTIONS_MAX)
                })?;
            }
            Arg::Value(word) if source.is_none() && !word.is_empty() => source = Some(word),
            other => return Err(unexpected(other, Topic::Import)),
        }
    }
    let source = source.ok_or_else(|| {
        wrong("import takes a file of lines, or - for the standard input".to_string())
    })?;
    let file = (source != "-").then(|| PathBuf::from(source));
    let concurrency = concurrency as usize;
    Ok(Command::Import(Import { file, to, key, concurrency, rejects, api_key }))
}

#[cfg(test)]
mod tests;
