//! Near misses between user values. They help an operator find a typo; decisions compare values
//! exactly.

use std::cmp::Ordering;
use std::fmt;

/// The only difference between two values that are nearly equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Difference {
    /// Upper and lower case.
    Case,
    /// A domain that only one of them has: `CORP\ada`, `ada@example.com`, `ada`. Two different
    /// domains would mean two people.
    Domain,
    /// Leading or trailing white space.
    WhiteSpace,
}

impl Difference {
    /// Whether the values are the same to a server that ignores case and white space.
    #[must_use]
    pub(super) fn is_spelling(self) -> bool {
        match self {
            Self::Case | Self::WhiteSpace => true,
            Self::Domain => false,
        }
    }

    /// `None` if the values are equal, or differ in more than one way.
    #[must_use]
    pub(super) fn between(value: &str, other: &str) -> Option<Self> {
        if value == other {
            return None;
        }
        if value.trim() == other.trim() {
            return Some(Self::WhiteSpace);
        }
        if compare_folded(value.trim(), other.trim()).is_eq() {
            return Some(Self::Case);
        }
        let (value, other) = (NameParts::parse(value), NameParts::parse(other));
        let are_one = |one: Option<&str>, two: Option<&str>| match (one, two) {
            (Some(one), Some(two)) => compare_folded(one, two).is_eq(),
            _ => true,
        };
        (compare_folded(value.bare, other.bare).is_eq()
            && are_one(value.before, other.before)
            && are_one(value.after, other.after))
        .then_some(Self::Domain)
    }
}

/// Orders values so that those that differ only by a [`Difference`] are equal.
#[must_use]
pub(super) fn compare_bare(value: &str, other: &str) -> Ordering {
    compare_folded(NameParts::parse(value).bare, NameParts::parse(other).bare)
}

/// A user name split from its domain.
struct NameParts<'a> {
    before: Option<&'a str>,
    bare: &'a str,
    after: Option<&'a str>,
}

impl<'a> NameParts<'a> {
    fn parse(value: &'a str) -> Self {
        let value = value.trim();
        let (before, rest) = match value.split_once('\\') {
            Some((domain, rest)) => (Some(domain), rest),
            None => (None, value),
        };
        let (bare, after) = match rest.rsplit_once('@') {
            Some((bare, domain)) => (bare, Some(domain)),
            None => (rest, None),
        };
        Self { before, bare, after }
    }
}

fn compare_folded(value: &str, other: &str) -> Ordering {
    let [value, other] = [value, other].map(|text| text.chars().flat_map(char::to_lowercase));
    value.cmp(other)
}

/// Completes "differs only …".
impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Case => "in upper and lower case",
            Self::Domain => "by a domain before or after the name",
            Self::WhiteSpace => "by white space at its end or its beginning",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_matches_differ_in_exactly_one_way() {
        for (value, other, difference) in [
            ("ada", "ada", None),
            ("Ada", "ada", Some(Difference::Case)),
            ("JÜRGEN", "jürgen", Some(Difference::Case)),
            (" Ada", "ada", Some(Difference::Case)),
            ("ada ", "ada", Some(Difference::WhiteSpace)),
            (r"CORP\ada", "ada", Some(Difference::Domain)),
            ("ada", r"CORP\Ada", Some(Difference::Domain)),
            ("ada@example.com", "ada", Some(Difference::Domain)),
            ("ada@example.com", r"EXAMPLE\ada", Some(Difference::Domain)),
            ("ada@example.com", "ada@example.org", None),
            (r"CORP\ada", r"EVIL\ada", None),
            (r"CORP\ada@x", r"EVIL\ada", None),
            ("ada", "adam", None),
            ("", "ada", None),
            ("@", "ada@", None),
        ] {
            assert_eq!(Difference::between(value, other), difference, "{value} {other}");
            assert_eq!(Difference::between(other, value), difference, "{other} {value}");
            assert!(difference.is_none() || compare_bare(value, other).is_eq(), "{value} {other}");
        }
    }
}
