//! Numbers and values formatted for people.

use serde_json::Value;

use crate::printable::clipped;

/// A number with thousands separators.
pub(super) fn number(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number of seconds with its unit.
pub(super) fn seconds(value: u64) -> String {
    format!("{} s", number(value))
}

/// Alternatives for people: `"a" or "b"`.
pub(super) fn either(values: &[String]) -> String {
    let quoted: Vec<String> = values.iter().map(|value| format!("{value:?}")).collect();
    if quoted.is_empty() { "nothing".to_owned() } else { listed(&quoted, "or") }
}

/// A list for people, with this word before its last element: `a, b and c`.
pub(super) fn listed(words: &[impl AsRef<str>], joint: &str) -> String {
    let words: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
    match words.split_last() {
        Some((last, others)) if !others.is_empty() => {
            format!("{} {joint} {last}", others.join(", "))
        }
        _ => words.concat(),
    }
}

/// A claim's value as JSON, or a word for its absence; shortened.
pub(super) fn value(claim: Option<&Value>) -> String {
    const MAX_CHARACTERS: usize = 160;
    let Some(claim) = claim else { return "missing".to_owned() };
    clipped(&claim.to_string(), MAX_CHARACTERS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_separated() {
        for (value, text) in [(0, "0"), (999, "999"), (3612, "3,612"), (1_234_567, "1,234,567")] {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn alternatives_are_quoted() {
        for (values, text) in [
            (&[][..], "nothing"),
            (&["a"], "\"a\""),
            (&["a", "b"], "\"a\" or \"b\""),
            (&["a", "b", "c"], "\"a\", \"b\" or \"c\""),
        ] {
            let values: Vec<String> = values.iter().map(|&value| value.to_owned()).collect();
            assert_eq!(either(&values), text);
        }
    }
}
