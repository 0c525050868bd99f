//! Text that another program sent, fit to be shown.
//!
//! In: a peer's error text, version, name. Out: one line of bounded length that moves no cursor,
//! starts no line of its own and turns no reading direction. Never: drops anything unseen: what is
//! escaped or cut shows.

use std::fmt::Write;

use crate::base::limits;

/// One line of it, cut to [`limits::FOREIGN_TEXT_MAX`] characters.
pub fn shown(text: &str) -> String {
    let mut line = escaped(text.chars().take(limits::FOREIGN_TEXT_MAX));
    if text.chars().nth(limits::FOREIGN_TEXT_MAX).is_some() {
        line.push_str("...");
    }
    line
}

/// The characters, those escaped that a terminal would obey.
pub fn escaped(text: impl Iterator<Item = char>) -> String {
    let mut line = String::new();
    for letter in text {
        if obeys(letter) {
            write!(line, "{}", letter.escape_default()).expect("writing to a String cannot fail");
        } else {
            line.push(letter);
        }
    }
    line
}

/// Whether a terminal does something else with it than show it: controls, and the characters of
/// Unicode that turn or hide text (category Cf, the separators of lines and paragraphs).
fn obeys(letter: char) -> bool {
    let is_format = matches!(letter,
        '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e007f}');
    letter.is_control() || is_format
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_a_terminal_obeys_is_left() {
        let evil = "no\nERROR node: all is lost\r\u{1b}[2J\u{9b}31m\u{202e}gpj.exe\0\u{7f}";
        assert_eq!(
            shown(evil),
            "no\\nERROR node: all is lost\\r\\u{1b}[2J\\u{9b}31m\\u{202e}gpj.exe\\u{0}\\u{7f}"
        );
        assert_eq!(shown("Gr\u{fc}\u{df}e, 100 % \u{2603}"), "Gr\u{fc}\u{df}e, 100 % \u{2603}");
    }

    #[test]
    fn what_is_long_is_cut() {
        let long = "x".repeat(limits::FOREIGN_TEXT_MAX + 1);
        assert_eq!(shown(&long).len(), limits::FOREIGN_TEXT_MAX + 3);
        assert!(shown(&long).ends_with("x..."));
        assert_eq!(shown(&long[1..]), long[1..]);
    }
}
