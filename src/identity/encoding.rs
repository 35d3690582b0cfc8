//! Values as header fields: what stands in them is always visible ASCII, and a list can always be
//! taken apart again.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

const VALUE: &AsciiSet = &CONTROLS.add(b'%');
const LIST_ITEM: &AsciiSet = &VALUE.add(b',');
const SCOPE: &AsciiSet = &VALUE.add(b' ');

/// A single value; none when it is empty.
pub(super) fn value(text: &str) -> Option<String> {
    encoded(text, VALUE).map(Cow::into_owned)
}

/// A comma-separated list; none when it is empty.
pub(super) fn list<T: AsRef<str>>(items: &[T]) -> Option<String> {
    joined(items, LIST_ITEM, ",")
}

/// A space-separated list; none when it is empty.
pub(super) fn scopes(scopes: &[String]) -> Option<String> {
    joined(scopes, SCOPE, " ")
}

fn joined<T: AsRef<str>>(items: &[T], set: &'static AsciiSet, separator: &str) -> Option<String> {
    let mut joined = String::new();
    for item in items.iter().filter_map(|item| encoded(item.as_ref(), set)) {
        if !joined.is_empty() {
            joined.push_str(separator);
        }
        joined.push_str(&item);
    }
    (!joined.is_empty()).then_some(joined)
}

/// `utf8_percent_encode` encodes what is not ASCII in any case.
fn encoded<'a>(text: &'a str, set: &'static AsciiSet) -> Option<Cow<'a, str>> {
    if text.is_empty() {
        return None;
    }
    let inner = text.trim_matches(' ');
    let encoded = Cow::from(utf8_percent_encode(inner, set));
    if inner.len() == text.len() {
        return Some(encoded);
    }
    let leading = text.len() - text.trim_start_matches(' ').len();
    let trailing = text.len() - leading - inner.len();
    Some(["%20".repeat(leading), encoded.into_owned(), "%20".repeat(trailing)].concat().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_be_misread_is_percent_encoded() {
        for (text, header) in [
            ("ada", Some("ada")),
            ("Ada Lovelace", Some("Ada Lovelace")),
            ("a,b;c=\"d\"", Some("a,b;c=\"d\"")),
            (" a ", Some("%20a%20")),
            ("  ", Some("%20%20")),
            ("100%", Some("100%25")),
            ("a\r\nx-admin: 1", Some("a%0D%0Ax-admin: 1")),
            ("\u{7f}\u{0}", Some("%7F%00")),
            ("Zoë", Some("Zo%C3%AB")),
            ("", None),
        ] {
            assert_eq!(value(text).as_deref(), header, "{text:?}");
        }
    }

    #[test]
    fn a_list_can_be_taken_apart_again() {
        assert_eq!(list(&["a", "", "b,c"]).as_deref(), Some("a,b%2Cc"));
        assert_eq!(list(&["", ""]), None);
        assert_eq!(scopes(&["a b".to_owned(), "c".to_owned()]).as_deref(), Some("a%20b c"));
    }
}
