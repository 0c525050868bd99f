//! A strict reader of JSON (RFC 8259), one value at a time, in the order its caller asks.
//!
//! In: bytes from outside. Out: the values that are expected, or [`Malformed`] with line, column
//! and the name of the field. What is not expected (an unknown or repeated field, another type,
//! deeper nesting, anything after the end) is refused where it stands, so foreign input decides
//! nothing about depth, time or memory.
//!
//! Never: recurses, skips what it does not know, makes a number that is not finite, rounds an
//! integer.

use std::borrow::Cow;
use std::fmt;

use super::fields::{Fields, Seen};
use crate::base::number;

/// Characters of a wrong value that an error shows.
const SHOWN_MAX: usize = 40;

/// Text that is not the JSON that was asked for. Its sender is at fault; nothing changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Malformed {
    /// The line at fault, counted from 1 as editors do.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong, and what would be right.
    pub what: String,
}

impl fmt::Display for Malformed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "line {} column {}: {}", self.line, self.column, self.what)
    }
}

/// What can be read in one piece.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Scalar<'a> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Boolean(bool),
    /// Its digits; a valid number of JSON.
    Number(&'a str),
    /// A string without its quotes and escapes; borrowed where it had no escape.
    Text(Cow<'a, str>),
}

impl Scalar<'_> {
    /// What it is called in an error.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Scalar::Null => "null",
            Scalar::Boolean(_) => "a boolean",
            Scalar::Number(_) => "a number",
            Scalar::Text(_) => "a string",
        }
    }
}

/// Reads one text from front to end.
#[derive(Debug)]
pub(super) struct JsonReader<'a> {
    text: &'a str,
    at: usize,
    /// Where the scalar read last began.
    scalar_at: usize,
}

impl<'a> JsonReader<'a> {
    /// Stands before the first byte; the bytes must be UTF-8.
    pub(super) fn new(bytes: &'a [u8]) -> Result<JsonReader<'a>, Malformed> {
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(JsonReader { text, at: 0, scalar_at: 0 }),
            Err(error) => {
                let at = error.valid_up_to();
                let good = std::str::from_utf8(&bytes[..at]).expect("valid up to there");
                let what = format!("byte 0x{:02x} is not UTF-8", bytes[at]);
                Err(JsonReader { text: good, at, scalar_at: at }.fail(what))
            }
        }
    }

    /// An error at the position reached.
    pub(super) fn fail(&self, what: impl Into<String>) -> Malformed {
        self.fail_at(self.at, what.into())
    }

    /// An error in the scalar read last.
    pub(super) fn wrong(&self, what: impl Into<String>) -> Malformed {
        self.fail_at(self.scalar_at, what.into())
    }

    fn fail_at(&self, at: usize, what: String) -> Malformed {
        let before = &self.text[..at];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Malformed {
            line: before.bytes().filter(|byte| *byte == b'\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            what,
        }
    }

    /// Reads an object. `take` is called for each field with its name, and reads the value; the
    /// answer is which fields were there.
    pub(super) fn object<'f, F: Copy + PartialEq>(
        &mut self,
        what: &str,
        fields: &'f Fields<F>,
        mut take: impl FnMut(&mut Self, &'static str, F) -> Result<(), Malformed>,
    ) -> Result<Seen<'f, F>, Malformed> {
        self.open(what, b'{', "an object")?;
        let (mut seen, mut index) = (Seen::none(fields), fields.len());
        if self.next_is(b'}') {
            return Ok(seen);
        }
        loop {
            index = self.field(what, fields, index)?;
            let (name, field) = fields[index];
            if !seen.note(index) {
                return Err(self.wrong(format!("{what} has {name:?} twice")));
            }
            self.expect(b':', "a colon")?;
            take(self, name, field)?;
            if self.next_is(b'}') {
                return Ok(seen);
            }
            self.expect(b',', "a comma or the closing brace")?;
        }
    }

    /// Reads an array; `take` is called with the index of each element, and reads it.
    pub(super) fn array(
        &mut self,
        what: &str,
        mut take: impl FnMut(&mut Self, usize) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        self.open(what, b'[', "an array")?;
        if self.next_is(b']') {
            return Ok(());
        }
        let mut index = 0;
        loop {
            take(self, index)?;
            index += 1;
            if self.next_is(b']') {
                return Ok(());
            }
            self.expect(b',', "a comma or the closing bracket")?;
        }
    }

