//! Encodes strings and lists as header values. The result is visible ASCII, and lists can be split
//! again without loss.

use std::iter::repeat_n;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

/// The percent-encoding of one string within a value.
struct Escaping {
    /// The byte that separates items.
    separator: u8,
    /// The ASCII characters to encode. All others are always encoded.
    encoded: &'static AsciiSet,
}

const PERCENT: &AsciiSet = &CONTROLS.add(b'%');
const VALUE: Escaping = Escaping { separator: b'%', encoded: PERCENT };
const LIST_ITEM: Escaping = Escaping { separator: b',', encoded: &PERCENT.add(b',') };
const SCOPE: Escaping = Escaping { separator: b' ', encoded: &PERCENT.add(b' ') };

/// Writes a single value.
pub(super) fn write_value(text: &str, to: &mut String) {
    VALUE.write(text, to);
}

/// A name that a client chose, for access logs: its first 256 bytes, encoded like a header value, and
/// `"` and `\` too, so that it cannot leave its place in a line of plain text.
pub(crate) fn logged_name(name: &str) -> String {
    const MAX_LENGTH: usize = 256;
    const LOGGED: Escaping = Escaping { separator: b'"', encoded: &PERCENT.add(b'"').add(b'\\') };
    let name = name.get(..name.floor_char_boundary(MAX_LENGTH)).unwrap_or_default();
    let mut logged = String::new();
    match name.contains('\\') {
        true => LOGGED.write_encoded(name, &mut logged),
        false => LOGGED.write(name, &mut logged),
    }
    logged
}

/// Writes a comma-separated list without empty items.
pub(super) fn write_list(items: impl Iterator<Item = impl AsRef<str>>, to: &mut String) {
    write_joined(items, &LIST_ITEM, ',', to);
}

/// Writes a space-separated list without empty scopes.
pub(super) fn write_scopes<'a>(scopes: impl Iterator<Item = &'a str>, to: &mut String) {
    write_joined(scopes, &SCOPE, ' ', to);
}

fn write_joined(
    items: impl Iterator<Item = impl AsRef<str>>,
    form: &Escaping,
    separator: char,
    to: &mut String,
) {
    let start = to.len();
    for item in items {
        let item = item.as_ref();
        if to.len() > start && !item.is_empty() {
            to.push(separator);
        }
        form.write(item, to);
    }
}

impl Escaping {
    fn write(&self, text: &str, to: &mut String) {
        if self.is_plain(text) {
            to.push_str(text);
        } else {
            self.write_encoded(text, to);
        }
    }

    /// Whether the string needs no encoding.
    fn is_plain(&self, text: &str) -> bool {
        text.bytes().all(|byte| self.is_plain_byte(byte))
            && !text.starts_with(' ')
            && !text.ends_with(' ')
    }

    fn is_plain_byte(&self, byte: u8) -> bool {
        matches!(byte, b' '..=b'~') && byte != b'%' && byte != self.separator
    }

    /// Encodes leading and trailing spaces too, since header values are trimmed.
    fn write_encoded(&self, text: &str, to: &mut String) {
        let behind = text.trim_start_matches(' ');
        let inner = behind.trim_end_matches(' ');
        let (leading, trailing) = (text.len() - behind.len(), behind.len() - inner.len());
        to.extend(repeat_n("%20", leading));
        to.extend(utf8_percent_encode(inner, self.encoded));
        to.extend(repeat_n("%20", trailing));
    }
}

