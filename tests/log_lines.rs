//! The table of log lines in docs/operations.md: every ERROR and WARN that the node can write is in
//! it as the source has it, `...` in place of what varies, and nothing else is.
//!
//! Reads the sources as text. Never: runs anything of the node.

mod source;

use std::collections::BTreeMap;

use source::Source;

/// What begins such a line in the source; the rest of the call has its text, or a `format_args!`
/// before it does.
const CALLS: [(&str, &str); 9] = [
    ("log::error!(", "ERROR"),
    ("log::warn!(", "WARN"),
    ("log_limit::warn(", "WARN"),
    ("log_limit::error(", "ERROR"),
    ("log_limit::note(Level::Error", "ERROR"),
    ("log_limit::note(Level::Warn", "WARN"),
    ("log_limit::note(log::Level::Warn", "WARN"),
    ("last_words(", "ERROR"),
    // What the logger says itself.
    ("let notice = format!(", "WARN"),
];
const PAGE: &str = include_str!("../docs/operations.md");

/// The first text in quotes, without breaks of its line.
fn literal(code: &str) -> Option<String> {
    let (_, inner) = code.split_once('"')?;
    let (mut text, mut letters) = (String::new(), inner.chars().peekable());
    while let Some(letter) = letters.next() {
        match letter {
            '"' => return Some(text),
            '\\' if letters.next_if_eq(&'\n').is_some() => {
                while letters.next_if(|next| next.is_whitespace()).is_some() {}
            }
            '\\' => text.extend(letters.next()),
            letter => text.push(letter),
        }
    }
    None
}

/// What varies becomes `...`.
fn template(text: &str) -> String {
    let mut shown = String::new();
    for (index, part) in text.split('{').enumerate() {
        let rest = if index == 0 { part } else { part.split_once('}').map_or("", |it| it.1) };
        shown.push_str(if index == 0 { "" } else { "..." });
        shown.push_str(rest);
    }
    shown
}

/// The text of a call that begins at an offset: its own, or the last that was made before it.
fn text_of(source: &Source, at: usize) -> Option<String> {
    // Literals and comments are blank in the code, at the same offsets.
    let code = source.code.as_str();
    let open = at + code[at..].find('(')? + 1;
    let mut depth = 1;
    let length = code[open..].find(|letter| {
        depth += i32::from(letter == '(') - i32::from(letter == ')');
        depth == 0
    })?;
    let call = &code[open..open + length];
    let made = ["format_args!(", "format!("].iter().find_map(|head| call.find(head));
    let is_made_before = call.trim_end().trim_end_matches(',').ends_with("line");
    let made_before = code[..at].rfind("format_args!(").filter(|_| is_made_before);
    let from = made.map(|made| open + made).or(made_before).unwrap_or(open);
    literal(&source.text[from..])
}

/// Each line as the table has it, and where it is written.
fn written() -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for (module, source) in source::modules() {
        let name = module.last().map_or("", String::as_str);
        if name == "log_limit" {
            continue;
        }
        for (call, level) in CALLS {
            for (at, _) in source.code.match_indices(call) {
                // The definition of a function is no call of it.
                if source.code[..at].ends_with("fn ") {
                    continue;
                }
                let line = source.code[..at].lines().count();
                let location = format!("{}:{line}", source.path.display());
                let text = text_of(&source, at).unwrap_or_else(|| panic!("{location}: no text"));
                let text = template(&text);
                let has_words = text.chars().any(char::is_alphabetic);
                let shown = if has_words { text } else { format!("{name}: {text}") };
                found.insert(format!("{level} `{shown}`"), location);
            }
        }
    }
    assert!(found.len() > 20, "the calls were not found");
    found
}

/// The lines that the table has.
fn listed() -> Vec<String> {
    let (_, section) = PAGE.split_once("\n## Log lines\n").expect("the section is there");
    let section = section.split("\n## ").next().unwrap_or_default();
    let rows = section.lines().filter(|line| line.starts_with("| "));
    let cells = rows.map(|row| row.split(" | ").next().unwrap_or_default());
    let lines = cells.flat_map(|cell| cell.trim_start_matches("| ").split("<br>"));
    lines.filter(|line| line.contains('`')).map(str::to_owned).collect()
}

#[test]
fn every_error_and_warning_is_in_the_table_and_nothing_else_is() {
    let (written, listed) = (written(), listed());
    let missing: Vec<_> = written.iter().filter(|(line, _)| !listed.contains(line)).collect();
    let rows: Vec<_> = missing
        .iter()
        .map(|(line, location)| format!("| {line} | what it means | what to do |   <- {location}"))
        .collect();
    assert!(
        rows.is_empty(),
        "docs/operations.md, section \"Log lines\", lacks rows, or its rows have other words than \
         the source; write there:\n{}",
        rows.join("\n")
    );
    let stale: Vec<_> = listed.iter().filter(|line| !written.contains_key(*line)).collect();
    assert!(
        stale.is_empty(),
        "docs/operations.md, section \"Log lines\", has lines that nothing in src writes; remove \
         them there: {stale:#?}"
    );
}
