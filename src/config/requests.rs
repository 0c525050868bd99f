//! The commands that put a question to a node: `put`, `get`, `query`, `status`.
//!
//! In: arguments. Out: what to ask, and which node. What is in a claim or in a query the node
//! judges. Never: reads the standard input.

use std::path::PathBuf;

use lexopt::{Arg, Parser, ValueExt};

use super::help::Topic;
use super::settings::SecretSource;
use super::takes::Takes;
use super::values::{Endpoint, Parsed, api_address};
use super::words::{OptionsOrHelp, Usage, text_value, unexpected, wrong};
use crate::base::Digest;

/// The node that a command asks, and the key that this node asks for.
#[derive(Clone, PartialEq, Debug)]
pub struct ApiTarget {
    /// Its HTTP API, or its gateway.
    pub at: Endpoint,
    /// The key that it asks for.
    pub api_key: Option<SecretSource>,
}

/// A claim to be put.
#[derive(Clone, PartialEq, Debug)]
pub struct Put {
    /// The claim; `None` is a body on the standard input.
    pub claim: Option<ClaimWords>,
    /// The key to sign with.
    pub key: Option<PathBuf>,
    /// The node that takes it.
    pub to: ApiTarget,
}

/// A claim as its author typed it.
#[derive(Clone, PartialEq, Debug)]
pub struct ClaimWords {
    /// Subject, predicate, value.
    pub words: [String; 3],
    /// The `type` of the object.
    pub kind: ObjectKind,
    /// Other fields by name, and whether their values are numbers.
    pub fields: Vec<(&'static str, String, bool)>,
}

/// The `type` of an object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ObjectKind {
    /// Any text.
    Text,
    /// A finite number.
    Number,
    /// `true` or `false`.
    Boolean,
    /// The name of another subject.
    Reference,
}

/// The assertion to be shown.
#[derive(Clone, PartialEq, Debug)]
pub struct Get {
    /// Its id.
    pub hash: Digest,
    /// The node that is asked.
    pub from: ApiTarget,
}

/// A query to be answered.
#[derive(Clone, PartialEq, Debug)]
pub struct QueryOptions {
    /// Parameters of `GET /v1/query` by name.
    pub parameters: Vec<(String, String)>,
    /// The node that is asked.
    pub at: ApiTarget,
}

/// What `status` shows, and of which node.
#[derive(Clone, PartialEq, Debug)]
pub struct StatusOptions {
    /// The node that is asked; its members are asked for their health.
    pub of: ApiTarget,
    /// How the answer is shown.
    pub form: StatusForm,
}

/// How `status` shows the answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StatusForm {
    /// A table for people.
    Table,
    /// An object for programs.
    Json,
    /// Whether this one node is ready, and nothing of the others.
    Ready,
}

/// Flags of `put` that are fields of the claim, and whether their values are numbers.
static FIELDS: [(&str, &str, bool); 9] = [
    ("confidence", "confidence", true),
    ("timestamp", "timestamp", true),
    ("expires", "expires", true),
    ("source-class", "source_class", false),
    ("source-hash", "source_hash", false),
    ("lifecycle", "lifecycle", false),
    ("parent-hash", "parent_hash", false),
    ("visual-hash", "visual_hash", false),
    ("epoch", "epoch", false),
];

pub(super) fn parse_put(
    parser: &mut Parser,
    mut to: ApiTarget,
) -> Result<OptionsOrHelp<Put>, Usage> {
    let (mut words, mut fields) = (Vec::new(), Vec::new());
    let (mut kind, mut key) = (None, None);
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Short('h') | Arg::Long("help") => return Ok(OptionsOrHelp::help(Topic::Put)),
            Arg::Long("to") => to.at = text_value(parser, "to", api_address)?,
            Arg::Long("api-key-file") => to.api_key = Some(file(parser)?),
            Arg::Long("key") => key = Some(PathBuf::from(parser.value()?)),
            Arg::Long("type") => kind = Some(text_value(parser, "type", object_kind)?),
            Arg::Long(flag) => {
                let known = FIELDS.iter().find(|field| field.0 == flag);
                let Some(&(flag, field, is_number)) = known else {
                    return Err(unexpected(Arg::Long(flag), Topic::Put));
                };
                let value = if is_number {
                    text_value(parser, flag, number)?
                } else {
                    parser.value()?.string()?
                };
                fields.push((field, value, is_number));
            }
            Arg::Value(word) if words.len() < 3 => words.push(word.string()?),
            other => return Err(unexpected(other, Topic::Put)),
        }
    }
    let is_bare = kind.is_none() && fields.is_empty();
    let claim = match <[String; 3]>::try_from(words) {
        Ok(words) => {
            let kind = kind.unwrap_or(ObjectKind::Text);
            Some(ClaimWords { words: checked(words, kind)?, kind, fields })
        }
        Err(words) if words == ["-"] && is_bare => None,
        Err(words) if words == ["-"] => {
            return Err(wrong("put -: what the body has needs no flag".to_string()));
        }
        Err(_) => {
            let takes = "put takes a claim: stemedb-edge put SUBJECT PREDICATE VALUE, or - for a \
                         body on the standard input";
            return Err(wrong(takes.to_string()));
        }
    };
    Ok(OptionsOrHelp::For(Put { claim, key, to }))
}