    /// Reads a string, a number, a boolean or null; `expected` is for the error.
    pub(super) fn scalar(&mut self, what: &str, expected: &str) -> Result<Scalar<'a>, Malformed> {
        let next = self.peek();
        self.scalar_at = self.at;
        match next {
            Some(b'"') => self.string().map(Scalar::Text),
            Some(b'-' | b'0'..=b'9') => self.number().map(Scalar::Number),
            _ if self.word("null") => Ok(Scalar::Null),
            _ if self.word("true") => Ok(Scalar::Boolean(true)),
            _ if self.word("false") => Ok(Scalar::Boolean(false)),
            _ => Err(self.fail(format!("{what} takes {expected}, not {}", self.found()))),
        }
    }

    /// Reads a string.
    pub(super) fn text(&mut self, what: &str, expected: &str) -> Result<Cow<'a, str>, Malformed> {
        match self.scalar(what, expected)? {
            Scalar::Text(text) => Ok(text),
            other => Err(self.wrong(format!("{what} takes {expected}, not {}", other.kind()))),
        }
    }

    /// Reads a whole number that is not negative, exactly.
    pub(super) fn whole(&mut self, what: &str) -> Result<u64, Malformed> {
        let expected = "a whole number from 0 to 18446744073709551615";
        let scalar = self.scalar(what, expected)?;
        match &scalar {
            Scalar::Number(digits) => digits.parse().map_err(|_| {
                self.wrong(format!("{what} takes {expected}, not {}", shorten(digits)))
            }),
            other => Err(self.wrong(format!("{what} takes {expected}, not {}", other.kind()))),
        }
    }

    /// Reads a number.
    pub(super) fn float(&mut self, what: &str, expected: &str) -> Result<f64, Malformed> {
        match self.scalar(what, expected)? {
            Scalar::Number(digits) => self.finite(what, digits),
            other => Err(self.wrong(format!("{what} takes {expected}, not {}", other.kind()))),
        }
    }

    /// What the digits of a [`Scalar::Number`] say.
    pub(super) fn finite(&self, what: &str, digits: &str) -> Result<f64, Malformed> {
        number::parse(digits)
            .map_err(|unheld| self.wrong(format!("{what} is {}, {unheld}", shorten(digits))))
    }

    /// Whether a null stands next; if so it is read.
    pub(super) fn null(&mut self) -> bool {
        self.peek() == Some(b'n') && self.word("null")
    }

    /// Nothing but white space may follow.
    pub(super) fn end(&mut self) -> Result<(), Malformed> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.fail(format!("the value ends here, but {} follows", self.found()))),
        }
    }

    /// The next byte that is no white space.
    fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while let Some(byte) = bytes.get(self.at) {
            match byte {
                b' ' | b'\t' | b'\n' | b'\r' => self.at += 1,
                byte => return Some(*byte),
            }
        }
        None
    }

    fn next_is(&mut self, byte: u8) -> bool {
        let is = self.peek() == Some(byte);
        self.at += usize::from(is);
        is
    }

    fn expect(&mut self, byte: u8, expected: &str) -> Result<(), Malformed> {
        if self.next_is(byte) {
            return Ok(());
        }
        Err(self.fail(format!("expected {expected}, found {}", self.found())))
    }

    fn open(&mut self, what: &str, byte: u8, expected: &str) -> Result<(), Malformed> {
        if self.next_is(byte) {
            return Ok(());
        }
        Err(self.fail(format!("{what} takes {expected}, not {}", self.found())))
    }

    fn word(&mut self, word: &str) -> bool {
        let is = self.text.as_bytes()[self.at..].starts_with(word.as_bytes());
        self.at += if is { word.len() } else { 0 };
        is
    }

    /// What stands at the position reached, for an error.
    fn found(&self) -> String {
        match self.text[self.at..].chars().next() {
            None => "the end".to_owned(),
            Some('{') => "an object".to_owned(),
            Some('[') => "an array".to_owned(),
            Some('"') => "a string".to_owned(),
            Some('-' | '0'..='9') => "a number".to_owned(),
            Some(_) => {
                let is_word = |letter: &char| letter.is_alphanumeric();
                let rest = &self.text[self.at..];
                let word: String = rest.chars().take_while(is_word).take(SHOWN_MAX).collect();
                if word.is_empty() {
                    rest.chars().take(1).map(|letter| format!("{letter:?}")).collect()
                } else {
                    word
                }
            }
        }
    }

    /// A field's name; its index among the known ones. Looked for behind the one before, as most
    /// programs keep an order.
    fn field<F>(
        &mut self,
        what: &str,
        fields: &Fields<F>,
        before: usize,
    ) -> Result<usize, Malformed> {
        if self.peek() != Some(b'"') {
            return Err(self.fail(format!("expected a field in quotes, found {}", self.found())));
        }
        self.scalar_at = self.at;
        let name = self.string()?;
        let mut indices = (before + 1..fields.len()).chain(0..fields.len().min(before + 1));
        let Some(index) = indices.find(|index| fields[*index].0 == name) else {
            let name = shorten(&name);
            let known: Vec<&str> = fields.iter().map(|(name, _)| *name).collect();
            let known = known.join(", ");
            return Err(self.wrong(format!("{what} has no field {name:?}; there are {known}")));
        };
        Ok(index)
    }

    /// The digits of a number, as the grammar has them: no leading zero or plus, a digit on each
    /// side of the point.
    fn number(&mut self) -> Result<&'a str, Malformed> {
        let start = self.at;
        let bytes = self.text.as_bytes();
        self.at += usize::from(bytes[self.at] == b'-');
        let leading_zero = bytes.get(self.at) == Some(&b'0');
        let whole = self.digits("a digit")?;
        if leading_zero && whole > 1 {
            self.at = start;
            return Err(self.fail("a number has no leading zeros"));
        }
        if bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits("a digit after the point")?;
        }
        if let Some(b'e' | b'E') = bytes.get(self.at) {
            self.at += 1;
            self.at += usize::from(matches!(bytes.get(self.at), Some(b'+' | b'-')));
            self.digits("a digit of the exponent")?;
        }
        Ok(&self.text[start..self.at])
    }

    fn digits(&mut self, expected: &str) -> Result<usize, Malformed> {
        let rest = &self.text.as_bytes()[self.at..];
        let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if count == 0 {
            return Err(self.fail(format!("expected {expected}, found {}", self.found())));
        }
        self.at += count;
        Ok(count)
    }

    /// A string at whose opening quote the reader stands; borrowed when nothing is escaped.
    fn string(&mut self) -> Result<Cow<'a, str>, Malformed> {
        self.at += 1;
        let first = self.plain()?;
        if self.text.as_bytes()[self.at] == b'"' {
            self.at += 1;
            return Ok(Cow::Borrowed(first));
        }
        let mut whole = String::with_capacity(first.len() * 2);
        whole.push_str(first);
        while self.text.as_bytes()[self.at] != b'"' {
            whole.push(self.escape()?);
            whole.push_str(self.plain()?);
        }
        self.at += 1;
        Ok(Cow::Owned(whole))
    }

    /// What stands before the next quote or backslash, one of which follows.
    fn plain(&mut self) -> Result<&'a str, Malformed> {
        let start = self.at;
        self.at += plain_length(&self.text.as_bytes()[start..]);
        match self.text.as_bytes().get(self.at) {
            Some(b'"' | b'\\') => Ok(&self.text[start..self.at]),
            Some(control) => {
                let what = format!("control characters are written as \\u{control:04x}");
                Err(self.fail(what))
            }
            None => Err(self.fail("a string has no closing quote")),
        }
    }

    fn escape(&mut self) -> Result<char, Malformed> {
        let letter = self.text.as_bytes().get(self.at + 1).copied();
        let plain = match letter {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode_escape(),
            _ => return Err(self.fail("a backslash is followed by one of \"\\/bfnrtu")),
        };
        self.at += 2;
        Ok(plain)
    }

    /// `\uXXXX`, or two of them that are one character past U+FFFF.
    fn unicode_escape(&mut self) -> Result<char, Malformed> {
        let Some(first) = self.four_digits(self.at) else {
            return Err(self.fail("\\u is followed by four hex digits"));
        };
        let low = match first {
            0xd800..=0xdbff => self.four_digits(self.at + 6),
            _ => None,
        };
        let (code, length) = match low {
            Some(low @ 0xdc00..=0xdfff) => {
                (0x10000 + ((first - 0xd800) << 10) + (low - 0xdc00), 12)
            }
            _ => (first, 6),
        };
        let Some(letter) = char::from_u32(code) else {
            return Err(self.fail(format!("\\u{first:04x} is half of a surrogate pair")));
        };
        self.at += length;
        Ok(letter)
    }

    /// The four hex digits after `\u` at a position.
    fn four_digits(&self, at: usize) -> Option<u32> {
        let escape = self.text.as_bytes().get(at..at + 6)?;
        let digits = escape.strip_prefix(b"\\u")?;
        digits.iter().try_fold(0, |code, digit| Some(code << 4 | char::from(*digit).to_digit(16)?))
    }
}

