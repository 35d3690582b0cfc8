//! The names in a PromQL expression.

/// The keywords and functions of PromQL that the rules use.
const OF_THE_LANGUAGE: [&str; 9] =
    ["and", "increase", "max", "min", "offset", "or", "rate", "sum", "unless"];

/// The names in an expression.
#[derive(Debug, Default)]
pub(crate) struct Expression {
    /// The metrics that it reads.
    pub(crate) selectors: Vec<Selector>,
    /// The labels in `by` and `without`.
    pub(crate) groupings: Vec<String>,
}

/// A metric, with the labels and values that it is filtered by.
#[derive(Debug)]
pub(crate) struct Selector {
    pub(crate) metric: String,
    pub(crate) matchers: Vec<(String, String)>,
}

impl Expression {
    /// Parses an expression. promtool checks its validity.
    pub(crate) fn read(text: &str) -> Self {
        let mut expression = Self::default();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            if first == '[' {
                // A time.
                rest = rest.split_once(']').unwrap().1;
            } else if first.is_ascii_digit() {
                rest = rest.trim_start_matches(|next: char| next.is_ascii_alphanumeric());
            } else if first.is_ascii_alphabetic() || first == '_' {
                let end = rest.find(|next| !is_of_name(next)).unwrap_or(rest.len());
                let (word, after) = rest.split_at(end);
                rest = expression.take(word, after.trim_start());
            } else {
                rest = &rest[first.len_utf8()..];
            }
        }
        expression
    }

    /// Reads a word and its selector or labels; returns the rest.
    fn take<'a>(&mut self, word: &str, after: &'a str) -> &'a str {
        if OF_THE_LANGUAGE.contains(&word) {
            return after;
        }
        if ["by", "without"].contains(&word) {
            let (labels, rest) = after.strip_prefix('(').unwrap().split_once(')').unwrap();
            self.groupings.extend(labels.split(',').map(|label| label.trim().to_owned()));
            return rest;
        }
        let (matchers, rest) = match after.strip_prefix('{') {
            Some(inner) => inner.split_once('}').unwrap(),
            None => ("", after),
        };
        let matchers = matchers.split(',').filter(|matcher| !matcher.trim().is_empty());
        let matchers = matchers.map(|matcher| {
            let (label, value) = matcher.split_once('"').unwrap();
            let label = label.trim().trim_end_matches(['=', '!', '~']).trim_end();
            (label.to_owned(), value.trim().trim_end_matches('"').to_owned())
        });
        self.selectors.push(Selector { metric: word.to_owned(), matchers: matchers.collect() });
        rest
    }
}

/// The labels that a template such as `{{reason}}` or `{{ $labels.reason }}` shows.
pub(crate) fn shown_labels(text: &str) -> impl Iterator<Item = &str> {
    let places = text.split("{{").skip(1).map(|place| place.split_once("}}").unwrap().0.trim());
    places.map(|place| place.trim_start_matches("$labels."))
}

fn is_of_name(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_' || character == ':'
}
