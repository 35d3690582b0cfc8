//! Patterns that rules name methods and names by.

use super::case::case_folded;

/// What a rule names methods, or the names of tools, prompts, resources and tasks by: all of it, or
/// how it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Pattern {
    /// This text.
    Exact(String),
    /// Whatever begins with this text.
    Prefix(String),
}

impl Pattern {
    /// Reads a pattern: a text, with or without `*` at its end. None when it is empty or has `*`
    /// anywhere else.
    #[must_use]
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let prefix = text.strip_suffix('*');
        if text.is_empty() || prefix.unwrap_or(text).contains('*') {
            return None;
        }
        Some(
            prefix.map_or_else(
                || Self::Exact(text.to_owned()),
                |prefix| Self::Prefix(prefix.to_owned()),
            ),
        )
    }

    /// True when it stands for this text.
    #[must_use]
    pub(super) fn matches(&self, text: &str) -> bool {
        match self {
            Self::Exact(value) => value == text,
            Self::Prefix(value) => text.starts_with(value.as_str()),
        }
    }

    /// The same, for texts in lower case.
    #[must_use]
    pub(super) fn in_lower_case(&self) -> Self {
        match self {
            Self::Exact(value) => Self::Exact(case_folded(value)),
            Self::Prefix(value) => Self::Prefix(case_folded(value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_a_text_or_the_beginning_of_one() {
        for (pattern, text, matches) in [
            ("whoami", "whoami", true),
            ("whoami", "whoami2", false),
            ("whoami", "Whoami", false),
            ("update_*", "update_", true),
            ("update_*", "update_incident", true),
            ("update_*", "update", false),
            ("*", "", true),
            ("*", "anything", true),
        ] {
            let read = Pattern::parse(pattern).unwrap();
            assert_eq!(read.matches(text), matches, "{pattern} {text}");
        }
        for pattern in ["", "a*b", "**", "*a", "a**"] {
            assert_eq!(Pattern::parse(pattern), None, "{pattern}");
        }
    }
}