/// How many bytes stand before the first quote, backslash or control character; eight at a time, as
/// most of a body is the inside of strings.
pub(super) fn plain_length(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::MAX / 0xff;
    const HIGH: u64 = ONES << 7;
    // The lowest bit set is right: a borrow only reaches bytes above one that is below the bound.
    let below = |word: u64, bound: u64| word.wrapping_sub(ONES * bound) & !word & HIGH;
    let chunks = bytes.chunks_exact(8);
    let rest = chunks.remainder();
    for (index, chunk) in chunks.enumerate() {
        let word = u64::from_le_bytes(chunk.try_into().expect("eight bytes"));
        let quote = below(word ^ (ONES * u64::from(b'"')), 1);
        let backslash = below(word ^ (ONES * u64::from(b'\\')), 1);
        let stops = below(word, 0x20) | quote | backslash;
        if stops != 0 {
            return index * 8 + stops.trailing_zeros() as usize / 8;
        }
    }
    let stops = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..=0x1f);
    bytes.len() - rest.len() + rest.iter().position(stops).unwrap_or(rest.len())
}

/// At most [`SHOWN_MAX`] characters of a foreign text.
pub(super) fn shorten(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(SHOWN_MAX) {
        None => Cow::Borrowed(text),
        Some((end, _)) => Cow::Owned(format!("{}...", &text[..end])),
    }
}