/// Numbers and truth values stand in the body as they are.
fn checked(words: [String; 3], kind: ObjectKind) -> Result<[String; 3], Usage> {
    let value = &words[2];
    let problem = match kind {
        ObjectKind::Text | ObjectKind::Reference => None,
        ObjectKind::Number => number(value).err(),
        ObjectKind::Boolean => (value != "true" && value != "false").then_some(Takes::Boolean),
    };
    match problem {
        Some(takes) => Err(wrong(format!("the value '{value}': {takes}"))),
        None => Ok(words),
    }
}

fn object_kind(text: &str) -> Parsed<ObjectKind> {
    match text.to_ascii_lowercase().as_str() {
        "text" => Ok(ObjectKind::Text),
        "number" => Ok(ObjectKind::Number),
        "boolean" => Ok(ObjectKind::Boolean),
        "reference" => Ok(ObjectKind::Reference),
        _ => Err(Takes::ObjectKind),
    }
}

/// A number as JSON writes it, unchanged: no digit of it is lost.
fn number(text: &str) -> Parsed<String> {
    let is_plain = text.bytes().all(|byte| b"0123456789+-.eE".contains(&byte));
    let is_number = is_plain && text.parse::<f64>().is_ok();
    is_number.then(|| text.to_owned()).ok_or(Takes::Number)
}

pub(super) fn parse_get(
    parser: &mut Parser,
    mut from: ApiTarget,
) -> Result<OptionsOrHelp<Get>, Usage> {
    let mut hash = None;
    let takes = || wrong("get takes the hash of an assertion, 64 hex digits".to_string());
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Short('h') | Arg::Long("help") => return Ok(OptionsOrHelp::help(Topic::Get)),
            Arg::Long("to") => from.at = text_value(parser, "to", api_address)?,
            Arg::Long("api-key-file") => from.api_key = Some(file(parser)?),
            Arg::Value(word) if hash.is_none() => {
                hash = Some(Digest::parse(&word.to_string_lossy()).ok_or_else(takes)?);
            }
            other => return Err(unexpected(other, Topic::Get)),
        }
    }
    Ok(OptionsOrHelp::For(Get { hash: hash.ok_or_else(takes)?, from }))
}

pub(super) fn parse_query(
    parser: &mut Parser,
    mut at: ApiTarget,
) -> Result<OptionsOrHelp<QueryOptions>, Usage> {
    let mut parameters = Vec::new();
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Short('h') | Arg::Long("help") => return Ok(OptionsOrHelp::help(Topic::Query)),
            Arg::Long("to") => at.at = text_value(parser, "to", api_address)?,
            Arg::Long("api-key-file") => at.api_key = Some(file(parser)?),
            // The node knows its parameters, and says what is wrong with one.
            Arg::Long(flag) => {
                let name = flag.replace('-', "_");
                parameters.push((name, parser.value()?.string()?));
            }
            other => return Err(unexpected(other, Topic::Query)),
        }
    }
    Ok(OptionsOrHelp::For(QueryOptions { parameters, at }))
}

pub(super) fn parse_status(
    parser: &mut Parser,
    mut of: ApiTarget,
) -> Result<OptionsOrHelp<StatusOptions>, Usage> {
    let (mut form, mut is_named) = (None, false);
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Short('h') | Arg::Long("help") => return Ok(OptionsOrHelp::help(Topic::Status)),
            Arg::Long("json" | "ready") if form.is_some() => {
                return Err(wrong("status takes --json or --ready, once".into()));
            }
            Arg::Long("json") => form = Some(StatusForm::Json),
            Arg::Long("ready") => form = Some(StatusForm::Ready),
            Arg::Long("api-key-file") => of.api_key = Some(file(parser)?),
            Arg::Value(word) if !is_named => {
                let word = word.to_string_lossy();
                of.at = api_address(&word).map_err(|hint| wrong(format!("'{word}': {hint}")))?;
                is_named = true;
            }
            other => return Err(unexpected(other, Topic::Status)),
        }
    }
    Ok(OptionsOrHelp::For(StatusOptions { of, form: form.unwrap_or(StatusForm::Table) }))
}

fn file(parser: &mut Parser) -> Result<SecretSource, Usage> {
    Ok(SecretSource::File(parser.value()?.into()))
}
