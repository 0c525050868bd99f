//! What a listing of names asks for: which names, and where its page begins.
//!
//! In: names and values, as a URL has them, already percent-decoded. Out: a [`Listing`] within its
//! bounds, and which names it admits. A page begins behind a name, so that a cursor is good at any
//! node and stays good whatever arrives.
//!
//! Never: looks anything up.

use super::draft;
use super::query::{BadQuery, bad, parse_limit, parse_name};
use crate::base::digest::{hex, parse_hex};
use crate::base::limits;

/// Which names of claims are listed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NameKind {
    /// What claims speak of.
    Subjects,
    /// Which of its properties.
    Predicates,
}

/// Names in the order of their bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listing {
    /// Subjects or predicates.
    pub kind: NameKind,
    /// Only predicates of this subject.
    pub subject: Option<String>,
    /// Only names that begin with this.
    pub prefix: Option<String>,
    /// Only names behind this one, with which the page before ended.
    pub after: Option<String>,
    /// Names on one page, 1 to [`limits::QUERY_LIMIT_MAX`].
    pub limit: usize,
}

impl Listing {
    /// All names of a kind, from the first one on.
    pub fn new(kind: NameKind) -> Listing {
        let (subject, prefix, after) = (None, None, None);
        Listing { kind, subject, prefix, after, limit: limits::QUERY_LIMIT_DEFAULT }
    }

    /// Takes one parameter of a URL; of two with the same name the later one stays.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), BadQuery> {
        match (name, self.kind) {
            ("prefix", _) => self.prefix = Some(parse_name("prefix", value)?),
            ("subject", NameKind::Predicates) => {
                self.subject = Some(parse_name("subject", value)?);
            }
            ("limit", _) => self.limit = parse_limit(value)?,
            ("cursor", _) => {
                let expected = "the next_cursor of an earlier answer";
                let after = parse_cursor(value);
                self.after = Some(after.ok_or_else(|| bad("cursor", value, expected))?);
            }
            _ => {
                let known = match self.kind {
                    NameKind::Subjects => "prefix, limit and cursor",
                    NameKind::Predicates => "subject, prefix, limit and cursor",
                };
                return Err(BadQuery::Unknown { name: name.to_owned(), known });
            }
        }
        Ok(())
    }

    /// Whether a name is on this page or a later one.
    pub fn admits(&self, name: &str) -> bool {
        self.prefix.as_ref().is_none_or(|prefix| name.starts_with(prefix))
            && self.after.as_ref().is_none_or(|after| name > after.as_str())
    }

    /// The cursor of the page behind a name.
    pub fn cursor(name: &str) -> String {
        // In hex: it goes into a URL as it is, and nothing about it asks to be changed by hand.
        hex(name.as_bytes())
    }
}

fn parse_cursor(text: &str) -> Option<String> {
    let mut bytes = vec![0; text.len() / 2];
    let name = parse_hex(text, &mut bytes).then(|| String::from_utf8(bytes).ok()).flatten()?;
    draft::check_name("cursor", &name).is_ok().then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(kind: NameKind, pairs: &[(&str, &str)]) -> Result<Listing, BadQuery> {
        let mut listing = Listing::new(kind);
        pairs.iter().try_for_each(|(name, value)| listing.set(name, value)).map(|()| listing)
    }

    #[test]
    fn a_page_goes_on_behind_the_name_of_its_cursor() {
        let cursor = Listing::cursor("b\u{e9}");
        let pairs = [("subject", "s"), ("prefix", "b"), ("limit", "7"), ("cursor", &*cursor)];
        let listing = listing(NameKind::Predicates, &pairs).expect("all good");
        assert_eq!((listing.subject.as_deref(), listing.limit), (Some("s"), 7));
        let admitted = ["a", "b", "b\u{e8}", "b\u{e9}", "b\u{e9} ", "b\u{ea}", "c"];
        let admitted: Vec<&str> =
            admitted.into_iter().filter(|name| listing.admits(name)).collect();
        assert_eq!(admitted, ["b\u{e9} ", "b\u{ea}"]);
    }

    #[test]
    fn values_out_of_bounds_are_refused_and_named() {
        for (name, value) in [
            ("prefix", ""),
            ("prefix", "a\0"),
            ("limit", "0"),
            ("limit", "1001"),
            ("cursor", ""),
            ("cursor", "6"),
            ("cursor", "zz"),
            ("cursor", "ff"),
            ("cursor", "00"),
        ] {
            let message = listing(NameKind::Subjects, &[(name, value)]).expect_err(value);
            let message = message.to_string();
            assert!(message.starts_with(&format!("{name} is {value:?}, it takes ")), "{message}");
        }
        let unknown = listing(NameKind::Subjects, &[("subject", "s")]).expect_err("no such one");
        let expected = "there is no parameter \"subject\"; there are prefix, limit and cursor";
        assert_eq!(unknown.to_string(), expected);
    }
}
