//! Patterns for MCP methods and names in rules.

use super::case::case_folded;

/// Matches an MCP method, or the name of a tool, prompt, resource or task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Pattern {
    /// Exactly this string.
    Exact(String),
    /// Any string with this prefix.
    Prefix(String),
}

impl Pattern {
    /// Parses a string with an optional `*` at its end. `None` if it is empty or has `*` anywhere
    /// else.
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

    /// True when the pattern matches `text`.
    #[must_use]
    pub(super) fn matches(&self, text: &str) -> bool {
        match self {
            Self::Exact(value) => value == text,
            Self::Prefix(value) => text.starts_with(value.as_str()),
        }
    }

    /// The pattern for strings in lower case.
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
    fn a_pattern_matches_a_whole_string_or_its_prefix() {
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