/// Header values are visible ASCII, and lists can be split again.
#[cfg(any(fuzzing, test))]
pub fn fuzz_header_values(text: &str) {
    let items: Vec<&str> = text.split('\n').collect();
    let first = items.first().copied().unwrap_or_default();
    let [mut value, mut list, mut scopes] = [const { String::new() }; 3];
    write_value(first, &mut value);
    write_list(items.iter(), &mut list);
    write_scopes(items.iter().copied(), &mut scopes);
    let decoded =
        |value: &str| percent_encoding::percent_decode_str(value).decode_utf8_lossy().into_owned();
    assert_eq!(decoded(&value), first);
    for (joined, separator) in [(&list, ','), (&scopes, ' ')] {
        let parts = joined.split(separator).filter(|part| !part.is_empty()).map(decoded);
        let filled = items.iter().copied().filter(|item| !item.is_empty());
        assert!(parts.eq(filled.map(str::to_owned)), "{joined:?}");
    }
    for value in [value, list, scopes] {
        assert!(value.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()), "{value:?}");
        assert_eq!(value.trim(), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut String)) -> String {
        let mut text = String::new();
        write(&mut text);
        text
    }

    #[test]
    fn ambiguous_characters_are_percent_encoded() {
        for (text, header) in [
            ("ada", "ada"),
            ("Ada Lovelace", "Ada Lovelace"),
            ("a,b;c=\"d\"", "a,b;c=\"d\""),
            (" a ", "%20a%20"),
            ("  ", "%20%20"),
            ("100%", "100%25"),
            ("a\r\nx-admin: 1", "a%0D%0Ax-admin: 1"),
            ("\u{7f}\u{0}", "%7F%00"),
            ("Zoë", "Zo%C3%AB"),
            ("", ""),
        ] {
            assert_eq!(written(|to| write_value(text, to)), header, "{text:?}");
        }
    }

    #[test]
    fn a_logged_name_is_short_and_cannot_leave_its_field() {
        let long = "a".repeat(300);
        for (name, logged) in [
            ("create_incident", "create_incident"),
            ("file:///a b?c=d&e", "file:///a b?c=d&e"),
            ("a\",\"user\":\"root", "a%22,%22user%22:%22root"),
            ("a\\", "a%5C"),
            ("a\n{}\u{85}", "a%0A{}%C2%85"),
            (" - ", "%20-%20"),
            ("100%", "100%25"),
            (&long, &long[..256]),
            // No partial character remains.
            (&format!("{}é", &long[..255]), &long[..255]),
            ("", ""),
        ] {
            assert_eq!(logged_name(name), logged, "{name:?}");
        }
        assert_eq!(logged_name(&"\u{1}".repeat(300)).len(), 3 * 256);
    }

    #[test]
    fn encoding_does_not_depend_on_position() {
        for (form, separator) in [(&VALUE, "%"), (&LIST_ITEM, ","), (&SCOPE, " ")] {
            for character in ('\0'..='\u{ff}').map(String::from) {
                let is_visible =
                    character == " " || character.bytes().all(|byte| byte.is_ascii_graphic());
                let is_plain = is_visible && character != "%" && character != separator;
                let encoded = character.bytes().map(|byte| format!("%{byte:02X}")).collect();
                let inside = if is_plain { character.clone() } else { encoded };
                for (before, after) in (0..10).flat_map(|all| (0..=all).map(move |n| (n, all - n)))
                {
                    let around = |character: &str| {
                        format!("{}{character}{}", "~".repeat(before), "!".repeat(after))
                    };
                    let at_an_end = before == 0 || after == 0;
                    let shown = if character == " " && at_an_end { "%20" } else { &inside };
                    let text = around(&character);
                    assert_eq!(written(|to| form.write(&text, to)), around(shown), "{text:?}");
                }
            }
        }
    }

    #[test]
    fn an_encoded_list_can_be_split_again() {
        let list = |items: &[&str]| written(|to| write_list(items.iter(), to));
        assert_eq!(list(&["a", "", "b,c"]), "a,b%2Cc");
        assert_eq!(list(&["", "a", "", " b", ""]), "a,%20b");
        assert_eq!(list(&["", ""]), "");
        let scopes = written(|to| write_scopes(["a b", "", "c"].into_iter(), to));
        assert_eq!(scopes, "a%20b c");
    }
}
